"""Drift: −v·∇ by linear upwind differences of order 5 on uniform cells (DESIGN §5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner import kernels
from hpcwigner.kernels import HALO, UPWIND5
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Halo

Array = NDArray[np.float64]

STRIP = 8
"""Points along y that are done together along x, so that a point's neighbours stay in the cache that ranks share."""


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
        self.points = self._points()
        """(x, y), shape (point, 2), and number of the points that need no other rank, and of those that do."""

    def _points(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        shape = self.decomposition.local_shape[:2]
        places = np.indices(shape).reshape(2, -1)
        waiting = np.zeros(places.shape[1], dtype=bool)
        for axis, side in self.halo.remote:
            waiting |= places[axis] >= shape[axis] - HALO if side else places[axis] < HALO
        order = np.lexsort((places[1], places[0], places[1] // STRIP))
        chosen = [order[~waiting[order]], order[waiting[order]]]
        return [(np.ascontiguousarray(places[:, some].T), some) for some in chosen]

    def passes(self, u: Array) -> Iterator[tuple[Any, ...]]:
        """The arguments of kernels.upwind, up to `speed`: first for what needs no other rank, while halos travel.

        Collective: halos of `u` (x, y, angle, cell) are sent before the first and waited for before the second.
        """
        ghosts = tuple(ghost for axis in self.halo.ghosts for ghost in axis)
        first, second = self.points
        self.halo.start(u)
        yield *first, u, ghosts, self.rates, self.speed
        self.halo.finish()
        yield *second, u, ghosts, self.rates, self.speed

    def apply(self, u: Array, out: Array) -> None:
        """out = −v·∇u [1/ps · unit of u], both (x, y, angle, cell) and contiguous. Collective."""
        for arguments in self.passes(u):
            kernels.upwind(*arguments, out.reshape(-1, *out.shape[2:]))


def upwind_derivative(values: Array) -> Array:
    """Δx ∂u/∂x of periodic values (cell,) by the kernel itself, for motion towards larger i: for checks."""
    u = np.ascontiguousarray(values, dtype=float).reshape(-1, 1, 1, 1)
    places = np.arange(len(values))
    points = np.stack((places, np.zeros_like(places)), axis=-1)
    none, out, one = np.zeros((0, 0, 0, 0)), np.empty((len(values), 1, 1)), np.ones(1)
    ghosts = u[-HALO:].copy(), u[:HALO].copy(), none, none
    kernels.upwind(points, places, u, ghosts, np.array([[1.0], [0.0]]), one, out)
    return -out.ravel()
