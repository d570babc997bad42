"""A run from input to output files, from the start or from a checkpoint."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.petsc import Schedule, integrate
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import Budget
from hpcwigner.problem import builder
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import to_yaml
from hpcwigner.reference import choice as ladder
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation import memory, restart
from hpcwigner.simulation.control import Control, Job, Request
from hpcwigner.simulation.output import RunOutput
from hpcwigner.simulation.progress import LOG, Progress, start_logging
from hpcwigner.simulation.summary import Work, announce, summarise
from hpcwigner.storage import xdmf
from hpcwigner.storage.checkpoint import CheckpointError, CheckpointStore, Header, Layout
from hpcwigner.storage.files import write_whole
from hpcwigner.terms.equation import WignerSystem

CHECKPOINTS = "checkpoints"
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


class Checkpoints:
    """Writes checkpoints of one run when asked to, and says so."""

    def __init__(
        self, config: Config, directory: Path, wigner: WignerSystem, output: RunOutput, input_text: str, schedule: Schedule
    ) -> None:
        options = config.checkpoint
        layout = Layout(options.writes == "collective", options.compression == "gzip", int(options.alignment), options.hints)
        self.store = CheckpointStore(directory / CHECKPOINTS, wigner.decomposition, options.keep, layout)
        self.wigner, self.output, self.input_text, self.schedule = wigner, output, input_text, schedule

    def write(self, done: int, vector: Any) -> float:
        """Checkpoint after `done` steps; returns the seconds it took. Raises CheckpointError. Collective."""
        started = time.perf_counter()
        paths, rows = self.output.flushed()
        shape = (*self.wigner.decomposition.grid.shape, *self.wigner.decomposition.per_point)
        header = Header(
            step=done,
            time=self.schedule.time_after(done - 1) if done else 0.0,
            rows=rows,
            accumulators={"undershoot": [float(x) for x in self.output.worst_undershoot]},
            input=self.input_text,
            shape=shape,
        )
        path = self.store.write(self.wigner.read(vector).reshape(self.wigner.decomposition.local_shape), header, paths)
        took = time.perf_counter() - started
        LOG.info("checkpoint %s at %g ps in %.2g s", path.name, header.time, took)
        return took


class _Stepper:
    """What happens around each step: outputs, progress, checkpoints, requests to stop."""

    def __init__(
        self, output: RunOutput, checkpoints: Checkpoints, control: Control, schedule: Schedule, plan: StepPlan,
        progress: Progress, resumed_at: int,
    ) -> None:  # fmt: skip
        """`resumed_at` is the step of the checkpoint gone on from: what was due there is in its files. −1 without one."""
        self.output, self.checkpoints, self.control, self.schedule = output, checkpoints, control, schedule
        self.progress = progress
        self.stopped = False
        self._due = {int(steps): index for index, steps in enumerate(plan.boundaries())}
        self._observed = resumed_at

    def monitor(self, done: int, vector: Any) -> None:
        """Before the first and after every step."""
        if done in self._due and done != self._observed:
            self.output.observe(self._due[done], self.output.wigner.read(vector))
            self._observed = done
        self.progress.update(done, self.schedule.time_after(done - 1) if done else 0.0)

    def after_step(self, done: int, vector: Any) -> bool:
        """Fulfils requests; True stops the run after this step."""
        request = self.control.poll()
        last = done == len(self.schedule.steps)
        if request is Request.NONE and not last:
            return False
        self.monitor(done, vector)  # what is due at this step belongs to its checkpoint
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

    `restart_from` is 'latest' or a checkpoint; `job` is what the run is part of. Raises schema.InputError and
    parallel.RunError on all ranks. Collective.
    """
    started = time.perf_counter()
    if restart_from:
        config = on_first_rank(comm, lambda: _resumed_config(config, restart_from))
    problem = builder.build(config, comm)
    reference, choice = on_first_rank(comm, lambda: _plan(problem))
    needed = memory.predict(problem, choice, comm)
    memory.require_room(needed, comm)
    complete, plan = builder.completed(problem.config, choice, problem.space.folded), choice.plan
    directory, lock = _on_first_with_local(comm, lambda: prepare_directory(complete, bool(restart_from)))
    start_logging(comm, directory / "run.log", quiet)
    control = Control(comm, directory, complete.checkpoint.every, complete.time.walltime, job)
    input_text = on_first_rank(comm, lambda: to_yaml(complete))
    wigner = problem.wigner_system(comm)
    announce(problem, wigner, choice, directory, reference)
    vector = wigner.create_vector()
    header = _load(wigner, vector, directory, restart_from) if restart_from else None
    if comm.rank == 0:
        write_whole(directory / "input.yaml", input_text)

    output = RunOutput(problem, wigner, plan, directory, input_text, reference[-1].population, header)
    schedule = Schedule(plan, problem.pump, problem.amplitude)
    first = header.step if header else 0
    checkpoints = Checkpoints(complete, directory, wigner, output, input_text, schedule)
    progress = Progress(comm, len(schedule.steps), plan.end, quiet, first)
    stepper = _Stepper(output, checkpoints, control, schedule, plan, progress, header.step if header else -1)
    try:
        if first < len(schedule.steps):
            integrate(
                choice.integrator, wigner, problem.scatterings, schedule, comm, stepper.monitor, vector, first,
                after_step=stepper.after_step,
            )  # fmt: skip
    except RunError:
        output.close()  # by all ranks together: another run may follow in this process
        raise
    finally:
        progress.close()
    undershoot = output.worst_undershoot
    output.close()
    if comm.rank == 0 and output.fields is not None:
        xdmf.write(directory / "fields.h5")
    if stepper.stopped:
        LOG.warning("stopped by %s with a checkpoint at %g ps: go on with --restart", control.reason, checkpoints_time(stepper))
    largest = comm.allreduce(memory.peak(), MPI.MAX)
    if comm.rank == 0 and not stepper.stopped:
        LOG.info("memory: at most %.0f MiB in a rank, predicted %.0f", largest / memory.MIB, needed.resident / memory.MIB)
        work = Work(started, progress.started, len(schedule.steps) - first)
        summarise(problem, wigner, plan, undershoot, directory / "series.h5", reference, work)
    vector.destroy()
    problem.free()
    comm.Barrier()
    if lock is not None:
        lock.close()
    return directory, not stepper.stopped


