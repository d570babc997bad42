"""The verb `verify`: what follows from a material, beside reference values."""

from __future__ import annotations

import argparse

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.cli.common import Exit
from hpcwigner.exciton import materials
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.studies import verification


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("material", metavar="MATERIAL", help="shipped name or material file")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> Exit:
    """Print the comparison. Raises InputError. Collective."""
    common.print_text(on_first_rank(comm, lambda: verification.report(materials.load(options.material))), comm)
    return Exit.DONE
