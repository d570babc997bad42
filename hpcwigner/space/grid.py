"""Uniform cells in one or two dimensions, and their decomposition over ranks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import numpy as np
from mpi4py import MPI

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.parallel import node_numbers
from hpcwigner.space.walls import Edges, Surface, Wall

_MIRROR = Surface(1.0)
SEEN = 1e-12  # Of a spot's peak: so much of it the nearest cell must hold. (Moment equations are solved on few wide cells.)


class DecompositionError(ValueError):
    """The grid cannot be divided among that many ranks."""


@dataclasses.dataclass(frozen=True)
class SpaceGrid:
    """Uniform cells of a sample centred on the origin. A slab (dimensions = 1) is uniform along y and has one cell there.

    A grid that is folded along an axis holds the part x ≥ 0 (y ≥ 0) of a state that is symmetric under x → −x (y → −y),
    momentum included. The lower end of this axis is reflecting, and so is the upper end of a periodic one.
    """

    dimensions: int
    length: float  # Edge length of the whole sample [nm], the same in both directions
    shape: tuple[int, int]  # Cells held along x and y
    boundary: Wall | Edges  # One for all edges, or by axis and side
    folded: tuple[bool, bool] = (False, False)  # Along x and y

    @property
    def copies(self) -> tuple[int, int]:
        """Number of mirror images, the held part included, that make up the sample along x and y."""
        return 1 + self.folded[0], 1 + self.folded[1]

    @property
    def whole(self) -> SpaceGrid:
        """The grid of the whole sample."""
        shape = self.shape[0] * self.copies[0], self.shape[1] * self.copies[1]
        return dataclasses.replace(self, shape=shape, folded=(False, False))

    @property
    def axes_with_middle(self) -> frozenset[int]:
        """Axes of the whole sample with an even number of cells and the same wall at both ends."""
        axes = range(self.dimensions)
        return frozenset(a for a in axes if self.whole.shape[a] % 2 == 0 and self._edge(a, 0) == self._edge(a, 1))

    def folded_along(self, axes: Collection[int] | None = None) -> SpaceGrid:
        """The grid of this sample that is folded along some of `axes_with_middle`, all without `axes`."""
        whole, axes = self.whole, self.axes_with_middle if axes is None else axes
        folded = 0 in axes, 1 in axes
        shape = whole.shape[0] // (1 + folded[0]), whole.shape[1] // (1 + folded[1])
        return dataclasses.replace(whole, shape=shape, folded=folded)

    @property
    def spacing(self) -> tuple[float, float]:
        """Cell sizes along x and y [nm]."""
        return self.length / (self.copies[0] * self.shape[0]), self.length / (self.copies[1] * self.shape[1])

    @property
    def cell_measure(self) -> float:
        """Length [nm] (slab) or area [nm²] of a held cell and its images."""
        length = self.spacing[0] * self.copies[0]
        return length if self.dimensions == 1 else length * self.spacing[1] * self.copies[1]

    def wall(self, axis: int, side: int) -> Wall:
        """Boundary condition at the lower (0) or upper (1) end of an axis of the part held."""
        edge = self._edge(axis, side)
        return "reflecting" if self.folded[axis] and (side == 0 or edge == "periodic") else edge

    def _edge(self, axis: int, side: int) -> Wall:
        """The same of the whole sample. A surface that is a mirror is reflecting."""
        edge = self.boundary.wall(axis, side) if isinstance(self.boundary, Edges) else self.boundary
        return "reflecting" if edge == _MIRROR else edge

    def periodic(self, axis: int) -> bool:
        """Whether the sample is periodic along an axis."""
        return self._edge(axis, 0) == "periodic"

    def centers(self, axis: int) -> Array:
        """Centres of the held cells along an axis [nm], shape (cells,)."""
        n = self.shape[axis]
        origin = 0.0 if self.copies[axis] == 2 else 0.5 * n
        return (np.arange(n) + 0.5 - origin) * self.spacing[axis]

    @property
    def squared_distance(self) -> Array:
        """r² of the held cells' centres, in a slab 2x² [nm²], shape `shape`."""
        x, y = self.centers(0)[:, None], self.centers(1)
        return np.asarray((x**2 + y**2) * (2.0 if self.dimensions == 1 else 1.0))

    def gaussian(self, width_squared: float) -> Array:
        """exp(−r²/w²) normalised to 1 on the grid [1/nm or 1/nm²], shape `shape`. Raises InputError where no cell sees it."""
        factors = [np.exp(-(self.centers(axis) ** 2) / width_squared) for axis in range(self.dimensions)]
        for axis, factor in enumerate(factors):
            if factor.max() < SEEN:
                raise InputError(
                    f"space.cells: found cells of {self.spacing[axis]:.4g} nm, expected smaller ones, since a spot with a 1/e "
                    f"half-width of {math.sqrt(width_squared):.4g} nm lies between their centres"
                )
        profile = factors[0][:, None] if self.dimensions == 1 else np.outer(*factors)
        return np.asarray(profile / (math.fsum(profile.ravel()) * self.cell_measure))

    def mirrors(self, values: Array) -> frozenset[int]:
        """Axes whose mirror images leave values on a whole grid, shape `shape`, as they are, to 1e-12 of the largest."""
        small = 1e-12 * np.abs(values).max()
        return frozenset(a for a in (0, 1) if a >= self.dimensions or np.abs(values - np.flip(values, a)).max() <= small)

    def at_edges(self, values: Array) -> float:
        """Largest of values, shape `shape`, beside the edges of the sample."""
        ends = [(axis, side) for axis in range(self.dimensions) for side in (0, -1)[self.folded[axis] :]]
        return max(float(values.take(side, axis).max()) for axis, side in ends)


