"""Messages of a run: terminal, log file, progress, and the warnings that its closing summary keeps."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mpi4py import MPI

from hpcwigner.storage.reading import Entry

LOG = logging.getLogger("hpcwigner")


class _Warnings(logging.Handler):
    """Collects warnings and errors as entries of a summary, numbered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.entries: dict[str, Entry] = {}

    def emit(self, record: logging.LogRecord) -> None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        self.entries[f"{len(self.entries) + 1:04d}"] = Entry(record.getMessage(), "", when)


def start_logging(comm: MPI.Intracomm, log_file: Path | None, quiet: bool) -> dict[str, Entry]:
    """Rank 0 logs to the terminal (unless `quiet`) and to `log_file`; other ranks log nothing.

    Returns the warnings from now on, by number, a dictionary that grows.
    """
    warnings = _Warnings()
    for handler in LOG.handlers[:]:  # of an earlier run in this process
        LOG.removeHandler(handler)
        handler.close()
    logging.raiseExceptions = False  # a full disk under run.log must not bury the message in tracebacks
    LOG.propagate, LOG.disabled = False, comm.rank != 0
    LOG.setLevel(logging.INFO)
    if LOG.disabled:
        return warnings.entries
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    LOG.addHandler(terminal)
    LOG.addHandler(warnings)
    if log_file is not None:
        to_file = logging.FileHandler(log_file, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        LOG.addHandler(to_file)
    return warnings.entries


@contextlib.contextmanager
def logging_restored() -> Iterator[None]:
    """Leaves the loggers as they were before the runs in between."""
    handlers, state = LOG.handlers[:], (LOG.propagate, LOG.disabled, LOG.level, logging.raiseExceptions)
    try:
        yield
    finally:
        for handler in set(LOG.handlers) - set(handlers):
            handler.close()
        LOG.handlers[:] = handlers
        LOG.propagate, LOG.disabled, level, logging.raiseExceptions = state
        LOG.setLevel(level)


class Progress:
    """A bar on a single-process terminal, otherwise log lines; rank 0 only. It never influences the run."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, comm: MPI.Intracomm, steps: int, end: float, quiet: bool, first: int = 0) -> None:
        """`first` steps were done before this process started."""
        self.steps, self.end, self.done, self.first = steps, end, first, first
        self.active = comm.rank == 0 and not quiet
        self.started = self._last = time.perf_counter()
        self._bar = None
        if self.active and comm.size == 1 and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=first, unit="step", dynamic_ncols=True, leave=False)

    def update(self, done: int, simulated: float) -> None:
        """`done` steps are finished, the state is at `simulated` [ps]."""
        now, new, self.done = time.perf_counter(), done - self.done, done
        if self._bar is not None:
            self._bar.set_description(f"{simulated:.4g} of {self.end:g} ps", refresh=False)
            self._bar.update(new)
        elif self.active and done > self.first and now - self._last >= self.SECONDS_BETWEEN_LINES:
            rate = (done - self.first) / (now - self.started)
            LOG.info("%8.4g of %g ps   %.3g steps/s   %s to go", simulated, self.end, rate, _duration((self.steps - done) / rate))
            self._last = now

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
