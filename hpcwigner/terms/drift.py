"""Drift: −v·∇ by linear upwind differences of order 5 on uniform cells (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime import kernels
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Halo

Array = NDArray[np.float64]

STRIP = 8
"""Points along y that are done together along x, so that a point's neighbours stay in the cache that ranks share."""


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