def process_grid(shape: tuple[int, int], dimensions: int, size: int) -> tuple[int, int]:
    """Numbers of ranks along x and y with the smallest halo. Raises DecompositionError if a rank would get too few cells."""
    divisions = [(px, size // px) for px in range(size, 0, -1) if size % px == 0 and (dimensions == 2 or px == size)]
    fitting = [(px, py) for px, py in divisions if all(n == 1 or m // n >= HALO for m, n in zip(shape, (px, py), strict=True))]
    if not fitting:
        cells = str(shape[0]) if dimensions == 1 else f"{shape[0]}×{shape[1]}"
        raise DecompositionError(f"{cells} cells on {size} ranks, expected at least {HALO} cells per rank")
    # Of equal ones the first, with more ranks along x: halos along x are contiguous in memory.
    return min(fitting, key=lambda ranks: (ranks[0] - 1) * shape[1] + (ranks[1] - 1) * shape[0])


def block(cells: int, parts: int, index: int) -> slice:
    """Range of part `index` of `cells` cells in `parts` parts: the first cells % parts of them get one cell more."""
    size, longer = divmod(cells, parts)
    start = index * size + min(index, longer)
    return slice(start, start + size + (index < longer))


class Decomposition:
    """A rank's block of the grid and of arrays (x, y, angle, cell)."""

    def __init__(
        self, grid: SpaceGrid, comm: MPI.Intracomm, per_point: tuple[int, int], nodes: tuple[int, ...] | None = None
    ) -> None:
        """`per_point` is the number of angles and of energy cells, `nodes` the node of each rank, the real one if not given.

        Raises DecompositionError. Collective.
        """
        self.grid, self.comm, self.per_point = grid, comm, per_point
        self.processes = process_grid(grid.shape, grid.dimensions, comm.size)
        self.nodes = node_numbers(comm) if nodes is None else nodes
        self.position = divmod(comm.rank, self.processes[1])
        self.x, self.y = map(block, grid.shape, self.processes, self.position)

    @property
    def local_shape(self) -> tuple[int, int, int, int]:
        """(x, y, angle, cell) of this rank's block."""
        return (self.x.stop - self.x.start, self.y.stop - self.y.start, *self.per_point)

    def neighbor(self, axis: int, direction: int) -> int | None:
        """Neighbouring rank along an axis (direction ±1); None at an end of the grid."""
        place = list(self.position)
        place[axis] += direction
        if not 0 <= place[axis] < self.processes[axis]:
            if self.grid.wall(axis, int(direction > 0)) != "periodic":
                return None
            place[axis] %= self.processes[axis]
        return place[0] * self.processes[1] + place[1]

    def beyond(self, axis: int, direction: int) -> int | None:
        """Rank whose layers are the ghost cells of a face; None where this rank fills them from its own block."""
        neighbor = self.neighbor(axis, direction)
        return None if neighbor == self.comm.rank else neighbor

    def images(self) -> list[tuple[tuple[slice, slice], tuple[bool, bool]]]:
        """Position of this rank's block and its mirror images in the whole sample, and the axes along which each is flipped."""
        parts = []
        for axis, held in enumerate((self.x, self.y)):
            n = self.grid.shape[axis]
            if self.grid.copies[axis] == 1:
                parts.append([(held, False)])
            else:
                parts.append([(slice(n + held.start, n + held.stop), False), (slice(n - held.stop, n - held.start), True)])
        return [((x, y), (flip_x, flip_y)) for x, flip_x in parts[0] for y, flip_y in parts[1]]

    def local(self, values: Array) -> Array:
        """This rank's part of an array over the whole grid."""
        return values[self.x, self.y]
