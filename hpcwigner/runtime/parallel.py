"""Helpers around MPI: arrays shared by a node, results of one rank for all, and what an exception ends."""

import contextlib
import ctypes
import math
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np
from mpi4py import MPI

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError, RunError, WriteError

T = TypeVar("T")
SHARED_MEMORY = "/dev/shm"  # Where Linux keeps memory that processes share


class NodeWindow:
    """Memory of the ranks of a node that all of them see: each has a part of its own, of as many numbers as it asks for.

    Making and freeing are collective over the node. Garbage collection does not free it: call `free`.
    """

    def __init__(self, node: MPI.Intracomm, numbers: int) -> None:
        """`node` belongs to the window from now on. Raises MPI.Exception where the system has no such memory."""
        self.comm = node
        self._window = MPI.Win.Allocate_shared(8 * numbers, 8, comm=node)
        self._window.Lock_all(MPI.MODE_NOCHECK)

    @classmethod
    def on_nodes(cls, comm: MPI.Intracomm, node: int, numbers: int) -> "NodeWindow | None":
        """A window for the ranks of `comm` on the same node; None where they cannot share memory.

        Nor is there one for the only rank of a node beside others. Collective over `comm`.
        """
        ranks = cast(MPI.Intracomm, comm.Split(node))
        members = ranks.allgather((comm.rank, numbers))
        room = os.statvfs(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
        enough = room is None or 8 * sum(size for _, size in members) < room.f_bavail * room.f_frsize
        window = None
        if (len(members) > 1 or comm.size == 1) and ranks.allreduce(enough, MPI.LAND):
            with contextlib.suppress(MPI.Exception):
                window = cls(ranks, numbers)
        if window is None:
            ranks.Free()
        else:
            window.ranks = {rank: number for number, (rank, _) in enumerate(members)}
        return window

    ranks: dict[int, int]
    """Numbers on the node of the ranks of the communicator that `on_nodes` was given."""

    def part(self, rank: int) -> Array:
        """The part of a rank of the node, shape (numbers,)."""
        buffer, _ = self._window.Shared_query(rank)
        return np.frombuffer(cast(Any, buffer), dtype=np.float64)

    def sync(self) -> None:
        """What was written before is seen by the others before what is written after; the same for reading."""
        self._window.Sync()

    def meet(self) -> None:
        """All ranks see what each has written. Collective."""
        self.sync()
        self.comm.Barrier()
        self.sync()

    def free(self) -> None:
        """Returns the memory. Collective."""
        self._window.Unlock_all()
        self._window.Free()
        self.comm.Free()


class NodeShared:
    """An array in memory shared by the ranks of a node, uninitialised; `fill` computes its parts in parallel.

    Making, filling and freeing are collective. Garbage collection does not free it: call `free`.
    """

    def __init__(self, comm: MPI.Intracomm, shape: tuple[int, ...]) -> None:
        self.comm = cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
        """The ranks of this node."""
        self._window = NodeWindow(self.comm, math.prod(shape) if self.comm.rank == 0 else 0) if self.comm.size > 1 else None
        whole = self._window.part(0) if self._window else np.empty(math.prod(shape))
        self.array: Array = whole[: math.prod(shape)].reshape(shape)

    def fill(self, parts: int, compute: Callable[[int], None]) -> None:
        """Call compute(part) for parts 0…`parts`−1, distributed over the node's ranks. Collective."""
        for part in range(self.comm.rank, parts, self.comm.size):
            compute(part)
        if self._window:
            self._window.meet()

    def free(self) -> None:
        """Return the memory; a second call does nothing. Collective. The array must not be used afterwards."""
        self.array = np.empty(0)
        if self._window:
            self._window.free()
            self._window = None
        elif self.comm != MPI.COMM_NULL:
            self.comm.Free()


def node_numbers(comm: MPI.Intracomm) -> tuple[int, ...]:
    """The node of each rank, numbered in the order of their first ranks. Collective."""
    if comm.size == 1:
        return (0,)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    firsts = comm.allgather(node.allreduce(comm.rank, MPI.MIN))
    node.Free()
    numbers = {first: number for number, first in enumerate(sorted(set(firsts)))}
    return tuple(numbers[first] for first in firsts)


def readable(vector: Any) -> Array:
    """A PETSc vector's local values, shape (local,), without a copy, also under PETSc's read lock. Do not write to it.

    petsc4py marks them read-only, for which numba would compile every kernel a second time; here they lack that mark.
    """
    locked = vector.array_r
    return np.ctypeslib.as_array((ctypes.c_double * locked.size).from_address(locked.ctypes.data))


def abort_all_ranks_on_exception(comm: MPI.Intracomm) -> None:
    """Install an excepthook for the whole process: an exception ends all ranks, which would wait for this one for ever."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        where = f" on rank {comm.rank}" if comm.size > 1 else ""
        text = "".join(traceback.format_exception(kind, error, trace))
        what = f"{error}{where}\n" if isinstance(error, WriteError) else f"stopped by an error{where}\n{text}"
        print("hpcwigner:", what, end="", file=sys.stderr, flush=True)
        if comm.size > 1:
            comm.Abort(1)
        os._exit(1)  # an orderly exit crashes when PETSc was interrupted in the middle of a call

    sys.excepthook = hook


def huge_zeros(shape: tuple[int, ...]) -> Array:
    """Zeros in huge pages where Linux offers them: NumPy asks for them in `empty`, but not in `zeros`."""
    return np.full(shape, 0.0)


def on_first_rank(comm: MPI.Intracomm, compute: Callable[[], T]) -> T:
    """Result of `compute` on rank 0, sent to all; an InputError or RunError there is raised on every rank. Collective."""
    result: T | InputError | RunError | None = None
    if comm.rank == 0:
        try:
            result = compute()
        except (InputError, RunError) as error:
            result = error
    result = comm.bcast(result)
    if isinstance(result, InputError | RunError):
        try:
            raise result
        finally:
            # The error's traceback holds this frame: together they would keep what the callers hold to the end of the process,
            # when PETSc's objects can no longer be destroyed.
            del result
    return cast(T, result)


class CollectiveStack(contextlib.ExitStack):
    """Runs its callbacks, which are collective, only when all ranks leave together: at the normal end, or by an error of all."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        if kind is not None and not issubclass(kind, InputError | RunError):
            self.pop_all()
            return False
        return super().__exit__(kind, error, trace)
