"""A run from input to output files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.config import Config, to_yaml
from hpcwigner.dynamics import ladder, system
from hpcwigner.dynamics.integrators import Schedule, integrate
from hpcwigner.dynamics.report import LOG, Progress, start_logging
from hpcwigner.dynamics.steps import StepPlan
from hpcwigner.dynamics.system import Problem, on_first_rank
from hpcwigner.dynamics.wigner import WignerSystem
from hpcwigner.observables import registry
from hpcwigner.observables.budget import Budget, budget
from hpcwigner.observables.fields import SpatialMomentSums, WignerCut, local_fields, undershoot
from hpcwigner.schema import InputError
from hpcwigner.storage import provenance
from hpcwigner.storage.files import OutputFile

Array = NDArray[np.float64]

UNDERSHOOT_WARNING = -1e-2
LEAK_WARNING = 1e-3


class RunOutput:
    """Observes the state whenever an output is due and writes it."""

    def __init__(
        self, problem: Problem, wigner: WignerSystem, plan: StepPlan, directory: Path, input_text: str, final: Array
    ) -> None:
        """`final` are the populations (valley,) at the end: below a part of them width and D_v are undefined."""
        self.problem, self.wigner, self.plan = problem, wigner, plan
        decomposition = wigner.decomposition
        self.comm = decomposition.comm
        self.sums = SpatialMomentSums(decomposition, problem.angles)
        self._final = final
        self.budgets: list[Budget] = []
        self.worst_undershoot = np.zeros(len(final))
        output = problem.config.output
        self._fields_stride = round(output.fields_every / output.series_every)
        self._wigner_due = {round(t / output.series_every) for t in output.wigner_at}
        self._open(directory, input_text)

    def _open(self, directory: Path, input_text: str) -> None:
        two = self.problem.space.dimensions == 2
        attributes = on_first_rank(self.comm, lambda: provenance.attributes(input_text, self.comm.size))
        valleys = [v.name for v in self.problem.energies.valleys]
        place = {axis: self.problem.space.centers(i) * registry.UM for i, axis in enumerate("xy" if two else "x")}
        adapt = (lambda o: o) if two else registry.in_slab
        fields, cut = [adapt(o) for o in registry.FIELDS], [adapt(o) for o in registry.WIGNER]
        self.series = OutputFile(directory / "series.h5", self.comm, registry.SERIES, {"valley": valleys}, attributes)
        self.fields = OutputFile(directory / "fields.h5", self.comm, fields, {"valley": valleys, **place}, attributes)
        self.wigner_file, self.cut = None, None
        if self._wigner_due:
            self.cut = WignerCut(self.wigner.decomposition, self.problem.angles, self.problem.energies)
            coordinates: dict[str, Array | list[str]] = {"valley": valleys, "x": place["x"], "k": self.cut.k}
            self.wigner_file = OutputFile(directory / "wigner.h5", self.comm, cut, coordinates, attributes)

    def observe(self, index: int, u: Array) -> None:
        """Writes what is due at series output `index`; u is (point, angle, cell). Collective."""
        now = self.plan.output_time(index)
        scattering = self.problem.scatterings[sum(now > t + 1e-9 for t in self.problem.switches)]
        coherent = self.problem.moments.coherent(now)
        moments = self.sums(u)
        found = budget(moments, scattering, coherent, self.problem.pump.width_squared)
        self.budgets.append(found)
        row = self.series.append(now)
        for name, value in found.series(self._final).items():
            self.series.write(row, name, value if self.comm.rank == 0 else None)
        if index % self._fields_stride == 0:
            self._write_fields(now, u, scattering, moments)
        if index in self._wigner_due and self.cut is not None and self.wigner_file is not None:
            row = self.wigner_file.append(now)
            values = self.cut(u)
            block = (self.wigner.decomposition.x, slice(None))
            self.wigner_file.write(row, "wigner", values if self.cut.writes else None, block)

    def _write_fields(self, now: float, u: Array, scattering: Any, moments: Any) -> None:
        decomposition = self.wigner.decomposition
        local = local_fields(u, decomposition, scattering, moments)
        if not np.isfinite(self.comm.allreduce(float(local.density.sum()))):
            raise FloatingPointError(f"the state is not finite at {now:g} ps")
        if now >= ladder.JUDGED_FROM:
            self.worst_undershoot = np.minimum(self.worst_undershoot, undershoot(local.density, self.comm))
        two = self.problem.space.dimensions == 2
        block = (decomposition.x, decomposition.y) if two else (decomposition.x,)
        row = self.fields.append(now)
        for name in ("density", "pl", "shape_variation"):
            values = getattr(local, name)
            self.fields.write(row, name, values if two else values[..., 0], block)
        self.fields.flush()
        self.series.flush()

    def close(self) -> None:
        """Ends the files. Collective."""
        for file in (self.series, self.fields, self.wigner_file):
            if file is not None:
                file.close()


def prepare_directory(config: Config, base: Path) -> Path:
    """The run directory, made when it is not there. Raises InputError when it holds a run already (rank 0 only)."""
    directory = base / config.output.directory
    if directory.exists() and any((directory / name).exists() for name in ("series.h5", "fields.h5", "input.yaml")):
        raise InputError(
            f"output.directory: found '{directory}', which holds a run already, expected a new one: "
            f"choose another with --output DIR, or move the old one away"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output.directory: cannot make '{directory}' ({error.strerror})") from None
    return directory


def run(config: Config, comm: MPI.Intracomm, material_directory: Path, quiet: bool = False) -> Path:
    """Runs the input to its end and returns the run directory. Raises schema.InputError. Collective."""
    started = time.perf_counter()
    problem = system.build(config, comm, material_directory)
    reference, choice = on_first_rank(comm, lambda: _plan(problem))
    plan = choice.plan
    complete = system.completed(problem.config, choice)
    directory = on_first_rank(comm, lambda: prepare_directory(complete, Path()))
    start_logging(comm, directory / "run.log", quiet)
    input_text = on_first_rank(comm, lambda: to_yaml(complete))
    if comm.rank == 0:
        (directory / "input.yaml").write_text(input_text, encoding="utf-8")
    wigner = problem.wigner_system(comm)
    _announce(problem, wigner, choice, directory)

    output = RunOutput(problem, wigner, plan, directory, input_text, reference[-1].population)
    schedule = Schedule(plan, problem.pump, problem.amplitude)
    due = {int(steps): index for index, steps in enumerate(plan.boundaries())}
    progress = Progress(comm, len(schedule.steps), plan.end, quiet)
    vector = wigner.create_vector()
    vector.set(0.0)

    def monitor(done: int, u: Any) -> None:
        if done in due:
            output.observe(due[done], wigner.view(u))
        progress.update(done, schedule.time_after(done - 1) if done else 0.0)

    integrate(choice.integrator, wigner, problem.scatterings, schedule, comm, monitor, vector)
    progress.close()
    output.close()
    _summarise(problem, wigner, plan, output, reference, started, progress.started)
    vector.destroy()
    return directory


def _plan(problem: Problem) -> tuple[list[Budget], ladder.Choice]:
    reference = problem.reference()
    return reference, problem.choose_steps(reference)


def _announce(problem: Problem, wigner: WignerSystem, choice: ladder.Choice, directory: Path) -> None:
    energies, decomposition = problem.energies, wigner.decomposition
    cells = "×".join(str(n) for n in problem.space.shape[: problem.space.dimensions])
    LOG.info("%s at %g K, output in %s", problem.material.name, energies.temperature, directory)
    LOG.info(
        "%s cells × %d angles × %d energies (%s) = %.4g unknowns on %d ranks (%d×%d)",
        cells, problem.angles.count, energies.size,
        ", ".join(f"{v.name} {n}" for v, n in zip(energies.valleys, energies.counts, strict=True)),
        wigner.unknowns, decomposition.comm.size, *decomposition.processes,
    )  # fmt: skip
    LOG.info("%s, %d steps: %s", choice.integrator, len(choice.plan.steps()), choice.plan.describe())


def _summarise(
    problem: Problem, wigner: WignerSystem, plan: StepPlan, output: RunOutput, reference: list[Budget],
    started: float, stepping: float,
) -> None:  # fmt: skip
    comm = wigner.decomposition.comm
    now = time.perf_counter()
    steps = len(plan.steps())
    rate = steps * wigner.unknowns / (now - stepping)
    LOG.info(
        "done in %.1f s (%.1f s of it stepping): %.3g steps/s, %.3g unknowns·steps/s, %.3g per rank, %.3g core-hours",
        now - started, now - stepping, steps / (now - stepping), rate, rate / comm.size,
        comm.size * (now - started) / 3600,
    )  # fmt: skip
    _balance(problem, plan, output, reference)
    worst = ", ".join(f"{v.name} {value:.1e}" for v, value in zip(problem.energies.valleys, output.worst_undershoot, strict=True))
    if output.worst_undershoot.min() < UNDERSHOOT_WARNING:
        LOG.warning("densities undershoot: min N/max N = %s; use more cells (space.cells)", worst)
    else:
        LOG.info("smallest min N/max N: %s", worst)
    _compare(problem, plan, output.budgets, reference)


def _balance(problem: Problem, plan: StepPlan, output: RunOutput, reference: list[Budget]) -> None:
    generated = problem.amplitude * problem.pump.generated(plan.end)
    expected = float(reference[-1].population.sum())
    present = float(output.budgets[-1].population.sum())
    LOG.info(
        "excitons: %.12g generated, %.6g radiated, %.12g present, balance off by %.1e of the generated",
        generated, generated - expected, present, (present - expected) / generated,
    )  # fmt: skip


def _compare(problem: Problem, plan: StepPlan, found: list[Budget], reference: list[Budget]) -> None:
    """Largest deviation from the exact moment equations, or why they do not apply."""
    times = np.array([plan.output_time(i) for i in range(plan.outputs)])
    if times[-1] < ladder.JUDGED_FROM:
        LOG.info("moment equations: not compared, the run ends before %g ps", ladder.JUDGED_FROM)
        return
    leak = abs(found[-1].population.sum() / reference[-1].population.sum() - 1)
    if problem.space.boundary != "periodic" and leak > LEAK_WARNING:
        LOG.info("moment equations: not compared, %.1e of the excitons have left through the boundary", leak)
        return
    diffusion, width = ladder.deviation(found, reference, times)
    for name, values in (("D_v", diffusion), ("w_v²", width)):
        worst = np.nanmax(values, axis=0)
        LOG.info(
            "largest deviation of %s from the exact moment equations (t ≥ %g ps, relative to its largest value): %s",
            name, ladder.JUDGED_FROM,
            ", ".join(f"{v.name} {w:.1e}" for v, w in zip(problem.energies.valleys, worst, strict=True)),
        )  # fmt: skip
    if np.nanmax(width) > 0.05:
        LOG.warning(
            "excitons have reached the edge of the sample, or the grid is too coarse for them (space.length, space.cells)"
        )
