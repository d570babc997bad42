"""Small helpers around MPI: who I am, one copy of large arrays per node, and ending all ranks together."""

from __future__ import annotations

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
from numpy.typing import NDArray

from hpcwigner.runtime.errors import InputError, WriteError

Array = NDArray[np.float64]
T = TypeVar("T")


class NodeShared:
    """An uninitialised array that exists once per node: every rank of it sees it, and fills the parts it is asked to."""

    def __init__(self, comm: MPI.Intracomm, shape: tuple[int, ...]) -> None:
        self.comm = cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
        self._window: MPI.Win | None = None
        if self.comm.size == 1:
            self.array: Array = np.empty(shape)
            return
        size = 8 * math.prod(shape)
        self._window = MPI.Win.Allocate_shared(size if self.comm.rank == 0 else 0, 8, comm=self.comm)
        buffer, _ = self._window.Shared_query(0)
        self.array = np.frombuffer(cast(Any, buffer), dtype=np.float64, count=math.prod(shape)).reshape(shape)

    def fill(self, parts: int, compute: Callable[[int], None]) -> None:
        """Calls compute(part) for parts 0…`parts`−1, dealt out over the node's ranks. Collective."""
        for part in range(self.comm.rank, parts, self.comm.size):
            compute(part)
        if self._window:
            self._window.Sync()
            self.comm.Barrier()
            self._window.Sync()

    def free(self) -> None:
        """Gives the memory back. Collective; the array must not be used afterwards."""
        self.array = np.empty(0)
        if self._window:
            self._window.Free()
        self.comm.Free()


def readable(vector: Any) -> Array:
    """A PETSc vector's local numbers for reading only, without a copy, also while PETSc holds a read lock on it.

    petsc4py hands out locked vectors as read-only arrays, for which numba would compile every kernel a second time (and could
    not mix them with halos): this is the same memory without the flag. Do not write to it.
    """
    locked = vector.array_r
    return np.ctypeslib.as_array((ctypes.c_double * locked.size).from_address(locked.ctypes.data))


def abort_all_ranks_on_exception(comm: MPI.Intracomm) -> None:
    """An exception on one rank ends all: plain Python would leave the others waiting in a collective."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        where = f" on rank {comm.rank}" if comm.size > 1 else ""
        if isinstance(error, WriteError):
            sys.stderr.write(f"hpcwigner: {error}{where}\n")
        else:
            text = "".join(traceback.format_exception(kind, error, trace))
            sys.stderr.write(f"hpcwigner: stopped by an error{where}\n{text}")
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(1)
        os._exit(1)  # PETSc, left in the middle of a call, does not survive an orderly exit

    sys.excepthook = hook


def huge_zeros(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Zeros in huge pages where Linux has some: NumPy asks for them in `empty`, but not in `zeros`."""
    array = np.empty(shape)
    array.fill(0.0)
    return array


def on_first_rank(comm: MPI.Intracomm, compute: Callable[[], T]) -> T:
    """Result of `compute` on rank 0, sent to all; an InputError there is raised on every rank. Collective."""
    result: T | InputError | None = None
    if comm.rank == 0:
        try:
            result = compute()
        except InputError as error:
            result = error
    result = comm.bcast(result)
    if isinstance(result, InputError):
        raise result
    return cast(T, result)
