"""The verb `report`: a run directory as one web page."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.plotting.report import write_report


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path)
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="HTML file to write (default RUN/report.html)")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Write the page and print its name. Raises InputError. Collective."""
    common.print_text(comm, lambda: write_report(options.directory, options.output))
