"""Checkpoints on any number of ranks: complete, verified, never trusted when damaged. Rows of output files: test_archive.py."""

import shutil

import h5py
import numpy as np
import pytest
from checkpoints import COMM, header, place, whole, written
from mpi4py import MPI

from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation import restart
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.storage import checkpoint
from hpcwigner.storage.checkpoint import CheckpointError, CheckpointStore, Header, Layout, numbers

pytestmark = pytest.mark.mpi
FIELDS = ("density", "heat")


@pytest.mark.parametrize("shape", [(17, 13), (31, 1), (12, 12)])
@pytest.mark.parametrize(
    "layout", [Layout(), Layout(collective=False), Layout(compress=True), Layout(hints={"romio_cb_write": "enable"})]
)
def test_reads_back_on_the_same_and_on_one_rank(folder, shape, layout):
    store = written(folder, shape=shape, layout=layout)
    path = folder / "checkpoints/00000007"
    read, u, auxiliary = store.load(path)
    assert read == header(shape)
    assert np.array_equal(u, store.partition.local(whole(shape, 7)))
    assert auxiliary.shape == (*u.shape[:2], 0)
    if COMM.rank == 0:
        alone = CheckpointStore(folder / "checkpoints", place(MPI.COMM_SELF, shape), keep=2)
        assert np.array_equal(alone.load(path)[1], whole(shape, 7))
    COMM.Barrier()


@pytest.mark.parametrize("layout", [Layout(), Layout(compress=True)])
@pytest.mark.parametrize("shape", [(17, 13), (31, 1)])
def test_auxiliary_fields(folder, shape, layout):
    """Stored by name, verified, and read on another number of ranks."""
    partition = place(COMM, shape)
    store = CheckpointStore(folder / "checkpoints", partition, 2, layout)
    u, fields = whole(shape), whole(shape, 1, (len(FIELDS),))
    given = header(shape, auxiliary=FIELDS)
    path = store.write(np.ascontiguousarray(partition.local(u)), given, [], partition.local(fields))
    read = store.load(path)
    assert read[0] == given
    assert np.array_equal(read[2], partition.local(fields))
    if COMM.rank == 0:
        alone = CheckpointStore(folder / "checkpoints", place(MPI.COMM_SELF, shape), keep=2)
        assert np.array_equal(alone.load(path)[2], fields)
        with h5py.File(path / "state.h5", "r+") as file:
            file["auxiliary"][2, 0, 1] += 1e-9
    COMM.Barrier()
    with pytest.raises(CheckpointError, match="checksums"):
        checkpoint.read_state(path / "state.h5", partition)
    wrong = np.array(partition.local(fields))
    if COMM.rank == COMM.size - 1:
        wrong[0, 0, 0] = np.inf
    with pytest.raises(CheckpointError, match="not finite"):
        store.write(np.ascontiguousarray(partition.local(u)), given, [], wrong)


def test_large_blocks_go_in_pieces(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "LARGEST_WRITE", 300)
    monkeypatch.setattr(checkpoint, "SUM_CHUNK", 1000)
    store = written(folder)
    assert len(checkpoint.pieces(store.partition)) > 3
    assert np.array_equal(store.load(folder / "checkpoints/00000007")[1], store.partition.local(whole((17, 13), 7)))


def test_newest_stay_and_latest_points_to_the_last(folder):
    written(folder, steps=(3, 5, 11, 12), keep=2)
    assert numbers(folder / "checkpoints") == ["00000012", "00000011"]
    assert checkpoint.candidates(folder / "checkpoints")[0].name == "00000012"
    assert (folder / "checkpoints/latest").read_text() == "00000012\n"
    assert not list((folder / "checkpoints").glob("*.partial"))


