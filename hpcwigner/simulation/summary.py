"""Opening and closing lines of a run: what it is, what it cost, and how exact it was."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.problem.builder import Problem
from hpcwigner.reference import choice as ladder
from hpcwigner.simulation.progress import LOG
from hpcwigner.space import resolution
from hpcwigner.storage.reading import Variables, read
from hpcwigner.terms.equation import WignerSystem

Array = NDArray[np.float64]

UNDERSHOOT_WARNING = -1e-2
LEAK_WARNING = 1e-3


@dataclasses.dataclass(frozen=True)
class Work:
    """What this process did, by time.perf_counter()."""

    started: float
    stepping: float
    """When the first step began."""
    steps: int
    """Steps done by this process."""


def announce(problem: Problem, wigner: WignerSystem, choice: ladder.Choice, directory: Path, reference: list[Budget]) -> None:
    """Opening lines of a run; `reference` are the exact budgets at its series outputs."""
    energies, decomposition = problem.cells, wigner.decomposition
    cells = "×".join(str(n) for n in problem.space.whole.shape[: problem.space.dimensions])
    LOG.info("%s at %g K, output in %s", problem.material.name, problem.equilibrium.temperature, directory)
    LOG.info(
        "%s cells%s × %d angles × %d energies (%s) = %.4g unknowns on %d ranks (%d×%d)",
        cells, " (folded)" if problem.space.folded else "", problem.angles.count, energies.size,
        ", ".join(f"{v.name} {n}" for v, n in zip(energies.valleys, energies.counts, strict=True)),
        wigner.unknowns, decomposition.comm.size, *decomposition.processes,
    )  # fmt: skip
    LOG.info("%s, %d steps: %s", choice.integrator, len(choice.plan.steps()), choice.plan.describe())
    flattened = problem.flattening(reference)
    if flattened.max() > resolution.NOTICEABLE:
        LOG.warning("%s: use more space.cells, or a shorter space.length", resolution.describe(flattened))


def summarise(
    problem: Problem, wigner: WignerSystem, plan: StepPlan, undershoot: Array, series: Path, reference: list[Budget],
    work: Work,
) -> None:  # fmt: skip
    """Closing lines of a run that reached its end; `series` is its file, read on one rank."""
    now, steps = time.perf_counter(), work.steps
    ranks = wigner.decomposition.comm.size
    rate = steps * wigner.unknowns / (now - work.stepping)
    LOG.info(
        "done in %.1f s (%.1f s of it stepping): %.3g steps/s, %.3g unknowns·steps/s, %.3g per rank, %.3g core-hours",
        now - work.started, now - work.stepping, steps / (now - work.stepping), rate, rate / ranks,
        ranks * (now - work.started) / 3600,
    )  # fmt: skip
    found = read(series)
    _balance(problem, plan, found, reference)
    worst = ", ".join(f"{v.name} {value:.1e}" for v, value in zip(problem.cells.valleys, undershoot, strict=True))
    if undershoot.min() < UNDERSHOOT_WARNING:
        LOG.warning("densities undershoot: min N/max N = %s; use more cells (space.cells)", worst)
    else:
        LOG.info("smallest min N/max N: %s", worst)
    _compare(problem, plan, found, reference)


def _balance(problem: Problem, plan: StepPlan, found: Variables, reference: list[Budget]) -> None:
    generated = problem.amplitude * problem.pump.generated(plan.end)
    expected = float(reference[-1].population.sum())
    if "population_total" not in found.data:
        LOG.info("excitons: %.12g generated; no balance, since output.observables leaves out population_total", generated)
        return
    present = float(found.data["population_total"][-1])
    LOG.info(
        "excitons: %.12g generated, %.6g radiated, %.12g present, balance off by %.1e of the generated",
        generated, generated - expected, present, (present - expected) / generated,
    )  # fmt: skip


def _compare(problem: Problem, plan: StepPlan, found: Variables, reference: list[Budget]) -> None:
    """Largest deviation from the exact moment equations, or why they do not apply."""
    if missing := {"population_total", "diffusion", "width_squared"} - set(found.data):
        LOG.info("moment equations: not compared, since output.observables leaves out %s", ", ".join(sorted(missing)))
        return
    times = np.array([plan.output_time(i) for i in range(plan.outputs)])
    if times[-1] < JUDGED_FROM:
        LOG.info("moment equations: not compared, the run ends before %g ps", JUDGED_FROM)
        return
    leak = abs(found.data["population_total"][-1] / reference[-1].population.sum() - 1)
    if problem.space.boundary != "periodic" and leak > LEAK_WARNING:
        LOG.info("moment equations: not compared, %.1e of the excitons have left through the boundary", leak)
        return
    scales = {o.name: o.scale for o in registry.SERIES}
    for name, symbol in (("diffusion", "D_v"), ("width_squared", "w_v²")):
        exact = np.array([getattr(b, name) for b in reference])
        worst = np.nanmax(ladder.relative_deviation(found.data[name] / scales[name], exact, times), axis=0)
        LOG.info(
            "largest deviation of %s from the exact moment equations (t ≥ %g ps, relative to its largest value): %s",
            symbol, JUDGED_FROM,
            ", ".join(f"{v.name} {w:.1e}" for v, w in zip(problem.cells.valleys, worst, strict=True)),
        )  # fmt: skip
    if np.nanmax(worst) > 0.05:  # of w_v²
        LOG.warning(
            "excitons have reached the edge of the sample, or the grid is too coarse for them (space.length, space.cells)"
        )
