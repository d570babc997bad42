"""One run from input to output files, from the start or from a checkpoint; and its reuse by programs that need its files."""

import dataclasses
import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.observables.budget import Budget
from hpcwigner.problem import builder, loading
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import CollectiveStack, on_first_rank
from hpcwigner.simulation import estimate, measured, restart
from hpcwigner.simulation.control import Control, Request
from hpcwigner.simulation.output import RunOutput
from hpcwigner.simulation.progress import LOG, Progress, start_logging
from hpcwigner.simulation.restart import CHECKPOINTS, FIELDS, SERIES, SPECTRA, WIGNER
from hpcwigner.simulation.solution import Solution
from hpcwigner.simulation.summary import announce, checks, performance
from hpcwigner.space.placement import placed
from hpcwigner.storage import xdmf
from hpcwigner.storage.archive import CheckpointError
from hpcwigner.storage.checkpoint import CheckpointStore, Header, Layout
from hpcwigner.storage.files import set_aside, write_whole
from hpcwigner.storage.reading import last_time, model_of, write_summary

RUN_FILES = (SERIES, FIELDS, "input.yaml", CHECKPOINTS)
MOMENTS = "moments.h5"  # The series of a solution of the moment equations


def lock_directory(directory: Path, new: bool = False) -> IO[str]:
    """Makes a directory and locks it, as long as the file returned is open. Raises InputError; if `new`, also where a run is."""
    if new and any((directory / name).exists() for name in RUN_FILES):
        raise InputError(
            f"output.directory: found '{directory}', which holds a run already, expected a new one: "
            f"choose another with --output DIR, go on with it with --restart, or move it away"
        )
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
        self, config: Config, solution: Solution, output: RunOutput, control: Control, schedule: Schedule,
        progress: Progress, attributes: Mapping[str, Any], resumed: restart.Resumption | None,
    ) -> None:  # fmt: skip
        """`attributes` are those of the output files."""
        self.solution, self.output, self.control, self.schedule, self.progress = solution, output, control, schedule, progress
        options = config.checkpoint
        layout = Layout(options.writes == "collective", options.compression == "gzip", int(options.alignment), options.hints)
        directory, extent = Path(config.output.directory) / CHECKPOINTS, resumed.extent if resumed else None
        self.store = CheckpointStore(directory, solution.equation.decomposition, options.keep, layout, extent)
        self.input_text, self.history = str(attributes["input"]), tuple(json.loads(attributes["history"]))
        self.stopped = False

    def set_angles(self, number: int) -> None:
        """Another number of angles from now on. Collective."""
        if number != self.solution.angles.number:
            LOG.info("%d angles from %g ps on", number, self.schedule.time_after(self.progress.done - 1))
        self.solution.set_angles(number)
        self.output.set_angles(self.solution.angles, self.solution.equation)
        self.store.partition = self.solution.equation.decomposition

    def monitor(self, done: int, vector: Any) -> None:
        """Before the first and after every step."""
        self.output.observe(done, self.solution.equation.read(vector))
        self.progress.update(done, self.schedule.time_after(done - 1))

    def after_step(self, done: int, vector: Any) -> bool:
        """Fulfils requests; True stops the run after this step."""
        request = self.control.poll()
        last = done == len(self.schedule.steps)
        if request is Request.NONE and not last:
            return False
        self.monitor(done, vector)  # outputs of this step belong to its checkpoint
        stop = request is Request.STOP and not last
        if self.store.keep == 0:
            if stop:
                raise RunError(f"stopped by {self.control.reason} without a checkpoint, as checkpoint.keep is 0")
            return False
        try:
            self.control.done(self._checkpoint(done, vector))
        except CheckpointError as error:
            if stop:
                raise RunError(f"stopped by {self.control.reason}, but without a new checkpoint: {error}") from None
            LOG.warning("no checkpoint after step %d: %s", done, error)
            self.control.done(0.0)
        self.stopped = stop
        return stop

    def _checkpoint(self, done: int, vector: Any) -> float:
        """Checkpoint after `done` steps; returns the seconds it took. Raises CheckpointError. Collective."""
        started = time.perf_counter()
        files, equation = self.output.flushed(), self.solution.equation
        decomposition = equation.decomposition
        header = Header(
            step=done,
            time=self.schedule.time_after(done - 1),
            accumulators=self.output.accumulators(),
            input=self.input_text,
            shape=(*decomposition.grid.shape, *decomposition.per_point),
            history=self.history,
            auxiliary=equation.field_names,
        )
        state, (nx, ny) = equation.read(vector), decomposition.local_shape[:2]
        path = self.store.write(state.u.reshape(decomposition.local_shape), header, files, state.fields.reshape(nx, ny, -1))
        took = time.perf_counter() - started
        LOG.info("checkpoint %s at %g ps in %.2g s", path.name, header.time, took)
        return took


