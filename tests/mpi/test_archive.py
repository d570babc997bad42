"""Rows of output files in the archive beside the checkpoints: restored from what is good, never overwritten."""

import json
import shutil
import zlib

import h5py
import numpy as np
import pytest
from checkpoints import COMM, CONTENT, fill, header, place, restored, rows_of, written
from mpi4py import MPI

from hpcwigner.storage import archive, checkpoint
from hpcwigner.storage.checkpoint import CheckpointError, CheckpointStore, numbers
from hpcwigner.storage.files import OutputFile

pytestmark = pytest.mark.mpi


@pytest.fixture
def series(folder):
    """An output file without rows."""
    file = OutputFile(folder / "series.h5", COMM, *CONTENT)
    yield file
    file.close()


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
