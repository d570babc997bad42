"""What a run will need, before it starts: unknowns, steps, memory per rank, output size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mpi4py import MPI

from hpcwigner.config import Config
from hpcwigner.constants import HBAR
from hpcwigner.dynamics import system
from hpcwigner.dynamics.kinetics import on_first_rank
from hpcwigner.dynamics.ladder import Choice
from hpcwigner.dynamics.memory import MIB, Memory, predict, require_room
from hpcwigner.dynamics.steps import StepPlan
from hpcwigner.dynamics.system import Problem
from hpcwigner.observables import registry
from hpcwigner.observables.registry import Observable
from hpcwigner.observables.wigner_cut import WignerCut
from hpcwigner.space.grid import process_grid


def estimate(config: Config, comm: MPI.Intracomm) -> str:
    """Report of the verb `check`. Raises schema.InputError, also when the run does not fit into memory. Collective."""
    import hpcwigner.dynamics.run  # noqa: F401  (what a run loads counts)

    problem = system.build(config, comm)
    choice = on_first_rank(comm, lambda: problem.choose_steps(problem.reference()))
    memory = predict(problem, choice, comm)
    text = on_first_rank(comm, lambda: _report(problem, choice, memory, comm.size))
    require_room(memory, comm)
    return text


def _report(problem: Problem, choice: Choice, memory: Memory, ranks: int) -> str:
    plan = choice.plan
    cells = problem.energies.size
    unknowns = math.prod(problem.space.shape) * problem.angles.count * cells
    px, py = process_grid(problem.space.shape, problem.space.dimensions, ranks)
    per_valley = ", ".join(f"{v.name} {n}" for v, n in zip(problem.energies.valleys, problem.energies.counts, strict=True))
    lines = [
        f"material      {problem.material.name}, {problem.energies.temperature:g} K",
        f"valleys       {per_valley} energy cells of about {problem.energies.width(0):g} meV, "
        f"{problem.angles.count} angles{' (0 … π)' if problem.angles.half else ''}",
        f"offsets       {_offsets(problem)}",
        f"coherent      ħΓ_0 = {HBAR * problem.pump.formation_rate:.4g} meV, light cone below "
        f"{problem.light_cone.energy:.3g} meV",
        f"unknowns      {unknowns:.4g} on {ranks} ranks ({px}×{py})" + (", folded at the axes" if problem.space.folded else ""),
        f"steps         {len(plan.steps())} of {choice.integrator}: " + plan.describe(),
        f"memory        {memory.describe()}",
        f"output        {output_bytes(problem, plan) / MIB:.1f} MiB in {problem.config.output.directory}",
    ]
    return "\n".join(lines)


def _offsets(problem: Problem) -> str:
    """Valley bottoms used, and beside a given one what the material's splitting and binding energies say."""
    texts = []
    for exciton in problem.landscape.valleys:
        text = f"{exciton.name} {exciton.energy:.4g} meV"
        if exciton.given is None:
            text += " (computed)"
        elif exciton.computed is not None and exciton.name != problem.bright:
            text += f" (given; computed {exciton.computed:.4g})"
        texts.append(text)
    return ", ".join(texts)


def output_bytes(problem: Problem, plan: StepPlan) -> float:
    """Bytes of all output files at the end."""
    output, energies = problem.config.output, problem.energies
    chosen = registry.select(output.observables, problem.space.dimensions)
    sizes = dict(zip("xy", problem.space.whole.shape, strict=True))
    sizes |= {
        "valley": len(energies.valleys),
        "k": WignerCut.POINTS,
        "q": WignerCut.POINTS // 2 + 1,
        "angle": problem.angles.count,
    }

    def row(observables: Sequence[Observable]) -> int:
        return sum(math.prod(sizes[d] for d in o.dimensions[1:]) for o in observables)

    fields = row(chosen.fields) * (round(plan.end / output.fields_every) + 1)
    return 8.0 * (row(chosen.series) * plan.outputs + fields + row(chosen.wigner) * len(output.wigner_at))
