"""Parameter studies: full runs one after the other, or moment equations shared out among the ranks, whose solutions are files."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.observables import registry
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import Point, provenance_of, to_yaml
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation import measured, spectra
from hpcwigner.simulation.control import Control, Request
from hpcwigner.simulation.progress import LOG, start_logging
from hpcwigner.simulation.restart import CHECKPOINTS, SERIES, SPECTRA
from hpcwigner.simulation.run import MOMENTS, ensure, finished, lock_directory, put_aside, require_same_input
from hpcwigner.storage.files import OutputFile, whole, write_whole
from hpcwigner.studies import sweep_summary

INPUT = "sweep.yaml"  # The sweep's complete input, in its directory
Solved = dict[str, tuple[Material, Couplings]]  # Materials with what follows from them, by `material` of the input


def sweep(config: Config, comm: MPI.Intracomm, quiet: bool = False, number: int | None = None) -> str | None:
    """Reuse, resume or start the points of a sweep, or point `number` alone, and write the summary. Collective.

    Returns the table of the whole sweep, '' for one point, None when stopped on request. Raises InputError before the first
    point starts, and RunError at the end when points have failed, on all ranks.
    """
    points, chosen, todo, solved = on_first_rank(comm, lambda: _prepare(config, number, comm.size))
    assert config.sweep is not None  # else a point would have been refused
    directory, moments = Path(config.output.directory), config.sweep.moments
    start_logging(comm, None, quiet)
    LOG.info("sweep of %d points in %s, %d of %d to do", points, directory, len(todo), chosen)
    control = Control(comm, directory, math.inf, config.time.walltime)
    failed, together = [], comm.size if moments else 1
    for first in range(0, len(todo), together):
        batch = todo[first : first + together]
        if control.poll(at_once=True) is Request.STOP:
            control.done(0.0)
            problems = None
        else:
            problems = _solve_moments(batch, solved, comm) if moments else _run(batch[0], comm, quiet, control)
        if problems is None:
            LOG.warning("sweep stopped: the same command continues it")
            return None
        for point, problem in zip(batch, problems, strict=True):
            if problem:
                LOG.error("%s failed: %s", point.name, problem)
                failed.append(f"{point.name}: {problem}")
    table = on_first_rank(comm, lambda: collect(directory)) if number is None else ""
    if failed:
        if comm.rank == 0 and not quiet:
            print(table, flush=True)
        raise RunError(f"{len(failed)} of {chosen} points failed (the same command tries them again): {'; '.join(failed)}")
    return table


def collect(directory: Path) -> str:
    """Writes summary.h5, summary.png and summary.pdf into a sweep's directory and returns the table (rank 0 only).

    Points that are not finished are left out. Raises InputError.
    """
    if not (directory / INPUT).exists():
        raise InputError(f"{directory}: found no {INPUT}, expected the directory of a sweep")
    config = loading.load(directory / INPUT).in_directory(str(directory))
    assert config.sweep is not None
    summary = sweep_summary.SweepSummary.of(loading.points(config), config.sweep)
    bright = materials.load(config.material).radiation.bright_valley
    sweep_summary.write(directory / "summary.h5", summary, {**provenance_of(config, 1), **config.slab_attribute})
    sweep_summary.plot(summary, bright, (directory / "summary.png", directory / "summary.pdf"), directory.resolve().name)
    return sweep_summary.table(summary)


def _run(point: Point, comm: MPI.Intracomm, quiet: bool, control: Control) -> list[str] | None:
    """A full run on all ranks: why it failed or '', None when it was stopped on request. Collective."""
    LOG.info("point %d: %s", point.number, point.name)
    try:
        return [""] if ensure(point.config, comm, quiet, control) else None
    except (InputError, RunError) as error:
        return [str(error)]
    finally:
        start_logging(comm, None, quiet)  # the run has a log of its own


def _solve_moments(batch: Sequence[Point], solved: Solved, comm: MPI.Intracomm) -> list[str]:
    """Moment equations of at most one point per rank: why each failed or ''. Collective."""
    problem, started = "", time.perf_counter()
    if comm.rank < len(batch):
        config = batch[comm.rank].config
        directory = Path(config.output.directory)
        try:
            if (directory / MOMENTS).exists():  # for an earlier time.end
                put_aside(directory)
            moments_run(config, *solved[config.material])
        except InputError as error:
            problem = str(error)
    results = comm.allgather((problem, time.perf_counter() - started))[: len(batch)]
    for point, (_, seconds) in zip(batch, results, strict=True):
        LOG.info("point %d in %.2g s: %s", point.number, seconds, point.name)
    return [problem for problem, _ in results]


def _prepare(config: Config, number: int | None, ranks: int) -> tuple[int, int, list[Point], Solved]:
    """Checks points, writes the sweep's input; numbers of all and of chosen points, those to do, materials. Raises InputError."""
    points = loading.points(config)
    chosen = points if number is None else [loading.point(config, number)]
    moments = config.sweep is not None and config.sweep.moments
    known, text = Path(config.output.directory) / INPUT, to_yaml(config)
    unknown = not known.exists() or known.read_text(encoding="utf-8") != text
    solved: Solved = {}
    todo = []
    for point in points:
        try:
            _check(point.config, 1 if moments else ranks, solved)
            # The input of another sweep must not be overwritten; else other jobs may be writing the points not chosen.
            if (unknown or point in chosen) and not _finished(point.config, moments) and point in chosen:
                todo.append(point)
        except InputError as error:
            raise InputError(f"{point.name}: {error}") from None
    if unknown:
        lock_directory(known.parent).close()
        write_whole(known, text)
    return len(points), len(chosen), todo, solved


