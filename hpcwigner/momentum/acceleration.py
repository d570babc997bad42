"""Acceleration by a force on the energy cells: raising and lowering of the angular harmonic, and its dissipation.

A force F turns ∂t N = −F·∂_{ħQ} N into a coupling of neighbouring harmonics. With v_j = √(2ε_j/M) and f_m the harmonics,

    ∂t f_m = −½ F₋ (R − (m−1)τ) f_(m−1) − ½ F₊ (L + mτ) f_(m+1) − |F| Z f_m,    F∓ = F_x ∓ iF_y,

L u ≈ ∂_ε(v u) in flux form, R = −Lᵀ, τ_j = v_j/((2j+1)w) ≈ v/2ε for cells of width w. The shares of v_j u_j in the fluxes
through the edges around cell j are fitted to the Boltzmann distribution b: R b = −v b/kT holds to rounding, so that the
force on equilibrium balances the drift down the density's gradient; number is exact, and so is the work, Σ ε L u = −Σ v u,
below the top three cells. Z is a fourth difference that leaves b alone, weaker in the lowest cells, where it would make u
negative.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array

REACH = 3  # Cells that the operators reach to either side
FITTED_ROWS, FITTED_EDGES = 2, 3  # Cells above the bottom of a valley with fitted shares, and edges that they act on
TAPER = 8.0  # Cells from the bottom within which Z is weaker


@dataclasses.dataclass(frozen=True)
class Acceleration:
    """The operators by diagonals: value [d, i] stands in row i and column i + d − REACH, shape (7, cell) [nm/ps/meV]."""

    raising: Array  # R
    lowering: Array  # L
    dissipation: Array  # Z
    turning: Array  # τ, shape (cell,)

    @classmethod
    def from_equilibrium(cls, equilibrium: Equilibrium) -> Acceleration:
        """Operators on the energy cells, valley by valley."""
        cells = equilibrium.cells
        low, loss = np.zeros((2, cells.size, cells.size))
        turning = np.zeros(cells.size)
        for valley, own in enumerate(cells.slices):
            width, speed = cells.width(valley), equilibrium.velocity[own]
            ratio = width / equilibrium.thermal_energy
            flux = (fitted_shares(ratio, len(speed)) * speed[:, None]).T  # (edge, cell)
            low[own, own] = (flux[1:] - flux[:-1]) / width
            loss[own, own] = _fourth_difference(ratio, speed) / (12 * width)
            turning[own] = speed / ((2 * np.arange(len(speed)) + 1) * width)
        return cls(_diagonals(-low.T), _diagonals(low), _diagonals(loss), turning)


def fitted_shares(ratio: float, cells: int) -> Array:
    """Share of v_j u_j in the flux through each edge, shape (cell, edge) with edges 0…`cells`; `ratio` = w/kT.

    For every cell below the top one Σ_e W = 1 (work), and for every cell Σ_e W q^(e−1−j) (1 − q)/y = 1 (balance),
    q = exp(−y), y = w/kT. Inside the shares reach four edges and are of order 4; the lowest cells meet both conditions with
    the least error of the flux of u = √ε; the top ones have one or two edges only.
    """
    y, q = ratio, np.exp(-ratio)
    outer = 0.5 * (y / (2 * np.sinh(y / 2)) - np.cosh(y / 2)) / (np.cosh(1.5 * y) - np.cosh(y / 2))
    upper = (1 / q - 1 - y) / (1 / q - 2 + q)
    shares = np.zeros((cells, cells + 1))
    inside = np.arange(FITTED_ROWS, cells - 2)
    for edge, share in ((-1, outer), (0, 0.5 - outer), (1, 0.5 - outer), (2, outer)):
        shares[inside, inside + edge] = share
    shares[cells - 2, cells - 2 : cells] = 1 - upper, upper
    shares[cells - 1, cells - 1] = y / (1 / q - 1)
    unknown = [(j, e) for j in range(FITTED_ROWS) for e in range(1, FITTED_EDGES + 1)]
    work = [[1.0 * (k == j) for k, _ in unknown] for j in range(FITTED_ROWS)]
    balance = [[(k == j) * q ** (e - 1 - j) * (1 - q) / y for k, e in unknown] for j in range(FITTED_ROWS)]
    hard = np.array(work + balance)
    middles = np.arange(cells) + 0.5
    soft = np.array([[(k + 0.5) * (f == e) for k, f in unknown] for e in range(1, FITTED_EDGES + 1)])
    goal = np.array([e - shares[:, e] @ middles for e in range(1, FITTED_EDGES + 1)])
    base = np.linalg.pinv(hard) @ np.ones(2 * FITTED_ROWS)
    free = np.linalg.svd(hard)[2][2 * FITTED_ROWS :].T
    rest = np.linalg.lstsq(soft @ free, goal - soft @ base, rcond=1e-6)[0]
    for (j, e), share in zip(unknown, base + free @ rest, strict=True):
        shares[j, e] = share
    return shares


def _fourth_difference(ratio: float, speed: Array) -> Array:
    """b^½ Dᵀ diag(v (j/(j + TAPER))²) D b^(−½) with (Dg)_j = g_(j+1) + g_(j−1) − 2 cosh(y/2) g_j, which is 0 for g = b^(±½)."""
    count = len(speed)
    inner = np.arange(1, count - 1)
    second = np.zeros((count - 2, count))
    second[inner - 1, inner - 1] = second[inner - 1, inner + 1] = 1.0
    second[inner - 1, inner] = -2 * np.cosh(ratio / 2)
    strength = speed[inner] * (inner / (inner + TAPER)) ** 2
    weights = np.exp(-0.5 * ratio * (np.arange(count)[:, None] - np.arange(count)))  # √b_i/√b_j
    return np.asarray((second.T * strength) @ second * weights)


def _diagonals(matrix: Array) -> Array:
    """The REACH diagonals on either side of the main one; all else is zero."""
    cells = len(matrix)
    out, row = np.zeros((2 * REACH + 1, cells)), np.arange(cells)
    for d, shift in enumerate(range(-REACH, REACH + 1)):
        inside = row[(row + shift >= 0) & (row + shift < cells)]
        out[d, inside] = matrix[inside, inside + shift]
    assert np.count_nonzero(out) == np.count_nonzero(matrix)
    return out
