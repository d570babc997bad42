"""The verb `check`: validate an input and predict what its run needs."""

from __future__ import annotations

import argparse

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.simulation.estimate import estimate, estimate_sweep


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_input(parser)
    common.add_run_directory(parser)


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Print the prediction for this number of ranks. Raises InputError. Collective."""
    config = common.load(options, comm, options.output, options.point)
    text = estimate(config, comm) if config.sweep is None else estimate_sweep(config, comm)
    common.print_text(comm, lambda: text)