def _check(config: Config, ranks: int, solved: Solved) -> None:
    """Check material, energy cutoff, grid and observables, all that needs no rates; adds to `solved`. Raises InputError."""
    if config.material not in solved:
        solved[config.material] = kinetics.solve(config.material)
    kinetics.momentum_grid(config, solved[config.material][1])
    builder.space_grid(config, ranks)
    if "diffusion" not in (o.name for o in config.observables[SERIES]):
        raise InputError("output.observables: found no diffusion, expected it: the sweep is summed up by D_v(t)")


def _finished(config: Config, moments: bool) -> bool:
    """Whether a point's directory holds its finished results. Raises InputError when it holds those of another input."""
    directory = Path(config.output.directory)
    ran, solved = any((directory / name).exists() for name in (SERIES, CHECKPOINTS)), (directory / MOMENTS).exists()
    if moments and ran:
        raise InputError(f"output.directory: found '{directory}' with a full run, expected another for sweep.moments")
    if solved and not moments and not ran:
        raise InputError(f"output.directory: found '{directory}' with {MOMENTS}, expected another directory for full runs")
    require_same_input(config)
    return finished(config, moments)


def moments_run(config: Config, material: Material, couplings: Couplings, directory: Path | None = None) -> None:
    """Write moments.h5 and the complete input into the run directory or another one, on this rank alone. Raises InputError."""
    solved = kinetics.for_material(config, material, couplings, MPI.COMM_SELF)
    problem = builder.assemble(solved, builder.space_grid(config, 1))
    solved.rates.free()
    directory = directory or Path(config.output.directory)
    try:
        require_closed(problem)
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / "input.yaml", to_yaml(problem.config))
        write_moments(problem, directory)
    finally:
        problem.free()


def require_closed(problem: Problem) -> None:
    """Raises InputError where the moment equations do not describe the problem."""
    if problem.not_closed:
        raise InputError(f"moments: found a problem without closed moment equations, since {problem.not_closed}: make a run")


def write_moments(problem: Problem, directory: Path) -> None:
    """Write DIRECTORY/moments.h5, on one rank. Raises InputError if the file exists."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / MOMENTS
    if path.exists():
        raise InputError(f"--output: '{path}' is there already, expected a new one")
    axes, attributes = {"valley": [v.name for v in problem.cells.valleys]}, provenance_of(problem.config, 1)
    observables = registry.select(problem.config.output.observables, 1, slab=problem.config.slab, run=False)[SERIES]
    with whole(path) as part:
        file = OutputFile(part, MPI.COMM_SELF, observables, axes, attributes | problem.config.slab_attribute)
        snapshots = problem.moments.snapshots()
        for time, snapshot in zip(problem.moments.times, snapshots, strict=True):
            file.append_whole(float(time), {o.name: o.compute(snapshot) for o in observables})
        file.close()
    if problem.config.output.spectrum is not None:
        zeroth = np.array([snapshot.moments.zeroth for snapshot in snapshots])
        _write_spectra(
            problem, directory / SPECTRA, zeroth, attributes | problem.config.slab_attribute | {"bright_valley": problem.bright}
        )


def _write_spectra(problem: Problem, path: Path, zeroth: Array, attributes: Mapping[str, str | int]) -> None:
    """Spectra of the whole sample at the series outputs from the numbers of excitons (time, cell)."""
    wanted = problem.config.output.spectrum
    assert wanted is not None
    variables = registry.spectra(problem.space.dimensions, problem.config.slab, bool(wanted.windows), resolved=False)
    axes = {"valley": [v.name for v in problem.cells.valleys], **spectra.coordinates(problem)}
    constants, totals, bands = spectra.sideband_constants(problem), *spectra.of_moments(problem, zeroth)
    with whole(path) as part:
        file = OutputFile(part, MPI.COMM_SELF, variables, axes, attributes, constants, wanted.compression == "gzip")
        for time, total, by_band in zip(problem.moments.times, totals, bands, strict=True):
            row = file.append(float(time))
            for variable in variables:
                file.write(row, variable.name, variable.compute(spectra.shown(wanted, total), total, by_band))
        file.close()
        measured.add(problem.config, part)