def run(
    config: Config, comm: MPI.Intracomm, quiet: bool = False, restart_from: str | None = None, above: Control | None = None
) -> tuple[Path, bool]:
    """Runs the input to its end, or until it is stopped. Returns the run directory and whether the end was reached.

    `restart_from` is 'latest' or a checkpoint; `above` is the control of the sweep that the run is part of. Raises InputError and
    RunError on all ranks. Collective.
    """
    started = time.perf_counter()
    if restart_from:
        config = on_first_rank(comm, lambda: restart.resumed_config(config, restart_from))
    with CollectiveStack() as stack:
        problem = builder.build(config, comm)
        stack.callback(problem.free)
        comm = placed(comm, problem.space)
        stack.callback(comm.Free)
        reference, choice = plan(problem, comm)
        needed = estimate.predict(problem, choice, comm)
        estimate.require_room(needed, comm)
        complete = builder.completed(problem.config, choice, any(problem.space.folded))
        directory = Path(complete.output.directory)
        on_first_rank(comm, lambda: stack.enter_context(lock_directory(directory, new=not restart_from)).name)
        warnings = start_logging(comm, directory / "run.log", quiet)
        control = Control(comm, directory, complete.checkpoint.every, complete.time.walltime, above)
        solution = Solution(problem, comm)
        stack.callback(solution.free)
        unknowns = solution.equation.unknowns
        announce(problem, solution.equation, choice, directory, reference)
        stepper = _advance(problem, solution, choice, reference, complete, control, restart_from, quiet)
        if comm.rank == 0 and (directory / FIELDS).exists():
            xdmf.write(directory / FIELDS)
        if comm.rank == 0 and not stepper.stopped:
            measured.add(complete, directory / SPECTRA)
        if stepper.stopped:
            at = stepper.schedule.time_after(stepper.progress.done - 1)
            LOG.warning("stopped by %s with a checkpoint at %g ps: go on with --restart", control.reason, at)
        largest = comm.allreduce(estimate.peak(), MPI.MAX)
        balance = stepper.output.balance
        accounts = balance.accounts(solution.state) if balance and not stepper.stopped else []
        if comm.rank == 0:
            summary = {"performance": performance(unknowns, comm.size, started, stepper.progress, largest, needed.resident)}
            series = directory / SERIES
            if not stepper.stopped:
                output = stepper.output
                summary["checks"] = checks(problem, output.worst_undershoot, output.top_share, accounts, series, reference)
            write_summary(series, summary | {"warnings": warnings})
        return directory, not stepper.stopped


def plan(problem: Problem, comm: MPI.Intracomm = MPI.COMM_SELF) -> tuple[list[Budget], Choice]:
    """Exact budgets at the series outputs and the steps. Raises InputError, also when nothing is formed. Collective."""
    reference = on_first_rank(comm, lambda: _exact(problem))
    choice = problem.choose_steps(reference, comm)
    reductions = on_first_rank(comm, lambda: problem.reductions(reference))
    return reference, dataclasses.replace(choice, plan=dataclasses.replace(choice.plan, reductions=reductions))


def _exact(problem: Problem) -> list[Budget]:
    reference = problem.moments.reference()
    final = reference[-1].population
    if not np.isfinite(final).all():
        raise RunError("the moment equations do not stay finite")
    if final.sum() <= 0:
        end = problem.config.time.end
        raise InputError(f"time.end: found {end:g} ps, when the moment equations have {final.sum():g} excitons, expected some")
    return reference


def _advance(
    problem: Problem, solution: Solution, choice: Choice, reference: list[Budget], complete: Config, control: Control,
    restart_from: str | None, quiet: bool,
) -> _Stepper:  # fmt: skip
    """Steps from the start or a checkpoint to the end or a stop; output files are closed in any case. Collective."""
    comm, directory = solution.equation.decomposition.comm, Path(complete.output.directory)
    schedule = on_first_rank(comm, lambda: Schedule(choice.plan, problem.sources))
    with CollectiveStack() as stack:
        decomposition, resumed = solution.equation.decomposition, None
        if restart_from:
            resumed = _load(solution, directory, restart_from, schedule)
        elif problem.initial is not None:
            problem.initial.fill(decomposition, solution.state.u)
        header = resumed.header if resumed else None
        attributes = on_first_rank(comm, lambda: restart.attributes(complete, comm.size, header))
        if comm.rank == 0:
            write_whole(directory / "input.yaml", str(attributes["input"]))
        final = problem.final_scale(reference)
        output = RunOutput(problem, solution.equation, choice.plan, directory, attributes, final, resumed)
        stack.callback(output.close)
        first = header.step if header else 0
        progress = Progress(comm, len(schedule.steps), choice.plan.end, quiet, first)
        stack.callback(progress.close)
        stepper = _Stepper(complete, solution, output, control, schedule, progress, attributes, resumed)
        generators = problem.local_generators
        for begin, end, angles in choice.plan.legs(problem.angles.number):
            if first < end and not stepper.stopped:
                stepper.set_angles(angles)
                integrate(
                    choice.integrator, solution.equation, generators, schedule, comm, stepper.monitor, solution.vector,
                    max(first, begin), after_step=stepper.after_step, end_step=end,
                )  # fmt: skip
    return stepper


