"""state.h5 of a checkpoint: u[x, y, angle, cell], auxiliary fields and a header in one file that all ranks write together."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import RunError
from hpcwigner.space.grid import Decomposition

FORMAT = 2  # Format 1 had no auxiliary fields and no history, and kept copies of the output files beside state.h5
LARGEST_WRITE = 2**26
"""Bytes that a rank passes to MPI-IO at once: it buffers twice as much, and some implementations count in 32 bits."""
_UNITS = "nm-1 (slab) or nm-2: excitons per length or area in the momentum cell"


class CheckpointError(RunError):
    """A checkpoint could not be written, or is damaged. Raised on all ranks together; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """Rows of the output files that belong to a checkpoint."""

    rows: dict[str, int] = dataclasses.field(default_factory=dict)  # Rows of each output file, by file name
    sums: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    """CRC-32 of all these rows, by file name and variable. Empty in format 1."""
    parts: dict[str, int] = dataclasses.field(default_factory=dict)
    """Bytes of each part of the archive that hold them, by name of the part. Empty in format 1."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a checkpoint holds beside the state."""

    step: int  # Finished steps
    time: float  # [ps]
    accumulators: dict[str, list[float]]  # Running results of observables, such as extrema
    input: str  # The complete input (YAML); its fixed steps are the step-size history
    shape: tuple[int, int, int, int]  # (x, y, angle, cell)
    auxiliary: tuple[str, ...] = ()  # Names of the auxiliary fields
    history: tuple[dict[str, Any], ...] = ()  # The starts that led to this checkpoint (provenance.start), oldest first
    outputs: Extent = dataclasses.field(default_factory=Extent)  # Filled in when the checkpoint is written

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """The inverse of dataclasses.asdict, also for format 1. Raises TypeError or KeyError."""
        values = dict(data)
        extent = values.pop("outputs", None) or {"rows": values.pop("rows")}
        lists = {name: tuple(values.get(name, ())) for name in ("shape", "auxiliary", "history")}
        return cls(**{**values, **lists, "outputs": Extent(**extent)})


@dataclasses.dataclass(frozen=True)
class Layout:
    """How state.h5 is written."""

    collective: bool = True
    compress: bool = False
    alignment: int = 0  # Bytes to which large objects are aligned in the file; 0 leaves it to HDF5
    hints: Mapping[str, str] = dataclasses.field(default_factory=dict)  # MPI-IO hints


def write_state(path: Path, partition: Decomposition, header: Header, u: Array, auxiliary: Array, layout: Layout) -> None:
    """Writes u (x, y, angle, cell) and auxiliary (x, y, field). Raises what HDF5 raises. Collective."""
    info = MPI.Info.Create()
    for key, value in layout.hints.items():
        info.Set(key, value)
    access: dict[str, Any] = {"driver": "mpio", "comm": partition.comm, "info": info}
    if layout.alignment:
        access |= {"alignment_threshold": layout.alignment, "alignment_interval": layout.alignment}
    chunks: dict[str, Any] = {}
    if layout.compress:
        chunks = {"chunks": (1, 1, *header.shape[2:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
    try:
        with h5py.File(path, "w", **access) as file:
            file.attrs["format"] = FORMAT
            file["header"] = np.frombuffer(json.dumps(dataclasses.asdict(header)).encode(), dtype=np.uint8)
            state = file.create_dataset("u", header.shape, "f8", **chunks)
            state.attrs["units"] = _UNITS
            file.create_dataset("crc32", header.shape[:2], "u4")[partition.x, partition.y] = point_sums(u, auxiliary)
            targets = [(state, u)]
            if header.auxiliary:
                targets.append((file.create_dataset("auxiliary", (*header.shape[:2], len(header.auxiliary)), "f8"), auxiliary))
            collective = layout.collective or layout.compress  # HDF5 filters in parallel only collectively
            for local, place in pieces(partition):
                for dataset, values in targets:
                    with dataset.collective if collective else contextlib.nullcontext():
                        dataset[place] = values[local]
    finally:
        info.Free()


def read_state(path: Path, partition: Decomposition) -> tuple[Header, Array, Array]:
    """Header and this rank's blocks u (x, y, angle, cell) and auxiliary (x, y, field), which may have no fields.

    The checksums of all points are verified. Raises CheckpointError. Collective.
    """
    comm, x, y = partition.comm, partition.x, partition.y
    stops = comm.allgather((x.stop, y.stop))
    shape = (max(stop for stop, _ in stops), max(stop for _, stop in stops), *partition.local_shape[2:])
    cuts = pieces(partition)  # collective: not between reads, which may fail on some of the ranks
    problem, header, u, auxiliary = "", None, np.empty(partition.local_shape), np.empty(0)
    try:
        with h5py.File(path, "r", driver="mpio", comm=comm) as file:
            if (number := file.attrs["format"]) > FORMAT:
                raise ValueError(f"found format {number}, expected at most {FORMAT}: a newer version has written it")
            header = Header.from_json(json.loads(bytes(file["header"][()]).decode()))
            if header.shape != shape:
                raise ValueError(f"found a state {header.shape}, expected {shape}")
            auxiliary = np.empty((*u.shape[:2], len(header.auxiliary)))
            for values, name in ((u, "u"), *([(auxiliary, "auxiliary")] if header.auxiliary else [])):
                for local, place in cuts:
                    values[local] = file[name][place]
            if not np.array_equal(point_sums(u, auxiliary), file["crc32"][x, y]):
                problem = "has wrong checksums"
    except (OSError, KeyError, ValueError, TypeError) as error:
        problem = f"cannot be read ({error})"
    agree(comm, f"{path} {problem}" if problem else "")
    assert header is not None
    return header, u, auxiliary


def agree(comm: MPI.Intracomm, problem: str) -> None:
    """Raises CheckpointError on all ranks with the first problem that any of them has; '' is none. Collective."""
    if problems := [text for text in comm.allgather(problem) if text]:
        raise CheckpointError(problems[0])


def point_sums(u: Array, auxiliary: Array) -> NDArray[np.uint32]:
    """CRC-32 of the numbers at each point, shape (x, y): independent of the partition."""
    points, fields = (np.ascontiguousarray(a).reshape(u.shape[0] * u.shape[1], -1) for a in (u, auxiliary))
    sums = [zlib.crc32(field, zlib.crc32(point)) for point, field in zip(points, fields, strict=True)]
    return np.array(sums, dtype=np.uint32).reshape(u.shape[:2])


def pieces(partition: Decomposition) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Cuts of a rank's block that are small enough for MPI-IO, with their places in the grid. Collective.

    Every rank has the same number of them, none empty.
    """
    comm, shape = partition.comm, partition.local_shape
    count = comm.allreduce(max(1, -(-8 * math.prod(shape) // LARGEST_WRITE)), MPI.MAX)
    along_x = min(count, comm.allreduce(shape[0], MPI.MIN))
    along_y = min(-(-count // along_x), comm.allreduce(shape[1], MPI.MIN))
    cuts = [(x, y) for x in _cut(partition.x, along_x) for y in _cut(partition.y, along_y)]
    return [((x, y), (whole_x, whole_y)) for (x, whole_x), (y, whole_y) in cuts]


def _cut(owned: slice, count: int) -> list[tuple[slice, slice]]:
    """`count` parts of a range of cells: counted from its start, and as they are."""
    edges = [(owned.stop - owned.start) * i // count for i in range(count + 1)]
    return [(slice(a, b), slice(owned.start + a, owned.start + b)) for a, b in itertools.pairwise(edges)]
