"""The reduced model from an input to the files of a run."""

import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.problem import builder
from hpcwigner.problem.config import Config
from hpcwigner.reduced import refused, summary
from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.reduced.output import ReducedOutput
from hpcwigner.reduced.stepping import Stepper, pieces
from hpcwigner.reduced.validity import Departures, relaxation
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import RunError
from hpcwigner.runtime.parallel import CollectiveStack, on_first_rank
from hpcwigner.simulation import estimate, measured, restart
from hpcwigner.simulation.progress import LOG, Progress, start_logging
from hpcwigner.simulation.restart import FIELDS, SERIES, SPECTRA
from hpcwigner.simulation.run import lock_directory
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage import xdmf
from hpcwigner.storage.files import write_whole
from hpcwigner.storage.reading import write_summary

SUFFIX = "_reduced"  # Of the run directory, behind that of the kinetic run
MODEL = "reduced: drift and diffusion of thermal valleys"  # Attribute `model` of the output files
SMALL = 1e-6  # Part of the largest possible density, times a valley's share in equilibrium, that counts as a small density


def default_directory(config: Config) -> Path:
    """Run directory of an input that is given none."""
    return Path(config.output.directory + SUFFIX)


def reduce(config: Config, comm: MPI.Intracomm, quiet: bool = False) -> Path:
    """Solves the reduced model of an input in `output.directory`, which is returned.

    Raises InputError and RunError on all ranks. Collective.
    """
    started = time.perf_counter()
    config, left_out = refused.without_momentum(config)
    refused.require_rates(config)
    with CollectiveStack() as stack:
        problem = builder.build(config, comm)
        stack.callback(problem.free)
        refused.require_reducible(problem)
        kinetic = on_first_rank(comm, lambda: relaxation(problem))
        directory = Path(config.output.directory)
        on_first_rank(comm, lambda: stack.enter_context(lock_directory(directory, new=True)).name)
        warnings = start_logging(comm, directory / "run.log", quiet)
        if left_out:
            LOG.warning("%s", left_out)
        equation = DriftDiffusion(problem, Decomposition(problem.space, comm, (1, len(problem.cells.valleys))))
        stack.callback(equation.free)
        summary.announce(problem, equation, directory, kinetic)
        attributes = on_first_rank(comm, lambda: restart.attributes(problem.config, comm.size, None) | {"model": MODEL})
        if comm.rank == 0:
            write_whole(directory / "input.yaml", str(attributes["input"]))
        stepper = Stepper(equation)
        stack.callback(stepper.free)
        departures, plan, began = Departures(equation), problem.moments.plan((problem.moments.end, 1)), time.perf_counter()
        output = ReducedOutput(problem, equation, stepper, plan, directory, attributes, kinetic.final)
        try:
            initial, n = _advance(equation, stepper, plan, output, departures, quiet)
        finally:
            output.close()
        stepping = time.perf_counter() - began
        taken, present, memory = stepper.taken(), _total(equation, n), comm.allreduce(estimate.peak(), MPI.MAX)
        if comm.rank == 0:
            if (directory / FIELDS).exists():
                xdmf.write(directory / FIELDS)
            measured.add(problem.config, directory / SPECTRA)
            entries = summary.balance(problem, equation, taken, initial, present)
            entries |= summary.departures_of(problem, departures, kinetic)
            unknowns = int(np.prod(problem.space.shape)) * equation.shape[2]
            costs = summary.cost(stepper, unknowns, comm.size, started, stepping, memory)
            write_summary(directory / SERIES, {"performance": costs, "checks": entries, "warnings": warnings})
        return directory


def _advance(
    equation: DriftDiffusion, stepper: Stepper, plan: StepPlan, output: ReducedOutput, departures: Departures, quiet: bool
) -> tuple[float, Array]:
    """From one mark of the plan to the next. Returns the excitons at the start and the densities at the end. Collective."""
    problem = equation.problem
    shares = problem.cells.valley_sum(problem.equilibrium.population)
    floors = SMALL * problem.peak_density * np.maximum(shares, 1e-300)
    windows = [(*source.window, source.shortest_time) for source in problem.sources]
    progress = Progress(equation.decomposition.comm, len(plan.marks), plan.end, quiet)
    n = equation.start()
    initial = _total(equation, n)
    try:
        for number, (due, now) in enumerate(zip(plan.steps_until(plan.marks), plan.marks, strict=True)):
            output.observe(int(due), equation.state(n))
            departures.look(now, n)
            progress.update(number + 1, now)
            for begin, stop in pieces(now, plan.marks[number + 1], windows) if now < plan.marks[-1] else []:
                n = stepper.advance(n, begin, stop, problem.scattering.stage_at(stop), floors)
    finally:
        progress.close()
    if not np.isfinite(_total(equation, n)):
        raise RunError("the reduced model ends with densities that are not finite")
    return initial, n


def _total(equation: DriftDiffusion, n: Array) -> float:
    """Number of excitons. Collective."""
    return float(equation.decomposition.comm.allreduce(float(n.sum()) * equation.problem.space.cell_measure))
