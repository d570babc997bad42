"""Drift: −v·∇u by linear upwind differences of order 5 on uniform cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.harmonics import AngularTransform, flat, scaled, slot_rows
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime import kernels
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.halo import Halo
from hpcwigner.terms.term import State, Term

Array = NDArray[np.float64]

STRIP = 8
"""Points along y that are processed together along x, so that a point's neighbours stay in the shared cache."""


class Drift(Term):
    """−v·∇u for u (x, y, angle, cell), with v = speed(cell)·(cos θ, sin θ)(angle)."""

    name = part = "drift"

    def __init__(self, equilibrium: Equilibrium, angles: Angles, grid: SpaceGrid) -> None:
        self.equilibrium, self.angles, self.grid = equilibrium, angles, grid
        dx, dy = grid.spacing
        self.speed = np.ascontiguousarray(equilibrium.velocity)
        self.rates = np.stack((angles.cosine / dx, angles.sine / dy if grid.dimensions == 2 else 0 * angles.sine))
        self._halo: Halo | None = None

    def distribute(self, decomposition: Decomposition) -> None:
        self.free()
        angles, axes = self.angles, range(self.grid.dimensions)
        self._halo = Halo(
            decomposition,
            decomposition.per_point,
            mirrors=tuple(angles.mirror(axis) for axis in axes),
            outward=tuple((angles.cosine, angles.sine)[axis] for axis in axes),
        )
        self._shape = decomposition.local_shape
        self._points = self._split_points(self._halo)
        few = AngularTransform.points_at_once(angles, self._shape[-1])
        self._scratch = np.zeros((few, *self._shape[2:]))

    def free(self) -> None:
        if self._halo is not None:
            self._halo.free()
            self._halo = None

    def _split_points(self, halo: Halo) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(x, y), shape (point, 2), and number of the points that need no other rank, and of those that do."""
        shape = self._shape[:2]
        places = np.indices(shape).reshape(2, -1)
        waiting = np.zeros(places.shape[1], dtype=bool)
        for axis, side in halo.remote:
            waiting |= places[axis] >= shape[axis] - HALO if side else places[axis] < HALO
        order = np.lexsort((places[1], places[0], places[1] // STRIP))
        chosen = [order[~waiting[order]], order[waiting[order]]]
        return [(np.ascontiguousarray(places[:, some].T), some) for some in chosen]

    def courant_rate(self) -> Array:
        """max over angles of |v_x|/Δx + |v_y|/Δy [1/ps], shape (cell,)."""
        return np.asarray(np.abs(self.rates).sum(axis=0).max() * self.speed)

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        cells = self.equilibrium.cells
        return Entry(np.zeros(len(cells.valleys)), 2 * cells.valley_sum(self.speed * moments.first), 0.0)

    def passes(self, u: Array) -> Iterator[tuple[Any, ...]]:
        """The arguments of kernels.upwind, up to `speed`: first for points that need no other rank, while halos travel.

        Collective: halos of `u` (point, angle, cell) are sent before the first and waited for before the second.
        """
        assert self._halo is not None, "distribute has not been called"
        block = u.reshape(self._shape)
        ghosts = tuple(ghost for axis in self._halo.ghosts for ghost in axis)
        first, second = self._points
        self._halo.start(block)
        yield *first, block, ghosts, self.rates, self.speed
        self._halo.finish()
        yield *second, block, ghosts, self.rates, self.speed

    def add(self, time: float, state: State, out: State) -> None:
        """Adds −v·∇u. Collective."""
        for arguments in self.passes(state.u):
            kernels.add_upwind(*arguments, self._scratch, out.u)

    def to_harmonics(
        self, u: Array, transform: AngularTransform, slots: Array, index: int, minus: int | None, own: int | None, factor: float
    ) -> None:
        """slots[:, :, index] = factor · harmonics of −v·∇u − slots[:, :, minus], slots[:, :, own] = harmonics of u. Collective.

        The same as `add` followed by the transform, in one pass over the state.
        """
        target, shift = slot_rows(slots, index, minus)
        beside = 0 if own is None else own - index
        matrices = *scaled(transform.forwards, factor), transform.forwards[-1]
        for arguments in self.passes(u):
            kernels.upwind_transformed(
                *arguments, self._scratch, transform.fold, matrices, transform.work, flat(slots), target, shift, beside
            )
