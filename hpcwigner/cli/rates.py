"""The verb `rates`: write the scattering rates of an input into a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.momentum import rates_file
from hpcwigner.problem import kinetics
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.loading import to_yaml
from hpcwigner.storage import provenance


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_input(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("rates.h5"), help="file to write (default rates.h5)"
    )


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Write the file and print what it holds. Raises InputError. Collective."""
    solved = kinetics.load(common.load_one(options, comm), comm)
    common.print_text(comm, lambda: _write(options.output, solved, comm.size), options.quiet)
    solved.rates.free()


def _write(path: Path, solved: Kinetics, ranks: int) -> str:
    rates = solved.rates
    rates_file.write(path, rates, solved.light_cone.bright_valley, provenance.attributes(to_yaml(solved.config), ranks))
    out = rates.intravalley_out + rates.intervalley_out
    harmonics, cells = rates.intravalley.shape[:2]
    return (
        f"{path}: {harmonics} harmonics of {cells} cells at {solved.equilibrium.temperature:g} K, "
        f"rates out of a cell {out.min():.4g} to {out.max():.4g} /ps"
    )
