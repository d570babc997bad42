"""Checkpoints: directories that hold the full state of a run, named after the number of finished steps (README.md: Checkpoints).

The mark (complete.json, written last) holds sizes and checksums, so that damage is detected before HDF5 reads a file.
"""

import dataclasses
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.archive import FOLDER, RowArchive, sync
from hpcwigner.storage.files import OutputFile
from hpcwigner.storage.state import CheckpointError, Extent, Header, Layout, agree, read_state, write_state

T = TypeVar("T")

STATE, MARK, LATEST = "state.h5", "complete.json", "latest"
PARTIAL, ABANDONED = ".partial", ".abandoned"
SUM_CHUNK = 16 * 2**20  # Bytes of a file that one checksum covers
SPARE_DISK = 64 * 2**20  # Bytes that must be left on the disk after a checkpoint


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

        u is (x, y, angle, cell), auxiliary (x, y, field) with the fields that the header names. Raises CheckpointError, with the
        previous checkpoint untouched: the state is not finite, the disk is short or what was written reads back differently.
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
        """Renames newer checkpoints, damaged or of a branch left, to *.abandoned; the next one removes them. Collective."""

        def abandon_newer() -> None:
            self._point_to(path.name)
            for newer in (name for name in numbers(self.directory) if name > path.name):
                target = self.directory / f"{newer}{ABANDONED}"
                if target.exists():
                    shutil.rmtree(target)
                (self.directory / newer).rename(target)
            sync(self.directory)

        if path.parent == self.directory:
            self.on_first(abandon_newer)

    def _point_to(self, name: str) -> None:
        """Moves `latest`, atomically."""
        pointer = self.directory / LATEST
        _write_synced(pointer.with_suffix(".new"), name + "\n")
        pointer.with_suffix(".new").replace(pointer)
        sync(self.directory)

    def load(self, path: Path) -> tuple[Header, Array, Array]:
        """`read_state` of a checkpoint, all of whose files are verified. Raises CheckpointError. Collective."""
        self.verify(path)
        return read_state(path / STATE, self.partition)

    def verify(self, path: Path) -> None:
        """Compares every file with the completion mark. Raises CheckpointError on all ranks. Collective."""
        mark = self.on_first(lambda: read_mark(path))
        for name, expected in mark["files"].items():
            if self._file_sums(path / name) != expected:
                raise CheckpointError(f"{path / name} is damaged (size or checksum)")

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
    return Header.from_json(read_mark(path)["header"])


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
