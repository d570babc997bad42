"""Checkpoints on any number of ranks: complete, verified, and never trusted when damaged."""

import dataclasses
import json
import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation import restart
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.storage import archive, checkpoint
from hpcwigner.storage.checkpoint import CheckpointError, CheckpointStore, Header, Layout, numbers
from hpcwigner.storage.files import OutputFile

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
PER_POINT = (3, 5)
FIELDS = ("density", "heat")


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A variable of an output file."""

    name: str
    dimensions: tuple[str, ...]
    unit: str = "1"
    long_name: str = "text"
    formula: str = "a = b"
    source: str = ""
    scale: float = 1.0


VARIABLES = (Quantity("population", ("time", "valley")), Quantity("total", ("time",)))
CONTENT = (VARIABLES, {"valley": ["A", "B"]}, {"ranks": COMM.size})


def place(comm, shape=(17, 13)):
    dimensions = 1 if shape[1] == 1 else 2
    return Decomposition(SpaceGrid(dimensions, 10.0, shape, "periodic"), comm, PER_POINT)


def whole(shape, seed=0, per_point=PER_POINT):
    return np.random.default_rng(seed).standard_normal((*shape, *per_point))


def header(shape, step=7, **more):
    return Header(step, 0.1 * step, {"undershoot": [0.0, -1e-3]}, "material: x\n", (*shape, *PER_POINT), **more)


@pytest.fixture
def folder(tmp_path):
    """One directory for all ranks."""
    return Path(COMM.bcast(str(tmp_path)))


@pytest.fixture
def series(folder):
    """An output file without rows."""
    file = OutputFile(folder / "series.h5", COMM, *CONTENT)
    yield file
    file.close()


def fill(file, rows):
    """Appends rows until there are so many; a NaN is among the numbers."""
    for row in range(file.rows, rows):
        assert file.append(0.5 * row) == row
        file.write(row, "population", [row, np.nan] if COMM.rank == 0 else None)
        file.write(row, "total", 3.0 * row if COMM.rank == 0 else None)
    file.flush()


def rows_of(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in ("time", "population", "total")}


def written(folder, steps=(7,), shape=(17, 13), keep=2, layout=None, files=()):
    """Checkpoints after `steps`; each output file has as many rows as the step's number at each."""
    partition = place(COMM, shape)
    store = CheckpointStore(folder / "checkpoints", partition, keep, layout)
    for step in steps:
        for file in files:
            fill(file, step)
        store.write(np.ascontiguousarray(partition.local(whole(shape, step))), header(shape, step), files)
    return store


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


def restored(folder, store, path="latest", name="series.h5"):
    """The output file as a restart makes it, open, and what it was made from."""
    resumption = restart.load(store, folder, path)[0]
    restart.set_unknown_aside(resumption, folder, COMM)
    return OutputFile.restored(resumption.sources.get(name), folder / name, COMM, *CONTENT), resumption


def test_rows_are_archived_once(folder, series):
    """A checkpoint costs what its new rows cost, not what all rows cost."""
    store = written(folder, steps=(3,), files=[series])
    part = folder / "checkpoints/rows/000001"
    sizes = [part.stat().st_size]
    for step in (4, 5, 105):
        fill(series, step)
        store.write(np.ones(store.partition.local_shape), header((17, 13), step), [series])
        sizes.append(part.stat().st_size)
    small, same, large = np.diff(sizes)
    assert abs(same - small) < 10
    assert large < 100 * small
    assert sorted(path.name for path in (folder / "checkpoints/00000105").iterdir()) == ["complete.json", "state.h5"]


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "longer", "shorter"])
def test_an_output_file_is_restored_whatever_became_of_it(folder, series, damage):
    """With the rows of the checkpoint, from the archive; the present file stays under another name."""
    store = written(folder, steps=(3, 5), files=[series])
    expected = rows_of(folder / "series.h5") if COMM.rank == 0 else None
    fill(series, 9 if damage == "longer" else 5)
    series.close()
    present = folder / "series.h5"
    if COMM.rank == 0:
        content = bytearray(present.read_bytes())
        if damage == "flip":
            content[content.index(np.float64(4.0).tobytes())] ^= 1
        if damage == "delete":
            present.unlink()
        elif damage == "shorter":
            with h5py.File(present, "r+") as file:
                file["total"].resize(2, axis=0)
        else:
            present.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
        kept = present.read_bytes() if present.exists() else b""
    COMM.Barrier()
    file, _ = restored(folder, store)
    assert file.rows == 5
    fill(file, 6)
    file.close()
    if COMM.rank == 0:
        after = rows_of(present)
        for name, values in expected.items():
            assert np.array_equal(after[name][:5], values, equal_nan=True), name
        assert after["total"][5] == 15.0
        aside = folder / "series.h5.replaced"
        assert (aside.read_bytes() if aside.exists() else b"") == kept
    COMM.Barrier()


