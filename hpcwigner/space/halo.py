"""Halo exchange: three layers of ghost cells from each neighbour, or ghost cells from the boundary condition."""

from collections.abc import Mapping

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.walls import WallReturn


class Halo:
    """Ghost cells of arrays (x, y, *trailing), kept beside the owned block. Corners are not exchanged.

    `ghosts[axis][side]` (side 0 lower, 1 upper) has the block's shape with HALO in place of the extent along `axis`, in the
    order of increasing coordinate. `start` packs, sends and applies the boundary conditions, `finish` waits.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        trailing_shape: tuple[int, ...],
        mirrors: tuple[NDArray[np.int64], ...] | None = None,
        outward: tuple[Array, ...] | None = None,
        walls: Mapping[tuple[int, int], WallReturn] | None = None,
    ) -> None:
        """`mirrors` and `outward` describe the first trailing axis of momentum-resolved states, its angle cells.

        `mirrors[axis]` is each cell's mirror image at a wall normal to `axis`, `outward[axis]` its v·e_axis/|v|, and
        walls[axis, side] fills the ghost cells beyond a Surface. Without them (densities) every wall mirrors the values, and
        beyond an open end the outermost value continues.
        """
        self.decomposition, self.mirrors, self.walls = decomposition, mirrors, walls or {}
        self.leaving = None if outward is None else tuple((o < 0, o > 0) for o in outward)
        self.axes = range(decomposition.grid.dimensions)
        self.ghosts: list[list[Array]] = []
        self.remote: dict[tuple[int, int], Array] = {}
        """What is sent, by axis and side; all other ghost cells are valid after `start`."""
        self._requests: list[MPI.Prequest] = []
        comm = decomposition.comm
        for axis in self.axes:
            layers = [*decomposition.local_shape[:2], *trailing_shape]
            layers[axis] = HALO
            self.ghosts.append([np.zeros(layers), np.zeros(layers)])
            for side in (0, 1):
                if (neighbor := decomposition.neighbor(axis, 2 * side - 1)) not in (None, comm.rank):
                    packed = self.remote[axis, side] = np.zeros(layers)
                    # A message is tagged by the side on which it leaves; it arrives on the opposite one.
                    self._requests.append(comm.Send_init(packed, neighbor, tag=2 * axis + side))
                    self._requests.append(comm.Recv_init(self.ghosts[axis][side], neighbor, tag=2 * axis + 1 - side))
        if len(self.ghosts) == 1:  # the drift kernel takes ghosts of both axes
            self.ghosts.append([np.zeros((0, 0) + (0,) * len(trailing_shape)) for _ in (0, 1)])

    @property
    def bytes_sent(self) -> int:
        """Bytes this rank sends per exchange."""
        return sum(packed.nbytes for packed in self.remote.values())

    def start(self, u: Array) -> None:
        """Packs and sends the outermost layers of `u` (x, y, *trailing); fills the ghost cells that need no other rank."""
        for (axis, side), packed in self.remote.items():
            np.copyto(packed, _edge(u, axis, side))
        MPI.Prequest.Startall(self._requests)
        for axis in self.axes:
            for side in (0, 1):
                if (axis, side) in self.remote:
                    continue
                if self.decomposition.neighbor(axis, 2 * side - 1) is None:
                    self._apply_boundary(u, axis, side)
                else:  # periodic, and the only rank in this direction
                    np.copyto(self.ghosts[axis][side], _edge(u, axis, 1 - side))

    def finish(self) -> None:
        """Waits for the neighbours' layers."""
        MPI.Prequest.Waitall(self._requests)

    def free(self) -> None:
        """Frees the persistent requests, not during an exchange; the halo must not be used afterwards. May be repeated."""
        while self._requests:
            self._requests.pop().Free()

    def _apply_boundary(self, u: Array, axis: int, side: int) -> None:
        ghost, own = self.ghosts[axis][side], _edge(u, axis, side)
        if (wall := self.walls.get((axis, side))) is not None:
            wall.fill(*(np.moveaxis(a if side == 0 else np.flip(a, axis), axis, 0) for a in (own, np.flip(ghost, axis))))
            return
        if self.decomposition.grid.wall(axis, side) != "open":
            # Ghost cell k mirrors cell k inside the wall, with the normal velocity reversed.
            inside = np.flip(own, axis)
            if self.mirrors is None:
                np.copyto(ghost, inside)
                return
            for angle, image in enumerate(self.mirrors[axis]):
                ghost[:, :, angle] = inside[:, :, image]
            return
        # Open: nothing comes in; the outgoing edge value continues, so that the stencil does not reflect it.
        edge = np.take(own, [-1 if side else 0], axis=axis)
        if self.leaving is None:
            np.copyto(ghost, edge)
        else:
            leaving = self.leaving[axis][side]
            np.multiply(edge, leaving.reshape(-1, *[1] * (u.ndim - 3)), out=ghost)


def _edge(u: Array, axis: int, side: int) -> Array:
    layers = slice(-HALO, None) if side else slice(None, HALO)
    return u[layers] if axis == 0 else u[:, layers]
