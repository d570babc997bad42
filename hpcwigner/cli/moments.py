"""The verb `moments`: D_v(t) and w_v²(t) from the closed moment equations, in seconds."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.cli.common import Exit
from hpcwigner.cli.run import run_sweep
from hpcwigner.exciton.constants import CM2_PER_S, UM
from hpcwigner.integrators.steps import multiples
from hpcwigner.problem import builder
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.errors import InputError
from hpcwigner.studies.moments import require_closed, write_moments


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_input(parser)
    parser.add_argument("-o", "--output", metavar="DIR", help="also write DIR/moments.h5; of a sweep, its directory")


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> Exit:
    """Print the table of one problem, or solve all points of a sweep. Raises InputError. Collective."""
    config = common.load(options, comm, options.output, options.point)
    if config.sweep is not None:
        if not (config.sweep.moments or options.output):
            raise InputError("--output: missing, expected a directory beside output.directory, which is for the full runs")
        sweep = dataclasses.replace(config.sweep, moments=True)
        return run_sweep(dataclasses.replace(config, sweep=sweep), options, comm)
    problem = builder.build(config, comm)

    def solve() -> str:
        require_closed(problem)
        if options.output:
            write_moments(problem, Path(options.output))
        return _table(problem)

    common.print_text(comm, solve, options.quiet)
    return Exit.DONE


def _table(problem: Problem) -> str:
    """A line for each multiple of output.fields_every: populations, squared widths and diffusion coefficients."""
    reference, times = problem.moments.reference(), problem.moments.times
    shown = np.searchsorted(times, np.array(multiples(problem.config.output.fields_every, times[-1])) * (1 - 1e-12))
    names = [valley.name for valley in problem.cells.valleys]
    header = ["t [ps]", *(f"n {n}" for n in names), *(f"w² {n} [µm²]" for n in names), *(f"D {n} [cm²/s]" for n in names)]
    lines = ["  ".join(f"{title:>14}" for title in header)]
    for i in np.unique(shown):
        b = reference[i]
        numbers = [times[i], *b.population, *(b.width_squared * UM**2), *(b.diffusion * CM2_PER_S)]
        lines.append("  ".join(f"{x:14.6g}" for x in numbers))
    return "\n".join(lines)
