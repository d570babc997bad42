"""What several verbs share: exit codes, the arguments that name an input, and printing on one rank.

It imports nothing slow: a run must be able to catch signals before it loads its libraries.
"""

from __future__ import annotations

import argparse
import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpcwigner.runtime.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcwigner.problem.config import Config


class Exit(enum.IntEnum):
    """Exit codes of the program."""

    DONE = 0
    ERROR = 1
    BAD_INPUT = 2
    STOPPED = 3
    """On request and with a checkpoint: the same command continues."""


def add_input(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verbs that read an input."""
    parser.add_argument("input", metavar="INPUT", type=Path, help="input file (YAML)")
    parser.add_argument("--point", metavar="N", type=int, help="only point N of the input's sweep, counted from 0")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """`--set` and `--quiet`."""
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key, e.g. time.end='5 ps'")
    parser.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def add_run_directory(parser: argparse.ArgumentParser) -> None:
    """`--output` of the verbs that take a run directory."""
    parser.add_argument("-o", "--output", metavar="DIR", help="run directory instead of output.directory")


def load(options: argparse.Namespace, comm: MPI.Intracomm, directory: str | None = None, point: int | None = None) -> Config:
    """The input, or point `point` of its sweep, with its output in `directory`. Raises InputError. Collective."""
    from hpcwigner.problem import loading
    from hpcwigner.runtime.parallel import on_first_rank

    def read() -> Config:
        config = loading.load(options.input, options.set)
        config = config.in_directory(directory) if directory else config
        return config if point is None else loading.point(config, point).config

    return on_first_rank(comm, read)


def load_one(options: argparse.Namespace, comm: MPI.Intracomm) -> Config:
    """The input, or the point of its sweep that `--point` names. Raises InputError where neither is one run. Collective."""
    config = load(options, comm, point=options.point)
    if config.sweep is not None:
        raise InputError("sweep: found an input with a sweep, expected --point N: this verb takes one point")
    return config


def print_text(comm: MPI.Intracomm, text: Callable[[], str | Path | None], quiet: bool = False) -> None:
    """Print on rank 0 what `text` returns there. An InputError is raised on every rank. Collective."""
    from hpcwigner.runtime.parallel import on_first_rank

    if (result := on_first_rank(comm, text)) and comm.rank == 0 and not quiet:
        print(result, flush=True)
