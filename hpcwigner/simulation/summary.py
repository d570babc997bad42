"""Opening and closing lines of a run: what it is, what it cost, and how exact it was."""

import time
from pathlib import Path

import numpy as np

from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import FewerAngles
from hpcwigner.reference.moment_problem import relative_deviation
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.arrays import Array
from hpcwigner.simulation.estimate import MIB
from hpcwigner.simulation.progress import LOG, Progress
from hpcwigner.space import resolution
from hpcwigner.storage.reading import Entry, Variables, read
from hpcwigner.terms.equation import WignerEquation

Entries = dict[str, Entry]
Accounts = list[tuple[str, float, float]]  # Number and energy by cause

UNDERSHOOT_WARNING = -1e-2
LEAK_WARNING = 1e-3
TOP_WARNING = 1e-4


def announce(problem: Problem, equation: WignerEquation, choice: Choice, directory: Path, reference: list[Budget]) -> None:
    """Opening lines of a run; `reference` are the exact budgets at its series outputs."""
    cells, decomposition = problem.cells, equation.decomposition
    grid = "×".join(str(n) for n in problem.space.whole.shape[: problem.space.dimensions])
    LOG.info("%s at %g K, output in %s", problem.material.name, problem.equilibrium.temperature, directory)
    LOG.info("terms: %s", ", ".join(dict.fromkeys(term.name for term in problem.terms)))
    LOG.info(
        "%s cells%s × %d angles × %d energies (%s) = %.4g unknowns on %d ranks (%d×%d)",
        grid, " (folded)" if any(problem.space.folded) else "", problem.angles.count, cells.size,
        ", ".join(f"{v.name} {n}" for v, n in zip(cells.valleys, cells.counts, strict=True)),
        equation.unknowns, decomposition.comm.size, *decomposition.processes,
    )  # fmt: skip
    if problem.config.uniform_slab:
        LOG.info("sample: %s", registry.SLABS[problem.config.slab])
    if problem.config.left_out:
        LOG.warning("%s", problem.config.left_out)
    LOG.info("%s, %d steps: %s", choice.integrator, len(choice.plan.steps), choice.plan.describe())
    if isinstance(angles := problem.config.momentum.angles, FewerAngles) and angles.reduce == "auto" and problem.why_all_angles:
        LOG.info("angles: not reduced, since %s", problem.why_all_angles)
    for line in problem.about_landscape:
        LOG.info("%s", line)
    for doubt in problem.doubts:
        LOG.warning("%s", doubt)
    if problem.not_closed:
        LOG.info("moment equations: not closed, since %s; they chose the steps for a homogeneous sample", problem.not_closed)
        return
    loss = problem.peak_loss(reference)
    if loss.max() > resolution.NOTICEABLE:
        LOG.warning("%s: use more space.cells, or a shorter space.length", resolution.describe(loss))


def performance(unknowns: int, ranks: int, started: float, progress: Progress, memory: float, predicted: float) -> Entries:
    """Cost of this start, logged: `unknowns` with all angles, largest `memory` of a rank and `predicted` [bytes]."""
    now, steps = time.perf_counter(), progress.done - progress.first
    wall, stepping = now - started, now - progress.started
    rate = steps * unknowns / stepping
    LOG.info("memory: at most %.0f MiB in a rank, predicted %.0f", memory / MIB, predicted / MIB)
    LOG.info(
        "done in %.1f s (%.1f s of it stepping): %.3g steps/s, %.3g unknowns·steps/s, %.3g per rank, %.3g core-hours",
        wall, stepping, steps / stepping, rate, rate / ranks, ranks * wall / 3600,
    )  # fmt: skip
    return {
        "wall_time": Entry(wall, "s", "wall time"),
        "stepping_time": Entry(stepping, "s", "wall time of the steps, output included"),
        "steps": Entry(steps, "1", "steps of this start"),
        "unknowns": Entry(unknowns, "1", "unknowns"),
        "ranks": Entry(ranks, "1", "ranks"),
        "rate": Entry(rate, "s-1", "unknowns times steps per second"),
        "core_hours": Entry(ranks * wall / 3600, "h", "core-hours"),
        "memory": Entry(memory / MIB, "MiB", "largest memory of a rank"),
        "memory_predicted": Entry(predicted / MIB, "MiB", "largest memory of a rank as predicted"),
    }


