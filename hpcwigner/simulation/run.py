"""One run from input to output files, from the start or from a checkpoint."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.observables.budget import Budget
from hpcwigner.problem import builder
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import CollectiveStack, on_first_rank
from hpcwigner.simulation import memory, restart
from hpcwigner.simulation.checkpoints import CHECKPOINTS, Checkpoints
from hpcwigner.simulation.control import Control, Job, Request
from hpcwigner.simulation.output import RunOutput
from hpcwigner.simulation.progress import LOG, Progress, start_logging
from hpcwigner.simulation.summary import Work, announce, checks, performance
from hpcwigner.storage import xdmf
from hpcwigner.storage.checkpoint import CheckpointStore
from hpcwigner.storage.files import write_whole
from hpcwigner.storage.state import CheckpointError
from hpcwigner.storage.summary import write_summary
from hpcwigner.terms.equation import WignerEquation

RUN_FILES = ("series.h5", "fields.h5", "input.yaml", CHECKPOINTS)


def prepare_directory(config: Config, restarted: bool) -> tuple[Path, IO[str]]:
    """The run directory and the open file that locks it (rank 0 only). Raises InputError when it is not free."""
    directory = Path(config.output.directory)
    if not restarted and any((directory / name).exists() for name in RUN_FILES):
        raise InputError(
            f"output.directory: found '{directory}', which holds a run already, expected a new one: "
            f"choose another with --output DIR, go on with it with --restart, or move it away"
        )
    return directory, lock_directory(directory)


def lock_directory(directory: Path) -> IO[str]:
    """Makes a directory and locks it, as long as the file returned is open. Raises InputError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "run.lock").open("a")
    except OSError as error:
        raise InputError(f"output.directory: cannot write in '{directory}' ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"output.directory: found '{directory}', in which another run is under way") from None
    except OSError:
        LOG.warning("%s does not support locks: make sure that no other run uses it", directory)
    return lock


class _Stepper:
    """What happens around each step: outputs, progress, checkpoints, requests to stop."""

    def __init__(
        self,
        output: RunOutput,
        checkpoints: Checkpoints,
        control: Control,
        schedule: Schedule,
        progress: Progress,
        resumed_at: int | None,
    ) -> None:
        """`resumed_at`: step resumed from; its outputs are already written."""
        self.output, self.checkpoints, self.control, self.schedule = output, checkpoints, control, schedule
        self.progress = progress
        self.stopped = False
        self._observed = resumed_at
        self._first = resumed_at or 0

    @property
    def steps_done(self) -> int:
        """Steps done by this process."""
        return self.progress.done - self._first

    def monitor(self, done: int, vector: Any) -> None:
        """Before the first and after every step."""
        u = self.output.equation.read(vector).u
        if done == self._observed:
            self.output.balance.update(done, u)
        else:
            self.output.observe(done, u)
            self._observed = done
        self.progress.update(done, self.schedule.time_after(done - 1))

    def after_step(self, done: int, vector: Any) -> bool:
        """Fulfils requests; True stops the run after this step."""
        request = self.control.poll()
        last = done == len(self.schedule.steps)
        if request is Request.NONE and not last:
            return False
        self.monitor(done, vector)  # outputs of this step belong to its checkpoint
        stop = request is Request.STOP and not last
        if self.checkpoints.store.keep == 0:
            if stop:
                raise RunError(f"stopped by {self.control.reason} without a checkpoint, as checkpoint.keep is 0")
            return False
        try:
            self.control.done(self.checkpoints.write(done, vector))
        except CheckpointError as error:
            if stop:
                raise RunError(f"stopped by {self.control.reason}, but without a new checkpoint: {error}") from None
            LOG.warning("no checkpoint after step %d: %s", done, error)
            self.control.done(0.0)
        self.stopped = stop
        return stop


def run(
    config: Config, comm: MPI.Intracomm, quiet: bool = False, restart_from: str | None = None, job: Job | None = None
) -> tuple[Path, bool]:
    """Runs the input to its end, or until it is stopped. Returns the run directory and whether the end was reached.

    `restart_from` is 'latest' or a checkpoint; `job` is the sweep that the run is part of. Raises InputError and RunError
    on all ranks. Collective.
    """
    started = time.perf_counter()
    if restart_from:
        config = on_first_rank(comm, lambda: restart.resumed_config(config, restart_from))
    with CollectiveStack() as stack:
        problem = builder.build(config, comm)
        stack.callback(problem.free)
        reference, choice = on_first_rank(comm, lambda: plan(problem))
        needed = memory.predict(problem, choice, comm)
        memory.require_room(needed, comm)
        complete = builder.completed(problem.config, choice, problem.space.folded)
        directory = _lock(complete, bool(restart_from), comm, stack)
        warnings = start_logging(comm, directory / "run.log", quiet)
        control = Control(comm, directory, complete.checkpoint.every, complete.time.walltime, job)
        equation = problem.equation(comm)
        stack.callback(equation.free)
        announce(problem, equation, choice, directory, reference)
        schedule = on_first_rank(comm, lambda: Schedule(choice.plan, problem.sources))
        stepper = _advance(problem, equation, choice, schedule, reference, directory, complete, control, restart_from, quiet)
        if comm.rank == 0 and (directory / "fields.h5").exists():
            xdmf.write(directory / "fields.h5")
        if stepper.stopped:
            at = schedule.time_after(stepper.progress.done - 1)
            LOG.warning("stopped by %s with a checkpoint at %g ps: go on with --restart", control.reason, at)
        largest = comm.allreduce(memory.peak(), MPI.MAX)
        accounts = stepper.output.balance.accounts() if problem.not_closed and not stepper.stopped else []
        if comm.rank == 0:
            work = Work(started, stepper.progress.started, stepper.steps_done, largest, needed.resident)
            summary, series = {"performance": performance(equation, work)}, directory / "series.h5"
            if not stepper.stopped:
                summary["checks"] = checks(problem, stepper.output.worst_undershoot, accounts, series, reference)
            write_summary(series, summary | {"warnings": warnings})
        return directory, not stepper.stopped


def plan(problem: Problem) -> tuple[list[Budget], Choice]:
    """Exact budgets at the series outputs and the steps, on one rank. Raises InputError, and RunError when nothing is formed."""
    reference = problem.moments.reference()
    final = reference[-1].population
    if not np.isfinite(final).all() or final.sum() <= 0:
        raise RunError(
            f"the moment equations end with {final.sum():g} excitons at {problem.config.time.end:g} ps, expected more than 0"
        )
    return reference, problem.choose_steps(reference)


def _lock(config: Config, restarted: bool, comm: MPI.Intracomm, stack: CollectiveStack) -> Path:
    """The run directory, locked until the stack unwinds on all ranks. Raises InputError. Collective."""

    def prepare() -> Path:
        path, lock = prepare_directory(config, restarted)
        stack.callback(lock.close)
        return path

    return on_first_rank(comm, prepare)


def _advance(
    problem: Problem,
    equation: WignerEquation,
    choice: Choice,
    schedule: Schedule,
    reference: list[Budget],
    directory: Path,
    complete: Config,
    control: Control,
    restart_from: str | None,
    quiet: bool,
) -> _Stepper:
    """Steps from the start or a checkpoint to the end or a stop; output files are closed in any case. Collective."""
    comm = equation.decomposition.comm
    with CollectiveStack() as stack:
        vector = equation.create_vector()
        stack.callback(vector.destroy)
        resumed = None
        if restart_from:
            resumed = _load(equation, vector, directory, restart_from, schedule)
        elif problem.initial is not None:
            problem.initial.fill(equation.decomposition, equation.view(vector).u)
        header = resumed.header if resumed else None
        attributes = on_first_rank(comm, lambda: restart.attributes(complete, comm.size, header))
        if comm.rank == 0:
            write_whole(directory / "input.yaml", str(attributes["input"]))
        output = RunOutput(problem, equation, choice.plan, directory, attributes, undefined_scale(problem, reference), resumed)
        stack.callback(output.close)
        first = header.step if header else 0
        progress = Progress(comm, len(schedule.steps), choice.plan.end, quiet, first)
        stack.callback(progress.close)
        extent = resumed.extent if resumed else None
        checkpoints = Checkpoints(complete, directory, equation, output, attributes, schedule, extent)
        stepper = _Stepper(output, checkpoints, control, schedule, progress, header.step if header else None)
        if first < len(schedule.steps):
            generators = [[generator] for generator in problem.generators]
            integrate(
                choice.integrator, equation, generators, schedule, comm, stepper.monitor, vector, first,
                after_step=stepper.after_step,
            )  # fmt: skip
    return stepper


def undefined_scale(problem: Problem, reference: list[Budget]) -> Any:
    """Populations (valley,) at the end, a small part of which makes w_v² and D_v undefined.

    From the moment equations, or where they do not hold, the equilibrium shares of all excitons.
    """
    if not problem.not_closed:
        return reference[-1].population
    return problem.total * problem.cells.valley_sum(problem.equilibrium.population)


def _load(equation: WignerEquation, vector: Any, directory: Path, which: str, schedule: Schedule) -> restart.Resumption:
    """Fills the state from the first good checkpoint. Raises InputError. Collective."""
    decomposition = equation.decomposition
    resumption, u, fields = restart.load(CheckpointStore(directory / CHECKPOINTS, decomposition, keep=1), directory, which)
    header = resumption.header
    if not 0 <= header.step <= len(schedule.steps) or abs(schedule.time_after(header.step - 1) - header.time) > 1e-9:
        raise InputError(
            f"time.end, output.fields_every, output.wigner_at: found times that change the steps before the checkpoint at "
            f"{header.time:g} ps, expected multiples of output.series_every"
        )
    state = equation.view(vector)
    np.copyto(state.u, u.reshape(equation.shape))
    np.copyto(state.fields, fields.reshape(state.fields.shape))
    restart.set_unknown_aside(resumption, directory, decomposition.comm)
    LOG.info("restarted from checkpoint %s at %g ps", resumption.path.name, header.time)
    return resumption
