"""Drift: −v·∇u by linear upwind differences of order 5 on uniform cells, fitted to a landscape where there is one."""

import itertools
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
from hpcwigner.runtime.kernels import DOWNSTREAM, HALO
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.halo import Halo
from hpcwigner.space.landscape import Landscape, stencil_excess
from hpcwigner.space.walls import FaceWeights, Surface, WallReturn
from hpcwigner.terms.term import State, Term

NARROW, NARROW_EXCESS = 16, 1.4
"""Cells between surfaces below which waves that they return limit the step, and by how much at most (tests/test_walls.py)."""


class Drift(Term):
    """−v·∇u for u (x, y, angle, cell), with v = speed(cell)·(cos θ, sin θ)(angle)."""

    name = part = "drift"

    def __init__(self, equilibrium: Equilibrium, angles: Angles, grid: SpaceGrid, landscape: Landscape | None = None) -> None:
        """`landscape` is that of a Force, which goes with it."""
        self.equilibrium, self.angles, self.grid, self.landscape = equilibrium, angles, grid, landscape
        dx, dy = grid.spacing
        self.speed = np.ascontiguousarray(equilibrium.velocity)
        self.rates = np.stack((angles.cosine / dx, angles.sine / dy if grid.dimensions == 2 else 0 * angles.sine))
        self.halo: Halo | None = None
        """Ghost cells of u on this rank, once distributed."""

    def distribute(self, decomposition: Decomposition) -> None:
        self.free()
        angles, axes = self.angles, range(self.grid.dimensions)
        self.halo = Halo(
            decomposition,
            decomposition.per_point,
            mirrors=tuple(angles.mirror(axis) for axis in axes),
            outward=tuple((angles.cosine, angles.sine)[axis] for axis in axes),
            walls=self._walls(decomposition),
            downstream=DOWNSTREAM if self.landscape is None else HALO,
        )
        self._shape = decomposition.local_shape
        self._places = np.ascontiguousarray(np.indices(self._shape[:2]).reshape(2, -1).T)
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

    def _walls(self, decomposition: Decomposition) -> dict[tuple[int, int], WallReturn]:
        """The surfaces beside this rank's block, by axis and side."""
        angles, equilibrium, walls = self.angles, self.equilibrium, {}
        for axis, side in itertools.product(range(self.grid.dimensions), (0, 1)):
            surface = self.grid.wall(axis, side)
            if not isinstance(surface, Surface) or decomposition.neighbor(axis, 2 * side - 1) is not None:
                continue
            outward = (angles.cosine, angles.sine)[axis] * (1 if side else -1)
            at_rest = angles.from_harmonics[:, 0, None] * equilibrium.population
            valleys = equilibrium.cells.valley_of_cell
            faces = FaceWeights.uniform() if self.landscape is None else self._faces(axis, side, decomposition, self.landscape)
            walls[axis, side] = WallReturn(surface, outward, angles.mirror(axis), self.speed, at_rest, valleys, faces)
        return walls

    def _faces(self, axis: int, side: int, decomposition: Decomposition, landscape: Landscape) -> FaceWeights:
        """Of a surface beside this rank's block, in a landscape."""
        across = (decomposition.y, decomposition.x)[axis]
        layers = range(HALO) if side == 0 else range(-1, -HALO - 1, -1)
        stencils = np.moveaxis(landscape.stencils(axis), (1, 2 + axis), (-2, 1))  # (2, along, across, valley, 7)
        energy = np.moveaxis(landscape.smooth, (0, 1 + axis), (-1, 0))
        stencils, energy = (a[:, :, across] for a in (stencils.take(layers, 1), energy.take(layers, 0)[None]))
        weight = np.exp((energy[0, :1] - energy[0]) / landscape.thermal_energy)
        per_cell = self.equilibrium.cells.valley_of_cell
        incoming, outgoing = (stencils[k][:, :, None, per_cell] for k in (side, 1 - side))
        return FaceWeights.from_stencils(incoming, outgoing, weight[:, :, None, per_cell])

    def free(self) -> None:
        if self.halo is not None:
            self.halo.free()
            self.halo = None

    def courant_rate(self) -> Array:
        """max over angles of |v_x|/Δx + |v_y|/Δy [1/ps], shape (cell,), times what landscapes and narrow samples add."""
        return self.courant_rate_in(self.landscape)

    def courant_rate_in(self, landscape: Landscape | None) -> Array:
        """The same in some landscape on the same grid."""
        excess = 1.0 if landscape is None else stencil_excess(float(landscape.steepness().max()))
        for axis, cells in enumerate(self.grid.whole.shape[: self.grid.dimensions]):
            if cells < NARROW and any(isinstance(self.grid.wall(axis, side), Surface) for side in (0, 1)):
                return np.asarray(NARROW_EXCESS * excess * np.abs(self.rates).sum(axis=0).max() * self.speed)
        return np.asarray(excess * np.abs(self.rates).sum(axis=0).max() * self.speed)

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        return Entry(self.equilibrium.cells.valley_sum(self.speed * moments.gradients), 0.0)

    def add(self, time: float, state: State, out: State) -> None:
        """Adds −v·∇u. Collective."""
        assert self.halo is not None, "distribute has not been called"
        self.halo.start(state.u.reshape(self._shape))
        inner, outer = self.halo.points
        for points in (inner, *outer):
            self.halo.wait(self.halo.faces_of(points))
            kernels.add_upwind(*self._arguments(state.u, points), self._scratch, out.u)

    def to_harmonics(self, u: Array, points: NDArray[np.int64], transform: AngularTransform, slots: Array) -> None:
        """Slot U = harmonics of u, slot N = harmonics of −v·∇u, at some points whose ghost cells have arrived.

        Of `slots` (harmonic, point, slot, cell) it fills the first points, in one pass over u (point, angle, cell).
        """
        room, count = slots.shape[1:3]
        kernels.upwind_transformed(
            *self._arguments(u, points), self._scratch, transform.fold, transform.forwards, transform.work, flat(slots),
            (count, count * room, N),
        )  # fmt: skip

    def _arguments(self, u: Array, points: NDArray[np.int64]) -> tuple[Any, ...]:
        """The arguments of kernels.upwind, up to `bounds`."""
        assert self.halo is not None, "distribute has not been called"
        ghosts = tuple(ghost for axis in self.halo.ghosts for ghost in axis)
        stencil = self.rates, self.speed, self._weights, self._bounds
        return self._places[points], points, u.reshape(self._shape), ghosts, *stencil
