"""Halo exchange: three planes of cells from each neighbour, or what a wall makes of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition

Array = NDArray[np.float64]


class Halo:
    """Ghost planes of one array at a time, beside the owned block, which stays in place.

    `ghosts[axis][side]` (side 0 lower, 1 upper) holds HALO planes in the order of increasing coordinate, with the shape
    of the block and HALO in place of its extent along `axis`. `start` packs, sends and fills walls, `finish` waits.
    """

    def __init__(self, decomposition: Decomposition, mirrors: tuple[NDArray[np.int64], ...], outward: tuple[Array, ...]):
        """`mirrors[axis]`: angle cell of the mirror image at a wall; `outward[axis]`: v·e_axis/|v| of each angle cell."""
        self.decomposition, self.mirrors = decomposition, mirrors
        self.leaving = tuple((o < 0, o > 0) for o in outward)
        shape = decomposition.local_shape
        self.axes = range(decomposition.grid.dimensions)
        self.ghosts: list[list[Array]] = []
        self._packed: dict[tuple[int, int], Array] = {}
        self._requests: list[Any] = []
        for axis in self.axes:
            plane = list(shape)
            plane[axis] = HALO
            self.ghosts.append([np.zeros(plane), np.zeros(plane)])
            for side in (0, 1):
                self._connect(axis, side)
        if len(self.ghosts) == 1:  # the drift kernel takes ghosts of both axes
            self.ghosts.append([np.zeros((0, 0, 0, 0)), np.zeros((0, 0, 0, 0))])

    def _connect(self, axis: int, side: int) -> None:
        comm = self.decomposition.comm
        neighbor = self.decomposition.neighbor(axis, 2 * side - 1)
        if neighbor in (None, comm.rank):
            return
        packed = self._packed[axis, side] = np.zeros_like(self.ghosts[axis][side])
        # A message is tagged by the side on which it leaves; it arrives on the opposite one.
        self._requests.append(comm.Send_init(packed, neighbor, tag=2 * axis + side))
        self._requests.append(comm.Recv_init(self.ghosts[axis][side], neighbor, tag=2 * axis + 1 - side))

    @property
    def remote(self) -> list[tuple[int, int]]:
        """(axis, side) whose ghosts come from another rank; the others are there after `start`."""
        return list(self._packed)

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank sends per exchange."""
        return sum(packed.nbytes for packed in self._packed.values())

    def start(self, u: Array) -> None:
        """Packs and sends the outermost planes of `u` (x, y, angle, cell); fills what does not come from other ranks."""
        for (axis, side), packed in self._packed.items():
            np.copyto(packed, _edge(u, axis, side))
        MPI.Prequest.Startall(self._requests)
        for axis in self.axes:
            for side in (0, 1):
                if (axis, side) in self._packed:
                    continue
                if self.decomposition.neighbor(axis, 2 * side - 1) is None:
                    self._fill_wall(u, axis, side)
                else:  # periodic, and the only rank in this direction
                    np.copyto(self.ghosts[axis][side], _edge(u, axis, 1 - side))

    def finish(self) -> None:
        """Waits for the neighbours' planes."""
        MPI.Prequest.Waitall(self._requests)

    def free(self) -> None:
        """Releases the persistent requests."""
        for request in self._requests:
            request.Free()
        self._requests.clear()

    def _fill_wall(self, u: Array, axis: int, side: int) -> None:
        ghost, own = self.ghosts[axis][side], _edge(u, axis, side)
        if self.decomposition.grid.wall(side) == "reflecting":
            # Cell k beyond the wall mirrors cell k inside it, with the normal velocity reversed.
            inside = np.flip(own, axis)
            for angle, image in enumerate(self.mirrors[axis]):
                ghost[:, :, angle] = inside[:, :, image]
            return
        # Open: nothing comes in; what leaves goes on as it is, so that the edge does not throw it back.
        edge = np.take(own, [-1 if side else 0], axis=axis)
        np.multiply(edge, self.leaving[axis][side][:, None], out=ghost)


def _edge(u: Array, axis: int, side: int) -> Array:
    planes = slice(-HALO, None) if side else slice(None, HALO)
    return u[planes] if axis == 0 else u[:, planes]
