"""The verb `observables`: what `output.observables` can name."""

from __future__ import annotations

import argparse

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.observables import registry


def add(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def call(_options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Print the registry. Collective."""
    common.print_text(comm, registry.describe)
