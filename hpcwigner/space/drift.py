"""Drift: −v·∇ by linear upwind differences of order 5 on uniform cells (DESIGN §5)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hpcwigner.compiled import njit
from hpcwigner.space.grid import HALO, Decomposition
from hpcwigner.space.halo import Halo

Array = NDArray[np.float64]

UPWIND5 = (-2 / 60, 15 / 60, -60 / 60, 20 / 60, 30 / 60, -3 / 60)
"""Weights of u at i−3 … i+2 in Δx ∂u/∂x for motion towards larger i; order 5."""


def symbol(phase: Array) -> Array:
    """Eigenvalue of Δx ∂/∂x on exp(i·phase·index), motion towards larger i."""
    return np.asarray(sum(w * np.exp(1j * k * phase) for w, k in zip(UPWIND5, range(-3, 3), strict=True)))


def stability_limit(amplification: Callable[[float, Array], Array]) -> float:
    """Largest |v|Δt/Δx for which an integrator keeps all plane waves bounded.

    `amplification(courant, z)` is its factor per step for the eigenvalues courant·z (complex) of the drift.
    """
    z = -symbol(np.linspace(0, np.pi, 361))
    slower = np.linspace(0.05, 1, 20)[:, None]  # cells slower than the fastest see smaller Courant numbers

    def stable(courant: float) -> bool:
        return bool(np.abs(amplification(courant, slower * z)).max() <= 1 + 1e-12)

    lower, upper = 0.0, 4.0
    while upper - lower > 1e-4:
        middle = 0.5 * (lower + upper)
        lower, upper = (middle, upper) if stable(middle) else (lower, middle)
    return lower


def runge_kutta(order: int) -> Callable[[float, Array], Array]:
    """Amplification of an explicit Runge-Kutta method with as many stages as its order."""
    return lambda courant, z: np.asarray(sum((courant * z) ** k / math.factorial(k) for k in range(order + 1)))


class Drift:
    """−v·∇u for u (x, y, angle, cell), with v = speed(cell)·(cos θ, sin θ)(angle)."""

    def __init__(self, decomposition: Decomposition, halo: Halo, speed: Array, cosine: Array, sine: Array) -> None:
        """`speed` [nm/ps] has shape (cell,), `cosine` and `sine` (angle,)."""
        self.decomposition, self.halo = decomposition, halo
        dx, dy = decomposition.grid.spacing
        self.speed = np.ascontiguousarray(speed)
        self.rates = np.stack((cosine / dx, sine / dy if decomposition.grid.dimensions == 2 else 0 * sine))
        self.courant_rate = float((np.abs(self.rates).sum(axis=0).max()) * speed.max())
        """max (|v_x|/Δx + |v_y|/Δy) [1/ps]"""
        self._interior, self._edge = self._points()

    def _points(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        nx, ny = self.decomposition.local_shape[:2]
        thickness_y = HALO if self.decomposition.grid.dimensions == 2 else 0
        points = np.array(list(itertools.product(range(nx), range(ny))), dtype=np.int64).reshape(-1, 2)
        inside = (points[:, 0] >= HALO) & (points[:, 0] < nx - HALO)
        inside &= (points[:, 1] >= thickness_y) & (points[:, 1] < ny - thickness_y)
        return np.ascontiguousarray(points[inside]), np.ascontiguousarray(points[~inside])

    def apply(self, u: Array, out: Array) -> None:
        """out = −v·∇u [1/ps · unit of u]; the interior is computed while halos travel. Collective."""
        self.halo.start(u)
        (x_lower, x_upper), (y_lower, y_upper) = self.halo.ghosts
        two = self.decomposition.grid.dimensions == 2
        _upwind(self._interior, u, x_lower, x_upper, y_lower, y_upper, self.rates, self.speed, two, out)
        self.halo.finish()
        _upwind(self._edge, u, x_lower, x_upper, y_lower, y_upper, self.rates, self.speed, two, out)


@njit(inline="always")
def _x_plane(u, lower, upper, i, j):  # type: ignore[no-untyped-def]
    if i < 0:
        return lower[i + HALO, j]
    if i >= u.shape[0]:
        return upper[i - u.shape[0], j]
    return u[i, j]


@njit(inline="always")
def _y_plane(u, lower, upper, i, j):  # type: ignore[no-untyped-def]
    if j < 0:
        return lower[i, j + HALO]
    if j >= u.shape[1]:
        return upper[i, j - u.shape[1]]
    return u[i, j]


@njit(cache=True, fastmath={"contract"})
def _upwind(points, u, x_lower, x_upper, y_lower, y_upper, rates, speed, two, out):  # type: ignore[no-untyped-def]
    """out at the listed points; the same operations in the same order at every point, whoever owns its neighbours."""
    angles = u.shape[2]
    for point in range(points.shape[0]):
        i, j = points[point, 0], points[point, 1]
        a0 = _x_plane(u, x_lower, x_upper, i - 3, j)
        a1 = _x_plane(u, x_lower, x_upper, i - 2, j)
        a2 = _x_plane(u, x_lower, x_upper, i - 1, j)
        a3 = u[i, j]
        a4 = _x_plane(u, x_lower, x_upper, i + 1, j)
        a5 = _x_plane(u, x_lower, x_upper, i + 2, j)
        a6 = _x_plane(u, x_lower, x_upper, i + 3, j)
        result = out[i, j]
        for k in range(angles):
            if rates[0, k] >= 0:
                _difference(a0[k], a1[k], a2[k], a3[k], a4[k], a5[k], -rates[0, k], speed, result[k], False)
            else:
                _difference(a6[k], a5[k], a4[k], a3[k], a2[k], a1[k], rates[0, k], speed, result[k], False)
        if two:
            b0 = _y_plane(u, y_lower, y_upper, i, j - 3)
            b1 = _y_plane(u, y_lower, y_upper, i, j - 2)
            b2 = _y_plane(u, y_lower, y_upper, i, j - 1)
            b4 = _y_plane(u, y_lower, y_upper, i, j + 1)
            b5 = _y_plane(u, y_lower, y_upper, i, j + 2)
            b6 = _y_plane(u, y_lower, y_upper, i, j + 3)
            for k in range(angles):
                if rates[1, k] >= 0:
                    _difference(b0[k], b1[k], b2[k], a3[k], b4[k], b5[k], -rates[1, k], speed, result[k], True)
                else:
                    _difference(b6[k], b5[k], b4[k], a3[k], b2[k], b1[k], rates[1, k], speed, result[k], True)


@njit(inline="always")
def _difference(a, b, c, d, e, f, rate, speed, out, add):  # type: ignore[no-untyped-def]
    w0, w1, w2, w3, w4, w5 = UPWIND5
    for n in range(out.shape[0]):
        value = rate * speed[n] * (w0 * a[n] + w1 * b[n] + w2 * c[n] + w3 * d[n] + w4 * e[n] + w5 * f[n])
        out[n] = out[n] + value if add else value


def upwind_derivative(values: Array) -> Array:
    """Δx ∂u/∂x of periodic values (cell,) by the kernel itself, for motion towards larger i: for checks."""
    u = np.ascontiguousarray(values, dtype=float).reshape(-1, 1, 1, 1)
    points = np.array([(i, 0) for i in range(len(values))], dtype=np.int64)
    none, out, one = np.zeros((0, 0, 0, 0)), np.empty_like(u), np.ones(1)
    _upwind(points, u, u[-HALO:].copy(), u[:HALO].copy(), none, none, np.array([[1.0], [0.0]]), one, False, out)
    return -out.ravel()
