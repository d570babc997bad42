"""Drift: −v·∇u by linear upwind differences of order 5 on uniform cells, fitted to a landscape where there is one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.harmonics import AngularTransform
from hpcwigner.momentum.tile import N
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime import kernels
from hpcwigner.runtime.arrays import Array, flat
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.halo import Halo
from hpcwigner.space.landscape import Landscape, stencil_excess
from hpcwigner.terms.term import State, Term

STRIP = 8  # Points along y that are processed together along x, so that a point's neighbours stay in the shared cache


class Drift(Term):
    """−v·∇u for u (x, y, angle, cell), with v = speed(cell)·(cos θ, sin θ)(angle)."""

    name = part = "drift"

    def __init__(self, equilibrium: Equilibrium, angles: Angles, grid: SpaceGrid, landscape: Landscape | None = None) -> None:
        """`landscape` is that of a Force, which goes with it."""
        self.equilibrium, self.angles, self.grid, self.landscape = equilibrium, angles, grid, landscape
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
        self._places = np.ascontiguousarray(np.indices(self._shape[:2]).reshape(2, -1).T)
        self._points = self._split_points(self._halo)
        self._scratch = np.zeros((1, *self._shape[2:]))
        self._weights, self._bounds = np.zeros((0,) * 5), np.zeros(1, dtype=np.int64)
        if self.landscape is not None:
            here = (..., decomposition.x, decomposition.y, slice(None))
            stencils = [self.landscape.stencils(axis)[here] for axis in axes]  # (axis, 2, valley, x, y, 7)
            weights = np.moveaxis(np.array(stencils), (3, 4), (0, 1))
            self._weights = np.ascontiguousarray(weights).reshape(-1, *weights.shape[2:])
            self._bounds = np.array([0, *np.cumsum(self.equilibrium.cells.counts)])

    def set_stencils(self, axis: int, stencils: Array) -> None:
        """Other stencils of a landscape along an axis, (2, valley or 1, x, y, 7) at this rank's points."""
        weights = np.moveaxis(stencils, (2, 3), (0, 1)).reshape(-1, 2, *stencils.shape[1:2], stencils.shape[-1])
        self._weights[:, axis] = weights

    def free(self) -> None:
        if self._halo is not None:
            self._halo.free()
            self._halo = None

    def _split_points(self, halo: Halo) -> list[NDArray[np.int64]]:
        """Numbers of the points that need no other rank, and of those that do, in the order of processing."""
        shape, (x, y) = self._shape[:2], self._places.T
        waiting = np.zeros(len(self._places), dtype=bool)
        for axis, side in halo.remote:
            along = self._places[:, axis]
            waiting |= along >= shape[axis] - HALO if side else along < HALO
        order = np.lexsort((y, x, y // STRIP))
        return [order[~waiting[order]], order[waiting[order]]]

    def courant_rate(self) -> Array:
        """max over angles of |v_x|/Δx + |v_y|/Δy [1/ps], shape (cell,), times how much a landscape's stencil exceeds it."""
        return self.courant_rate_in(self.landscape)

    def courant_rate_in(self, landscape: Landscape | None) -> Array:
        """The same in some landscape on the same grid."""
        excess = 1.0 if landscape is None else stencil_excess(float(landscape.steepness().max()))
        return np.asarray(excess * np.abs(self.rates).sum(axis=0).max() * self.speed)

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        return Entry(self.equilibrium.cells.valley_sum(self.speed * moments.gradients), 0.0)

    def exchange(self, u: Array) -> Iterator[NDArray[np.int64]]:
        """Numbers of the points that need no other rank, while ghost cells of u travel, then of those that do. Collective."""
        assert self._halo is not None, "distribute has not been called"
        first, second = self._points
        self._halo.start(u.reshape(self._shape))
        yield first
        self._halo.finish()
        yield second

    def add(self, time: float, state: State, out: State) -> None:
        """Adds −v·∇u. Collective."""
        for points in self.exchange(state.u):
            kernels.add_upwind(*self._arguments(state.u, points), self._scratch, out.u)

    def to_harmonics(self, u: Array, points: NDArray[np.int64], transform: AngularTransform, slots: Array) -> None:
        """Slot U = harmonics of u, slot N = harmonics of −v·∇u, at some points during `exchange`.

        Of `slots` (harmonic, point, slot, cell) it fills the first points, in one pass over u (point, angle, cell).
        """
        room, count = slots.shape[1:3]
        kernels.upwind_transformed(
            *self._arguments(u, points), self._scratch, transform.fold, transform.forwards, transform.work, flat(slots),
            (count, count * room, N),
        )  # fmt: skip

    def _arguments(self, u: Array, points: NDArray[np.int64]) -> tuple[Any, ...]:
        """The arguments of kernels.upwind, up to `bounds`."""
        assert self._halo is not None, "distribute has not been called"
        ghosts = tuple(ghost for axis in self._halo.ghosts for ghost in axis)
        stencil = self.rates, self.speed, self._weights, self._bounds
        return self._places[points], points, u.reshape(self._shape), ghosts, *stencil
