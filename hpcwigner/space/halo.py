"""Ghost cells of three layers around a rank's block: from each neighbour, or from the boundary condition.

Neighbours on the same node read the outermost layers from memory that the node's ranks share; others get them in messages.
"""

import functools
import itertools
import math
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.parallel import NodeWindow
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.walls import WallReturn

Face = tuple[int, int]  # Axis, and side: 0 lower, 1 upper
FACES: tuple[Face, ...] = tuple(itertools.product((0, 1), (0, 1)))
STRIP = 8  # Points along y that are processed together along x, so that a point's neighbours stay in the shared cache
COUNTERS = 8  # Numbers of a cache line: counters of different faces do not share one


class Halo:
    """Ghost cells of arrays (x, y, *trailing), kept beside the owned block. Corners are not exchanged.

    A face may be sent as soon as its outermost layers are known (`send`); `start` sends what has not been sent and applies the
    boundary conditions. Ghost cells beyond a face are valid once it has `arrived`, until the face is sent again.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        trailing_shape: tuple[int, ...],
        mirrors: tuple[NDArray[np.int64], ...] | None = None,
        outward: tuple[Array, ...] | None = None,
        walls: Mapping[Face, WallReturn] | None = None,
        downstream: int = HALO,
    ) -> None:
        """`mirrors` and `outward` describe the first trailing axis of momentum-resolved states, its angle cells.

        `mirrors[axis]` is each cell's mirror image at a wall normal to `axis`, `outward[axis]` its v·e_axis/|v|, and
        walls[axis, side] fills the ghost cells beyond a Surface. Without them (densities) every wall mirrors the values, and
        beyond an open end the outermost value continues. `downstream` is the number of layers that the stencil needs on the
        side to which an angle cell moves; on the other it needs all, and none where it does not move along the axis.
        Collective.
        """
        self.decomposition, self.mirrors, self.walls, self._outward = decomposition, mirrors, walls or {}, outward
        self.leaving = None if outward is None else tuple((o < 0, o > 0) for o in outward)
        self.axes = range(decomposition.grid.dimensions)
        self._trailing, self._downstream = trailing_shape, downstream
        self.remote: dict[Face, int] = {}
        """The faces to other ranks, with their numbers."""
        for axis, side in itertools.product(self.axes, (0, 1)):
            neighbor = decomposition.beyond(axis, 2 * side - 1)
            if neighbor is not None:
                self.remote[axis, side] = neighbor
        self._own = {(axis, side): np.zeros(self._layers(axis)) for axis, side in FACES}
        self._away: dict[Face, _Messages] = {}
        self._near: dict[Face, _Shared] = {}
        self._under_way = False
        self._connect()

    def _connect(self) -> None:
        comm, nodes = self.decomposition.comm, self.decomposition.nodes
        near = {face: self._layers(face[0]) for face, rank in self.remote.items() if nodes[rank] == nodes[comm.rank]}
        self._window = None
        if len(set(nodes)) < comm.size or near:
            numbers = COUNTERS * 2 * len(FACES) + sum(2 * math.prod(layers) for layers in near.values())
            self._window = NodeWindow.on_nodes(comm, nodes[comm.rank], numbers)
        if self._window is not None:
            places = _Shared.lay_out(self._window, near)
            for face, layers in near.items():
                self._near[face] = _Shared(self._window, places, face, self.remote[face], layers)
        for axis, side in self.remote:
            if (axis, side) not in self._near:
                ghost, sent, received = self._own[axis, side], self._needed(axis, 1 - side), self._needed(axis, side)
                self._away[axis, side] = _Messages(comm, (axis, side), self.remote[axis, side], ghost, sent, received)

    def _layers(self, axis: int) -> tuple[int, ...]:
        shape = [*self.decomposition.local_shape[:2], *self._trailing]
        if axis not in self.axes:  # the drift's kernel takes ghost cells of both axes
            return 0, 0, *self._trailing
        shape[axis] = HALO
        return tuple(shape)

    def _parts(self, axis: int, side: int) -> list[tuple[Any, ...]]:
        """What the stencil reads of the ghost cells on a side, as indices: all layers, or the nearest, of some angle cells."""
        if self._outward is None:
            return [(slice(None), slice(None))]
        speed = self._outward[axis] * (1 if side == 0 else -1)
        nearest = slice(HALO - self._downstream, None) if side == 0 else slice(None, self._downstream)
        parts = []
        for layers, angles in ((slice(None), speed > 0), (nearest, speed < 0)):
            for run in _runs(angles):
                parts.append((layers, slice(None), run) if axis == 0 else (slice(None), layers, run))
        return parts

    def _needed(self, axis: int, side: int) -> NDArray[np.bool_]:
        """The same as a mask over the rows (x, y, first trailing axis)."""
        mask = np.zeros(self._layers(axis)[:3], dtype=bool)
        for part in self._parts(axis, side):
            mask[part] = True
        return mask

    @property
    def ghosts(self) -> list[list[Array]]:
        """By axis and side, in the order of increasing coordinate: the block's shape with HALO in place of the extent there."""
        return [[self._ghost(axis, side) for side in (0, 1)] for axis in (0, 1)]

    def _ghost(self, axis: int, side: int) -> Array:
        near = self._near.get((axis, side))
        return self._own[axis, side] if near is None else near.ghost

    def _face(self, face: Face) -> "_Messages | _Shared":
        return self._away[face] if face in self._away else self._near[face]

    @property
    def bytes_sent(self) -> int:
        """Bytes of an exchange that this rank sends to others in messages."""
        return sum(messages.size for messages in self._away.values())

    @property
    def bytes_shared(self) -> int:
        """Bytes of an exchange that ranks of the same node read from this one's memory."""
        row = 8 * math.prod(self._trailing[1:])
        return sum(row * int(self._needed(axis, 1 - side).sum()) for axis, side in self._near)

    @functools.cached_property
    def points(self) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Numbers of the points that need no other rank's ghost cells, and of those that do, in up to four groups.

        A group is a corner of the block and the face that follows it on the way round, so that a face's points are in two groups.
        Points are in the order of processing, which depends on the grid of ranks, but not on their places on nodes.
        """
        (x, y), beside = np.indices(self.decomposition.local_shape[:2]).reshape(2, -1), self._beside
        low_x, high_x, low_y, high_y = (beside >> number & 1 > 0 for number in range(len(FACES)))
        group = np.select([beside == 0, low_y & ~high_x, high_x & ~high_y, high_y & ~low_x], [-1, 0, 1, 2], 3)
        order = np.lexsort((y, x, y // STRIP))
        inner, *outer = (order[group[order] == number] for number in range(-1, len(FACES)))
        return inner, [points for points in outer if points.size]

    @functools.cached_property
    def _beside(self) -> NDArray[np.int64]:
        """For each point the faces to other ranks that its stencil reaches beyond, as bits."""
        shape = self.decomposition.local_shape[:2]
        places, beside = np.indices(shape).reshape(2, -1), np.zeros(math.prod(shape), dtype=np.int64)
        for axis, side in self.remote:
            reaches = places[axis] >= shape[axis] - HALO if side else places[axis] < HALO
            beside |= reaches.astype(np.int64) << FACES.index((axis, side))
        return beside

    def faces_of(self, points: NDArray[np.int64]) -> tuple[Face, ...]:
        """The faces to other ranks that the stencils of some points reach beyond."""
        bits = int(np.bitwise_or.reduce(self._beside[points]))
        return tuple(face for number, face in enumerate(FACES) if bits >> number & 1)

    def of_other_nodes(self, faces: Collection[Face]) -> bool:
        """Whether one of some faces is that of a rank of another node."""
        return any(face in self._away for face in faces)

    def send(self, u: Array, faces: Collection[Face]) -> None:
        """Shows the outermost layers of `u` (x, y, *trailing) at some faces to the neighbours there.

        The ghost cells beyond these faces hold those of the exchange before no longer. Whoever sends a face before the
        others calls `start` for the same array next.
        """
        for axis, side in faces:
            face, edge = self._face((axis, side)), _edge(u, axis, side)
            for part in self._parts(axis, 1 - side):
                np.copyto(face.room[part], edge[part])
            face.send()
            self._under_way = True

    def start(self, u: Array) -> None:
        """Sends what has not been sent, and fills the ghost cells that need no other rank."""
        if not self._under_way:
            self.send(u, self.remote)
        else:
            self._require_same(u)
        for axis in self.axes:
            for side in (0, 1):
                if (axis, side) in self.remote:
                    continue
                if self.decomposition.neighbor(axis, 2 * side - 1) is None:
                    self._apply_boundary(u, axis, side)
                else:  # periodic, and the only rank in this direction
                    np.copyto(self._own[axis, side], _edge(u, axis, 1 - side))
        self._under_way = False

    def _require_same(self, u: Array) -> None:
        for axis, side in self.remote:
            face = self._face((axis, side))
            part = self._parts(axis, 1 - side)[0]
            if not np.array_equal(face.packed[part][0, 0], _edge(u, axis, side)[part][0, 0]):
                raise RuntimeError("the state changed after its ghost cells were sent")

    def arrived(self, faces: Collection[Face]) -> bool:
        """Whether the ghost cells beyond some faces are valid; moves messages on."""
        for messages in self._away.values():
            messages.poll()
        return all(self._face(face).arrived for face in faces)

    def wait(self, faces: Collection[Face]) -> None:
        """Until the ghost cells beyond some faces are valid."""
        while not self.arrived(faces):
            self.decomposition.comm.Iprobe()  # Moves other halos' messages on too: the neighbour may wait for one
            os.sched_yield()  # where ranks share a core the neighbour may need it

    def finish(self) -> None:
        """Waits for all neighbours' layers."""
        self.wait(self.remote)

    def discard(self) -> None:
        """Forgets what was sent ahead, since the state has changed. Collective."""
        self.finish()
        self._under_way = False

    def free(self) -> None:
        """Releases requests and shared memory; the halo must not be used afterwards. May be repeated. Collective."""
        while self._away:
            self._away.popitem()[1].free()
        self._near.clear()
        if self._window is not None:
            self._window.free()
            self._window = None

    def _apply_boundary(self, u: Array, axis: int, side: int) -> None:
        ghost, own = self._own[axis, side], _edge(u, axis, side)
        if (wall := self.walls.get((axis, side))) is not None:
            wall.fill(*(np.moveaxis(a if side == 0 else np.flip(a, axis), axis, 0) for a in (own, np.flip(ghost, axis))))
            return
        if self.decomposition.grid.wall(axis, side) != "open":
            # Ghost cell k mirrors cell k inside the wall, with the normal velocity reversed.
            inside = np.flip(own, axis)
            if self.mirrors is None:
                np.copyto(ghost, inside)
                return
            for angle, mirrored in enumerate(self.mirrors[axis]):  # half the time of one copy with an array of indices
                ghost[:, :, angle] = inside[:, :, mirrored]
            return
        # Open: nothing comes in; the outgoing edge value continues, so that the stencil does not reflect it.
        edge = np.take(own, [-1 if side else 0], axis=axis)
        if self.leaving is None:
            np.copyto(ghost, edge)
        else:
            leaving = self.leaving[axis][side]
            np.multiply(edge, leaving.reshape(-1, *[1] * (u.ndim - 3)), out=ghost)


