"""Going on from a checkpoint: which one, with which input, and with which output files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage.checkpoint import CheckpointError, CheckpointStore, Header, read_header

MAY_CHANGE = (
    "time.end",
    "time.walltime",
    "output.fields_every",
    "output.wigner_at",
    "output.directory",
    "checkpoint",
)
"""Keys, or sections, that a restart may give another value."""


def stored_input(header: Header) -> Config:
    """The complete input in a checkpoint. Raises InputError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.yaml"
        path.write_text(header.input, encoding="utf-8")
        return loading.load(path)


def resumed_config(config: Config, which: str) -> Config:
    """The input to continue with from a checkpoint of the run directory, on one rank. Raises InputError."""
    header = peek(Path(config.output.directory), which)
    return effective_config(config, header, header.time)


def effective_config(asked: Config, header: Header, step_of: float) -> Config:
    """The input to go on with: what was `auto` is what the first start made of it. Raises InputError by key.

    `step_of` is the time [ps] of the checkpoint; the new end must lie after it.
    """
    stored = stored_input(header)
    filled = filled_from(asked, stored)
    if change := first_change(filled, stored, MAY_CHANGE):
        key, found, expected = change
        raise InputError(
            f"{key}: found {found!r}, expected {expected!r} as in the checkpoint: "
            f"a restart may change {', '.join(MAY_CHANGE)} only"
        )
    if filled.time.end < step_of:
        raise InputError(f"time.end: found {filled.time.end:g} ps, expected a time not before the checkpoint ({step_of:g} ps)")
    return filled


def filled_from(asked: Config, stored: Config) -> Config:
    """`asked` with every `auto` as the run of the complete input `stored` took it."""
    momentum = {
        key: getattr(stored.momentum, key) for key in ("energy_step", "energy_max") if getattr(asked.momentum, key) == "auto"
    }
    time: dict[str, Any] = {}
    if asked.time.steps == "auto":
        time["steps"] = stored.time.steps
    if asked.time.integrator == "auto":
        time["integrator"] = stored.time.integrator
    space: dict[str, Any] = {"symmetry": stored.space.symmetry} if asked.space.symmetry == "auto" else {}
    return dataclasses.replace(
        asked,
        momentum=dataclasses.replace(asked.momentum, **momentum),
        space=dataclasses.replace(asked.space, **space),
        time=dataclasses.replace(asked.time, **time),
    )


def first_change(asked: Config, stored: Config, may_change: Sequence[str]) -> tuple[str, Any, Any] | None:
    """The first key, outside of `may_change` (keys or sections), with another value: key, asked and stored value."""
    found, expected = _flat(schema.dump(asked)), _flat(schema.dump(stored))
    for key in sorted(found.keys() | expected.keys()):
        allowed = any(key == name or key.startswith(f"{name}.") for name in may_change)
        if not allowed and found.get(key) != expected.get(key):
            return key, found.get(key), expected.get(key)
    return None


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {path: data}
    return {k: v for key, value in data.items() for k, v in _flat(value, f"{path}.{key}" if path else str(key)).items()}


def peek(directory: Path, which: str) -> Header:
    """Header of the checkpoint that a restart would try first and that can be read (rank 0 only). Raises InputError."""
    for path in _candidates(directory, which):
        try:
            return read_header(path)
        except CheckpointError:
            continue
    raise InputError(f"--restart {which}: no complete checkpoint in '{directory}/checkpoints', expected a stopped run there")


def _candidates(directory: Path, which: str) -> list[Path]:
    store = CheckpointStore.__new__(CheckpointStore)
    store.directory = directory / "checkpoints"
    if which == "latest":
        return store.candidates()
    path = Path(which)
    path = path.parent if path.name.endswith(".h5") else path
    path = path if path.is_dir() else store.directory / path
    if not path.is_dir():
        raise InputError(
            f"--restart {which}: no such checkpoint, expected 'latest' or one of {', '.join(store.numbers()) or 'none'}"
        )
    return [path]


def load(store: CheckpointStore, directory: Path, which: str) -> tuple[Path, Header, Any]:
    """The first good checkpoint with its header and this rank's block; damaged ones are named. Collective."""
    comm = store.comm
    paths = comm.bcast(_candidates(directory, which) if comm.rank == 0 else None)
    for path in paths:
        try:
            header, u = store.load(path)
        except CheckpointError as error:
            LOG.warning("checkpoint %s cannot be used: %s; trying an older one", path.name, error)
            continue
        store.go_on_from(path)
        return path, header, u
    raise InputError(f"--restart {which}: every checkpoint in '{directory}/checkpoints' is damaged")


def restore_outputs(checkpoint: Path, header: Header, directory: Path, comm: MPI.Intracomm) -> None:
    """Puts the output files as they were at the checkpoint; newer ones are kept beside them as NAME.replaced. Collective."""
    if comm.rank == 0:
        for name in header.rows:
            target, copy = directory / name, directory / f"{name}.restored"
            shutil.copyfile(checkpoint / name, copy)
            if target.exists():
                os.replace(target, directory / f"{name}.replaced")
            os.replace(copy, target)
    comm.Barrier()
