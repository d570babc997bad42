"""The verb `fit` as a whole: its directory, progress, a stop on request, and what it writes."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mpi4py import MPI

from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import CollectiveStack, on_first_rank
from hpcwigner.simulation.control import Control
from hpcwigner.simulation.progress import LOG, start_logging
from hpcwigner.simulation.run import RUN_FILES, lock_directory
from hpcwigner.storage import provenance
from hpcwigner.storage.files import write_whole
from hpcwigner.studies.fit import result, targets
from hpcwigner.studies.fit.history import History
from hpcwigner.studies.fit.readings import all_readings
from hpcwigner.studies.fit.search import Evaluator, Ranges, Search, Stopped, needed_for, rounded
from hpcwigner.studies.fit.targets import Task

FILE, HISTORY, MATERIAL, TABLE = "fit.yaml", "history.h5", "material.yaml", "fit.txt"
"""Of a fit's directory: its complete file, all evaluations, the fitted material, what moved and which targets are met."""


def fit(path: Path, directory: str | None, comm: MPI.Intracomm, quiet: bool = False) -> str | None:
    """Starts the fit of a file, or continues it; writes material and table. Returns the table, None when stopped on request.

    Raises InputError on all ranks. Collective.
    """
    task = on_first_rank(comm, lambda: targets.load(path, directory))
    folder = Path(task.fit.directory)
    with CollectiveStack() as stack:
        on_first_rank(comm, lambda: stack.enter_context(lock_directory(folder)).name)
        start_logging(comm, None, quiet)
        on_first_rank(comm, lambda: _prepare(task, folder))
        ranges, count = Ranges(task.material, task.keys), len(all_readings(task))
        attributes = provenance.attributes(task.text, comm.size, {}) if comm.rank == 0 else {}
        history = History(folder / HISTORY if comm.rank == 0 else None, attributes, len(task.keys), count)
        history.hold(*on_first_rank(comm, history.load))
        evaluator = Evaluator(task, ranges, history, comm, Control(comm, folder, math.inf, None))
        search = Search(task, ranges, evaluator)
        LOG.info(
            "fit of %d numbers to %d targets in %s; %d sets are known", len(task.keys), len(search.targets), folder, len(history)
        )
        try:
            with _progress(evaluator, comm, quiet):
                best = rounded(search, search.run())
                needed = needed_for(search, best)
        except Stopped:
            LOG.warning(
                "fit stopped by %s after %d sets of numbers: the same command continues it",
                evaluator.control.reason,
                len(history),
            )
            return None

        def write() -> str:
            text = result.table(search, best, needed)
            material = result.fitted(search, best, path.stem)
            write_whole(folder / MATERIAL, result.material_text(material))
            write_whole(folder / TABLE, text)
            return f"{text}\n{folder / MATERIAL}"

        return on_first_rank(comm, write)


def _prepare(task: Task, folder: Path) -> None:
    """Writes the complete file into the directory. Raises InputError where it holds another fit, or a run."""
    if any((folder / name).exists() for name in RUN_FILES):
        raise InputError(f"directory: found '{folder}', which holds a run, expected another one")
    known, text = folder / FILE, task.text
    if not known.exists() and (folder / HISTORY).exists():
        raise InputError(f"directory: found '{folder}' with {HISTORY} but no {FILE}, expected another one")
    if known.exists() and known.read_text(encoding="utf-8") != text:
        raise InputError(f"directory: found '{folder}', which holds another fit, expected a new one: choose it with --output DIR")
    write_whole(known, text)


@contextlib.contextmanager
def _progress(evaluator: Evaluator, comm: MPI.Intracomm, quiet: bool) -> Iterator[None]:
    """A bar on a single-process terminal, otherwise a line every now and then; rank 0 only."""
    shown = comm.rank == 0 and not quiet
    if shown and comm.size == 1 and sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(unit="set", dynamic_ncols=True, leave=False) as bar:
            evaluator.told = bar.update
            yield
        return
    began = last = time.perf_counter()
    first = len(evaluator.history)

    def told(_count: int) -> None:
        nonlocal last
        if shown and (now := time.perf_counter()) - last >= 10:
            rate = (len(evaluator.history) - first) / (now - began)
            LOG.info("%6d sets of numbers   %.3g sets/s", len(evaluator.history), rate)
            last = now

    evaluator.told = told
    yield