def test_an_output_file_with_just_these_rows_is_not_kept_twice(folder, series):
    store = written(folder, steps=(3, 5), files=[series])
    series.close()
    restored(folder, store)[0].close()
    assert not (folder / "series.h5.replaced").exists()


def test_nothing_that_was_set_aside_is_overwritten(folder, series):
    store = written(folder, steps=(3,), files=[series])
    for rows in (7, 8, 9):
        fill(series, rows)
        series.close()
        series, _ = restored(folder, store)
        assert series.rows == 3
    series.close()
    if COMM.rank == 0:
        names = ("series.h5.replaced", "series.h5.replaced1", "series.h5.replaced2", "series.h5")
        assert [len(rows_of(folder / name)["time"]) for name in names] == [7, 8, 9, 3]
    COMM.Barrier()


def test_an_output_file_that_the_checkpoint_does_not_know_is_set_aside(folder, series):
    store = written(folder, steps=(3,), files=[series])
    series.close()
    if COMM.rank == 0:
        (folder / "wigner.h5").write_bytes(b"newer")
    COMM.Barrier()
    restored(folder, store)[0].close()
    assert not (folder / "wigner.h5").exists()
    assert (folder / "wigner.h5.replaced").read_bytes() == b"newer"


@pytest.mark.parametrize("place_of_damage", [0.02, 0.5, 0.99])
def test_a_damaged_archive_is_replaced_by_the_output_file(folder, series, place_of_damage):
    """And everything is archived anew."""
    store = written(folder, steps=(3, 5), files=[series])
    series.close()
    part = folder / "checkpoints/rows/000001"
    if COMM.rank == 0:
        content = bytearray(part.read_bytes())
        content[int(place_of_damage * len(content))] ^= 4
        part.write_bytes(content)
    COMM.Barrier()
    file, resumption = restored(folder, store)
    assert file.rows == 5
    assert resumption.extent is None
    again = CheckpointStore(folder / "checkpoints", store.partition, 2, extent=resumption.extent)
    again.write(np.ones(store.partition.local_shape), header((17, 13), 6), [file])
    file.close()
    if COMM.rank == 0:
        (folder / "series.h5").write_bytes(b"")
    COMM.Barrier()
    restored(folder, again)[0].close()
    if COMM.rank == 0:
        assert rows_of(folder / "series.h5")["total"].tolist() == [0.0, 3.0, 6.0, 9.0, 12.0]
    COMM.Barrier()


def test_without_either_copy_of_the_rows_an_older_checkpoint_is_used(folder, series):
    store = written(folder, steps=(3, 5), files=[series])
    series.close()
    part = folder / "checkpoints/rows/000001"
    if COMM.rank == 0:
        part.write_bytes(part.read_bytes()[:-3])
        (folder / "series.h5").write_bytes(b"")
    COMM.Barrier()
    file, resumption = restored(folder, store)
    assert (resumption.path.name, file.rows) == ("00000003", 3)
    file.close()


