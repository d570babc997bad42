"""Load the compiled kernels before a run steps, so that a cold cache is filled by one rank instead of by all at once."""

from mpi4py import MPI
from numba import float64, int64
from numba.types import Tuple, UniTuple

from hpcwigner.runtime import kernels, tile_kernels

_VALUES, _ROWS, _BLOCKS, _STATE = float64[::1], float64[:, ::1], float64[:, :, ::1], float64[:, :, :, ::1]
_INDICES, _PLANES, _SPARSE, _PLACE = int64[::1], int64[:, ::1], Tuple((int64[::1], int64[::1], float64[::1])), UniTuple(int64, 3)
_DIAGONALS = Tuple((_PLANES, _INDICES, _ROWS))
_REST = Tuple((_INDICES, _INDICES, _INDICES, _INDICES, _VALUES))
_SUM = int64, int64, int64, _INDICES, _BLOCKS, int64, _BLOCKS, _ROWS, _ROWS
_WEIGHTS = float64[:, :, :, :, ::1]
_DRIFT = _PLANES, _INDICES, _STATE, UniTuple(_STATE, 4), _ROWS, _VALUES, _WEIGHTS, _INDICES

SIGNATURES = {
    kernels.upwind: (*_DRIFT, _BLOCKS),
    kernels.add_upwind: (*_DRIFT, _BLOCKS, _BLOCKS),
    kernels.transform: (_INDICES, _INDICES, _SPARSE, _SPARSE, _ROWS, _PLACE, _ROWS, _ROWS, _PLACE),
    kernels.upwind_transformed: (*_DRIFT, _BLOCKS, _SPARSE, _SPARSE, _ROWS, _ROWS, _PLACE),
    tile_kernels.add_in_scattering: (int64, int64, int64, _PLANES, _DIAGONALS, _REST, _ROWS, _ROWS, _ROWS),
    kernels.combine: (_INDICES, *_SUM),
    tile_kernels.add_force: (
        int64,
        _INDICES,
        int64,
        int64,
        _INDICES,
        _PLANES,
        _BLOCKS,
        _INDICES,
        *[_ROWS] * 3,
        _VALUES,
        *[_ROWS] * 2,
    ),
    kernels.combine_transformed: (_INDICES, *_SUM, _ROWS, _SPARSE, _SPARSE, _ROWS, _ROWS),
    tile_kernels.subtract_loss: (int64, int64, int64, _ROWS, _ROWS),
    tile_kernels.save_slot: (_INDICES, _STATE, int64, _BLOCKS),
    tile_kernels.load_slot: (_INDICES, _STATE, int64, _BLOCKS),
    tile_kernels.subtract_slot: (_INDICES, _STATE, int64, _BLOCKS),
    kernels.angular_sums: (int64, int64, _ROWS, _ROWS, _ROWS),
}  # Argument types with which each kernel is called


def warm_up(comm: MPI.Intracomm) -> None:
    """Compile or load all kernels: rank 0, then the first rank of each other node, then the rest. Collective."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    turn = 0 if comm.rank == 0 else 1 if node.rank == 0 else 2
    node.Free()
    for _ in range(turn):
        comm.Barrier()
    try:
        for kernel, types in SIGNATURES.items():
            kernel.compile(types)
    finally:  # an error on this rank must not leave the others waiting
        for _ in range(turn, 2):
            comm.Barrier()
