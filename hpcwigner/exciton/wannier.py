"""Electron-hole attractions, bound s states of −(ħ²/2μ)∇²ψ + V(r)ψ = Eψ in two dimensions, tables of the overlaps of 1s states.

Ritz method in the Laguerre functions φ_n(r) = (β/√(2π(n+1))) e^{−βr/2} L_n^{(1)}(βr), orthonormal in the plane. Energies
converge monotonically from above; hydrogen 1s states are basis functions.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from hpcwigner.exciton.constants import COULOMB, HBAR2_OVER_M0
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.quadrature import gauss_legendre

Potential = Callable[[Array], Array]  # V(r) [meV] at the distance r [nm], Gaussian units: negative and isotropic in the plane
SMALLEST_IMAGE = 1e-15  # Image charges below this are left out
FUNCTIONS = 60  # Size of the basis
POINTS = 480  # Radial quadrature points
DEGREE = 48  # Degree of the tables: overlaps to 1e-6 (tests/test_wannier.py)
REACH = 8.0  # Largest κa/2 of the tables, where the form factor is 2e-3; beyond it falls as κ^{−3}
END = REACH**2 / (1 + REACH**2)  # Largest x/(1 + x) of the tables


@dataclasses.dataclass(frozen=True)
class RytovaKeldysh:
    """A polarisable sheet: V(r) = −(πe²/2r0)[H0(κr/r0) − Y0(κr/r0)], H0 the Struve function (README.md)."""

    screening_length: float  # r0 [nm]; 0 is the unscreened potential −e²/κr
    surroundings: float  # κ, mean dielectric constant of the two half spaces

    def __call__(self, distance: Array) -> Array:
        if self.screening_length == 0:
            return -COULOMB / (self.surroundings * distance)
        from scipy.special import struve, y0  # here: only the rank that solves the Wannier equation needs it

        x = self.surroundings * distance / self.screening_length
        return np.asarray(-math.pi * COULOMB / (2 * self.screening_length) * (struve(0, x) - y0(x)))


@dataclasses.dataclass(frozen=True)
class Film:
    """An anisotropic film of thickness d between two half spaces, charges in its middle plane.

    V(q) = −(2πe²/qε)(1 + p₁e^{−αqd})(1 + p₂e^{−αqd})/(1 − p₁p₂e^{−2αqd}) with ε = √(ε∥ε⊥), α = √(ε∥/ε⊥) of the film and
    p = (ε − ε_i)/(ε + ε_i) of each half space (Rytova 1967). Expanded in powers of e^{−αqd}, every term is an image charge:
    V(r) = −(e²/ε) Σ_k c_k/√(r² + (kαd)²).
    """

    film: tuple[float, float]  # ε∥ and ε⊥
    thickness: float  # d [nm]
    above: tuple[float, float]
    below: tuple[float, float]

    def images(self) -> Array:
        """Charges c_k of the images at the distances kαd, shape (k,)."""
        inside, above, below = (math.sqrt(math.prod(part)) for part in (self.film, self.above, self.below))
        p1, p2 = ((inside - side) / (inside + side) for side in (above, below))
        pairs = max(1, math.ceil(math.log(SMALLEST_IMAGE) / math.log(max(abs(p1 * p2), 1e-300))))
        powers = (p1 * p2) ** np.arange(pairs)
        charges = np.stack([2 * powers, (p1 + p2) * powers], axis=1).ravel()
        charges[0] = 1.0
        return charges

    def __call__(self, distance: Array) -> Array:
        in_plane, out_of_plane = self.film
        step = math.sqrt(in_plane / out_of_plane) * self.thickness
        squared = np.asarray(distance) ** 2
        total = sum(charge / np.sqrt(squared + (k * step) ** 2) for k, charge in enumerate(self.images()))
        return np.asarray(-COULOMB / math.sqrt(in_plane * out_of_plane) * total)


class Basis:
    """The functions φ_0…φ_{N−1} of decay length 2/β = `scale` [nm], and a radial quadrature for matrix elements."""

    radius: Array  # Quadrature points r [nm], shape (point,); dense at the origin, where V diverges
    weight: Array  # ∫f d²r = Σ weight f, shape (point,)

    def __init__(self, scale: float, size: int = FUNCTIONS) -> None:
        self.scale, self.size = scale, size
        nodes, weights = gauss_legendre(POINTS)
        t, end = 0.5 * (1 + nodes), (4 * size + 120) * scale / 2  # functions decay beyond the last turning point 4N/β
        self.radius = end * t**3
        self.weight = 0.5 * weights * 3 * end * t**2 * 2 * math.pi * self.radius

    @functools.cached_property
    def at_points(self) -> Array:
        """φ_n [1/nm] at the quadrature points, shape (n, point)"""
        return self.functions(self.radius)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "at_points"}  # other ranks do not need them

    def _envelope(self, radius: Array) -> tuple[NDArray[np.int64], Array]:
        """Numbers n, shape (n, 1, …), and (β/√(2π(n+1))) e^{−βr/2}, shape (n, *radius.shape)."""
        n = np.arange(self.size).reshape(-1, *([1] * np.ndim(radius)))
        return n, 2 / self.scale / np.sqrt(2 * math.pi * (n + 1.0)) * np.exp(-radius / self.scale)

    def functions(self, radius: Array) -> Array:
        """φ_n(r) [1/nm], shape (n, *radius.shape)"""
        from scipy.special import eval_genlaguerre  # here: only the rank that solves the Wannier equation needs it

        n, envelope = self._envelope(radius)
        return np.asarray(envelope * eval_genlaguerre(n, 1, 2 / self.scale * radius))

    def slopes(self, radius: Array) -> Array:
        """dφ_n/dr [1/nm²], shape (n, *radius.shape): dL_n^{(1)}/dx = −L_{n−1}^{(2)}"""
        from scipy.special import eval_genlaguerre

        n, envelope = self._envelope(radius)
        derivative = -eval_genlaguerre(n - 1, 2, 2 / self.scale * radius)  # 0 for n = 0
        functions = self.at_points if radius is self.radius else self.functions(radius)
        return np.asarray(2 / self.scale * envelope * derivative - functions / self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class BoundState:
    """A normalised s state, ∫ψ² d²r = 1, positive at the origin."""

    energy: float  # E [meV], negative
    basis: Basis
    coefficients: Array  # ψ = Σ c_n φ_n, shape (n,)

    def __call__(self, radius: Array) -> Array:
        """ψ(r) [1/nm] at r [nm], same shape."""
        return np.tensordot(self.coefficients, self.basis.functions(np.asarray(radius)), axes=1)

    @functools.cached_property
    def at_points(self) -> Array:
        """ψ [1/nm] at the quadrature points of its basis, shape (point,)"""
        return np.tensordot(self.coefficients, self.basis.at_points, axes=1)

    @property
    def at_origin(self) -> float:
        """ψ(0) [1/nm]"""
        return float(self(np.array(0.0)))

    @property
    def rms_radius(self) -> float:
        """√⟨r²⟩ [nm]"""
        return math.sqrt(self.basis.weight @ (self.at_points * self.basis.radius) ** 2)

    def overlap(self, other: BoundState, shift: Array) -> Array:
        """∫ψψ' exp(iκ·r) d²r at the momentum shift κ [1/nm], same shape as `shift`."""
        from scipy.special import j0

        radius = self.basis.radius
        density = self.basis.weight * self.at_points * (self.at_points if other is self else other(radius))
        return np.asarray(j0(np.multiply.outer(np.asarray(shift), radius)) @ density)


