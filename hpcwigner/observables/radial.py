"""From a slab to the plane: the line y = 0 of a centred, isotropic problem from profiles integrated over y (README.md).

With P̂_m the Fourier transform of the cos mθ part of the projections, f_m(r) = (i^m/2π) ∫ κ J_m(κr) P̂_m(κ) dκ.
"""

from __future__ import annotations

import functools

import numpy as np

from hpcwigner.runtime.arrays import Array

_GAUSS = np.polynomial.legendre.leggauss(16)


class RadialInversion:
    """Inverts profiles on uniform cells that are symmetric around x = 0."""

    def __init__(self, x: Array, at: Array | None = None, shortest: float = 2.0) -> None:
        """`x`: cell centres; `at`: positions of the results, by default `x`. Waves shorter than `shortest` cells are left out."""
        self.x, self.at, self.spacing = x, x if at is None else at, float(x[1] - x[0])
        self._largest = 2 * np.pi / (shortest * self.spacing)

    @functools.cache  # noqa: B019  (few, and they live as long as the object)
    def _kernel(self, order: int) -> Array:
        """f_m(|at|) = kernel @ P_m, shape (at, x) [1/length]."""
        from scipy.special import jv

        panels = np.linspace(0, self._largest, len(self.x) // 4 + 2)  # up to two periods of the integrand in each
        centre, half = 0.5 * (panels[1:] + panels[:-1])[:, None], 0.5 * np.diff(panels)[:, None]
        nodes, weights = _GAUSS
        wave = (centre + half * nodes).ravel()
        weight, sign = (half * weights).ravel() * wave, (-1) ** (order // 2)
        harmonic = (np.sin if order % 2 else np.cos)(np.outer(wave, self.x))
        radii, place = np.unique(np.abs(self.at), return_inverse=True)
        bessel = jv(order, np.outer(radii, wave))
        return np.asarray(sign * self.spacing / (2 * np.pi) * ((bessel * weight) @ harmonic)[place])

    @functools.cached_property
    def _coarse(self) -> RadialInversion:
        """An inversion without the shorter half of the waves."""
        return RadialInversion(self.x, self.at, 4.0)

    def isotropic(self, profile: Array) -> Array:
        """Field on y = 0, shape (..., at), from its integral over y, shape (..., x): the inverse Abel transform."""
        return np.asarray(profile @ self._kernel(0).T)

    def along_x(self, projections: Array, orders: int | None = None) -> tuple[Array, Array]:
        """Values on y = 0 at the momentum angles θ = 0 and π, each of shape (..., at).

        `projections` (..., x, angle) are for the angles θ_k = kπ/K, k = 0…K; only angular orders below `orders` are used.
        """
        count = projections.shape[-1] - 1
        theta = np.arange(count + 1) * np.pi / count
        ends = np.r_[0.5, np.ones(count - 1), 0.5]
        forward, backward = np.zeros((2, *projections.shape[:-2], len(self.at)))
        for m in range(min(count + 1, orders or count + 1)):
            part = projections @ (2 * ends[m] / count * ends * np.cos(m * theta))
            radial = part @ self._kernel(m).T
            outwards = np.where(self.at >= 0, 1, (-1) ** m) * radial  # φ = 0 on the right, π on the left
            forward += outwards
            backward += (-1) ** m * outwards
        return forward, backward

    def error(self, profile: Array) -> float:
        """Upper estimate of the relative error that `isotropic` adds: the contribution of the shorter half of the waves."""
        return _change(self.isotropic(profile), self._coarse.isotropic(profile))

    def error_along_x(self, projections: Array) -> float:
        """As `error`, for `along_x`: contribution of the shorter half of the waves or of the higher half of angular orders."""
        fewer = self.along_x(projections, (projections.shape[-1] + 1) // 2)
        whole, *others = map(np.stack, (self.along_x(projections), fewer, self._coarse.along_x(projections)))
        return max(_change(whole, other) for other in others)


def _change(values: Array, other: Array) -> float:
    return float(np.nanmax(np.abs(values - other)) / np.nanmax(np.abs(values)))
