"""Shares cases among worker processes, and finds the case of a worker that crashed or hangs."""

import collections
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
WORKER = ["-m", "fuzzing.worker"]
BATCH = 250  # Cases of one process
PATIENCE = 15
START = 600.0  # Seconds until a worker is ready: the first one on a machine compiles the kernels


@dataclasses.dataclass
class Outcome:
    """What became of the cases."""

    codes: dict[str, dict[int, int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(collections.Counter))
    """Cases by kind and exit code."""
    problems: dict[int, str] = dataclasses.field(default_factory=dict)
    """By number of the case."""

    @property
    def cases(self) -> int:
        """Number of cases that were judged."""
        return sum(sum(codes.values()) for codes in self.codes.values())


def campaign(
    seed: int, cases: int, folder: Path, jobs: int = 1, limit: int = 60, first: int = 0, say: Callable[[str], None] = print
) -> Outcome:
    """Runs the cases `first` … of a seed in `folder`, where the files of those with a problem stay.

    `limit` [s] is the processor time of a case; one that waits instead of computing has PATIENCE times as long.
    """
    outcome = Outcome()
    rates = folder / "rates.h5"
    folder.mkdir(parents=True, exist_ok=True)
    if jobs > 1 and not rates.exists():
        _batch(seed, 0, 0, folder, rates, limit, outcome, say)  # makes the rates, which several workers would make at once
    last = first + cases
    starts = range(first, last, BATCH)
    with ThreadPoolExecutor(jobs) as pool:
        for done in pool.map(lambda a: _batch(seed, a, min(a + BATCH, last), folder, rates, limit, outcome, say), starts):
            assert done
    return outcome


def _batch(
    seed: int, start: int, end: int, folder: Path, rates: Path, limit: int, outcome: Outcome, say: Callable[[str], None]
) -> bool:  # fmt: skip
    """Runs cases in as many workers as needed; a worker that dies or hangs ends with its case, the next one goes on behind it."""
    while True:
        reached = _worker(seed, start, end, folder, rates, limit, outcome, say)
        if reached is None:
            return True
        start = reached + 1


def _worker(
    seed: int, start: int, end: int, folder: Path, rates: Path, limit: int, outcome: Outcome, say: Callable[[str], None]
) -> int | None:  # fmt: skip
    """Runs cases in one worker; returns the case in which it died or hung, None when all are done."""
    own = Path(tempfile.mkdtemp(prefix="worker_", dir=folder))
    words = [sys.executable, "-X", "faulthandler", *WORKER, *map(str, (seed, start, end, own, rates, limit))]
    search = os.pathsep.join([str(TOOLS), str(TOOLS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": search, "H5PY_ALWAYS_USE_MPI": "1"}
    number, kind, wait = start, "", START

    def note(problem: str) -> None:
        outcome.problems[number] = problem
        say(f"case {number} ({kind}, files in {own}/cases/{number}): {problem}")

    with open(own / "stderr", "w+b") as stderr, subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, env=environment, text=True, bufsize=1
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = _Lines(process.stdout.fileno())
        while (line := lines.next(wait)) is not None and line:
            word, *rest = line.split(" ", 3)
            wait = PATIENCE * limit
            if word == "start":
                number, kind = int(rest[0]), rest[1]
            elif word == "end":
                outcome.codes[kind][int(rest[1])] += 1
                if problem := json.loads(rest[2]):
                    note(problem)
                number += 1
        if line is None:
            process.kill()
        code = process.wait()
        stderr.seek(0)
        words_at_end = stderr.read().decode("utf-8", "replace").strip()[-1500:]
    if line is not None and code == 0:
        return None
    if not kind:
        raise RuntimeError(f"a worker did not start (exit code {code}): {words_at_end}")
    outcome.codes[kind][code] += 1
    late = line is None or code == -signal.SIGXCPU
    note(f"no answer within {limit} s of processor time" if late else f"the process died with exit code {code}: {words_at_end}")
    return number


class _Lines:
    """Lines of a pipe, each with a time limit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest = descriptor, b""

    def next(self, limit: float) -> str | None:
        """The next line; '' at the end of the pipe, None when none comes within `limit` seconds."""
        while b"\n" not in self._rest:
            if not select.select([self._descriptor], [], [], limit)[0]:
                return None
            if not (part := os.read(self._descriptor, 65536)):
                return ""
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()
