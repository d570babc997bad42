"""The verb `figures`: the figures and statements of Rosati et al., Nanoscale 12, 356 (2020)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hpcwigner.cli import common
from hpcwigner.cli.common import Exit

if TYPE_CHECKING:
    from mpi4py import MPI


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("figures"), help="folder (default figures)")
    parser.add_argument("--material", metavar="MATERIAL", default="ws2_hbn", help="shipped name or material file (ws2_hbn)")
    parser.add_argument("--plane", action="store_true", help="two-dimensional runs instead of slabs (minutes to hours)")
    common.add_overrides(parser)


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> Exit:
    """Make the missing runs, draw, and print the table of statements. Raises InputError. Collective."""
    from petsc4py import PETSc  # noqa: F401  (initialises PETSc, whose signal handlers ours must replace)

    from hpcwigner.simulation.control import ignore_signals, watch_signals

    watch_signals()
    from hpcwigner.studies.figures import figures

    text = figures(options.material, options.output, comm, options.plane, options.quiet, options.set)
    ignore_signals()
    common.print_text(comm, lambda: text, options.quiet)
    return Exit.STOPPED if text is None else Exit.DONE
