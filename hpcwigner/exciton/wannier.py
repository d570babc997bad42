"""Bound s states of the Wannier equation −(ħ²/2μ)∇²ψ + V(r)ψ = Eψ in two dimensions.

Ritz method in the Laguerre functions φ_n(r) = (β/√(2π(n+1))) e^{−βr/2} L_n^{(1)}(βr), orthonormal in the plane. Energies
converge monotonically from above; hydrogen 1s states are basis functions. 60 functions give the shipped materials' energies
to 1e-5 meV (tests/test_wannier.py).
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR2_OVER_M0
from hpcwigner.exciton.potentials import Potential

Array = NDArray[np.float64]

FUNCTIONS = 60
"""Size of the basis."""
POINTS = 480
"""Radial quadrature points."""


@dataclasses.dataclass(frozen=True)
class Basis:
    """The functions φ_0…φ_{N−1}, and a radial quadrature for their products with a potential."""

    scale: float
    """Decay length 2/β [nm]."""
    size: int = FUNCTIONS
    points: int = POINTS

    @functools.cached_property
    def radius(self) -> Array:
        """Quadrature points r [nm], shape (point,); dense at the origin, where V diverges."""
        return np.asarray(self._reach * self._nodes[0] ** 3)

    @functools.cached_property
    def weight(self) -> Array:
        """∫f d²r = Σ weight f, shape (point,)"""
        t, weights = self._nodes
        return np.asarray(weights * 3 * self._reach * t**2 * 2 * math.pi * self.radius)

    @functools.cached_property
    def _nodes(self) -> tuple[Array, Array]:
        nodes, weights = np.polynomial.legendre.leggauss(self.points)
        return 0.5 * (1 + nodes), 0.5 * weights

    @property
    def _reach(self) -> float:
        """End of the radial quadrature: beyond the last turning point 4N/β the functions decay as e^{−βr/2}."""
        return (4 * self.size + 120) * self.scale / 2

    def functions(self, radius: Array) -> Array:
        """φ_n(r) [1/nm], shape (n, *radius.shape)"""
        from scipy.special import eval_genlaguerre  # here: only the rank that solves the Wannier equation needs it

        return self._envelope(radius) * eval_genlaguerre(self._numbers(radius), 1, 2 / self.scale * radius)

    def slopes(self, radius: Array) -> Array:
        """dφ_n/dr [1/nm²], shape (n, *radius.shape): dL_n^{(1)}/dx = −L_{n−1}^{(2)}"""
        from scipy.special import eval_genlaguerre

        n = self._numbers(radius)
        derivative = np.where(n > 0, -eval_genlaguerre(np.maximum(n - 1, 0), 2, 2 / self.scale * radius), 0.0)
        return 2 / self.scale * self._envelope(radius) * derivative - self.functions(radius) / self.scale

    def _numbers(self, radius: Array) -> NDArray[np.int64]:
        return np.arange(self.size).reshape(-1, *([1] * np.ndim(radius)))

    def _envelope(self, radius: Array) -> Array:
        norm = 2 / self.scale / np.sqrt(2 * math.pi * (self._numbers(radius) + 1.0))
        return np.asarray(norm * np.exp(-radius / self.scale))


@dataclasses.dataclass(frozen=True, eq=False)
class BoundState:
    """A normalised s state, ∫ψ² d²r = 1, positive at the origin."""

    energy: float
    """E [meV], negative."""
    basis: Basis
    coefficients: Array
    """ψ = Σ c_n φ_n, shape (n,)"""

    def __call__(self, radius: Array) -> Array:
        """ψ(r) [1/nm] at r [nm], same shape."""
        return np.tensordot(self.coefficients, self.basis.functions(np.asarray(radius)), axes=1)

    @property
    def at_origin(self) -> float:
        """ψ(0) [1/nm]"""
        return float(self(np.array(0.0)))

    @property
    def rms_radius(self) -> float:
        """√⟨r²⟩ [nm]"""
        return math.sqrt(self.basis.weight @ (self(self.basis.radius) * self.basis.radius) ** 2)

    def overlap(self, other: BoundState, shift: Array) -> Array:
        """∫ψψ' exp(iκ·r) d²r at the momentum shift κ [1/nm], same shape as `shift`."""
        from scipy.special import j0

        radius = self.basis.radius
        density = self.basis.weight * self(radius) * other(radius)
        return np.asarray(j0(np.multiply.outer(np.asarray(shift), radius)) @ density)


def bound_states(
    potential: Potential, reduced_mass: float, scale: float, count: int = 3, size: int = FUNCTIONS
) -> list[BoundState]:
    """The lowest `count` s states for `reduced_mass` [m0], in `size` functions of decay length `scale` [nm].

    Raises ArithmeticError if the potential binds fewer.
    """
    basis = Basis(scale, size)
    functions, slopes = basis.functions(basis.radius), basis.slopes(basis.radius)
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
