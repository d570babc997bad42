"""exp, φ functions and resolvent of the scattering generator, exact to rounding in every cell.

At 20 K a valley may hold 1e-13 of all excitons. Eigenvectors would lose it, so everything here is built from sums and
products of nonnegative numbers: hL + λ is nonnegative, and with φ_l(z) = ∫₀¹ (1−s)^(l−1)/(l−1)! exp(sz) ds

    φ_l(hL) = Σ_j w_lj (hL + λ)^j,  w_lj = (1/j!) ∫₀¹ s^j (1−s)^(l−1)/(l−1)! exp(−λs) ds > 0      (small λ)
    φ_l(2z) = 2^(−l) [exp(z) φ_l(z) + Σ_{j=1…l} φ_j(z)/(l−j)!]                                  (doubling)

Blocks m ≥ 1 have entries of either sign but no larger than those of m = 0, so their rounding errors are as small.
"""

import dataclasses
import math

import numpy as np
from numba import njit

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.quadrature import gauss_legendre

TAYLOR_REACH = 0.25
TAYLOR_TERMS = 13  # 0.25^13/13! = 2e-18
HIGHEST_PHI = 3


@dataclasses.dataclass(frozen=True)
class PhiFunctions:
    """φ_0 = exp, φ_1, φ_2, φ_3, … of hL and of hL/2 for one harmonic, each of shape (cell, cell)."""

    full: tuple[Array, ...]
    half: tuple[Array, ...]


def phi_functions(generator: Array, step: float, highest: int = HIGHEST_PHI) -> PhiFunctions:
    """φ functions up to `highest` of `step`·`generator` (one block L_m) by Taylor series and doubling of nonnegative matrices."""
    reach = step * float(-generator.diagonal().min())
    doublings = max(1, math.ceil(math.log2(max(reach, 1e-300) / TAYLOR_REACH)))
    phi = _taylor(generator, step / 2**doublings, highest)
    half = phi
    for _ in range(doublings):
        half, phi = phi, _double(phi)
    return PhiFunctions(full=phi, half=half)


def diagonal_phi(exponents: Array) -> PhiFunctions:
    """φ functions of numbers z ≤ 0 and of z/2, each of the shape of `exponents`."""
    return PhiFunctions(full=_phi_of_numbers(exponents), half=_phi_of_numbers(0.5 * exponents))


def _phi_of_numbers(z: Array) -> tuple[Array, ...]:
    """By Taylor series where |z| < 1, else by φ_{l+1} = (φ_l − 1/l!)/z, which is stable there."""
    near, far = np.where(np.abs(z) < 1, z, 0.0), np.where(np.abs(z) < 1, -1.0, z)
    phi = [np.exp(z)]
    by_recursion = np.exp(far)
    for order in range(1, HIGHEST_PHI + 1):
        by_recursion = (by_recursion - 1 / math.factorial(order - 1)) / far
        series = np.zeros_like(near)
        for j in reversed(range(20)):
            series = series * near + 1 / math.factorial(j + order)
        phi.append(np.where(np.abs(z) < 1, series, by_recursion))
    return tuple(phi)


def _taylor(generator: Array, step: float, highest: int) -> tuple[Array, ...]:
    shift = step * float(-generator.diagonal().min())
    matrix = step * generator
    diagonal = np.arange(len(matrix))
    matrix[diagonal, diagonal] += shift
    weights = _taylor_weights(shift, highest)
    power = np.eye(len(matrix))
    phi = [w[0] * power for w in weights]
    for j in range(1, TAYLOR_TERMS):
        power = matrix @ power if j > 1 else matrix
        for total, w in zip(phi, weights, strict=True):
            total += w[j] * power
    return tuple(phi)


def _taylor_weights(shift: float, highest: int) -> Array:
    """w_lj for l = 0…`highest`, shape (l, j), by Gauss quadrature of the integrals above."""
    nodes, gauss = gauss_legendre(24)
    s, gauss = 0.5 * (1 + nodes), 0.5 * gauss * np.exp(-shift * 0.5 * (1 + nodes))
    j = np.arange(TAYLOR_TERMS)
    inverse_factorial = np.array([1 / math.factorial(int(i)) for i in j])
    rows = [math.exp(-shift) * inverse_factorial]
    for order in range(1, highest + 1):
        kernel = gauss * (1 - s) ** (order - 1) / math.factorial(order - 1)
        rows.append(inverse_factorial * (s[None, :] ** j[:, None] @ kernel))
    return np.array(rows)


