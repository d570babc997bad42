"""The same numbers on any number of ranks: halos, drift, shared memory, files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_drift import drift_on

from hpcwigner.momentum.angles import Angles
from hpcwigner.observables.profiles import along_x
from hpcwigner.observables.registry import Observable
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.halo import Halo
from hpcwigner.space.walls import Surface
from hpcwigner.storage.files import OutputFile
from hpcwigner.terms.equation import WignerEquation

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("shape", [(17, 1), (23, 14), (12, 30)])
def test_profiles_do_not_depend_on_the_decomposition(shape, folded):
    """All ranks have the whole profile, unfolded."""
    dimensions = 1 if shape[1] == 1 else 2
    grid = SpaceGrid(dimensions, 6000.0, shape, "open", (folded, folded and dimensions == 2))
    values = np.random.default_rng(5).random((2, *shape))
    expected = along_x(Decomposition(grid, MPI.COMM_SELF, (4, 8)), values)
    decomposition = Decomposition(grid, COMM, (4, 8))
    mine = np.ascontiguousarray(values[:, decomposition.x, decomposition.y])
    assert np.abs(along_x(decomposition, mine) - expected).max() < 1e-14
    assert expected.shape == (2, grid.whole.shape[0])


@pytest.mark.parametrize("boundary", ["periodic", "open", "reflecting"])
@pytest.mark.parametrize("shape", [(17, 1), (109, 1), (23, 14), (12, 31)])
def test_drift_does_not_depend_on_the_decomposition(shape, boundary):
    """Bitwise, on grids that do not divide evenly, against the whole grid on one rank."""
    serial, _, _ = drift_on(shape, boundary, MPI.COMM_SELF)
    parallel, _, _ = drift_on(shape, boundary, COMM)
    whole = np.random.default_rng(11).random(serial.decomposition.local_shape)
    expected = np.empty_like(whole)
    serial.apply(whole, expected)
    mine = np.ascontiguousarray(parallel.decomposition.local(whole))
    out = np.empty_like(mine)
    for _ in range(2):  # persistent requests: the second exchange must be as good as the first
        out[...] = np.nan
        parallel.apply(mine, out)
        assert np.array_equal(out, parallel.decomposition.local(expected))


PADDING = {"periodic": "wrap", "reflecting": "symmetric", "open": "edge"}
"""Ghost cells of densities, as numpy.pad makes them."""


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
@pytest.mark.parametrize("boundary", [*PADDING, Surface(0.5, 0.5)], ids=str)
@pytest.mark.parametrize("shape", [(17, 1), (23, 14)])
def test_ghost_cells_of_densities(shape, boundary, folded):
    """Between ranks and at the ends, for (x, y, valley), while the ghost cells of a state are under way."""
    drift, _, _ = drift_on(shape, "open", COMM)
    dimensions = 1 if shape[1] == 1 else 2
    grid = SpaceGrid(dimensions, 10.0, shape, boundary, (folded, folded and dimensions == 2))
    decomposition = Decomposition(grid, COMM, drift.decomposition.per_point)
    densities = np.random.default_rng(3).random((*shape, 2))
    mine = np.ascontiguousarray(decomposition.local(densities))
    halo = Halo(decomposition, (2,))
    state = np.zeros(drift.decomposition.local_shape)
    for _ in range(2):
        drift.drift.halo.start(state)
        halo.start(mine)
        drift.drift.halo.finish()
        halo.finish()
        for axis in range(dimensions):
            own = (decomposition.x, decomposition.y)[axis]
            across = (decomposition.y, decomposition.x)[axis]
            for side, begin in ((0, own.start), (1, own.stop + HALO)):
                padding = [(0, 0)] * 3
                padding[axis] = (HALO, HALO)
                padded = np.pad(densities, padding, PADDING.get(grid.wall(axis, side), "symmetric"))
                where = (slice(begin, begin + HALO), across) if axis == 0 else (across, slice(begin, begin + HALO))
                assert np.array_equal(halo.ghosts[axis][side], padded[where])
    halo.free()


def test_blocks_cover_the_grid_once():
    decomposition = Decomposition(SpaceGrid(2, 10.0, (29, 15), "periodic"), COMM, (8, 3))
    covered = np.zeros((29, 15))
    covered[decomposition.x, decomposition.y] = 1
    assert np.array_equal(COMM.allreduce(covered), np.ones((29, 15)))
    equation = WignerEquation(decomposition, Angles(8, half=False), [])
    vector = equation.create_vector()
    u = equation.view(vector).u
    u[...] = 1.0 + COMM.rank
    assert vector.size == COMM.allreduce(u.size) == equation.unknowns
    assert vector.sum() == pytest.approx(COMM.allreduce(u.size * (1.0 + COMM.rank)))
    vector.destroy()


def test_shared_arrays_are_filled_by_all_and_seen_by_all():
    shared = NodeShared(COMM, (7, 3))
    shared.fill(7, lambda part: shared.array[part].fill(part))
    assert np.array_equal(shared.array, np.repeat(np.arange(7.0), 3).reshape(7, 3))
    COMM.Barrier()
    shared.free()


def written():
    """Memory that this process has written to, alone or shared with other ranks [bytes].

    Not its resident size or proportional share: those change when other programs that use the same libraries start or end.
    """
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Shared_Dirty:")))


def test_shared_arrays_are_freed():
    """60 arrays of 1 MB in turn: neither memory nor windows nor communicators run out; freeing twice is harmless."""
    for number in range(60):
        if number == 20:
            before = written(), len(Path("/proc/self/maps").read_text().splitlines())
        shared = NodeShared(COMM, (2**17,))
        shared.fill(4, lambda part, shared=shared: shared.array[part::4].fill(part))
        assert shared.array[:8].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
        COMM.Barrier()
        shared.free()
        assert shared.comm == MPI.COMM_NULL
        shared.free()
    assert written() - before[0] < 2**22
    assert len(Path("/proc/self/maps").read_text().splitlines()) - before[1] < 20


def test_files_hold_every_ranks_part(folder):
    """Also when a rank has nothing to write (h5py #965), and with more ranks than rows."""
    path = folder / "out.h5"
    observables = [Observable("field", ("time", "x"), "um-1", "a field", "10 t + x", lambda values: values, scale=2.0)]
    file = OutputFile(path, COMM, observables, {"x": np.arange(3.0)}, {"ranks": COMM.size})
    for time in (0.0, 1.5):
        row = file.append(time)
        for place in range(COMM.rank, 3, COMM.size):
            file.write(row, "field", np.array([10 * time + place]), (slice(place, place + 1),))
        if COMM.rank >= 3:
            file.write(row, "field", None)
    file.close()
    COMM.Barrier()
    with h5py.File(path, "r") as written:
        assert np.array_equal(written["field"][()], 2.0 * np.array([[0, 1, 2], [15, 16, 17]]))
        assert np.array_equal(written["time"][()], [0.0, 1.5])


def test_rows_of_the_first_rank_are_there_after_a_flush(folder):
    """Between others, more than are held at once, whatever their arrays hold later."""
    path = folder / "out.h5"
    observables = [Observable("field", ("time", "x"), "um-1", "a field", "t + x", lambda values: values, scale=2.0)]
    file = OutputFile(path, COMM, observables, {"x": np.arange(3.0)}, {"ranks": COMM.size})
    values = np.zeros(3)
    for row in range(700):
        values[:] = row + np.arange(3)
        file.append_whole(0.5 * row, {"field": values} if COMM.rank == 0 else None)
        if row in {0, 10}:
            file.flush()
            assert len(list(file.blocks(row))) == 2
            assert [len(block) for _, _, block in file.blocks(0)] == [row + 1, row + 1]
    file.close()
    COMM.Barrier()
    with h5py.File(path, "r") as written:
        assert np.array_equal(written["field"][()], 2.0 * (np.arange(700.0)[:, None] + np.arange(3)))
        assert np.array_equal(written["time"][()], 0.5 * np.arange(700))
