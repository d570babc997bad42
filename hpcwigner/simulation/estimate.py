"""What a run will need, before it starts: unknowns, steps, memory per rank, output size."""

import math
from collections.abc import Sequence

from mpi4py import MPI

from hpcwigner.exciton.constants import HBAR
from hpcwigner.integrators.steps import StepPlan, multiples
from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget
from hpcwigner.observables.fields import WignerCut
from hpcwigner.observables.registry import Observable
from hpcwigner.problem import builder, loading
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.memory import MIB, Memory, predict, require_room
from hpcwigner.space import resolution
from hpcwigner.space.grid import process_grid


def estimate(config: Config, comm: MPI.Intracomm) -> str:
    """Report of the verb `check`. Raises InputError, also when the run does not fit into memory. Collective."""
    problem, reference, choice, memory = _needs(config, comm)
    text = on_first_rank(comm, lambda: _report(problem, choice, memory, comm.size, reference))
    require_room(memory, comm)
    return text


def _needs(config: Config, comm: MPI.Intracomm) -> tuple[Problem, list[Budget], Choice, Memory]:
    from hpcwigner.simulation.run import plan  # here: what a run loads counts as memory of the program

    problem = builder.build(config, comm)
    reference, choice = on_first_rank(comm, lambda: plan(problem))
    return problem, reference, choice, predict(problem, choice, comm)


def estimate_sweep(config: Config, comm: MPI.Intracomm) -> str:
    """A line for each point of a sweep. Raises InputError for the first one that cannot run. Collective."""
    assert config.sweep is not None
    points = on_first_rank(comm, lambda: loading.points(config))
    width, total, lines = max(len(point.name) for point in points), 0.0, []
    for point in points:
        try:
            text, size = _by_moments(point.config) if config.sweep.moments else _in_brief(point.config, comm)
        except InputError as error:
            raise InputError(f"{point.name}: {error}") from None
        lines.append(f"{point.name:<{width}}  {text}")
        total += size
    what = "by moment equations" if config.sweep.moments else f"as full runs on {comm.size} ranks"
    lines.append(f"{len(points)} points {what}, output {total / MIB:.1f} MiB in {config.output.directory}")
    return "\n".join(lines)


def _in_brief(config: Config, comm: MPI.Intracomm) -> tuple[str, float]:
    problem, _, choice, memory = _needs(config, comm)
    require_room(memory, comm)
    size = output_bytes(problem, choice.plan)
    problem.free()
    return (
        f"{_unknowns(problem):.4g} unknowns, {len(choice.plan.steps())} steps of {choice.integrator}, "
        f"{memory.resident / MIB:.0f} MiB per rank, output {size / MIB:.1f} MiB"
    ), size


def _by_moments(config: Config) -> tuple[str, float]:
    problem = builder.build(config, MPI.COMM_SELF)
    chosen = registry.select(config.output.observables, 1).series
    rows = len(multiples(config.output.series_every, config.time.end))
    size = 8.0 * rows * sum(len(problem.cells.valleys) if "valley" in o.dimensions else 1 for o in chosen)
    problem.free()
    return f"{3 * problem.cells.size} unknowns, {rows} outputs, output {size / MIB:.1f} MiB", size


def _unknowns(problem: Problem) -> int:
    return math.prod(problem.space.shape) * problem.angles.count * problem.cells.size


def _report(problem: Problem, choice: Choice, memory: Memory, ranks: int, reference: list[Budget]) -> str:
    plan, folded = choice.plan, ", folded at the axes" if problem.space.folded else ""
    px, py = process_grid(problem.space.shape, problem.space.dimensions, ranks)
    per_valley = ", ".join(f"{v.name} {n}" for v, n in zip(problem.cells.valleys, problem.cells.counts, strict=True))
    lines = [
        f"material      {problem.material.name}, {problem.equilibrium.temperature:g} K",
        f"valleys       {per_valley} energy cells of about {problem.cells.width(0):g} meV, "
        f"{problem.angles.count} angles{' (0 … π)' if problem.angles.half else ''}",
        f"offsets       {_offsets(problem)}",
        f"coherent      ħΓ_0 = {HBAR * problem.formation_rate:.4g} meV, light cone below {problem.light_cone.energy:.3g} meV",
        f"terms         {', '.join(term.name for term in problem.terms)}",
        f"unknowns      {_unknowns(problem):.4g} on {ranks} ranks ({px}×{py}){folded}",
        f"steps         {len(plan.steps())} of {choice.integrator}: " + plan.describe(),
        f"resolution    {resolution.describe(problem.peak_loss(reference))}",
        f"memory        {memory.describe()}",
        f"output        {output_bytes(problem, plan) / MIB:.1f} MiB in {problem.config.output.directory}",
    ]
    return "\n".join([*lines, *filter(None, [problem.config.left_out])])


def _offsets(problem: Problem) -> str:
    """Valley bottoms used, and beside a given one what the material's splitting and binding energies say."""
    texts = []
    for exciton in problem.valleys.valleys:
        origin = " (computed)" if exciton.given is None else ""
        if exciton.given is not None and exciton.computed is not None and exciton.name != problem.bright:
            origin = f" (given; computed {exciton.computed:.4g})"
        texts.append(f"{exciton.name} {exciton.energy:.4g} meV{origin}")
    return ", ".join(texts)


def output_bytes(problem: Problem, plan: StepPlan) -> float:
    """Bytes of all output files at the end."""
    output = problem.config.output
    chosen = registry.select(output.observables, problem.space.dimensions)
    sizes = dict(zip("xy", problem.space.whole.shape, strict=True)) | {"k": WignerCut.POINTS, "q": WignerCut.POINTS // 2 + 1}
    sizes |= {"valley": len(problem.cells.valleys), "angle": problem.angles.count}

    def row(observables: Sequence[Observable]) -> int:
        return sum(math.prod(sizes[d] for d in o.dimensions[1:]) for o in observables)

    fields = row(chosen.fields) * len(multiples(output.fields_every, plan.end))
    return 8.0 * (row(chosen.series) * len(plan.output_times) + fields + row(chosen.wigner) * len(problem.config.cuts))
