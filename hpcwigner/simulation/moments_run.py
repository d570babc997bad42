"""The verb `moments`: D_v(t) and w_v²(t) of a homogeneous sample, exact, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import CM2_PER_S, UM
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import ExcitonValleys
from hpcwigner.observables import registry
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config, to_yaml
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.output import write_series
from hpcwigner.storage import provenance
from hpcwigner.storage.files import OutputFile, whole, write_whole

MOMENTS = "moments.h5"


def moments_run(config: Config, material: Material, landscape: ExcitonValleys) -> None:
    """Writes moments.h5 and its complete input into the run directory, on this rank alone. Raises InputError."""
    found = kinetics.for_material(config, material, landscape, MPI.COMM_SELF)
    problem = builder.assemble(found, builder.space_grid(config, 1))
    found.rates.free()
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
    reference = problem.reference()
    times = np.arange(len(reference)) * problem.config.output.series_every
    stride = round(problem.config.output.fields_every / problem.config.output.series_every)
    names = [v.name for v in problem.cells.valleys]
    header = ["t [ps]", *(f"n {n}" for n in names), *(f"w² {n} [µm²]" for n in names), *(f"D {n} [cm²/s]" for n in names)]
    lines = ["  ".join(f"{title:>14}" for title in header)]
    for i in range(0, len(reference), stride):
        b = reference[i]
        numbers = [*b.population, *(b.width_squared * UM**2), *(b.diffusion * CM2_PER_S)]
        lines.append("  ".join([f"{times[i]:14.6g}", *(f"{x:14.6g}" for x in numbers)]))
    if output:
        _write(problem, Path(output))
    return "\n".join(lines)


def _write(problem: Problem, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / MOMENTS
    if path.exists():
        raise InputError(f"--output: '{path}' is there already, expected a new one")
    valleys = [v.name for v in problem.cells.valleys]
    attributes = provenance.attributes(to_yaml(problem.config), 1)
    observables = registry.select(problem.config.output.observables, 1).series
    with whole(path) as part:
        file = OutputFile(part, MPI.COMM_SELF, observables, {"valley": valleys}, attributes)
        for i, snapshot in enumerate(problem.moments.snapshots()):
            row = file.append(i * problem.config.output.series_every)
            write_series(file, row, observables, snapshot)
        file.close()
