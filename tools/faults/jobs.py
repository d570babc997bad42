"""Runs under mpirun as processes that can be watched, stopped and killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from project import MPIRUN

from faults.outcomes import LostError, require

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0
"""Seconds after which a job counts as hung; it takes about 5 undisturbed."""


class Job:
    """A run under mpirun in a session of its own: that is how its processes are known."""

    def __init__(self, folder: Path, ranks: int, *words: object, program: tuple[object, ...] = ("-m", "hpcwigner")) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="log-", suffix=".txt")
        self.log = Path(name)
        self.command = ["mpirun", "-n", str(ranks), sys.executable, *map(str, (*program, *words))]
        self.started = time.monotonic()
        with os.fdopen(descriptor, "wb") as file:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        JOBS.append(self)

    @property
    def text(self) -> str:
        """Everything the job has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def members(self) -> list[int]:
        """Living processes of the job, mpirun included."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
                if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                    found.append(int(entry))
        return found

    def rank(self, number: int) -> int | None:
        """Process of a rank, None when it is not there (yet)."""
        for pid in self.members():
            with contextlib.suppress(OSError):
                if f"OMPI_COMM_WORLD_RANK={number}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
        return None

    def living_rank(self, number: int) -> int:
        """Process of a rank. Raises LostError when there is none."""
        pid = self.rank(number)
        if pid is None:
            raise LostError(f"rank {number} ended too early: repeat with another --seed")
        return pid

    def signal(self, number: int, pids: list[int] | None = None) -> None:
        """Sends a signal, to all members by default."""
        for pid in self.members() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, only_mpirun: bool = False) -> None:
        """kill -9; what is left after 10 s counts as hung."""
        self.signal(signal.SIGKILL, [self.process.pid] if only_mpirun else None)
        self.process.wait()
        limit = time.monotonic() + 10
        while members := self.members():
            if not only_mpirun or time.monotonic() > limit:
                self.signal(signal.SIGKILL, members)
            require(time.monotonic() < limit + 5, f"processes {members} live on 10 s after mpirun was killed")
            time.sleep(0.005)
        if only_mpirun:
            require(time.monotonic() < limit, "ranks lived on for 10 s after mpirun was killed")

    def wait(self, limit: float = LIMIT) -> int:
        """Exit code. Raises LostError when the job hangs."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LostError(f"hang: still running after {limit:g} s") from None

    def expect(self, code: int, message: str = "", limit: float = LIMIT) -> None:
        """Waits and requires an exit code and a line that matches `message`."""
        found = self.wait(limit)
        require(found == code, f"exit code {found}, expected {code}")
        require(not message or re.search(message, self.text) is not None, f"no message '{message}'")

    def wait_until(self, condition: Callable[[], object], limit: float = LIMIT) -> bool:
        """Polls until `condition` holds; False when the job ends or `limit` seconds pass before."""
        end = time.monotonic() + limit
        while self.running and time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.0004)
        return False

    @property
    def restarted_from(self) -> int | None:
        """Step at which the job went on, by its own word."""
        found = re.search(r"restarted from checkpoint (\d+)", self.text)
        return int(found[1]) if found else None


JOBS: list[Job] = []
"""All jobs so far, so that none outlives the campaign."""


def environment() -> dict[str, str]:
    """As tests/helpers.clean_environment, with MPI's shared files in the campaign's folder: killed jobs leave them."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_COMM", "PMIX", "PRTE"))}
    return kept | MPIRUN