@pytest.mark.parametrize("name", ["state.h5", "complete.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_is_found_and_the_previous_one_used(folder, name, damage):
    store = written(folder, steps=(5, 9))
    target = folder / "checkpoints/00000009" / name
    if COMM.rank == 0:
        data = bytearray(target.read_bytes())
        data[len(data) // 3] ^= 4
        if damage == "flip":
            target.write_bytes(data)
        elif damage == "truncate":
            target.write_bytes(data[: len(data) // 2])
        else:
            target.unlink()
    COMM.Barrier()
    with pytest.raises(CheckpointError):
        store.load(target.parent)
    resumption, u, _ = restart.load(store, folder, "latest")
    assert (resumption.path.name, resumption.header.step) == ("00000005", 5)
    assert np.array_equal(u, store.partition.local(whole((17, 13), 5)))


@pytest.mark.parametrize("keep", [1, 2])
def test_pruning_never_takes_the_good_for_the_damaged(folder, keep):
    """A damaged newer checkpoint must not count as one to keep, nor be tried again."""
    written(folder, steps=(5, 9), keep=2)
    if COMM.rank == 0:
        (folder / "checkpoints/00000009/state.h5").write_bytes(b"")
    COMM.Barrier()
    partition = place(COMM)
    store = CheckpointStore(folder / "checkpoints", partition, keep)
    assert restart.load(store, folder, "latest")[0].path.name == "00000005"
    assert numbers(folder / "checkpoints") == ["00000005"]
    assert (folder / "checkpoints/00000009.abandoned").exists()
    COMM.Barrier()
    store.write(np.ascontiguousarray(partition.local(whole((17, 13), 6))), header((17, 13), 6), [])
    assert numbers(folder / "checkpoints") == ["00000006", "00000005"][:keep]
    assert restart.load(store, folder, "latest")[0].header.step == 6
    assert not (folder / "checkpoints/00000009.abandoned").exists()
    COMM.Barrier()


def test_nothing_good_is_said(folder):
    store = written(folder, steps=(5,))
    if COMM.rank == 0:
        (folder / "checkpoints/00000005/state.h5").unlink()
    COMM.Barrier()
    with pytest.raises(InputError, match="damaged"):
        restart.load(store, folder, "latest")


def test_a_checkpoint_of_another_grid_is_refused(folder):
    written(folder)
    other = CheckpointStore(folder / "checkpoints", place(COMM, (17, 14)), keep=2)
    with pytest.raises(CheckpointError, match="expected"):
        other.load(folder / "checkpoints/00000007")


def test_not_after_a_nan_on_any_rank(folder):
    store = written(folder, steps=(5,))
    mine = np.ones(store.partition.local_shape)
    if COMM.rank == COMM.size - 1:
        mine[0, 0, 0, 0] = np.nan
    with pytest.raises(CheckpointError, match="not finite"):
        store.write(mine, header((17, 13), 6), [])
    assert numbers(folder / "checkpoints") == ["00000005"]
    COMM.Barrier()


def test_not_when_the_disk_is_short(folder, monkeypatch):
    store = written(folder, steps=(5,))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(CheckpointError, match="are free"):
        store.write(np.ones(store.partition.local_shape), header((17, 13), 6), [])
    assert numbers(folder / "checkpoints") == ["00000005"]
    COMM.Barrier()


def test_what_reads_back_differently_is_not_published(folder, monkeypatch):
    """A disk that returns other numbers than it was given."""
    store = written(folder, steps=(5,))
    original = checkpoint.read_state

    def corrupted(path, partition):
        read, u, auxiliary = original(path, partition)
        if COMM.rank == 0:
            u[0, 0, 0, 0] += 1
        return read, u, auxiliary

    monkeypatch.setattr(checkpoint, "read_state", corrupted)
    with pytest.raises(CheckpointError, match="does not read back"):
        store.write(np.ones(store.partition.local_shape), header((17, 13), 6), [])
    monkeypatch.undo()
    assert numbers(folder / "checkpoints") == ["00000005"]
    assert checkpoint.candidates(folder / "checkpoints")[0].name == "00000005"
    COMM.Barrier()


def test_a_newer_format_is_refused(folder):
    store = written(folder)
    path = folder / "checkpoints/00000007/state.h5"
    if COMM.rank == 0:
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = checkpoint.FORMAT + 1
    COMM.Barrier()
    with pytest.raises(CheckpointError, match="a newer version has written it"):
        checkpoint.read_state(path, store.partition)


if COMM.size == 1:

    @pytest.mark.slow
    def test_more_than_two_gibibytes(folder):
        """More bytes than 32 bits count, in a block and in the dataset. Blocks of more ranks are smaller."""
        partition = Decomposition(SpaceGrid(2, 10.0, (24, 24), "periodic"), COMM, (32, 15000))
        store = CheckpointStore(folder / "checkpoints", partition, keep=1)
        u, columns = np.empty(partition.local_shape), np.arange(15000.0)
        rows = 15000.0 * np.arange(24 * 24 * 32).reshape(*u.shape[:3], 1)
        np.add(rows, columns, out=u)
        assert u.nbytes > 2**31
        store.write(u, Header(1, 0.1, {}, "", (24, 24, 32, 15000)), [])
        del u  # memory that was never used takes seconds to come
        loaded = store.load(folder / "checkpoints/00000001")[1]
        assert all(np.array_equal(loaded[x], rows[x] + columns) for x in range(24))
        shutil.rmtree(folder / "checkpoints")
