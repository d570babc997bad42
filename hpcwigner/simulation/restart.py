"""Restart from a checkpoint: which one, with which input, and with which rows of the output files."""

import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.problem.config import Config, FewerAngles
from hpcwigner.runtime import schema
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage import provenance
from hpcwigner.storage.archive import CheckpointError, Extent, find_rows
from hpcwigner.storage.checkpoint import CheckpointStore, Header, candidates, numbers, read_header
from hpcwigner.storage.files import Source, set_aside

MAY_CHANGE = ("time.end", "time.walltime", "output.fields_every", "output.wigner_at", "output.directory", "checkpoint")
"""Keys, or sections, that a restart may give another value."""
AUTO = {"momentum": ("energy_step", "energy_max"), "time": ("steps", "integrator"), "space": ("symmetry",)}
"""Keys that `builder.completed` fills in, by section."""
SERIES, FIELDS, WIGNER, SPECTRA = OUTPUT_FILES = ("series.h5", "fields.h5", "wigner.h5", "spectra.h5")
"""Files of a run that grow with time."""
CHECKPOINTS = "checkpoints"  # Their folder in the run directory


@dataclasses.dataclass(frozen=True)
class Resumption:
    """The checkpoint that a run continues from."""

    path: Path
    header: Header
    sources: Mapping[str, Source]  # Where the rows of each output file are read from; on rank 0 only
    extent: Extent | None  # Archived rows, if the archive is continued


def stored_input(header: Header) -> Config:
    """The complete input in a checkpoint. Raises InputError."""
    import yaml

    return loading.from_data(yaml.safe_load(header.input), (), "the checkpoint's input", Path())


def resumed_config(asked: Config, which: str) -> Config:
    """The input to continue with from a checkpoint of the run directory: `auto` is what the first start has chosen.

    On one rank. Raises InputError by key.
    """
    header = peek(Path(asked.output.directory), which)
    stored = stored_input(header)
    filled = filled_from(asked, stored)
    if change := first_change(filled, stored, MAY_CHANGE):
        key, value, expected = change
        raise InputError(
            f"{key}: found {value!r}, expected {expected!r} as in the checkpoint: "
            f"a restart may change {', '.join(MAY_CHANGE)} only"
        )
    reached = f"the checkpoint ({header.time:g} ps)"
    if filled.time.end < header.time:
        raise InputError(f"time.end: found {filled.time.end:g} ps, expected a time not before {reached}")
    if early := [t for t in filled.output.wigner_at if t <= header.time and t not in stored.output.wigner_at]:
        raise InputError(f"output.wigner_at: found {early[0]:g} ps, expected new times after {reached}")
    return filled


def filled_from(asked: Config, stored: Config) -> Config:
    """`asked` with every `auto` as the run of the complete input `stored` took it."""
    for section, keys in AUTO.items():
        new, old = getattr(asked, section), getattr(stored, section)
        taken = {key: getattr(old, key) for key in keys if getattr(new, key) == "auto"}
        asked = dataclasses.replace(asked, **{section: dataclasses.replace(new, **taken)})
    angles, before = asked.momentum.angles, stored.momentum.angles
    if isinstance(angles, FewerAngles) and isinstance(before, FewerAngles) and angles.reduce == "auto":
        momentum = dataclasses.replace(asked.momentum, angles=dataclasses.replace(angles, reduce=before.reduce))
        asked = dataclasses.replace(asked, momentum=momentum)
    return asked


def changes(asked: Config, stored: Config) -> dict[str, tuple[Any, Any]]:
    """Stored and asked value of each key of the input that differs."""
    before, after = _flat(schema.dump(stored)), _flat(schema.dump(asked))
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def first_change(asked: Config, stored: Config, may_change: Sequence[str]) -> tuple[str, Any, Any] | None:
    """The first key, outside of `may_change` (keys or sections), with another value: key, asked and stored value."""
    for key, (before, after) in changes(asked, stored).items():
        if not any(key == name or key.startswith(f"{name}.") for name in may_change):
            return key, after, before
    return None


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {path: data}
    return {k: v for key, value in data.items() for k, v in _flat(value, f"{path}.{key}" if path else str(key)).items()}


def attributes(config: Config, ranks: int, resumed: Header | None) -> dict[str, str | int]:
    """Attributes of the output files: those of this start, and the history of all starts. To be called on one rank."""
    latest = loading.provenance_of(config, ranks)
    start = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "first_step": resumed.step if resumed else 0,
        **{key: latest[key] for key in provenance.KEPT},
        "changes": changes(config, stored_input(resumed)) if resumed else {},  # both values of each key of the input
    }
    return latest | {"history": json.dumps([*(resumed.history if resumed else ()), start])}


def peek(directory: Path, which: str) -> Header:
    """Header of the first checkpoint that a restart would try and that can be read (rank 0 only). Raises InputError."""
    for path in _candidates(directory, which):
        try:
            return read_header(path)
        except CheckpointError:
            continue
    raise InputError(f"--restart {which}: no complete checkpoint in '{directory / CHECKPOINTS}', expected a stopped run there")


def _candidates(directory: Path, which: str) -> list[Path]:
    folder = directory / CHECKPOINTS
    if which == "latest":
        return candidates(folder)
    path = Path(which)
    path = path.parent if path.name.endswith(".h5") else path
    path = path if path.is_dir() else folder / path
    if not path.is_dir():
        raise InputError(
            f"--restart {which}: no such checkpoint, expected 'latest' or one of {', '.join(numbers(folder)) or 'none'}"
        )
    return [path]


def load(store: CheckpointStore, directory: Path, which: str) -> tuple[Resumption, Array, Array]:
    """The first good checkpoint with this rank's blocks of the state and the auxiliary fields. Collective.

    Damaged checkpoints are named, and newer ones set aside; no output file is changed. Raises InputError when all
    checkpoints are damaged.
    """
    paths = store.comm.bcast(_candidates(directory, which) if store.comm.rank == 0 else None)
    for path in paths:
        try:
            resumption, u, auxiliary = _verified(store, path)
        except CheckpointError as error:
            LOG.warning("checkpoint %s cannot be used: %s; trying an older one", path.name, error)
            continue
        for source in resumption.sources.values():
            if source.problem:
                LOG.warning("%s", source.problem)
        store.on_first(functools.partial(store.continue_from, path))
        return resumption, u, auxiliary
    raise InputError(f"--restart {which}: every checkpoint in '{directory / CHECKPOINTS}' is damaged")


def _verified(store: CheckpointStore, path: Path) -> tuple[Resumption, Array, Array]:
    """A checkpoint whose state and rows are complete. Raises CheckpointError. Collective."""
    header, u, auxiliary = store.load(path)
    sources: dict[str, Source] = {}
    store.on_first(lambda: sources.update(find_rows(path, header.outputs)))
    archived = store.on_first(lambda: path.parent == store.directory and all(s.archived for s in sources.values()))
    return Resumption(path, header, sources, header.outputs if archived else None), u, auxiliary


def set_unknown_aside(resumption: Resumption, directory: Path, comm: MPI.Intracomm) -> None:
    """Renames output files that the checkpoint does not know, since they were made after it. Collective."""
    if comm.rank == 0:
        for name in OUTPUT_FILES:
            if name not in resumption.header.outputs.rows and (kept := set_aside(directory / name)):
                LOG.info("%s is newer than the checkpoint: kept as %s", name, kept.name)
    comm.Barrier()
