"""A run that is made only as far as it is not there yet."""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

from hpcwigner import config as configuration
from hpcwigner.config import Config
from hpcwigner.dynamics import restart
from hpcwigner.dynamics.kinetics import on_first_rank
from hpcwigner.dynamics.run import CHECKPOINTS, RUN_FILES, run
from hpcwigner.schema import InputError
from hpcwigner.storage.reading import read

OWN_BUSINESS = ("rates_cache", "time.walltime", "output.directory", "checkpoint")
"""Keys, or sections, that do not change what a run writes into its files."""


def ensure(config: Config, comm: MPI.Intracomm, quiet: bool = False) -> bool:
    """Sees to it that the run directory holds this input's whole run: takes what is there, goes on with it, or runs.

    Returns whether the end was reached. Raises InputError when the directory holds a run of another input. Collective.
    """
    found = on_first_rank(comm, lambda: _found(config))
    if found == "finished":
        return True
    return run(config, comm, quiet, "latest" if found == "stopped" else None)[1]


def finished(directory: Path, end: float) -> bool:
    """Whether a run directory's series reach `end` [ps]."""
    series = directory / "series.h5"
    if not series.exists():
        return False
    time = read(series).data["time"]
    return bool(len(time) and time[-1] >= end * (1 - 1e-9))


def _found(config: Config) -> str:
    """`finished`, `stopped` (with a checkpoint) or `nothing`, on one rank; remains without a checkpoint are put aside."""
    directory = Path(config.output.directory)
    if (directory / "input.yaml").exists():
        stored = configuration.load(directory / "input.yaml")
        allowed = (*OWN_BUSINESS, "time.end") if stored.time.end < config.time.end else OWN_BUSINESS  # goes on further
        if change := restart.first_change(restart.filled_from(config, stored), stored, allowed):
            key, asked, there = change
            raise InputError(
                f"output.directory: found '{directory}', which holds a run with {key} {there!r}, expected {asked!r}: "
                f"move it away or choose another directory"
            )
        if finished(directory, config.time.end):
            return "finished"
        if any((directory / CHECKPOINTS).glob("*/complete.json")):
            return "stopped"
    if any((directory / name).exists() for name in RUN_FILES):
        number = next(n for n in range(1, 1000) if not directory.with_name(f"{directory.name}.unfinished{n}").exists())
        directory.rename(directory.with_name(f"{directory.name}.unfinished{number}"))
    return "nothing"
