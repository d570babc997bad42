"""Checkpoints: directories with the full state of a run, named after the number of finished steps (README.md: Checkpoints)."""

import contextlib
import dataclasses
import itertools
import json
import math
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.archive import FOLDER, CheckpointError, Extent, RowArchive, file_sum, sync
from hpcwigner.storage.files import OutputFile, access, together

T = TypeVar("T")

FORMAT = 2  # Format 1 had no auxiliary fields and no history, and kept copies of the output files beside state.h5
STATE, MARK, LATEST = "state.h5", "complete.json", "latest"
PARTIAL, ABANDONED = ".partial", ".abandoned"
SUM_CHUNK = 16 * 2**20  # Bytes of a file that one checksum covers
SPARE_DISK = 64 * 2**20  # Bytes that must be left on the disk after a checkpoint
LARGEST_WRITE = 2**26  # Bytes passed to MPI-IO at once: it buffers twice as much, and some implementations count in 32 bits
_UNITS = "nm-1 (slab; nm-2 if it is uniform along y and a density is given) or nm-2: excitons in the momentum cell"


@dataclasses.dataclass(frozen=True)
class Header:
    """What a checkpoint holds beside the state."""

    step: int  # Finished steps
    time: float  # [ps]
    accumulators: dict[str, list[float]]  # Running results of observables, such as extrema
    input: str  # The complete input (YAML); its fixed steps are the step-size history
    shape: tuple[int, int, int, int]  # (x, y, angle, cell)
    auxiliary: tuple[str, ...] = ()  # Names of the auxiliary fields
    history: tuple[dict[str, Any], ...] = ()  # The starts that led to this checkpoint (restart.attributes), oldest first
    outputs: Extent = dataclasses.field(default_factory=Extent)  # Filled in when the checkpoint is written

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Header":
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


