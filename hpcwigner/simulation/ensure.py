"""Reuse, resume or start a run."""

from pathlib import Path
from typing import Literal

from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation import restart
from hpcwigner.simulation.control import Job
from hpcwigner.simulation.run import CHECKPOINTS, RUN_FILES, lock_directory, run
from hpcwigner.storage.reading import last_time

SERIES, MOMENTS = "series.h5", "moments.h5"
"""Time series of a run, and of a solution of the moment equations."""
NO_EFFECT = ("time.walltime", "output.directory", "checkpoint")
"""Keys, or sections, that do not change what a run writes into its files."""


def ensure(config: Config, comm: MPI.Intracomm, quiet: bool = False, job: Job | None = None) -> bool:
    """Reuse, resume or start the run of an input; a run directory without a checkpoint is renamed and its run started again.

    Returns whether the end was reached. Raises InputError when the directory holds a run of another input. Collective.
    """

    def prepare() -> Literal["finished", "resumable", "startable"]:
        directory = Path(config.output.directory)
        require_same_input(config)
        if finished(config):
            return "finished"
        if (directory / "input.yaml").exists() and any((directory / CHECKPOINTS).glob("*/complete.json")):
            return "resumable"
        if any((directory / name).exists() for name in RUN_FILES):
            put_aside(directory)
        return "startable"

    held = on_first_rank(comm, prepare)
    return held == "finished" or run(config, comm, quiet, "latest" if held == "resumable" else None, job)[1]


def require_same_input(config: Config) -> None:
    """Raises InputError when the run directory holds a run of another input, unless that only ends earlier."""
    directory = Path(config.output.directory)
    if not (directory / "input.yaml").exists():
        return
    stored = loading.load(directory / "input.yaml")
    allowed = (*NO_EFFECT, "time.end") if stored.time.end < config.time.end else NO_EFFECT
    if change := restart.first_change(restart.filled_from(config, stored), stored, allowed):
        key, asked, there = change
        raise InputError(
            f"output.directory: found '{directory}', which holds a run with {key} {there!r}, expected {asked!r}: "
            f"move it away or choose another directory"
        )


def finished(config: Config, by_moments: bool = False) -> bool:
    """Whether every output file in the run directory reaches its last time; `by_moments`: that of the moment equations."""
    directory, end = Path(config.output.directory), config.time.end
    optional = {} if by_moments else {"fields.h5": end, "wigner.h5": max(config.cuts, default=0.0)}
    due = {MOMENTS if by_moments else SERIES: end} | {name: t for name, t in optional.items() if (directory / name).exists()}
    return all(last_time(directory / name) >= time * (1 - 1e-9) for name, time in due.items())


def put_aside(directory: Path) -> None:
    """Rename a run directory to NAME.unfinished1, …. Raises InputError while a run is under way in it."""
    with lock_directory(directory):
        number = next(n for n in range(1, 1000) if not directory.with_name(f"{directory.name}.unfinished{n}").exists())
        directory.rename(directory.with_name(f"{directory.name}.unfinished{number}"))
