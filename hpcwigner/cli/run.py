"""The verb `run`: run an input, or all points of its sweep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hpcwigner.cli import common
from hpcwigner.cli.common import Exit
from hpcwigner.runtime.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcwigner.problem.config import Config


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_input(parser)
    common.add_run_directory(parser)
    parser.add_argument(
        "--restart", nargs="?", const="latest", metavar="latest|FILE", help="continue from a checkpoint of the run directory"
    )


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> Exit:
    """Run to the end or to a stop on request. Raises InputError. Collective."""
    from petsc4py import PETSc  # noqa: F401  (initialises PETSc, whose signal handlers ours must replace)

    from hpcwigner.simulation.control import ignore_signals, watch_signals

    watch_signals()  # before the slow imports: a signal may come at any time
    from hpcwigner.simulation.run import run

    config = common.load(options, comm, options.output)
    if config.sweep is not None or options.point is not None:
        if options.restart:
            raise InputError(f"--restart {options.restart}: found an input with a sweep, which continues without it")
        return run_sweep(config, options, comm, options.point)
    _, finished = run(config, comm, options.quiet, options.restart)
    ignore_signals()
    return Exit.DONE if finished else Exit.STOPPED


def run_sweep(config: Config, options: argparse.Namespace, comm: MPI.Intracomm, point: int | None = None) -> Exit:
    """Run a sweep, or one of its points, and print its table. Raises InputError. Collective."""
    from hpcwigner.simulation.control import ignore_signals
    from hpcwigner.studies.sweep import sweep

    table = sweep(config, comm, options.quiet, point)
    ignore_signals()
    common.print_text(comm, lambda: table, options.quiet)
    return Exit.STOPPED if table is None else Exit.DONE
