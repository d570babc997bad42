"""Checkpoints: the full state u[x, y, angle, cell] in one parallel HDF5 file, with everything needed to go on.

A checkpoint is a directory named after the number of finished steps. It is written under another name, read back, marked
complete, synced and only then renamed; `latest` moves last, atomically. The mark (complete.json, written last) holds the
size and the checksums of every file, so that damage anywhere is found before HDF5 looks at a file.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.space.grid import Decomposition

Array = NDArray[np.float64]

FORMAT = 1
STATE, MARK, LATEST = "state.h5", "complete.json", "latest"
PARTIAL, ABANDONED = ".partial", ".abandoned"
SUM_CHUNK = 16 * 2**20
"""Bytes of a file behind one checksum."""
LARGEST_WRITE = 2**26
"""Bytes that a rank passes to MPI-IO at once: it buffers twice as much, and some implementations count in 32 bits."""
SPARE_DISK = 64 * 2**20
"""Bytes that must be left on the disk after a checkpoint."""


class CheckpointError(Exception):
    """A checkpoint could not be written, or is damaged; the message says why. Raised on all ranks together."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a checkpoint holds beside the state."""

    step: int
    """Finished steps."""
    time: float
    """[ps]"""
    rows: dict[str, int]
    """Rows of each output file, by file name."""
    accumulators: dict[str, list[float]]
    """What observables have gathered on the way."""
    input: str
    """The complete input (YAML); its fixed steps are the step-size history."""
    shape: tuple[int, int, int, int]
    """(x, y, angle, cell)"""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a checkpoint is written."""

    collective: bool = True
    compress: bool = False
    alignment: int = 0
    """Bytes to which large objects are aligned in the file; 0 leaves it to HDF5."""
    hints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """MPI-IO hints."""


class CheckpointStore:
    """The checkpoints of one run directory."""

    def __init__(self, directory: Path, decomposition: Decomposition, keep: int, layout: Layout | None = None) -> None:
        """`keep` complete checkpoints stay."""
        self.directory, self.decomposition, self.keep = directory, decomposition, keep
        self.layout = layout or Layout()
        self.comm = decomposition.comm

    def write(self, u: Array, header: Header, attachments: Sequence[Path]) -> Path:
        """Writes, reads back and publishes a checkpoint of u (x, y, angle, cell); copies `attachments` into it. Collective.

        Raises CheckpointError, with the previous checkpoint untouched, when the state is not finite, the disk is short or
        what was written reads back differently.
        """
        self._refuse_bad_state(u)
        final = self.directory / f"{header.step:08d}"
        partial = final.with_name(final.name + PARTIAL)
        self._on_first(lambda: self._make_room(partial, attachments))
        sums = _point_sums(u)
        problem = ""
        try:
            self._write_state(partial / STATE, u, header, sums)
        except (OSError, RuntimeError) as error:  # HDF5 raises either when a disk fills while it writes or closes
            problem = f"{partial / STATE} cannot be written ({error})"
        self._agree(not problem, problem)
        self._on_first(lambda: _attach(partial, attachments))
        found, reread = self._read_state(partial / STATE)
        same = found == header and np.array_equal(reread, u)
        self._agree(same, f"{partial / STATE} does not read back as it was written")
        names = self.comm.bcast(sorted(p.name for p in partial.iterdir()) if self.comm.rank == 0 else None)
        mark = {name: self._file_sums(partial / name) for name in names}
        self._on_first(lambda: self._publish(partial, final, {"header": dataclasses.asdict(header), "files": mark}))
        return final

    def _refuse_bad_state(self, u: Array) -> None:
        self._agree(bool(np.isfinite(u.sum())), "the state is not finite: not checkpointed")

    def _make_room(self, partial: Path, attachments: Sequence[Path]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in self.directory.glob(f"*{PARTIAL}"):
            shutil.rmtree(stale)
        grid = self.decomposition.grid
        state = 8 * int(np.prod(grid.shape)) * int(np.prod(self.decomposition.per_point))
        needed = state + sum(path.stat().st_size for path in attachments) + SPARE_DISK
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise CheckpointError(f"{self.directory}: a checkpoint needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} are free")
        partial.mkdir()

    def _write_state(self, path: Path, u: Array, header: Header, sums: NDArray[np.uint32]) -> None:
        layout, shape = self.layout, header.shape
        info = MPI.Info.Create()
        for key, value in layout.hints.items():
            info.Set(key, value)
        access: dict[str, Any] = {"driver": "mpio", "comm": self.comm, "info": info}
        if layout.alignment:
            access |= {"alignment_threshold": layout.alignment, "alignment_interval": layout.alignment}
        text = np.frombuffer(json.dumps(dataclasses.asdict(header)).encode(), dtype=np.uint8)
        storage: dict[str, Any] = {}
        if layout.compress:
            storage = {"chunks": (1, 1, *shape[2:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
        with h5py.File(path, "w", **access) as file:
            file.attrs["format"] = FORMAT
            file.create_dataset("header", data=text)
            state = file.create_dataset("u", shape, "f8", **storage)
            state.attrs["units"] = "nm-1 (slab) or nm-2: excitons per length or area in the momentum cell"
            checksums = file.create_dataset("crc32", shape[:2], "u4")
            checksums[self.decomposition.x, self.decomposition.y] = sums
            collective = layout.collective or layout.compress  # HDF5 filters in parallel only collectively
            for x, y in self._pieces(u.shape):
                block = (_shift(x, self.decomposition.x), _shift(y, self.decomposition.y))
                if collective:
                    with state.collective:
                        state[block] = u[x, y]
                else:
                    state[block] = u[x, y]
        info.Free()

    def _pieces(self, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
        """Cuts of the local block that are small enough for MPI-IO; the same number of nonempty ones on every rank."""
        comm = self.comm
        pieces = comm.allreduce(-(-8 * int(np.prod(shape)) // LARGEST_WRITE), MPI.MAX)
        along_x = min(pieces, comm.allreduce(shape[0], MPI.MIN))
        along_y = min(-(-pieces // along_x), comm.allreduce(shape[1], MPI.MIN))
        return [(x, y) for x in _cut(shape[0], along_x) for y in _cut(shape[1], along_y)]

    def _read_state(self, path: Path) -> tuple[Header, Array]:
        """Header and this rank's block; checksums of every point are verified. Raises CheckpointError. Collective."""
        problem, header, u = "", None, np.empty(0)
        try:
            with h5py.File(path, "r", driver="mpio", comm=self.comm) as file:
                header = _header(json.loads(bytes(file["header"][()]).decode()))
                x, y = self.decomposition.x, self.decomposition.y
                if header.shape != (*self.decomposition.grid.shape, *self.decomposition.per_point):
                    problem = f"holds {header.shape}, expected {self.decomposition.grid.shape} × {self.decomposition.per_point}"
                else:
                    u = np.empty(self.decomposition.local_shape)
                    for a, b in self._pieces(u.shape):
                        u[a, b] = file["u"][_shift(a, x), _shift(b, y)]
                    if not np.array_equal(_point_sums(u), file["crc32"][x, y]):
                        problem = "has wrong checksums"
        except (OSError, KeyError, ValueError, TypeError) as error:
            problem = f"cannot be read ({error})"
        self._agree(not problem, f"{path} {problem}")
        assert header is not None
        return header, u

    def _file_sums(self, path: Path) -> dict[str, Any]:
        """Size and CRC-32 of each SUM_CHUNK of a file, computed by all ranks. Collective."""
        size = path.stat().st_size if path.exists() else -1
        count = max(0, -(-size // SUM_CHUNK))
        mine: dict[int, int] = {}
        if size >= 0:
            with path.open("rb") as file:
                for i in range(self.comm.rank, count, self.comm.size):
                    file.seek(i * SUM_CHUNK)
                    mine[i] = zlib.crc32(file.read(SUM_CHUNK))
        everyone = {i: crc for part in self.comm.allgather(mine) for i, crc in part.items()}
        return {"size": size, "crc32": [everyone.get(i, -1) for i in range(count)]}

    def _publish(self, partial: Path, final: Path, mark: dict[str, Any]) -> None:
        text = json.dumps(mark, sort_keys=True)
        _write_synced(partial / MARK, f"{zlib.crc32(text.encode()):08x}\n{text}\n")
        _sync(partial)
        if final.exists():  # the same step again, after a restart: the new one is as good
            shutil.rmtree(final)
        partial.rename(final)
        _sync(self.directory)
        self._point_to(final.name)
        for passed_over in self.directory.glob(f"*{ABANDONED}"):
            shutil.rmtree(passed_over)
        older = [name for name in self.numbers() if name < final.name]
        for old in older[self.keep - 1 :]:
            shutil.rmtree(self.directory / old)

    def go_on_from(self, path: Path) -> None:
        """Sets aside what is newer than the checkpoint gone on from: damaged, or a branch that is left. Collective.

        It stays as NNNNNNNN.abandoned until the next checkpoint is complete.
        """
        self._on_first(lambda: self._set_aside(path))

    def _set_aside(self, path: Path) -> None:
        if path.parent != self.directory:
            return
        self._point_to(path.name)
        for newer in (name for name in self.numbers() if name > path.name):
            target = self.directory / f"{newer}{ABANDONED}"
            if target.exists():
                shutil.rmtree(target)
            (self.directory / newer).rename(target)
        _sync(self.directory)

    def _point_to(self, name: str) -> None:
        """Moves `latest`, atomically."""
        pointer = self.directory / LATEST
        _write_synced(pointer.with_suffix(".new"), name + "\n")
        pointer.with_suffix(".new").replace(pointer)
        _sync(self.directory)

    def numbers(self) -> list[str]:
        """Names of the checkpoints, newest first."""
        if not self.directory.is_dir():
            return []
        return sorted((p.name for p in self.directory.iterdir() if p.is_dir() and p.name.isdigit()), reverse=True)

    def candidates(self) -> list[Path]:
        """Checkpoints in the order in which to try them: the one `latest` points to, then the others, newest first."""
        names = self.numbers()
        try:
            pointed = (self.directory / LATEST).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            pointed = ""
        if pointed in names:
            names = [pointed, *(n for n in names if n != pointed)]
        return [self.directory / name for name in names]

    def load(self, path: Path) -> tuple[Header, Array]:
        """Header and this rank's block of a checkpoint, verified byte by byte. Raises CheckpointError. Collective."""
        self.verify(path)
        return self._read_state(path / STATE)

    def verify(self, path: Path) -> None:
        """Compares every file with the completion mark. Raises CheckpointError on all ranks. Collective."""
        mark = self._on_first(lambda: read_mark(path))
        for name, expected in mark["files"].items():
            if self._file_sums(path / name) != expected:
                raise CheckpointError(f"{path / name} is damaged (size or checksum)")

    def _agree(self, fine: bool, problem: str) -> None:
        """Raises CheckpointError on all ranks with the first problem any of them has."""
        problems = self.comm.allgather("" if fine else problem)
        if any(problems):
            raise CheckpointError(next(filter(None, problems)))

    def _on_first(self, action: Any) -> Any:
        """Result of an action on rank 0; its failure is raised on all ranks as CheckpointError."""
        result, problem = None, ""
        if self.comm.rank == 0:
            try:
                result = action()
            except (OSError, CheckpointError) as error:
                problem = str(error) or type(error).__name__
        result, problem = self.comm.bcast((result, problem))
        if problem:
            raise CheckpointError(problem)
        return result


def read_mark(path: Path) -> dict[str, Any]:
    """Contents of a completion mark. Raises CheckpointError when it is missing or damaged."""
    try:
        checksum, text = (path / MARK).read_text(encoding="ascii").split("\n", 1)
        text = text.rstrip("\n")
        if f"{zlib.crc32(text.encode()):08x}" != checksum:
            raise ValueError("checksum")
        mark = dict(json.loads(text))
        if STATE not in mark["files"]:
            raise ValueError(f"it does not name {STATE}")
        return mark
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is incomplete or its {MARK} is damaged ({error})") from None


def read_header(path: Path) -> Header:
    """Header of a checkpoint from its completion mark, without MPI. Raises CheckpointError."""
    return _header(read_mark(path)["header"])


def _header(data: dict[str, Any]) -> Header:
    return Header(**{**data, "shape": tuple(data["shape"])})


def _point_sums(u: Array) -> NDArray[np.uint32]:
    """CRC-32 of the numbers at each point, shape (x, y): independent of the decomposition."""
    points = np.ascontiguousarray(u).reshape(u.shape[0] * u.shape[1], -1)
    return np.array([zlib.crc32(p) for p in points], dtype=np.uint32).reshape(u.shape[:2])


def _cut(length: int, count: int) -> list[slice]:
    edges = [length * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _shift(local: slice, owned: slice) -> slice:
    return slice(local.start + owned.start, local.stop + owned.start)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _attach(partial: Path, attachments: Sequence[Path]) -> None:
    """Copies files into a checkpoint and syncs all of it."""
    for path in attachments:
        shutil.copyfile(path, partial / path.name)
    for path in partial.iterdir():
        _sync(path)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
