"""Parts of a run's output and control that need no whole run."""

import json
import logging

import h5py
import pytest
import xarray
from mpi4py import MPI

from hpcwigner.observables import registry
from hpcwigner.runtime.errors import InputError, RunError, WriteError
from hpcwigner.runtime.parallel import CollectiveStack
from hpcwigner.simulation.progress import LOG, Progress, start_logging
from hpcwigner.storage.files import OutputFile
from hpcwigner.storage.reading import Entry, copy_summary, read, read_summary, write_summary

STARTS = [{"time": "2026-01-02T03:04:05+0000"}, {"time": "2026-01-03T03:04:05+0000"}]
SUMMARY = {
    "performance": {"wall_time": Entry(12.5, "s", "wall time"), "steps": Entry(7, "1", "steps")},
    "checks": {"undershoot": Entry([-1e-3, 0.0], "1", "min N/max N"), "not_compared": Entry("since ħ", "", "why")},
    "warnings": {"0001": Entry("one line\nand another", "", "2026-01-02 03:04:05")},
}


@pytest.fixture
def series(tmp_path):
    """Makes output files of two valleys with a history of starts, closed."""

    def make(name, starts):
        attributes = {"history": json.dumps(starts)}
        OutputFile(
            tmp_path / name, MPI.COMM_SELF, registry.SERIES, {"valley": ["KK", "KΛ"], "axis": ["x", "y"]}, attributes
        ).close()
        return tmp_path / name

    return make


def test_summaries_are_read_back_and_opened_by_xarray(series):
    path = series("series.h5", STARTS)
    write_summary(path, SUMMARY)
    assert read_summary(path) == {2: SUMMARY}
    assert "summary" not in read(path).data
    with xarray.open_dataset(path, engine="h5netcdf", group="summary/0002/checks") as checks:
        assert checks.undershoot.dims == ("valley",)
        assert checks.undershoot.values.tolist() == [-1e-3, 0.0]
    with xarray.open_dataset(path, engine="h5netcdf", group="summary/0002/performance") as performance:
        assert float(performance.wall_time) == 12.5
        assert performance.wall_time.attrs["units"] == "s"
    with xarray.open_dataset(path, engine="h5netcdf") as opened:
        assert "population" in opened


def test_summaries_of_shared_starts_are_copied(series):
    """A start of a branch that was left does not count, although it has the same number."""
    old = series("old.h5", STARTS[:1])
    write_summary(old, SUMMARY)
    with h5py.File(old, "r+") as file:
        file.attrs["history"] = json.dumps(STARTS)
    write_summary(old, {"performance": {}})
    other = [STARTS[0], {"time": "2026-01-04T03:04:05+0000"}]
    for starts, expected in ((other, {1: SUMMARY}), (STARTS, {1: SUMMARY, 2: {"performance": {}}}), (other[1:], {})):
        new = series(f"{len(expected)}.h5", starts)
        copy_summary(old, new)
        assert read_summary(new) == expected
    old.write_bytes(old.read_bytes()[:3000])
    copy_summary(old, new)
    assert read_summary(new) == {}
    with pytest.raises(WriteError, match="cannot be written"):
        write_summary(old, SUMMARY)


def test_warnings_are_collected_for_the_summary(tmp_path):
    warnings = start_logging(MPI.COMM_SELF, tmp_path / "run.log", quiet=True)
    LOG.info("fine")
    LOG.warning("no checkpoint after step %d", 7)
    start_logging(MPI.COMM_SELF, None, quiet=True)
    LOG.warning("of another run")
    assert [entry.value for entry in warnings.values()] == ["no checkpoint after step 7"]
    assert "WARNING no checkpoint after step 7" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize(("error", "closed"), [(InputError, True), (RunError, True), (WriteError, False)])
def test_files_are_closed_where_all_ranks_leave_together(tmp_path, error, closed):
    """After an error of one rank nobody would take part in closing."""

    def fail():
        with CollectiveStack() as stack:
            file = OutputFile(tmp_path / "series.h5", MPI.COMM_SELF, registry.SERIES, {"valley": ["KK"], "axis": ["x"]}, {})
            stack.callback(file.close)
            files.append(file)
            raise error("lost")

    files = []
    with pytest.raises(error):
        fail()
    assert bool(files[0]._file) != closed
    files[0].close()
    files[0].close()


def test_the_first_line_of_progress_may_come_before_the_first_step(caplog, monkeypatch):
    """The first output can take longer than the time between two lines."""
    monkeypatch.setattr(Progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(LOG, "propagate", True)
    progress = Progress(MPI.COMM_SELF, 20, 1.0, quiet=False, first=10)
    with caplog.at_level(logging.INFO, logger="hpcwigner"):
        progress.update(10, 0.5)
        assert caplog.messages == []
        progress.update(12, 0.6)
    assert "steps/s" in caplog.messages[0]
