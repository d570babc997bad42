"""The same numbers on any number of ranks: halos, drift, shared memory, files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_drift import drift_on, rate

from hpcwigner.exciton.phonons import ValleyState
from hpcwigner.exciton.wavefunctions import ExponentialState
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.observables.registry import Observable
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.halo import Halo
from hpcwigner.storage.files import OutputFile
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import DensityTerm, State

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


def shared_path(tmp_path):
    """One directory for all ranks: pytest gives each rank its own."""
    return Path(COMM.bcast(str(tmp_path)))


@pytest.mark.parametrize("boundary", ["periodic", "open", "reflecting"])
@pytest.mark.parametrize("shape", [(17, 1), (109, 1), (23, 14), (12, 31)])
def test_drift_does_not_depend_on_the_decomposition(shape, boundary):
    """Bitwise, on grids that do not divide evenly, against the whole grid on one rank."""
    serial, alone = drift_on(shape, boundary, MPI.COMM_SELF)
    parallel, decomposition = drift_on(shape, boundary, COMM)
    whole = np.random.default_rng(11).random(alone.local_shape)
    expected = rate(serial, whole)
    mine = np.ascontiguousarray(decomposition.local(whole))
    for _ in range(2):  # persistent requests: the second exchange must be as good as the first
        assert np.array_equal(rate(parallel, mine), decomposition.local(expected))
    parallel.free()


PADDING = {"periodic": "wrap", "reflecting": "symmetric", "open": "edge"}
"""Ghost cells of densities, as numpy.pad makes them."""


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
@pytest.mark.parametrize("boundary", list(PADDING))
@pytest.mark.parametrize("shape", [(17, 1), (23, 14)])
def test_ghost_cells_of_densities(shape, boundary, folded):
    """Between ranks and at the ends, for (x, y, valley), while the ghost cells of a state are under way."""
    drift, distributed = drift_on(shape, boundary, COMM)
    moving = drift._halo
    dimensions = 1 if shape[1] == 1 else 2
    grid = SpaceGrid(dimensions, 10.0, shape, boundary, folded)
    decomposition = Decomposition(grid, COMM, distributed.per_point)
    densities = np.random.default_rng(3).random((*shape, 2))
    mine = np.ascontiguousarray(decomposition.local(densities))
    halo = Halo(decomposition, (2,))
    state = np.zeros(distributed.local_shape)
    for _ in range(2):
        moving.start(state)
        halo.start(mine)
        moving.finish()
        halo.finish()
        for axis in range(dimensions):
            own = (decomposition.x, decomposition.y)[axis]
            across = (decomposition.y, decomposition.x)[axis]
            for side, begin in ((0, own.start), (1, own.stop + HALO)):
                padding = [(0, 0)] * 3
                padding[axis] = (HALO, HALO)
                padded = np.pad(densities, padding, PADDING[grid.wall(side)])
                where = (slice(begin, begin + HALO), across) if axis == 0 else (across, slice(begin, begin + HALO))
                assert np.array_equal(halo.ghosts[axis][side], padded[where])
    halo.free()
    drift.free()


class Watch(DensityTerm):
    """Keeps the densities that a term of this kind is given."""

    name = part = "watch"

    def __init__(self, cells):
        self.cells, self.seen = cells, np.empty(0)

    def add(self, time, state, out):
        self.seen = state.densities.copy()

    def entry(self, time, moments):
        raise NotImplementedError


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
@pytest.mark.parametrize("boundary", list(PADDING))
@pytest.mark.parametrize("shape", [(17, 1), (23, 14)])
def test_terms_see_the_densities_around_their_points(shape, boundary, folded):
    """Sums of u over the angles and cells of a valley; corners, which no stencil reads, are NaN."""
    dimensions = 1 if shape[1] == 1 else 2
    grid, angles = SpaceGrid(dimensions, 10.0, shape, boundary, folded), Angles(8, half=dimensions == 1)
    valley = ValleyState("K", 0.0, 1, 0.5, 0.5, 0.5, ExponentialState(1.0))
    cells = EnergyCells((valley, valley), (1, 2), (1.0, 2.0))
    decomposition = Decomposition(grid, COMM, (angles.count, cells.size))
    term = Watch(cells)
    equation = WignerEquation(decomposition, angles, [term])
    whole = np.random.default_rng(5).random((*shape, angles.count, cells.size))
    u = np.ascontiguousarray(decomposition.local(whole)).reshape(equation.shape)
    fields = np.zeros((len(u), 0))
    equation.explicit(0.0, State(u, fields), State(np.empty_like(u), fields))
    modes = [PADDING[grid.wall(side)] for side in (0, 1)]
    neighbours, corner = [], []
    for axis, own in ((0, decomposition.x), (1, decomposition.y)):
        places, reach = np.arange(shape[axis]), HALO if axis < dimensions else 0
        below, above = np.pad(places, (reach, 0), modes[0])[:reach], np.pad(places, (0, reach), modes[1])[shape[axis] :]
        neighbours.append(np.concatenate((below, places, above))[own.start : own.stop + 2 * reach])
        size = own.stop - own.start
        corner.append((np.arange(size + 2 * reach) < reach) | (np.arange(size + 2 * reach) >= reach + size))
    over_angles = whole.sum(axis=2)
    densities = np.stack((over_angles[..., 0], over_angles[..., 1:].sum(axis=-1)), axis=-1)
    expected = densities[np.ix_(*neighbours)]
    expected[np.logical_and.outer(*corner)] = np.nan
    assert term.seen == pytest.approx(expected, rel=1e-13, nan_ok=True)
    equation.free()


def test_drift_frees_the_requests_of_its_halo():
    drift, _ = drift_on((23, 14), "periodic", COMM)
    requests = list(drift._halo._requests)
    assert len(requests) == 2 * len(drift._halo.remote) >= min(COMM.size - 1, 1)
    drift.free()
    drift.free()
    assert all(request == MPI.REQUEST_NULL for request in requests)


def test_blocks_cover_the_grid_once():
    decomposition = Decomposition(SpaceGrid(2, 10.0, (29, 15), "periodic"), COMM, (8, 3))
    equation = WignerEquation(decomposition, Angles(8, half=False), [])
    covered = np.zeros((29, 15))
    covered[decomposition.x, decomposition.y] = 1
    assert np.array_equal(COMM.allreduce(covered), np.ones((29, 15)))
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


def resident():
    """Memory of this process [bytes], its part of what it shares included."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_shared_arrays_are_freed():
    """200 arrays of 1 MB in turn: neither memory nor windows nor communicators run out; freeing twice is harmless."""
    for number in range(200):
        if number == 20:
            before = resident(), len(Path("/proc/self/maps").read_text().splitlines())
        with NodeShared(COMM, (2**17,)) as shared:
            shared.fill(4, lambda part, shared=shared: shared.array[part::4].fill(part))
            assert shared.array[:8].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
            COMM.Barrier()
        assert shared.comm == MPI.COMM_NULL
        shared.free()
    assert resident() - before[0] < 2**22
    assert len(Path("/proc/self/maps").read_text().splitlines()) - before[1] < 20


def test_files_hold_every_ranks_part(tmp_path):
    """Also when a rank has nothing to write (h5py #965), and with more ranks than rows."""
    path = shared_path(tmp_path) / "out.h5"
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
    with h5py.File(path, "r") as found:
        assert np.array_equal(found["field"][()], 2.0 * np.array([[0, 1, 2], [15, 16, 17]]))
        assert np.array_equal(found["time"][()], [0.0, 1.5])
