"""Opening and closing lines of the reduced model: its coefficients, where the kinetics departs from it, and its balance."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.observables.curves import time_or_not
from hpcwigner.problem.builder import Problem
from hpcwigner.reduced.coefficients import coefficients, mean_free_paths
from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.reduced.stepping import TOLERANCE, Stepper
from hpcwigner.reduced.validity import FEW, STEEP, STRONG, Departures, Relaxation
from hpcwigner.runtime.arrays import Array
from hpcwigner.simulation.estimate import MIB
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage.reading import Entry

Entries = dict[str, Entry]


def _list(names: Sequence[str], values: Array) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values, strict=True))


def announce(problem: Problem, equation: DriftDiffusion, directory: Path, relaxation: Relaxation) -> None:
    """Opening lines."""
    names, decomposition = [valley.name for valley in problem.cells.valleys], equation.decomposition
    grid = "×".join(str(n) for n in problem.space.whole.shape[: problem.space.dimensions])
    LOG.info("%s at %g K, reduced model, output in %s", problem.material.name, problem.equilibrium.temperature, directory)
    LOG.info("terms: %s", ", ".join(dict.fromkeys(name for name, _ in equation.entries)))
    folded = " (folded)" if any(problem.space.folded) else ""
    LOG.info(
        "%s cells%s × %d valleys on %d ranks (%d×%d); steps by PETSc to %g",
        grid, folded, len(names), decomposition.comm.size, *decomposition.processes, TOLERANCE,
    )  # fmt: skip
    first = coefficients(problem)[0][0]
    LOG.info("D_v from the kinetic rates: %s cm²/s", _list(names, first.diffusion.diagonal() * CM2_PER_S))
    LOG.info("mean free paths: %s nm", _list(names, mean_free_paths(problem)))
    pairs = [(v, w) for v in range(len(names)) for w in range(len(names)) if v != w]
    rates = np.array([first.transfer[w, v] for v, w in pairs])
    LOG.info("transfer: %s per ps", _list([f"{names[v]}→{names[w]}" for v, w in pairs], rates))
    for line in problem.about_landscape:
        LOG.info("%s", line)
    for doubt in problem.doubts:
        LOG.warning("%s", doubt)
    _announce_relaxation(names, relaxation)


def _announce_relaxation(names: Sequence[str], relaxation: Relaxation) -> None:
    if not relaxation.leaving.any():
        LOG.info("energies relax within a valley at: %s per ps; no transfer", _list(names, relaxation.within))
        return
    LOG.info(
        "energies relax within a valley at: %s per ps; slowest mode of all scattering %.3g, of the transfer %.3g per ps",
        _list(names, relaxation.within), relaxation.modes[0], relaxation.transfer_modes.min(initial=np.inf),
    )  # fmt: skip
    if faster := relaxation.faster:
        few, thermal = [names[v] for v in faster], relaxation.thermal_from
        LOG.warning(
            "no rate constants exist before energies are thermal (%s): excitons leave valleys at %s per ps, faster than their "
            "energies relax there, at %s per ps; until then populations, widths and D_v are not those of the kinetics",
            f"5 %: from {thermal:g} ps on" if np.isfinite(thermal) else "5 %: not within this run",
            _list(few, relaxation.leaving[faster]), _list(few, relaxation.within[faster]),
        )  # fmt: skip


def departures_of(problem: Problem, departures: Departures, relaxation: Relaxation) -> Entries:
    """Where the kinetics departs, logged and returned."""
    steep, strong = map(float, departures.shares)
    names = ", ".join(valley.name for valley in problem.cells.valleys)
    LOG.info(
        "departs from kinetics: ℓq > %g for %.2g %% of the excitons and time (for more than %g %% of them %s), ℓF > %g kT "
        "for %.2g %% (%s); energies of a homogeneous sample thermal from: %s",
        STEEP, 100 * steep, 100 * FEW, _until(departures.until[0]), STRONG, 100 * strong, _until(departures.until[1]),
        time_or_not(relaxation.thermal_from),
    )  # fmt: skip
    last = "last time with more than 5 % of the excitons there"
    return {
        "departs_steep": Entry(steep, "1", f"part of excitons and time with ℓq > {STEEP:g}"),
        "departs_strong": Entry(strong, "1", f"part of excitons and time with ℓF > {STRONG:g} kT"),
        "departs_steep_until": Entry(float(departures.until[0]), "ps", f"ℓq > {STEEP:g}: {last}"),
        "departs_strong_until": Entry(float(departures.until[1]), "ps", f"ℓF > {STRONG:g} kT: {last}"),
        "thermal_from": Entry(relaxation.thermal_from, "ps", "energies of a homogeneous sample within 5 % of thermal from"),
        "relaxation_within": Entry(relaxation.within.tolist(), "ps-1", f"slowest relaxation of energies in {names}"),
        "leaving": Entry(relaxation.leaving.tolist(), "ps-1", f"transfer of thermal excitons out of {names}"),
        "slowest_mode": Entry(float(relaxation.modes[0]), "ps-1", "slowest relaxation of the kinetic scattering"),
    }


def balance(problem: Problem, equation: DriftDiffusion, taken: Array, initial: float, present: float) -> Entries:
    """Excitons by cause, logged and returned; `taken` (entry,) as `Stepper.taken`."""
    unit, scale = problem.config.number_unit
    by_name = {"initial state": initial}
    for (name, _), number in zip(equation.entries, taken, strict=True):
        by_name[name] = by_name.get(name, 0.0) + float(number)
    missing = present - sum(by_name.values())
    entries = {}
    for cause, number in {**by_name, "present": present, "not accounted for": missing}.items():
        LOG.info("balance: %-18s %+.9g excitons%s", cause, number * scale, "" if unit == "1" else " per um of y")
        entries[f"number_{cause.replace(' ', '_')}"] = Entry(number * scale, unit, f"balance of excitons: {cause}")
    return entries


def cost(stepper: Stepper, unknowns: int, ranks: int, started: float, stepping: float, memory: float) -> Entries:
    """Cost of the whole, logged and returned: times [s], largest memory of a rank [bytes]."""
    wall = time.perf_counter() - started
    LOG.info(
        "done in %.1f s (%.1f s of it stepping): %d steps, %d linear iterations, at most %.0f MiB in a rank",
        wall, stepping, stepper.steps, stepper.iterations, memory / MIB,
    )  # fmt: skip
    return {
        "wall_time": Entry(wall, "s", "wall time"),
        "stepping_time": Entry(stepping, "s", "wall time of the steps, output included"),
        "steps": Entry(stepper.steps, "1", "steps"),
        "linear_iterations": Entry(stepper.iterations, "1", "iterations of the linear solver"),
        "unknowns": Entry(unknowns, "1", "unknowns"),
        "ranks": Entry(ranks, "1", "ranks"),
        "core_hours": Entry(ranks * wall / 3600, "h", "core-hours"),
        "memory": Entry(memory / MIB, "MiB", "largest memory of a rank"),
    }


def _until(time: float) -> str:
    return f"until {time:g} ps" if np.isfinite(time) else "never"
