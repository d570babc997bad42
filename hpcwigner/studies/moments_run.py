"""The verb `moments`: D_v(t) and w_v²(t) of a homogeneous sample, exact, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import CM2_PER_S, UM
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import ExcitonValleys
from hpcwigner.integrators.steps import multiples
from hpcwigner.observables import registry
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import to_yaml
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.output import write_series
from hpcwigner.storage import provenance
from hpcwigner.storage.files import OutputFile, whole, write_whole

MOMENTS = "moments.h5"


def moments_run(config: Config, material: Material, landscape: ExcitonValleys) -> None:
    """Writes moments.h5 and its complete input into the run directory, on this rank alone. Raises InputError."""
    rates = kinetics.for_material(config, material, landscape, MPI.COMM_SELF)
    problem = builder.assemble(rates, builder.space_grid(config, 1))
    rates.rates.free()
    directory = Path(config.output.directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "input.yaml", to_yaml(problem.config))
    _write(problem, directory)
    problem.free()


def moments_report(config: Config, comm: MPI.Intracomm, output: str | None) -> str:
    """Table of the verb; with `output` also DIR/moments.h5, laid out as series.h5. Raises InputError. Collective."""
    problem = builder.build(config, comm)
    return on_first_rank(comm, lambda: _report(problem, output))


def _report(problem: Problem, output: str | None) -> str:
    _require_closed(problem)
    reference = problem.moments.reference()
    times = problem.moments.times
    shown = np.searchsorted(times, np.array(multiples(problem.config.output.fields_every, times[-1])) * (1 - 1e-12))
    names = [v.name for v in problem.cells.valleys]
    header = ["t [ps]", *(f"n {n}" for n in names), *(f"w² {n} [µm²]" for n in names), *(f"D {n} [cm²/s]" for n in names)]
    lines = ["  ".join(f"{title:>14}" for title in header)]
    for i in np.unique(shown):
        b = reference[i]
        numbers = [*b.population, *(b.width_squared * UM**2), *(b.diffusion * CM2_PER_S)]
        lines.append("  ".join([f"{times[i]:14.6g}", *(f"{x:14.6g}" for x in numbers)]))
    if output:
        _write(problem, Path(output))
    return "\n".join(lines)


def _require_closed(problem: Problem) -> None:
    """Raises InputError where the moment equations do not describe the problem."""
    if problem.not_closed:
        raise InputError(f"moments: found a problem without closed moment equations, since {problem.not_closed}: make a run")


def _write(problem: Problem, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    _require_closed(problem)
    path = directory / MOMENTS
    if path.exists():
        raise InputError(f"--output: '{path}' is there already, expected a new one")
    valleys = [v.name for v in problem.cells.valleys]
    attributes = provenance.attributes(to_yaml(problem.config), 1)
    observables = registry.select(problem.config.output.observables, 1).series
    with whole(path) as part:
        file = OutputFile(part, MPI.COMM_SELF, observables, {"valley": valleys}, attributes)
        for time, snapshot in zip(problem.moments.times, problem.moments.snapshots(), strict=True):
            row = file.append(float(time))
            write_series(file, row, observables, snapshot)
        file.close()