def test_a_branch_does_not_touch_the_archive_of_the_one_it_left(folder, series):
    """Restart from an older checkpoint, twice: each start has its own part."""
    store = written(folder, steps=(3, 5), keep=5, files=[series])
    fill(series, 8)
    series.close()
    first = (folder / "checkpoints/rows/000001").read_bytes()
    file, resumption = restored(folder, store, "00000003")
    branch = CheckpointStore(folder / "checkpoints", store.partition, 5, extent=resumption.extent)
    fill(file, 4)
    branch.write(np.ones(store.partition.local_shape), header((17, 13), 4), [file])
    file.close()
    assert (folder / "checkpoints/rows/000001").read_bytes() == first
    file, resumption = restored(folder, branch)
    assert list(resumption.header.outputs.parts) == ["000001", "000002"]
    assert file.rows == 4
    file.close()


def test_what_an_incomplete_checkpoint_has_appended_does_not_count(folder, series, monkeypatch):
    store = written(folder, steps=(3,), files=[series])
    fill(series, 4)
    with monkeypatch.context() as patched:
        patched.setattr(CheckpointStore, "_publish", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(CheckpointError, match="disk full"):
            store.write(np.ones(store.partition.local_shape), header((17, 13), 4), [series])
    fill(series, 5)
    store.write(np.ones(store.partition.local_shape), header((17, 13), 5), [series])
    series.close()
    if COMM.rank == 0:
        (folder / "series.h5").unlink()
    COMM.Barrier()
    file, _ = restored(folder, store)
    assert file.rows == 5
    file.close()


def test_an_archive_that_reads_back_differently_is_not_counted_on(folder, series, monkeypatch):
    store = written(folder, steps=(3,), files=[series])
    fill(series, 4)
    monkeypatch.setattr(archive, "file_sum", lambda *_: 0)
    with pytest.raises(CheckpointError, match="does not read back"):
        store.write(np.ones(store.partition.local_shape), header((17, 13), 4), [series])
    assert numbers(folder / "checkpoints") == ["00000003"]
    COMM.Barrier()


def test_format_1_can_be_read(folder, series):
    """It kept copies of the output files beside the state, and had no archive."""
    store = written(folder, steps=(3, 5), files=[series])
    path = folder / "checkpoints/00000005"
    if COMM.rank == 0:
        mark = checkpoint.read_mark(path)
        old = {key: mark["header"][key] for key in ("step", "time", "accumulators", "input", "shape")} | {
            "rows": {"series.h5": 5}
        }
        with h5py.File(path / "state.h5", "r+") as file:
            file.attrs["format"] = 1
            del file["header"]
            file["header"] = np.frombuffer(json.dumps(old).encode(), dtype=np.uint8)
        shutil.copy(folder / "series.h5", path / "series.h5")
        shutil.rmtree(folder / "checkpoints/rows")
        alone = CheckpointStore(folder / "checkpoints", place(MPI.COMM_SELF), keep=2)
        files = {name: alone._file_sums(path / name) for name in ("state.h5", "series.h5")}
        text = json.dumps({"header": old, "files": files})
        (path / "complete.json").write_text(f"{zlib.crc32(text.encode()):08x}\n{text}\n")
    fill(series, 8)
    series.close()
    file, resumption = restored(folder, store)
    assert file.rows == 5
    assert resumption.extent is None
    assert resumption.header.history == ()
    file.close()
    if COMM.rank == 0:
        assert rows_of(folder / "series.h5")["total"].tolist() == [0.0, 3.0, 6.0, 9.0, 12.0]
        assert len(rows_of(folder / "series.h5.replaced")["time"]) == 8
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


@pytest.mark.slow
def test_more_than_two_gibibytes(folder):
    """More bytes than 32 bits count, in the dataset and, on one rank, in a rank's block."""
    partition = Decomposition(SpaceGrid(2, 10.0, (24, 24), "periodic"), COMM, (32, 15000))
    store = CheckpointStore(folder / "checkpoints", partition, keep=1)
    u = np.empty(partition.local_shape)
    u[...] = np.arange(u.size).reshape(u.shape) + COMM.rank
    assert COMM.allreduce(u.nbytes) > 2**31
    store.write(u, Header(1, 0.1, {}, "", (24, 24, 32, 15000)), [])
    assert np.array_equal(store.load(folder / "checkpoints/00000001")[1], u)
    COMM.Barrier()
    if COMM.rank == 0:
        shutil.rmtree(folder / "checkpoints")
    COMM.Barrier()
