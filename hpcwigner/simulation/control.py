"""Requests to a running job: write a checkpoint, or stop with one. They never influence the steps."""

import contextlib
import datetime
import enum
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.simulation.progress import LOG

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
STOP_FILE, SAVE_FILE = "STOP", "SAVE"
POLL_EVERY = 0.25  # Seconds between two agreements of all ranks, where steps are shorter than that
SLURM_MARGIN = 90.0  # A job stops this long [s] before Slurm's limit, in addition to the time of a checkpoint


class Request(enum.IntEnum):
    """Requests in the order of their priority."""

    NONE, SAVE, STOP = range(3)


_received: list[str] = []


@contextlib.contextmanager
def signals_watched() -> Iterator[None]:
    """A signal asks for a stop instead of ending the process, which runs a command and nothing else.

    After the last run it is too late for a request, and the exit code must stay that of the run: signals are ignored then.
    """
    from petsc4py import PETSc  # noqa: F401 - sets handlers of its own, which ours must replace

    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: _received.append(signal.Signals(number).name))
    yield
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def interrupt_watched() -> Iterator[None]:
    """The first interrupt asks for a stop, the second one raises KeyboardInterrupt; for a process that goes on afterwards.

    Only the main thread may set handlers: in others nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: object) -> None:
        _received.append("SIGINT")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _received.clear()


class Control:
    """Signals, STOP and SAVE files, the walltime and the checkpoint interval, agreed on by all ranks between two steps."""

    def __init__(
        self, comm: MPI.Intracomm, directory: Path, every: float, walltime: float | None, above: "Control | None" = None
    ) -> None:
        """`every` and `walltime` [s]; `signals_watched` is entered elsewhere, as early as possible.

        `above` is that of the sweep that a run is part of: its STOP file applies as well, and walltimes count from its start.
        """
        self.comm, self.every = comm, every
        self.directories: tuple[Path, ...] = (directory, *(above.directories if above else ()))
        self.reason, self.save_takes = "", 0.0
        """Why a request was made; seconds the last checkpoint took."""
        self._saved = self._polled = time.monotonic()
        self.started: float = above.started if above else self._saved
        self._file: Path | None = None
        self._stride, self._steps = 1, 0
        self._message = np.zeros(2, dtype=np.int64)
        self._deadline = self.started + walltime if walltime else None
        if comm.rank == 0 and (left := slurm_time_left()) is not None:
            slurm = self._saved + left - SLURM_MARGIN
            self._deadline = slurm if self._deadline is None else min(self._deadline, slurm)
            if left < 2 * SLURM_MARGIN:
                text = "Slurm ends this job in %.0f s: it will stop with a checkpoint %.0f s before that"
                LOG.warning(text, left, SLURM_MARGIN)

    def poll(self, at_once: bool = False) -> Request:
        """What to do after this step, the same on every rank; `reason` says why. Collective.

        Unless `at_once`, ranks communicate every few steps only, about POLL_EVERY seconds apart. The number of steps until then
        follows from reduced numbers alone, so that all ranks agree on it.
        """
        self._steps += 1
        if self._steps < self._stride and not at_once:
            return Request.NONE
        wish, reason = Request.NONE, ""
        if _received:
            wish, reason = Request.STOP, f"signal {_received[0]}"
        elif self.comm.rank == 0:
            wish, reason = self._look()
        now = time.monotonic()
        self._message[:] = wish, 1e9 * (now - self._polled)
        self.comm.Allreduce(MPI.IN_PLACE, self._message, MPI.MAX)
        agreed, nanoseconds = Request(self._message[0]), max(1, int(self._message[1]))
        affordable = int(1e9 * min(POLL_EVERY, self.every) * self._steps / nanoseconds)
        self._stride = max(1, min(affordable, 2 * self._stride))
        self._polled, self._steps = now, 0
        if agreed is not Request.NONE:
            reasons = self.comm.allgather(reason if wish is agreed else "")
            self.reason = next(filter(None, reasons))
        return agreed

    def _look(self) -> tuple[Request, str]:
        """What rank 0 asks for, and why."""
        now = time.monotonic()
        if self._deadline is not None and now + 2 * self.save_takes >= self._deadline:
            return Request.STOP, "the walltime"
        for name, request in ((STOP_FILE, Request.STOP), (SAVE_FILE, Request.SAVE)):
            for path in (directory / name for directory in self.directories):
                if path.exists():
                    self._file = path
                    return request, f"a file {name}"
        if now - self._saved >= self.every:
            return Request.SAVE, "the checkpoint interval"
        return Request.NONE, ""

    def done(self, took: float) -> None:
        """A checkpoint was written in `took` seconds: the request is fulfilled."""
        self.save_takes = took
        self._saved = time.monotonic()
        if self._file is not None:  # only the file that was obeyed: another one may have appeared meanwhile
            self._file.unlink(missing_ok=True)
        self._file = None


def slurm_time_left() -> float | None:
    """Seconds until Slurm ends this job, None outside a job or when Slurm does not tell."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    try:
        if end := os.environ.get("SLURM_JOB_END_TIME"):
            return float(end) - time.time()
        command, settings = ["squeue", "-h", "-j", job, "-o", "%e"], os.environ | {"SLURM_TIME_FORMAT": "standard"}
        text = subprocess.check_output(command, env=settings, stderr=subprocess.DEVNULL, text=True, timeout=20)
        return datetime.datetime.fromisoformat(text.strip()).timestamp() - time.time()
    except (OSError, ValueError, subprocess.SubprocessError):  # no squeue, or a job without a limit
        return None
