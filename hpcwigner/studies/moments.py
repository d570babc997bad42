"""Solutions of the closed moment equations as files, laid out as series.h5."""

from pathlib import Path

from mpi4py import MPI

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import ExcitonValleys
from hpcwigner.observables import registry
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import to_yaml
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.output import write_series
from hpcwigner.simulation.run import MOMENTS
from hpcwigner.storage import provenance
from hpcwigner.storage.files import OutputFile, whole, write_whole


def moments_run(config: Config, material: Material, valleys: ExcitonValleys) -> None:
    """Write moments.h5 and the complete input into the run directory, on this rank alone. Raises InputError."""
    solved = kinetics.for_material(config, material, valleys, MPI.COMM_SELF)
    problem = builder.assemble(solved, builder.space_grid(config, 1))
    solved.rates.free()
    directory = Path(config.output.directory)
    try:
        require_closed(problem)
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / "input.yaml", to_yaml(problem.config))
        write_moments(problem, directory)
    finally:
        problem.free()


def require_closed(problem: Problem) -> None:
    """Raises InputError where the moment equations do not describe the problem."""
    if problem.not_closed:
        raise InputError(f"moments: found a problem without closed moment equations, since {problem.not_closed}: make a run")


def write_moments(problem: Problem, directory: Path) -> None:
    """Write DIRECTORY/moments.h5, on one rank. Raises InputError if the file exists."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / MOMENTS
    if path.exists():
        raise InputError(f"--output: '{path}' is there already, expected a new one")
    axes, attributes = {"valley": [v.name for v in problem.cells.valleys]}, provenance.attributes(to_yaml(problem.config), 1)
    observables = registry.select(problem.config.output.observables, 1).series
    with whole(path) as part:
        file = OutputFile(part, MPI.COMM_SELF, observables, axes, attributes)
        for time, snapshot in zip(problem.moments.times, problem.moments.snapshots(), strict=True):
            write_series(file, file.append(float(time)), observables, snapshot)
        file.close()
