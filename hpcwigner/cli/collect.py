"""The verb `collect`: sum up the finished points of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.studies.sweep import collect


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="SWEEP", type=Path)


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Write the summary and print its table. Raises InputError. Collective."""
    common.print_text(comm, lambda: collect(options.directory))
