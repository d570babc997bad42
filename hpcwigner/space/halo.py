"""Halo exchange: three planes of cells from each neighbour, or what a wall makes of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.space.grid import HALO, Decomposition

Array = NDArray[np.float64]


class Halo:
    """Ghost planes of one array at a time, beside the owned block, which stays in place.

    `ghosts[axis][side]` (side 0 lower, 1 upper) holds HALO planes in the order of increasing coordinate, with the shape
    of the block and HALO in place of its extent along `axis`. `start` packs and sends, `finish` waits and fills walls.
    """

    def __init__(self, decomposition: Decomposition, mirrors: tuple[NDArray[np.int64], ...], outward: tuple[Array, ...]):
        """`mirrors[axis]`: angle cell of the mirror image at a wall; `outward[axis]`: v·e_axis/|v| of each angle cell."""
        self.decomposition, self.mirrors = decomposition, mirrors
        self.leaving = tuple((o < 0, o > 0) for o in outward)
        shape = decomposition.local_shape
        self.axes = range(decomposition.grid.dimensions)
        self.ghosts: list[list[Array]] = []
        self._packed: list[list[Array]] = []
        self._requests: list[Any] = []
        self._copies: list[tuple[int, int]] = []
        for axis in self.axes:
            plane = list(shape)
            plane[axis] = HALO
            self.ghosts.append([np.zeros(plane), np.zeros(plane)])
            self._packed.append([np.zeros(plane), np.zeros(plane)])
            for side in (0, 1):
                self._connect(axis, side)
        if len(self.ghosts) == 1:  # the drift kernel takes ghosts of both axes
            self.ghosts.append([np.zeros((0, 0, 0, 0)), np.zeros((0, 0, 0, 0))])

    def _connect(self, axis: int, side: int) -> None:
        comm = self.decomposition.comm
        neighbor = self.decomposition.neighbor(axis, 2 * side - 1)
        if neighbor is None:
            return
        if neighbor == comm.rank:
            self._copies.append((axis, side))
            return
        # A message is tagged by the side on which it leaves; it arrives on the opposite one.
        self._requests.append(comm.Send_init(self._packed[axis][side], neighbor, tag=2 * axis + side))
        self._requests.append(comm.Recv_init(self.ghosts[axis][side], neighbor, tag=2 * axis + 1 - side))

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank sends per exchange."""
        sides = [(a, s) for a in self.axes for s in (0, 1)]
        remote = [k for k in sides if self.decomposition.neighbor(k[0], 2 * k[1] - 1) not in (None, self.decomposition.comm.rank)]
        return sum(self._packed[axis][side].nbytes for axis, side in remote)

    def start(self, u: Array) -> None:
        """Packs the outermost planes of `u` (x, y, angle, cell) and sends them."""
        for axis in self.axes:
            for side in (0, 1):
                np.copyto(self._packed[axis][side], _edge(u, axis, side))
        MPI.Prequest.Startall(self._requests)

    def finish(self) -> None:
        """Waits for the neighbours' planes and fills ghosts beyond walls."""
        MPI.Prequest.Waitall(self._requests)
        for axis, side in self._copies:
            np.copyto(self.ghosts[axis][side], self._packed[axis][1 - side])
        for axis in self.axes:
            for side in (0, 1):
                if self.decomposition.neighbor(axis, 2 * side - 1) is None:
                    self._fill_wall(axis, side)

    def _fill_wall(self, axis: int, side: int) -> None:
        ghost, own = self.ghosts[axis][side], self._packed[axis][side]
        if self.decomposition.grid.wall(side) == "reflecting":
            # Cell k beyond the wall mirrors cell k inside it, with the normal velocity reversed.
            np.copyto(ghost, np.flip(own, axis)[:, :, self.mirrors[axis]])
            return
        # Open: nothing comes in; what leaves goes on as it is, so that the edge does not throw it back.
        edge = np.take(own, [-1 if side else 0], axis=axis)
        ghost[...] = edge * self.leaving[axis][side][:, None]


def _edge(u: Array, axis: int, side: int) -> Array:
    planes = slice(-HALO, None) if side else slice(None, HALO)
    return u[planes] if axis == 0 else u[:, planes]