def checks(
    problem: Problem, undershoot: Array, top_share: float, accounts: Accounts, series: Path, reference: list[Budget]
) -> Entries:
    """Exactness of a run that reached its end, logged and returned; `series` is its file, read on one rank.

    `top_share` is the largest part of the excitons that was in the topmost energy cells.
    """
    worst = ", ".join(f"{v.name} {value:.1e}" for v, value in zip(problem.cells.valleys, undershoot, strict=True))
    if undershoot.min() < UNDERSHOOT_WARNING:
        LOG.warning("densities undershoot: min N/max N = %s; use more cells (space.cells)", worst)
    else:
        LOG.info("smallest min N/max N: %s", worst)
    entries = {"undershoot": Entry(undershoot.tolist(), "1", "smallest min N/max N")}
    entries["top_share"] = Entry(top_share, "1", "largest part of the excitons in the topmost energy cells")
    if top_share > TOP_WARNING:
        LOG.warning("up to %.1e of the excitons were in the topmost energy cells: use a higher momentum.energy_max", top_share)
    written = read(series)
    if problem.not_closed:
        return entries | _balances(accounts, *problem.config.number_unit) | _not_compared(f"since {problem.not_closed}")
    return entries | _balance(problem, written, reference) | _compare(problem, written, reference)


def _not_compared(why: str) -> Entries:
    LOG.info("moment equations: not compared, %s", why)
    return {"not_compared": Entry(why, "", "not compared with the moment equations")}


def _balances(accounts: Accounts, unit: str, scale: float) -> Entries:
    """Number, in `unit`, and energy by cause; energies count from the bright valley's bottom."""
    entries, per_length = {}, "" if unit == "1" else " per um of y"
    energy_unit = f"meV {unit}".removesuffix(" 1")
    for cause, number, energy in accounts:
        LOG.info("balance: %-18s %+.9g excitons, %+.6g meV%s", cause, number * scale, energy * scale, per_length)
        name = cause.replace(" ", "_")
        entries[f"number_{name}"] = Entry(number * scale, unit, f"balance of excitons: {cause}")
        entries[f"energy_{name}"] = Entry(energy * scale, energy_unit, f"balance of energy: {cause}")
    return entries


def _balance(problem: Problem, written: Variables, reference: list[Budget]) -> Entries:
    unit, scale = problem.config.number_unit
    per_length = "" if unit == "1" else " (per um of y)"
    generated = scale * sum(source.generated(problem.config.time.end) for source in problem.sources)
    entries = {"generated": Entry(generated, unit, "excitons generated")}
    if "population_total" not in written.data:
        LOG.info(
            "excitons: %.12g generated%s; no balance, since output.observables leaves out population_total", generated, per_length
        )
        return entries
    expected, present = scale * float(reference[-1].population.sum()), float(written.data["population_total"][-1])
    lost, error = generated - expected, (present - expected) / generated
    LOG.info(
        "excitons: %.12g generated, %.6g lost, %.12g present%s, balance off by %.1e of the generated",
        generated, lost, present, per_length, error,
    )  # fmt: skip
    return entries | {
        "lost": Entry(lost, unit, "excitons lost"),
        "present": Entry(present, unit, "excitons present"),
        "balance_error": Entry(error, "1", "error of the balance, relative to the generated"),
    }


def _compare(problem: Problem, written: Variables, reference: list[Budget]) -> Entries:
    """Largest deviation from the exact moment equations, or why they are not compared."""
    if missing := {"population_total", "diffusion", "width_squared"} - set(written.data):
        return _not_compared(f"since output.observables leaves out {', '.join(sorted(missing))}")
    times, begin = problem.moments.times, problem.moments.judged_from
    if times[-1] < begin:
        return _not_compared(f"the run ends before {begin:g} ps")
    expected = problem.config.number_unit[1] * reference[-1].population.sum()
    leak = abs(written.data["population_total"][-1] / expected - 1)
    if not all(map(problem.space.periodic, range(problem.space.dimensions))) and leak > LEAK_WARNING:
        return _not_compared(f"{leak:.1e} of the excitons have left through the boundary")
    scales = {o.name: o.scale for o in registry.SERIES}
    entries, worst = {}, np.zeros(0)
    for name, symbol in (("diffusion", "D_v"), ("width_squared", "w_v²")):
        exact = np.array([getattr(b, name) for b in reference])
        worst = np.nanmax(relative_deviation(written.data[name] / scales[name], exact, times >= begin - 1e-9), axis=0)
        LOG.info(
            "largest deviation of %s from the exact moment equations (t ≥ %g ps, relative to its largest value): %s",
            symbol, begin, ", ".join(f"{v.name} {w:.1e}" for v, w in zip(problem.cells.valleys, worst, strict=True)),
        )  # fmt: skip
        text = f"largest deviation of {symbol} from the exact moment equations, relative to its largest value"
        entries[f"deviation_{name}"] = Entry(worst.tolist(), "1", text)
    if np.nanmax(worst) > 0.05:  # of w_v²
        LOG.warning(
            "excitons have reached the edge of the sample, or the grid is too coarse for them (space.length, space.cells)"
        )
    return entries
