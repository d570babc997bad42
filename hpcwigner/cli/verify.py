"""The verb `verify`: what follows from a material, beside reference values."""

from __future__ import annotations

import argparse

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.exciton import materials
from hpcwigner.studies import verification


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("material", metavar="MATERIAL", help="shipped name or material file")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Print the comparison. Raises InputError. Collective."""
    common.print_text(comm, lambda: verification.report(materials.load(options.material)))
