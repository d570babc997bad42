"""Parts of a run's output and control that need no whole run."""

import logging

from mpi4py import MPI

from hpcwigner.simulation.progress import LOG, Progress


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
