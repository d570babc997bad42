"""Runs of the gallery: made under mpirun or taken as they are, and what is read from them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from faults.jobs import environment
from mpi4py import MPI
from project import ROOT

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.momentum.rates import generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import kinetics, loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.simulation.restart import SERIES
from hpcwigner.simulation.run import MOMENTS, finished, require_same_input
from hpcwigner.storage.files import set_aside, write_whole
from hpcwigner.storage.provenance import git_revision
from hpcwigner.storage.reading import Entry, Variables, read, read_summary
from hpcwigner.studies.sweep import INPUT as SWEEP_INPUT

COMMAND = "gallery.json"
"""In a run directory: what starting the run cost, since solutions of the moment equations do not keep that themselves."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, or a sweep whose points are runs."""

    directory: Path

    @functools.cached_property
    def config(self) -> Config:
        """The complete input."""
        sweep = self.directory / SWEEP_INPUT
        return loading.load(sweep if sweep.exists() else self.directory / "input.yaml")

    @functools.cached_property
    def points(self) -> list[Run]:
        """The runs of a sweep, in its order."""
        return [Run(path) for path in sorted(self.directory.glob("point_*"))]

    @functools.cached_property
    def series(self) -> Variables:
        path = self.directory / SERIES
        return read(path if path.exists() else self.directory / MOMENTS)

    @functools.cached_property
    def fields(self) -> Variables:
        return read(self.directory / "fields.h5")

    @functools.cached_property
    def checks(self) -> dict[str, Entry]:
        """What the run says itself at its end about its exactness."""
        *_, last = read_summary(self.directory / SERIES).values()
        return last["checks"]

    @property
    def time(self) -> Array:
        """Of the series [ps]."""
        return self.series.data["time"]

    @property
    def bright(self) -> int:
        """Number of the bright valley."""
        return self.series.valleys.index(self.series.attributes.get("bright_valley", "KK"))

    def varied(self, key: str) -> Array:
        """Values of a sweep's parameter, by the dotted key."""
        return read(self.directory / "summary.h5").data[key.replace(".", "_")]

    def at(self, name: str, time: float) -> Any:
        """A variable of the series at the output nearest to a time [ps]."""
        return self.series.need(name)[np.abs(self.time - time).argmin()]

    def row(self, time: float) -> int:
        """Of the fields' output nearest to a time [ps]."""
        return int(np.abs(self.fields.data["time"] - time).argmin())

    def density(self, time: float) -> Array:
        """Of all excitons together, as `fields` has it, shape (x,) or (x, y)."""
        return np.asarray(self.fields.need("density")[self.row(time)].sum(axis=0))

    @functools.cached_property
    def linear(self) -> float:
        """D of few excitons of all valleys in equilibrium, without a landscape [cm²/s]: Chapman–Enskog from the run's rates."""
        rates = kinetics.load(dataclasses.replace(self.config, sample=None), MPI.COMM_SELF).rates
        value = chapman_enskog(rates.equilibrium, generator(rates.intravalley + rates.intervalley)[1])
        rates.free()
        return CM2_PER_S * value

    def seconds(self) -> float | None:
        """Wall time of the run, by its own summary and of all points together; None where it is not known."""
        if self.points and (self.points[0].directory / SERIES).exists():
            parts = [point.seconds() for point in self.points]
            known = [part for part in parts if part is not None]
            return sum(known) if len(known) == len(parts) else None
        if (self.directory / SERIES).exists():
            starts = read_summary(self.directory / SERIES).values()
            return float(np.sum([np.asarray(start["performance"]["wall_time"].value, dtype=float) for start in starts]))
        path = self.directory / COMMAND
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.exists() else None

    def steps(self) -> tuple[str, ...]:
        """Settings with which another run takes the time steps that this one has chosen."""
        time = yaml.safe_load((self.directory / "input.yaml").read_text(encoding="utf-8"))["time"]
        return tuple(f"time.{key}={json.dumps(time[key])}" for key in ("integrator", "steps"))

    def attribute(self, name: str) -> str:
        """Of the output files."""
        return (self.points[0] if self.points else self).series.attributes[name]

    def ranks(self) -> int:
        """Number of ranks; solutions of the moment equations have one rank each, and share the ranks of the command."""
        path = self.directory / COMMAND
        return int(json.loads(path.read_text(encoding="utf-8"))["ranks"]) if path.exists() else int(self.attribute("ranks"))


def input_hash(path: Path, settings: tuple[str, ...]) -> str:
    """SHA-256 of what an input file says, without its comments, and of the settings that override it."""
    said = [yaml.safe_load(path.read_text(encoding="utf-8")), *settings]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()


def is_finished(config: Config) -> bool:
    """Whether the directory of an input holds its finished run or sweep. Raises InputError when it holds another one."""
    parts = [point.config for point in loading.points(config)] or [config]
    for part in parts:
        require_same_input(part)
    return all(finished(part, config.sweep is not None and config.sweep.moments) for part in parts)


def same_program(revision: str) -> bool:
    """Whether the package here is that of a revision."""
    command = ["git", "-C", str(ROOT), "diff", "--quiet", revision, "--", "hpcwigner"]
    return "+" not in revision and subprocess.run(command, capture_output=True, check=False).returncode == 0


def obtain(path: Path, settings: tuple[str, ...], directory: Path, ranks: int, keep: bool) -> Run:
    """The finished run of an input in `directory`, made under mpirun where it is missing or was made by another program.

    With `keep` whichever program has made it. What is in its place is renamed to NAME.old, …. Raises RunError.
    """
    config = loading.load(path, settings).in_directory(str(directory))
    try:
        if is_finished(config) and (keep or same_program(Run(directory).attribute("git_revision"))):
            return Run(directory)
    except InputError as error:
        print(f"  {error}")
    set_aside(directory, "old")
    started = time.monotonic()
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["mpirun", "--quiet", "-n", str(ranks), sys.executable, "-m", "hpcwigner", str(path), "--quiet"]
    waits_politely = {"OMPI_MCA_mpi_yield_when_idle": "1"} if ranks > 1 else {}
    ran = subprocess.run(
        [*command, "--output", str(directory), *words], env=environment() | waits_politely | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise RunError(f"{path.name}: the run failed with exit code {ran.returncode}: {ran.stderr.strip()[-500:]}")
    record = {"seconds": time.monotonic() - started, "ranks": ranks, "revision": git_revision()}
    write_whole(directory / COMMAND, json.dumps(record) + "\n")
    return Run(directory)


def given(path: Path, settings: tuple[str, ...], directory: Path) -> tuple[Run, tuple[str, ...]]:
    """A finished run from elsewhere, and its settings: none, as shipped, or those of the gallery. Raises InputError."""
    for chosen in ((), settings):
        try:
            if is_finished(loading.load(path, chosen).in_directory(str(directory))):
                return Run(directory), chosen
        except InputError as error:
            refused = error
        else:
            raise InputError(f"--run {path.stem}={directory}: found no finished run, expected one of {path}")
    raise InputError(f"--run {path.stem}={directory}: {refused}")