class CheckpointStore:
    """The checkpoints of one run directory. It keeps no file open between two of its methods."""

    def __init__(
        self, directory: Path, partition: Decomposition, keep: int, layout: Layout | None = None, extent: Extent | None = None
    ) -> None:
        """`keep` complete checkpoints stay; `extent` is that of the checkpoint resumed from, if its archive is continued."""
        self.directory, self.partition, self.keep, self.comm = directory, partition, keep, partition.comm
        self.layout = layout or Layout()
        self.archive = RowArchive(directory / FOLDER, extent)

    def write(self, u: Array, header: Header, files: Sequence[OutputFile], auxiliary: Array | None = None) -> Path:
        """Writes, verifies and publishes a checkpoint of the state and of the rows of `files`, which are flushed. Collective.

        u is (x, y, angle, cell), auxiliary (x, y, field). CheckpointError leaves the previous checkpoint untouched.
        """
        fields = np.empty((*u.shape[:2], 0)) if auxiliary is None else auxiliary
        agree(self.comm, "" if np.isfinite(u.sum() + fields.sum()) else "the state is not finite: not checkpointed")
        final = self.directory / f"{header.step:08d}"
        partial = final.with_name(final.name + PARTIAL)
        self.on_first(lambda: self._make_room(partial, header, files))
        header = dataclasses.replace(header, outputs=self.on_first(lambda: self.archive.append(files)))
        problem = ""
        try:
            write_state(partial / STATE, self.partition, header, u, fields, self.layout)
        except (OSError, RuntimeError) as error:  # HDF5 raises either when a disk fills while it writes or closes
            problem = f"{partial / STATE} cannot be written ({error})"
        agree(self.comm, problem)
        self.on_first(lambda: sync(partial / STATE))
        reread = read_state(partial / STATE, self.partition)
        same = reread[0] == header and np.array_equal(reread[1], u) and np.array_equal(reread[2], fields)
        agree(self.comm, "" if same else f"{partial / STATE} does not read back as it was written")
        mark = {"header": dataclasses.asdict(header), "files": {STATE: self._file_sums(partial / STATE)}}
        self.on_first(lambda: self._publish(partial, final, mark))
        self.archive.extent = header.outputs
        return final

    def _make_room(self, partial: Path, header: Header, files: Sequence[OutputFile]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in self.directory.glob(f"*{PARTIAL}"):
            shutil.rmtree(stale)
        points, fields = math.prod(header.shape[:2]), math.prod(header.shape[2:]) + len(header.auxiliary)
        needed = 8 * points * fields + self.archive.pending_bytes(files) + SPARE_DISK
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise CheckpointError(f"{self.directory}: a checkpoint needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} are free")
        partial.mkdir()

    def _file_sums(self, path: Path) -> dict[str, Any]:
        """Size and CRC-32 of each SUM_CHUNK of a file, computed by all ranks. Collective."""
        size = path.stat().st_size if path.exists() else -1
        chunks = range(-(-size // SUM_CHUNK))
        mine = {i: file_sum(path, i * SUM_CHUNK, (i + 1) * SUM_CHUNK) for i in chunks[self.comm.rank :: self.comm.size]}
        everyone = {i: crc for part in self.comm.allgather(mine) for i, crc in part.items()}
        return {"size": size, "crc32": [everyone.get(i, -1) for i in chunks]}

    def _publish(self, partial: Path, final: Path, mark: dict[str, Any]) -> None:
        text = json.dumps(mark, sort_keys=True)
        (partial / MARK).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}\n", encoding="ascii")
        sync(partial / MARK)
        sync(partial)
        if final.exists():  # the same step again, after a restart
            final.rename(final.with_name(final.name + ABANDONED))
        partial.rename(final)
        sync(self.directory)
        self._point_to(final.name)
        for left in self.directory.glob(f"*{ABANDONED}"):
            shutil.rmtree(left)
        for old in [name for name in numbers(self.directory) if name < final.name][self.keep - 1 :]:
            shutil.rmtree(self.directory / old)

    def continue_from(self, path: Path) -> None:
        """Renames newer checkpoints, damaged or of a branch left, to *.abandoned; the next one removes them. On one rank."""
        if path.parent != self.directory:
            return
        self._point_to(path.name)
        for newer in (name for name in numbers(self.directory) if name > path.name):
            target = self.directory / f"{newer}{ABANDONED}"
            if target.exists():
                shutil.rmtree(target)
            (self.directory / newer).rename(target)
        sync(self.directory)

    def _point_to(self, name: str) -> None:
        """Moves `latest`, atomically."""
        new = self.directory / f"{LATEST}.new"
        new.write_text(name + "\n", encoding="ascii")
        sync(new)
        new.replace(self.directory / LATEST)
        sync(self.directory)

    def load(self, path: Path) -> tuple[Header, Array, Array]:
        """`read_state` of a checkpoint, all of whose files agree with its completion mark. Raises CheckpointError. Collective."""
        mark = self.on_first(lambda: read_mark(path))
        for name, expected in mark["files"].items():
            if self._file_sums(path / name) != expected:
                raise CheckpointError(f"{path / name} is damaged (size or checksum)")
        angles = int(mark["header"]["shape"][2])  # fewer than at the start where they were reduced
        return read_state(path / STATE, Decomposition(self.partition.grid, self.comm, (angles, self.partition.per_point[1])))

    def on_first(self, action: Callable[[], T]) -> T:
        """Result of an action on rank 0; its failure is raised on all ranks as CheckpointError."""

        def guarded() -> T:
            try:
                return action()
            except (OSError, RuntimeError, ValueError) as error:
                raise CheckpointError(str(error) or type(error).__name__) from None

        return on_first_rank(self.comm, guarded)


def numbers(directory: Path) -> list[str]:
    """Names of the checkpoints, newest first."""
    return sorted((path.name for path in directory.glob("*") if path.is_dir() and path.name.isdigit()), reverse=True)


def candidates(directory: Path) -> list[Path]:
    """Checkpoints in the order in which to try them: the one `latest` points to, then the others, newest first."""
    names = numbers(directory)
    try:
        pointed = (directory / LATEST).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        pointed = ""
    return [directory / name for name in sorted(names, key=lambda name: name != pointed)]


def read_mark(path: Path) -> dict[str, Any]:
    """Contents of a completion mark. Raises CheckpointError when it is missing or damaged."""
    try:
        checksum, text = (path / MARK).read_text(encoding="ascii").splitlines()
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
    return Header.from_json(read_mark(path)["header"])


def write_state(path: Path, partition: Decomposition, header: Header, u: Array, auxiliary: Array, layout: Layout) -> None:
    """Writes u (x, y, angle, cell) and auxiliary (x, y, field). Raises what HDF5 raises. Collective."""
    info = MPI.Info.Create()
    for key, value in layout.hints.items():
        info.Set(key, value)
    options = access(partition.comm)
    if options:
        options["info"] = info
    if layout.alignment:
        options |= {"alignment_threshold": layout.alignment, "alignment_interval": layout.alignment}
    chunks: dict[str, Any] = {}
    if layout.compress:
        chunks = {"chunks": (1, 1, *header.shape[2:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
    try:
        with h5py.File(path, "w", **options) as file:
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
                    with together(dataset) if collective else contextlib.nullcontext():
                        dataset[place] = values[local]
    finally:
        info.Free()


def read_state(path: Path, partition: Decomposition) -> tuple[Header, Array, Array]:
    """Header and this rank's verified u (x, y, angle, cell) and auxiliary (x, y, field). Raises CheckpointError. Collective."""
    comm, x, y = partition.comm, partition.x, partition.y
    shape = (*partition.grid.shape, *partition.per_point)
    cuts = pieces(partition)  # collective: not between reads, which may fail on some of the ranks
    problem, header, u, auxiliary = "", None, np.empty(partition.local_shape), np.empty(0)
    try:
        with h5py.File(path, "r", **access(comm)) as file:
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


def pieces(partition: Decomposition) -> list[tuple[slice, tuple[slice, slice]]]:
    """Cuts along x of a rank's block that suit MPI-IO, with their places in the grid: as many on each rank. Collective."""
    comm, start, width = partition.comm, partition.x.start, partition.local_shape[0]
    wanted = comm.allreduce(-(-8 * math.prod(partition.local_shape) // LARGEST_WRITE), MPI.MAX)
    count = min(wanted, comm.allreduce(width, MPI.MIN))
    edges = itertools.pairwise(width * i // count for i in range(count + 1))
    return [(slice(a, b), (slice(start + a, start + b), partition.y)) for a, b in edges]