def _double(phi: tuple[Array, ...]) -> tuple[Array, ...]:
    out = [phi[0] @ phi[0]]
    for order in range(1, len(phi)):
        total = phi[0] @ phi[order]
        for j in range(1, order + 1):
            total += phi[j] / math.factorial(order - j)
        total *= 0.5**order
        out.append(total)
    return tuple(out)


def conserve(phi: PhiFunctions, step: float, equilibrium: Array, loss: Array) -> PhiFunctions:
    """Restores, in the m = 0 functions, what doubling loses to rounding: detailed balance and column sums.

    φ_l p is symmetric, and 1ᵀφ_l(hL) = 1/l! − h ℓᵀφ_{l+1}(hL) with ℓ the loss; the diagonal takes up the difference.
    Raises InputError when that difference is not rounding, or an entry is negative: rates of very different size do that.
    """
    return PhiFunctions(
        full=_conserve(phi.full, step, equilibrium, loss), half=_conserve(phi.half, 0.5 * step, equilibrium, loss)
    )


def _conserve(phi: tuple[Array, ...], step: float, equilibrium: Array, loss: Array) -> tuple[Array, ...]:
    diagonal = np.arange(len(equilibrium))
    out: list[Array] = []
    for order in range(HIGHEST_PHI, -1, -1):
        balanced = phi[order] * equilibrium
        balanced = 0.5 * (balanced + balanced.T) / equilibrium
        if out or not loss.any():  # without φ_4 the sums of φ_3 are known only if nothing is lost
            target = 1 / math.factorial(order) - (step * (loss @ out[-1]) if out else 0.0)
            defect = target - balanced.sum(axis=0)
            if np.abs(defect).max() > 1e-10:
                raise InputError(
                    f"rates: found φ_{order} of a step of {step:.3g} ps whose columns miss their sums by "
                    f"{np.abs(defect).max():.1e}, expected 1e-10 at most: the rates differ by too many orders of magnitude"
                )
            balanced[diagonal, diagonal] += defect
        if balanced.min() < 0:
            raise InputError(
                f"rates: found φ_{order} of a step of {step:.3g} ps with an entry {balanced.min():.1e}, "
                "expected none below 0: the rates differ by too many orders of magnitude"
            )
        out.append(balanced)
    return tuple(reversed(out))


def resolvent(block: Array, shift: float, loss: Array | None = None) -> Array:
    """(σ − L_m)⁻¹ [ps] for σ = `shift` [1/ps].

    With `loss` the block is m = 0 and the elimination uses no subtraction (Grassmann, Taksar, Heyman, Oper. Res. 33,
    1107 (1985)): every entry is right to rounding. Blocks m ≥ 1 are dominated by it and use Gauss elimination.
    """
    if loss is None:
        return np.asarray(np.linalg.inv(shift * np.eye(len(block)) - block))
    inverse = _m_matrix_inverse(np.ascontiguousarray(block), shift + loss)
    if inverse.min() < 0:
        raise ArithmeticError("the resolvent has a negative entry")
    return inverse


@njit(cache=True)
def _m_matrix_inverse(gain: Array, excess: Array) -> Array:
    """Inverse of the M-matrix with off-diagonal entries −gain and column sums `excess` ≥ 0."""
    n = len(excess)
    a, e = gain.copy(), excess.copy()
    inverse = np.eye(n)
    pivots = np.empty(n)
    for k in range(n):
        pivot = e[k]
        for i in range(k + 1, n):
            pivot += a[i, k]
        pivots[k] = pivot
        for j in range(k + 1, n):
            e[j] += e[k] * a[k, j] / pivot
        for i in range(k + 1, n):
            factor = a[i, k] / pivot
            for j in range(k + 1, n):
                a[i, j] += factor * a[k, j]
            for j in range(k + 1):
                inverse[i, j] += factor * inverse[k, j]
    for k in range(n - 1, -1, -1):
        for i in range(k + 1, n):
            factor = a[k, i]
            for j in range(n):
                inverse[k, j] += factor * inverse[i, j]
        for j in range(n):
            inverse[k, j] /= pivots[k]
    return inverse
