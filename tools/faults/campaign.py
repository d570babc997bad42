"""What all kinds of fault share: inputs, undisturbed runs, random numbers, trials and how they are judged."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import textwrap
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from faults.directories import difference, latest
from faults.jobs import Job
from faults.outcomes import DETECTED, LOST, SURVIVED, LostError, Tally, require

INPUT = """\
material: ws2_hbn
temperature: 77 K
momentum: {energy_max: 62 meV, energy_step: 4 meV, angles: ANGLES}
space: {dimensions: 1, length: 6 um, cells: 48, boundary: periodic}
time:
  {end: 8 ps, integrator: etd3, tolerance: 1e-2,
   steps: [{size: 25 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 125 fs}]}
output: {directory: unused, series_every: 0.25 ps, fields_every: 1 ps, wigner_at: [2 ps]}
checkpoint: {every: EVERY s, keep: 2}
sample: SAMPLE
"""


class Campaign:
    """Starts runs in fresh directories, judges them against undisturbed ones and keeps the tally."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.random = random.Random(options.seed)
        self.rows: list[Tally] = []
        self.problems: list[str] = []
        self._number = 0
        self.input = self._input("input", angles=8, every=0)
        self.rare = self._input("rare", angles=8, every=0.1)  # the same results, fewer checkpoints
        self.large = self._input("large", angles=128, every=0)
        self._undisturbed: dict[tuple[Path, int], Path] = {}
        self.start_up: dict[int, float] = {}
        """Seconds to the first checkpoint, by number of ranks."""
        self.stepping: dict[int, float] = {}
        """Seconds from there to the end."""
        for ranks in (1, 2):
            for _ in range(2):  # numba's cache is warm then
                self._measure(ranks)
            first, rest = self.start_up[ranks], self.stepping[ranks]
            print(f"undisturbed on {ranks} rank(s): {first:.1f} s to the first checkpoint, then {rest:.1f} s", flush=True)
        self.steps = latest(self._undisturbed[self.input, 1])

    def _input(self, name: str, angles: int, every: float) -> Path:
        path = self.folder / f"{name}.yaml"
        values = {"ANGLES": str(angles), "EVERY": str(every), "SAMPLE": self.options.sample}
        text = INPUT
        for word, value in values.items():
            text = text.replace(word, value)
        path.write_text(text, encoding="utf-8")
        return path

    def _measure(self, ranks: int) -> None:
        job, directory = self.start(ranks)
        job.wait_until(lambda: latest(directory) > 0)
        self.start_up[ranks] = time.monotonic() - job.started
        job.expect(0)
        self.stepping[ranks] = time.monotonic() - job.started - self.start_up[ranks]
        self._undisturbed[self.input, ranks] = directory

    def prepare(self, input: Path) -> None:
        """Undisturbed runs of another input."""
        for ranks in (1, 2):
            if (input, ranks) not in self._undisturbed:
                job, self._undisturbed[input, ranks] = self.start(ranks, input=input)
                job.expect(0)

    def count(self, usual: int) -> int:
        """How many trials of a case to make."""
        return usual if self.options.trials is None else min(usual, self.options.trials)

    def fresh(self) -> Path:
        """A run directory that does not exist yet."""
        self._number += 1
        return self.folder / f"run-{self._number:04d}"

    def start(self, ranks: int, directory: Path | None = None, *words: object, input: Path | None = None) -> tuple[Job, Path]:
        """A new job; without a directory in a fresh one."""
        directory = directory or self.fresh()
        return Job(self.folder, ranks, input or self.input, "--output", directory, *words), directory

    def stopped(self, ranks: int, input: Path | None = None, after: int = 40) -> Path:
        """A run that was stopped on request after about `after` steps, with two checkpoints."""
        job, directory = self.start(ranks, input=input)
        job.wait_until(lambda: latest(directory) >= after)
        if input == self.rare:
            time.sleep(0.05)  # so that some steps lie between the two
        job.signal(signal.SIGUSR1, [job.rank(0) or job.process.pid])
        job.expect(3, "stopped by signal SIGUSR1")
        return directory

    def require_identical(self, directory: Path, ranks: int, input: Path | None = None) -> None:
        """Requires the result of the undisturbed run."""
        problem = difference(directory, self._undisturbed[input or self.input, ranks])
        require(not problem, f"result differs from the undisturbed run: {problem}")

    def finish(self, directory: Path, ranks: int, at_least: int = -1, *words: object, input: Path | None = None) -> str:
        """Restarts (afresh when there is no checkpoint, which the program must say) to the end and compares."""
        if at_least < 0 and latest(directory) < 0:
            if directory.exists():
                self.start(ranks, directory, "--restart", "latest", input=input)[0].expect(2, "no complete checkpoint")
            shutil.rmtree(directory, ignore_errors=True)
            self.start(ranks, directory, input=input)[0].expect(0)
            self.require_identical(directory, ranks, input)
            return DETECTED
        job, _ = self.start(ranks, directory, "--restart", "latest", *words, input=input)
        job.expect(0)
        step = job.restarted_from
        if step is None:
            raise LostError("restarted without saying from where")
        require(step >= at_least, f"restarted from {step}, though {at_least} had been completed")
        self.require_identical(directory, ranks, input)
        return DETECTED if "cannot be used" in job.text else SURVIVED

    def tally(self, fault: str) -> Tally:
        """A new row of the table."""
        self.rows.append(Tally(fault))
        return self.rows[-1]

    def trial(self, row: Tally, what: str, action: Callable[[], str]) -> None:
        """One trial: its outcome goes into the table, broken promises into the list of problems."""
        try:
            outcome, why = action(), ""
        except LostError as error:
            outcome, why = LOST, str(error)
        except Exception:
            outcome, why = LOST, traceback.format_exc().strip()
        row.add(outcome)
        if why:
            self.problem(row, f"{what}: {why}")

    def problem(self, row: Tally, text: str) -> None:
        """Notes a loss, with what the last job printed."""
        logs = sorted(self.folder.glob("log-*.txt"), key=lambda p: p.stat().st_mtime)[-1:]
        tail = "\n".join(logs[0].read_text(encoding="utf-8", errors="replace").splitlines()[-12:]) if logs else ""
        self.problems.append(f"{row.fault}, {text}\n    last output:\n{textwrap.indent(tail, '    | ')}")
        print(f"LOST {self.problems[-1]}", flush=True)
