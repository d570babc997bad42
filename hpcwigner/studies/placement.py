"""Where the ranks of a divided grid lie on nodes, and what a node then sends to others in an exchange of ghost cells."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import DecompositionError, SpaceGrid, block, process_grid
from hpcwigner.space.placement import nodes_of_blocks

Nodes = NDArray[np.int64]


def most_ranks(space: SpaceGrid) -> int:
    """Largest number of ranks that leaves each rank HALO cells along each axis."""
    return math.prod(cells // HALO for cells in space.shape[: space.dimensions])


def held(space: SpaceGrid, symmetry: str, ranks: int) -> SpaceGrid:
    """What the program holds on that many ranks of what it holds on one: `auto` takes the whole where folds get too small.

    Raises DecompositionError.
    """
    grids = [space] if symmetry != "auto" or space == space.whole else [space, space.whole]
    for number, grid in enumerate(grids, start=1):
        try:
            process_grid(grid.shape, grid.dimensions, ranks)
            return grid
        except DecompositionError:
            if number == len(grids):
                raise
    raise AssertionError


@dataclasses.dataclass(frozen=True)
class Parts:
    """A grid divided among the ranks of nodes. Halo layers are counted in points, for one exchange."""

    processes: tuple[int, int]
    block: tuple[int, int]  # Cells of the largest rank
    points: int  # Of the grid
    sent: int  # Points that the busiest rank sends
    away: int  # Points that the busiest node sends to others
    near: int  # Points that pass between ranks of a node, on the node where most do
    messages: int  # Messages to other nodes of the rank that sends most
    sent_away: int  # Points that the busiest rank sends to other nodes
    free: int  # Points farther than HALO from faces of other nodes, on the rank that has fewest

    @property
    def largest(self) -> int:
        """Points of the largest rank."""
        return math.prod(self.block)

    @classmethod
    def of(cls, space: SpaceGrid, processes: tuple[int, int], node: Nodes) -> "Parts":
        """`node` is the number of each rank's node, shape `processes`."""
        extents = [[len(range(n)[block(n, p, i)]) for i in range(p)] for n, p in zip(space.shape, processes, strict=True)]
        sent, messages, sent_away = (np.zeros(processes, dtype=np.int64) for _ in range(3))
        free = np.array(np.broadcast_arrays(np.array(extents[0])[:, None], np.array(extents[1])))
        away, near = (np.zeros(node.max() + 1, dtype=np.int64) for _ in range(2))
        for axis in range(space.dimensions):
            if processes[axis] == 1:
                continue
            layer = HALO * np.array(extents[1 - axis])
            face = np.broadcast_to(layer if axis == 0 else layer[:, None], processes)
            for way in (1, -1):
                exists = np.ones(processes, dtype=bool)
                if space.wall(axis, int(way > 0)) != "periodic":
                    edge = -1 if way > 0 else 0
                    exists[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
                other = np.roll(node, -way, axis) != node
                points = face * exists
                sent += points
                messages += exists & other
                sent_away += points * other
                free[axis] -= HALO * (exists & other)
                np.add.at(away, node, points * other)
                np.add.at(near, node, points * ~other)
        largest = max(extents[0]), max(extents[1])
        farther = np.maximum(free, 0).prod(axis=0)
        counts = (int(a) for a in (sent.max(), away.max(), near.max(), messages.max(), sent_away.max(), farther.min()))
        return cls(processes, largest, math.prod(space.shape), *counts)

    @classmethod
    def consecutive(cls, space: SpaceGrid, ranks: int, cores: int) -> "Parts":
        """With ranks in the order of their numbers on nodes. Raises DecompositionError."""
        processes = process_grid(space.shape, space.dimensions, ranks)
        return cls.of(space, processes, (np.arange(ranks) // cores).reshape(processes))

    @classmethod
    def squares(cls, space: SpaceGrid, ranks: int, cores: int) -> "Parts":
        """As the program places ranks on nodes: in rectangles where they divide the grid. Raises DecompositionError."""
        processes = process_grid(space.shape, space.dimensions, ranks)
        return cls.of(space, processes, nodes_of_blocks(space.shape, processes, cores))
