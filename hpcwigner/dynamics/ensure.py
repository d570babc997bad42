"""A run that is made only as far as it is not there yet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from mpi4py import MPI

from hpcwigner import config as configuration
from hpcwigner.config import Config
from hpcwigner.dynamics import restart
from hpcwigner.dynamics.control import Job
from hpcwigner.dynamics.kinetics import on_first_rank
from hpcwigner.dynamics.run import CHECKPOINTS, RUN_FILES, lock_directory, run
from hpcwigner.schema import InputError
from hpcwigner.storage.reading import last_time

OWN_BUSINESS = ("rates_cache", "time.walltime", "output.directory", "checkpoint")
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
    if not require_same_input(config, *RUN_FILES):
        return "nothing"
    if finished(config):
        return "finished"
    return "stopped" if any((directory / CHECKPOINTS).glob("*/complete.json")) else "remains"


def require_same_input(config: Config, *files: str) -> bool:
    """Whether the run directory holds any of `files`. Raises InputError when they come from another input."""
    directory = Path(config.output.directory)
    if not any((directory / name).exists() for name in files):
        return False
    stored = configuration.load(directory / "input.yaml")
    if change := restart.first_change(restart.filled_from(config, stored), stored, OWN_BUSINESS):
        key, asked, there = change
        raise InputError(
            f"output.directory: found '{directory}', which holds a run with {key} {there!r}, expected {asked!r}: "
            f"move it away or choose another directory"
        )
    return True


def finished(config: Config) -> bool:
    """Whether every output file in the run directory reaches its last time."""
    directory, end, every = Path(config.output.directory), config.time.end, config.output.fields_every
    due = {
        "series.h5": end,
        "fields.h5": math.floor(end / every * (1 + 1e-9)) * every,
        "wigner.h5": max(config.output.wigner_at, default=0.0),
    }
    there = {name: time for name, time in due.items() if name == "series.h5" or (directory / name).exists()}
    return all(last_time(directory / name) >= time * (1 - 1e-9) for name, time in there.items())


def put_aside(directory: Path) -> None:
    """Renames a directory of remains, unless a run is under way there. Raises InputError."""
    with lock_directory(directory):
        number = next(n for n in range(1, 1000) if not directory.with_name(f"{directory.name}.unfinished{n}").exists())
        directory.rename(directory.with_name(f"{directory.name}.unfinished{number}"))
