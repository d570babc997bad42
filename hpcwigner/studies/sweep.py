"""A parameter study: full runs one after the other, or moment equations shared out among the ranks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.valley import ExcitonValleys
from hpcwigner.observables import registry
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import Point, to_yaml
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.checkpoints import CHECKPOINTS
from hpcwigner.simulation.control import Control, Job, Request
from hpcwigner.simulation.ensure import ensure, put_aside, reaches, require_same_input, state
from hpcwigner.simulation.progress import LOG, start_logging
from hpcwigner.simulation.run import lock_directory
from hpcwigner.storage.files import write_whole
from hpcwigner.studies.moments_run import MOMENTS, moments_run
from hpcwigner.studies.sweep_report import INPUT, collect

Solved = dict[str, tuple[Material, ExcitonValleys]]
"""Materials with their 1s states, by `material` of the input."""


def sweep(config: Config, comm: MPI.Intracomm, quiet: bool = False, number: int | None = None) -> str | None:
    """Reuses, resumes or starts the points of a sweep, or point `number` alone, and writes the summary.

    Every point and its directory are checked before the first one starts. A point that fails does not stop the others.
    Returns the table of the whole sweep, '' for one point, None when stopped on request. Raises InputError, and RunError when
    points have failed, on all ranks. Collective.
    """
    points = on_first_rank(comm, lambda: loading.points(config))
    chosen = points if number is None else [points[number]]
    directory = Path(config.output.directory)
    todo, solved = on_first_rank(comm, lambda: _prepare(config, points, chosen, comm.size))
    start_logging(comm, None, quiet)
    LOG.info("sweep of %d points in %s, %d of %d to do", len(points), directory, len(todo), len(chosen))
    work = _Work(config, comm, quiet, len(points))
    if _by_moments(config):
        work.by_moments(todo, solved)
    else:
        work.by_runs(todo)
    start_logging(comm, None, quiet)  # instead of the last run's log
    if work.stopped:
        LOG.warning("sweep stopped: the same command goes on with it")
        return None
    table = on_first_rank(comm, lambda: collect(directory)) if number is None else ""
    if work.failed:
        if comm.rank == 0 and not quiet:
            print(table, flush=True)
        failures = "; ".join(f"{name}: {problem}" for name, problem in work.failed)
        raise RunError(f"{len(work.failed)} of {len(chosen)} points failed (the same command tries them again): {failures}")
    return table


class _Work:
    """Runs points until all are done or a stop is requested."""

    def __init__(self, config: Config, comm: MPI.Intracomm, quiet: bool, count: int) -> None:
        self.comm, self.quiet, self.count = comm, quiet, count
        self.job = Job(Path(config.output.directory))
        self.control = Control(comm, self.job.directory, math.inf, config.time.walltime, self.job)
        self.stopped = False
        self.failed: list[tuple[str, str]] = []

    def by_runs(self, points: Sequence[Point]) -> None:
        """Full runs, each on all ranks. Collective."""
        for point in points:
            if self._asked_to_stop():
                return
            start_logging(self.comm, None, self.quiet)
            LOG.info("point %d of 0…%d: %s", point.number, self.count - 1, point.name)
            try:
                finished = ensure(point.config, self.comm, self.quiet, self.job)
            except (InputError, RunError) as error:
                self._failed(point, str(error))
                continue
            if not finished:
                self.stopped = True
                return

    def by_moments(self, points: Sequence[Point], solved: Solved) -> None:
        """Moment equations, as many points at a time as there are ranks. Collective."""
        for first in range(0, len(points), self.comm.size):
            if self._asked_to_stop():
                return
            now = points[first : first + self.comm.size]
            problem, started = "", time.perf_counter()
            if self.comm.rank < len(now):
                config = now[self.comm.rank].config
                try:
                    if (Path(config.output.directory) / MOMENTS).exists():  # for an earlier time.end
                        put_aside(Path(config.output.directory))
                    moments_run(config, *solved[config.material])
                except InputError as error:
                    problem = str(error)
            took = time.perf_counter() - started
            for point, (trouble, seconds) in zip(now, self.comm.allgather((problem, took)), strict=False):
                if trouble:
                    self._failed(point, trouble)
                else:
                    LOG.info("point %d of 0…%d in %.2g s: %s", point.number, self.count - 1, seconds, point.name)

    def _failed(self, point: Point, problem: str) -> None:
        LOG.error("%s failed: %s", point.name, problem)
        self.failed.append((point.name, problem))

    def _asked_to_stop(self) -> bool:
        """Between points. Collective."""
        self.stopped = self.control.poll() is Request.STOP
        if self.stopped:
            self.control.done(0.0)
        return self.stopped


def _prepare(config: Config, points: Sequence[Point], chosen: Sequence[Point], ranks: int) -> tuple[list[Point], Solved]:
    """Validates the points, writes the sweep's input, returns the points that are not finished (rank 0). Raises InputError."""
    solved = validate(points, 1 if _by_moments(config) else ranks)
    states = {point.number: _finished(point, _by_moments(config)) for point in chosen}
    directory, text = Path(config.output.directory), to_yaml(config)
    known = directory / INPUT
    if not known.exists() or known.read_text(encoding="utf-8") != text:
        for point in points:  # refuses to overwrite the input of another sweep
            _finished(point, _by_moments(config))
        lock_directory(directory).close()
        write_whole(known, text)
    return [point for point in chosen if not states[point.number]], solved


def _by_moments(config: Config) -> bool:
    assert config.sweep is not None
    return config.sweep.moments


def _finished(point: Point, by_moments: bool) -> bool:
    """Whether a point's directory holds its finished results. Raises InputError when it holds those of another input."""
    directory = Path(point.config.output.directory)
    full, moments = ((directory / name).exists() for name in ("series.h5", MOMENTS))
    if by_moments and (full or (directory / CHECKPOINTS).exists()):
        raise InputError(f"output.directory: found '{directory}' with a full run, expected another for sweep.moments")
    if not by_moments and moments and not full:
        raise InputError(f"output.directory: found '{directory}' with {MOMENTS}, expected another directory for full runs")
    try:
        if not by_moments:
            return state(point.config) == "finished"
        require_same_input(point.config)
        return reaches(directory / MOMENTS, point.config.time.end)
    except InputError as error:
        raise InputError(f"{point.name}: {error}") from None


def validate(points: Sequence[Point], ranks: int) -> Solved:
    """Checks materials, energy cutoffs, grids and observables, all that needs no rates. Raises InputError.

    Returns the materials with their 1s states.
    """
    solved: Solved = {}
    for point in points:
        config = point.config
        try:
            if config.material not in solved:
                material = materials.load(config.material)
                solved[config.material] = material, kinetics.exciton_valleys(material)
            kinetics.momentum_grid(config, Couplings.from_material(*solved[config.material]))
            builder.space_grid(config, ranks)
            if "diffusion" not in (o.name for o in registry.select(config.output.observables, config.space.dimensions).series):
                raise InputError("output.observables: found no diffusion, expected it: the sweep is summed up by D_v(t)")
        except InputError as error:
            raise InputError(f"{point.name}: {error}") from None
    return solved