def _load(solution: Solution, directory: Path, which: str, schedule: Schedule) -> restart.Resumption:
    """Fills the state from the first good checkpoint. Raises InputError. Collective."""
    store = CheckpointStore(directory / CHECKPOINTS, solution.equation.decomposition, keep=1)
    resumption, u, fields = restart.load(store, directory, which)
    header = resumption.header
    if not 0 <= header.step <= len(schedule.steps) or abs(schedule.time_after(header.step - 1) - header.time) > 1e-9:
        raise InputError(
            f"time.end, output.fields_every, output.wigner_at: found times that change the steps before the checkpoint at "
            f"{header.time:g} ps, expected multiples of output.series_every"
        )
    if header.auxiliary != solution.equation.field_names:
        raise InputError(
            f"--restart: found a checkpoint with {len(header.auxiliary)} auxiliary fields, expected the "
            f"{len(solution.equation.field_names)} of this version's books: start anew"
        )
    solution.set_angles(solution.angles.with_count(u.shape[2]).number)
    state = solution.state
    np.copyto(state.u, u.reshape(state.u.shape))
    np.copyto(state.fields, fields.reshape(state.fields.shape))
    restart.set_unknown_aside(resumption, directory, store.comm)
    LOG.info("restarted from checkpoint %s at %g ps", resumption.path.name, header.time)
    return resumption


NO_EFFECT = ("time.walltime", "output.directory", "checkpoint")
"""Keys, or sections, that do not change what a run writes into its files."""


def ensure(config: Config, comm: MPI.Intracomm, quiet: bool = False, above: Control | None = None) -> bool:
    """Reuse, resume or start the run of an input; a run directory without a checkpoint is renamed and its run started again.

    Returns whether the end was reached. Raises InputError when the directory holds a run of another input. Collective.
    """

    def prepare() -> Literal["finished", "resumable", "startable"]:
        directory = Path(config.output.directory)
        require_same_input(config)
        if finished(config):
            return "finished"
        if (directory / "input.yaml").exists() and any((directory / CHECKPOINTS).glob("*/complete.json")):
            return "resumable"
        if any((directory / name).exists() for name in RUN_FILES):
            put_aside(directory)
        return "startable"

    held = on_first_rank(comm, prepare)
    return held == "finished" or run(config, comm, quiet, "latest" if held == "resumable" else None, above)[1]


def require_same_input(config: Config) -> None:
    """Raises InputError when the run directory holds a run of another input, unless that only ends earlier."""
    directory = Path(config.output.directory)
    if not (directory / "input.yaml").exists():
        return
    if model := model_of(directory / SERIES):
        raise InputError(
            f"output.directory: found '{directory}', which holds the model '{model.partition(':')[0]}', expected a run of the "
            f"kinetics: move it away or choose another directory"
        )
    stored = loading.load(directory / "input.yaml")
    allowed = (*NO_EFFECT, "time.end") if stored.time.end < config.time.end else NO_EFFECT
    if change := restart.first_change(restart.filled_from(config, stored), stored, allowed):
        key, asked, there = change
        raise InputError(
            f"output.directory: found '{directory}', which holds a run with {key} {there!r}, expected {asked!r}: "
            f"move it away or choose another directory"
        )


def finished(config: Config, by_moments: bool = False) -> bool:
    """Whether every output file in the run directory reaches its last time; `by_moments`: that of the moment equations."""
    directory, end = Path(config.output.directory), config.time.end
    optional = {} if by_moments else {FIELDS: end, WIGNER: max(config.cuts, default=0.0)}
    due = {MOMENTS if by_moments else SERIES: end} | {name: t for name, t in optional.items() if (directory / name).exists()}
    return all(last_time(directory / name) >= time * (1 - 1e-9) for name, time in due.items())


def put_aside(directory: Path) -> None:
    """Rename a run directory to NAME.unfinished1, …. Raises InputError while a run is under way in it."""
    with lock_directory(directory):
        set_aside(directory, "unfinished", 1)