def checkpoints_time(stepper: _Stepper) -> float:
    """Simulated time [ps] at which a run was stopped."""
    return stepper.schedule.time_after(stepper.progress.done - 1)


def _resumed_config(config: Config, which: str) -> Config:
    header = restart.peek(Path(config.output.directory), which)
    return restart.effective_config(config, header, header.time)


def _load(wigner: WignerSystem, vector: Any, directory: Path, which: str) -> Header:
    """Fills the state from the first good checkpoint and puts the output files as they were then. Collective."""
    store = CheckpointStore(directory / CHECKPOINTS, wigner.decomposition, keep=1)
    path, header, u = restart.load(store, directory, which)
    np.copyto(wigner.decomposition.view(vector), u)
    restart.restore_outputs(path, header, directory, wigner.decomposition.comm)
    LOG.info("restarted from checkpoint %s at %g ps", path.name, header.time)
    return header


def _on_first_with_local(comm: MPI.Intracomm, compute: Callable[[], tuple[Path, IO[str]]]) -> tuple[Path, IO[str] | None]:
    """Like on_first_rank for a path and an open file, which stays on rank 0."""
    kept: list[IO[str]] = []

    def path_only() -> Path:
        path, file = compute()
        kept.append(file)
        return path

    return on_first_rank(comm, path_only), kept[0] if kept else None


def _plan(problem: Problem) -> tuple[list[Budget], ladder.Choice]:
    reference = problem.reference()
    return reference, problem.choose_steps(reference)
