"""A run that is made only as far as it is not there yet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation import restart
from hpcwigner.simulation.checkpoints import CHECKPOINTS
from hpcwigner.simulation.control import Job
from hpcwigner.simulation.run import RUN_FILES, lock_directory, run
from hpcwigner.storage.reading import last_time

OWN_BUSINESS = ("time.walltime", "output.directory", "checkpoint")
"""Keys, or sections, that do not change what a run writes into its files."""


def ensure(config: Config, comm: MPI.Intracomm, quiet: bool = False, job: Job | None = None) -> bool:
    """Sees to it that the run directory holds this input's whole run: takes what is there, goes on with it, or runs.

    Returns whether the end was reached. Raises InputError when the directory holds a run of another input. Collective.
    """
    found = on_first_rank(comm, lambda: state(config))
    if found == "finished":
        return True
    if found == "remains":
        on_first_rank(comm, lambda: put_aside(Path(config.output.directory)))
    return run(config, comm, quiet, "latest" if found == "stopped" else None, job)[1]


def state(config: Config) -> Literal["finished", "stopped", "remains", "nothing"]:
    """What the run directory holds of this input's run; `stopped`: with a checkpoint, `remains`: without one. On one rank.

    Raises InputError when it holds a run of another input.
    """
    directory = Path(config.output.directory)
    require_same_input(config)
    if finished(config):
        return "finished"
    if (directory / "input.yaml").exists() and any((directory / CHECKPOINTS).glob("*/complete.json")):
        return "stopped"
    return "remains" if any((directory / name).exists() for name in RUN_FILES) else "nothing"


def require_same_input(config: Config) -> None:
    """Raises InputError when the run directory holds a run of another input, whose end is not merely earlier."""
    directory = Path(config.output.directory)
    if not (directory / "input.yaml").exists():
        return
    stored = loading.load(directory / "input.yaml")
    allowed = (*OWN_BUSINESS, "time.end") if stored.time.end < config.time.end else OWN_BUSINESS  # goes on further
    if change := restart.first_change(restart.filled_from(config, stored), stored, allowed):
        key, asked, there = change
        raise InputError(
            f"output.directory: found '{directory}', which holds a run with {key} {there!r}, expected {asked!r}: "
            f"move it away or choose another directory"
        )


def finished(config: Config) -> bool:
    """Whether every output file in the run directory reaches its last time."""
    directory, end, every = Path(config.output.directory), config.time.end, config.output.fields_every
    due = {
        "series.h5": end,
        "fields.h5": math.floor(end / every * (1 + 1e-9)) * every,
        "wigner.h5": max(config.output.wigner_at, default=0.0),
    }
    return all(reaches(directory / name, t) for name, t in due.items() if name == "series.h5" or (directory / name).exists())


def reaches(path: Path, time: float) -> bool:
    """Whether an output file can be read and has `time` [ps]."""
    return last_time(path) >= time * (1 - 1e-9)


def put_aside(directory: Path) -> None:
    """Renames a directory of remains, unless a run is under way there. Raises InputError."""
    with lock_directory(directory):
        number = next(n for n in range(1, 1000) if not directory.with_name(f"{directory.name}.unfinished{n}").exists())
        directory.rename(directory.with_name(f"{directory.name}.unfinished{number}"))