def bound_states(
    potential: Potential, reduced_mass: float, scale: float, count: int = 3, size: int = FUNCTIONS
) -> list[BoundState]:
    """The lowest `count` s states for `reduced_mass` [m0], in `size` functions of decay length `scale` [nm].

    Raises ArithmeticError if the potential binds fewer.
    """
    basis = Basis(scale, size)
    functions, slopes = basis.at_points, basis.slopes(basis.radius)
    kinetic = HBAR2_OVER_M0 / (2 * reduced_mass) * (slopes * basis.weight) @ slopes.T
    attraction = (functions * (basis.weight * potential(basis.radius))) @ functions.T
    energies, vectors = np.linalg.eigh(kinetic + attraction)
    if energies[count - 1] >= 0:
        raise ArithmeticError(f"the potential binds fewer than {count} s states")
    origin = basis.functions(np.array(0.0))
    return [
        BoundState(float(energy), basis, vector * math.copysign(1.0, float(origin @ vector)))
        for energy, vector in zip(energies[:count], vectors.T[:count], strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class OverlapTable:
    """The overlap F(κ) = ∫ψψ' exp(iκ·r) d²r of two 1s states, a function of the momentum shift κ [1/nm].

    F = (1 + x)^{−3/2} g(x/(1 + x)), x = (κa/2)². g is smooth, and constant for ψ ∝ exp(−r/a).
    """

    length: float  # a [nm]
    coefficients: tuple[float, ...]  # Chebyshev coefficients of g on [0, END]

    @classmethod
    @functools.lru_cache(maxsize=36)  # states are the same objects as long as valley.py remembers them
    def from_states(cls, first: BoundState, second: BoundState) -> OverlapTable:
        """Overlap of two bound states."""
        length = (first.rms_radius + second.rms_radius) / np.sqrt(6)  # of an exponential state: a = rms radius·√(2/3)
        z = 0.5 * (1 + chebyshev.chebpts1(2 * DEGREE)) * END
        x = z / (1 - z)
        values = first.overlap(second, 2 / length * np.sqrt(x)) * (1 + x) ** 1.5
        coefficients = chebyshev.chebfit(2 * z / END - 1, values, DEGREE)
        return cls(float(length), tuple(map(float, coefficients)))

    def __call__(self, shift: Array) -> Array:
        x = (0.5 * self.length * np.asarray(shift)) ** 2
        z = 2 * np.minimum(x / (1 + x) / END, 1.0) - 1
        return np.asarray(chebyshev.chebval(z, self.coefficients) * (1 + x) ** -1.5)
