"""The verb `sensitivity`: how D_v(t) depends on each uncertain number of the material."""

from __future__ import annotations

import argparse

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.studies import sensitivity


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_input(parser)
    parser.add_argument("-o", "--output", metavar="DIR", help="also write DIR/sensitivity.txt and DIR/sensitivity.png")
    parser.add_argument("--ranged", action="store_true", help="vary every number with a range, not only the estimated ones")
    parser.add_argument("--at", metavar="PS", type=float, nargs="+", default=None, help="times of the table [ps]")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Print the table. Raises InputError. Collective."""
    config = common.load_one(options, comm)
    text = sensitivity.report(config, comm, options.ranged, options.at, options.output)
    common.print_text(comm, lambda: text, options.quiet)