class _Messages:
    """A face to a rank of another node: persistent requests for the rows that stencils read."""

    def __init__(
        self, comm: MPI.Intracomm, face: Face, neighbor: int, ghost: Array,
        sent: NDArray[np.bool_], received: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        axis, side = face
        row = math.prod(ghost.shape[3:])
        self.room = self.packed = np.zeros_like(ghost)
        self.size = 8 * row * int(sent.sum())
        self._types = [_row_type(mask, row) for mask in (sent, received)]
        # A message is tagged by the side on which it leaves; it arrives on the opposite one.
        self._requests = [
            comm.Send_init([self.packed, 1, self._types[0]], neighbor, tag=2 * axis + side),
            comm.Recv_init([ghost, 1, self._types[1]], neighbor, tag=2 * axis + 1 - side),
        ]
        self.arrived = True

    def send(self) -> None:
        """Sends `room` and receives the ghost cells; both are busy until they have `arrived`."""
        MPI.Prequest.Startall(self._requests)
        self.arrived = False

    def poll(self) -> None:
        """Moves the messages on."""
        self.arrived = self.arrived or MPI.Prequest.Testall(self._requests)

    def free(self) -> None:
        MPI.Prequest.Waitall(self._requests)
        while self._requests:
            self._requests.pop().Free()
        while self._types:
            self._types.pop().Free()


class _Shared:
    """A face to a rank of the same node, which reads `packed` in place, as this rank reads the neighbour's.

    There are two arrays, used in turn. A rank sends exchange n + 1 when it needs the ghost cells of exchange n no longer. The
    neighbour may still read what was sent in exchange n, but no longer that of n − 1, whose array is written anew.
    """

    def __init__(
        self, window: NodeWindow, places: Mapping[Face, int], face: Face, neighbor: int, layers: tuple[int, ...]
    ) -> None:
        axis, side = face
        self._window, self._number, size = window, 0, math.prod(layers)
        own, theirs = window.part(window.comm.rank), window.part(window.ranks[neighbor])
        opposite = axis, 1 - side
        start = int(theirs[COUNTERS * (len(FACES) + FACES.index(opposite))])
        self._counter, self._their_counter = (
            part[COUNTERS * FACES.index(which) :][:1] for part, which in ((own, face), (theirs, opposite))
        )
        self._packed, self._ghosts = (
            [part[begin + turn * size :][:size].reshape(layers) for turn in (0, 1)]
            for part, begin in ((own, places[face]), (theirs, start))
        )

    @staticmethod
    def lay_out(window: NodeWindow, faces: Mapping[Face, tuple[int, ...]]) -> dict[Face, int]:
        """Where each face's arrays begin in this rank's part, which tells the neighbours. Collective."""
        own, places, place = window.part(window.comm.rank), {}, COUNTERS * 2 * len(FACES)
        own[...] = 0.0
        for face, layers in faces.items():
            places[face] = place
            own[COUNTERS * (len(FACES) + FACES.index(face))] = place
            place += 2 * math.prod(layers)
        window.meet()
        return places

    @property
    def packed(self) -> Array:
        """What this rank has sent last."""
        return self._packed[self._number % 2]

    @property
    def room(self) -> Array:
        """Where to put what is sent next."""
        return self._packed[(self._number + 1) % 2]

    @property
    def ghost(self) -> Array:
        """The neighbour's layers in the exchange that this rank has sent last."""
        return self._ghosts[self._number % 2]

    @property
    def arrived(self) -> bool:
        """Whether the neighbour has sent as often."""
        if self._their_counter[0] < self._number:
            return False
        self._window.sync()
        return True

    def send(self) -> None:
        """Shows what is in `room`."""
        self._number += 1
        self._window.sync()  # The layers are written before the counter
        self._counter[0] = self._number
        self._window.sync()


def _edge(u: Array, axis: int, side: int) -> Array:
    layers = slice(-HALO, None) if side else slice(None, HALO)
    return u[layers] if axis == 0 else u[:, layers]


def _runs(chosen: NDArray[np.bool_]) -> list[slice]:
    """Ranges of consecutive true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False]))))
    return [slice(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _row_type(mask: NDArray[np.bool_], row: int) -> MPI.Datatype:
    """The rows of `row` numbers that a mask chooses."""
    runs = _runs(mask.reshape(-1))
    lengths, places = [row * (run.stop - run.start) for run in runs], [row * run.start for run in runs]
    return MPI.DOUBLE.Create_indexed(lengths, places).Commit()
