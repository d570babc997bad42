"""Opening and closing lines of a run: what it is, what it cost, and how exact it was."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget
from hpcwigner.problem.builder import Problem
from hpcwigner.reference.moment_problem import relative_deviation
from hpcwigner.reference.step_choice import Choice
from hpcwigner.simulation.balance import Account
from hpcwigner.simulation.progress import LOG
from hpcwigner.space import resolution
from hpcwigner.storage.reading import Variables, read
from hpcwigner.terms.equation import WignerEquation

Array = NDArray[np.float64]

UNDERSHOOT_WARNING = -1e-2
LEAK_WARNING = 1e-3
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Work:
    """What this process did; times by time.perf_counter()."""

    started: float
    stepping: float
    """When the first step began."""
    steps: int
    """Steps done by this process."""
    memory: float
    """Largest resident memory of a rank [bytes]."""
    predicted: float
    """The same as predicted [bytes]."""


def announce(problem: Problem, equation: WignerEquation, choice: Choice, directory: Path, reference: list[Budget]) -> None:
    """Opening lines of a run; `reference` are the exact budgets at its series outputs."""
    cells, decomposition = problem.cells, equation.decomposition
    grid = "×".join(str(n) for n in problem.space.whole.shape[: problem.space.dimensions])
    LOG.info("%s at %g K, output in %s", problem.material.name, problem.equilibrium.temperature, directory)
    LOG.info("terms: %s", ", ".join(term.name for term in problem.terms))
    LOG.info(
        "%s cells%s × %d angles × %d energies (%s) = %.4g unknowns on %d ranks (%d×%d)",
        grid, " (folded)" if problem.space.folded else "", problem.angles.count, cells.size,
        ", ".join(f"{v.name} {n}" for v, n in zip(cells.valleys, cells.counts, strict=True)),
        equation.unknowns, decomposition.comm.size, *decomposition.processes,
    )  # fmt: skip
    LOG.info("%s, %d steps: %s", choice.integrator, len(choice.plan.steps()), choice.plan.describe())
    if problem.not_closed:
        LOG.info("moment equations: not closed, since %s; they chose the steps for a homogeneous sample", problem.not_closed)
        return
    loss = problem.peak_loss(reference)
    if loss.max() > resolution.NOTICEABLE:
        LOG.warning("%s: use more space.cells, or a shorter space.length", resolution.describe(loss))


def summarise(
    problem: Problem, equation: WignerEquation, undershoot: Array, accounts: list[Account], series: Path,
    reference: list[Budget], work: Work,
) -> None:  # fmt: skip
    """Closing lines of a run that reached its end; `series` is its file, read on one rank."""
    now, steps = time.perf_counter(), work.steps
    ranks = equation.decomposition.comm.size
    rate = steps * equation.unknowns / (now - work.stepping)
    LOG.info("memory: at most %.0f MiB in a rank, predicted %.0f", work.memory / MIB, work.predicted / MIB)
    LOG.info(
        "done in %.1f s (%.1f s of it stepping): %.3g steps/s, %.3g unknowns·steps/s, %.3g per rank, %.3g core-hours",
        now - work.started, now - work.stepping, steps / (now - work.stepping), rate, rate / ranks,
        ranks * (now - work.started) / 3600,
    )  # fmt: skip
    worst = ", ".join(f"{v.name} {value:.1e}" for v, value in zip(problem.cells.valleys, undershoot, strict=True))
    if undershoot.min() < UNDERSHOOT_WARNING:
        LOG.warning("densities undershoot: min N/max N = %s; use more cells (space.cells)", worst)
    else:
        LOG.info("smallest min N/max N: %s", worst)
    written = read(series)
    if problem.not_closed:
        _balances(accounts)
        LOG.info("moment equations: not compared, since %s", problem.not_closed)
        return
    _balance(problem, written, reference)
    _compare(problem, written, reference)


def _balances(accounts: list[Account]) -> None:
    """Number and energy by cause; energies count from the bright valley's bottom."""
    for account in accounts:
        LOG.info("balance: %-18s %+.9g excitons, %+.6g meV", account.cause, account.number, account.energy)


def _balance(problem: Problem, written: Variables, reference: list[Budget]) -> None:
    generated = sum(source.generated(problem.config.time.end) for source in problem.sources)
    expected = float(reference[-1].population.sum())
    if "population_total" not in written.data:
        LOG.info("excitons: %.12g generated; no balance, since output.observables leaves out population_total", generated)
        return
    present = float(written.data["population_total"][-1])
    LOG.info(
        "excitons: %.12g generated, %.6g lost, %.12g present, balance off by %.1e of the generated",
        generated, generated - expected, present, (present - expected) / generated,
    )  # fmt: skip


def _compare(problem: Problem, written: Variables, reference: list[Budget]) -> None:
    """Largest deviation from the exact moment equations, or why they are not compared."""
    if missing := {"population_total", "diffusion", "width_squared"} - set(written.data):
        LOG.info("moment equations: not compared, since output.observables leaves out %s", ", ".join(sorted(missing)))
        return
    times, begin = problem.moments.times, problem.moments.judged_from
    if times[-1] < begin:
        LOG.info("moment equations: not compared, the run ends before %g ps", begin)
        return
    leak = abs(written.data["population_total"][-1] / reference[-1].population.sum() - 1)
    if problem.space.boundary != "periodic" and leak > LEAK_WARNING:
        LOG.info("moment equations: not compared, %.1e of the excitons have left through the boundary", leak)
        return
    scales = {o.name: o.scale for o in registry.SERIES}
    worst = np.zeros(0)
    for name, symbol in (("diffusion", "D_v"), ("width_squared", "w_v²")):
        exact = np.array([getattr(b, name) for b in reference])
        worst = np.nanmax(relative_deviation(written.data[name] / scales[name], exact, times >= begin - 1e-9), axis=0)
        LOG.info(
            "largest deviation of %s from the exact moment equations (t ≥ %g ps, relative to its largest value): %s",
            symbol, begin, ", ".join(f"{v.name} {w:.1e}" for v, w in zip(problem.cells.valleys, worst, strict=True)),
        )  # fmt: skip
    if np.nanmax(worst) > 0.05:  # of w_v²
        LOG.warning(
            "excitons have reached the edge of the sample, or the grid is too coarse for them (space.length, space.cells)"
        )
