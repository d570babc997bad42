"""Archive of output rows beside the checkpoints, from which a restart writes the output files anew (README.md: Rows)."""

import dataclasses
import functools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.runtime.errors import RunError
from hpcwigner.storage.files import Block, OutputFile, Source, row_blocks

FOLDER = "rows"  # Beside the checkpoints
LONGEST_LINE = 4096
_CHUNK = 2**24


class CheckpointError(RunError):
    """A checkpoint could not be written, or is damaged. Raised on all ranks together; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """Rows of the output files that belong to a checkpoint; format 1 had neither sums nor parts."""

    rows: dict[str, int] = dataclasses.field(default_factory=dict)  # Rows of each output file, by file name
    sums: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)  # Their CRC-32 by file and variable
    parts: dict[str, int] = dataclasses.field(default_factory=dict)  # Bytes that hold them by part of the archive


class RowArchive:
    """The archive of a run; only rank 0 uses it."""

    def __init__(self, folder: Path, extent: Extent | None) -> None:
        """`extent` is that of the checkpoint resumed from, in the same folder."""
        self.folder, self.extent = folder, extent or Extent()
        self._part: Path | None = None

    def pending_bytes(self, files: Sequence[OutputFile]) -> int:
        """Size of the rows that are not archived yet."""
        return sum(file.row_bytes * (file.rows - self.extent.rows.get(file.path.name, 0)) for file in files)

    def append(self, files: Sequence[OutputFile]) -> Extent:
        """Archives the rows since `extent`, over what an incomplete checkpoint has appended. Raises OSError and CheckpointError.

        Returns the new extent, to be assigned once a checkpoint with it is complete.
        """
        rows = {file.path.name: file.rows for file in files}
        if not any(file.rows > self.extent.rows.get(file.path.name, 0) for file in files):
            return dataclasses.replace(self.extent, rows=rows)
        part = self._part = self._part or self._new_part()
        start = self.extent.parts.get(part.name, 0)
        sums = {name: dict(self.extent.sums.get(name, {})) for name in rows}
        with part.open("r+b") as file:
            file.truncate(start)
            file.seek(start)
            checksum = 0
            for output in files:
                name = output.path.name
                for variable, first, values in output.blocks(self.extent.rows.get(name, 0)):
                    numbers = np.ascontiguousarray(values, "<f8").data.cast("B")
                    line = json.dumps({"file": name, "variable": variable, "row": first, "shape": values.shape}) + "\n"
                    for data in (line.encode(), numbers):
                        file.write(data)
                        checksum = zlib.crc32(data, checksum)
                    sums[name][variable] = zlib.crc32(numbers, sums[name].get(variable, 0))
            end = file.tell()
            file.flush()
            os.fsync(file.fileno())
        if file_sum(part, start, end) != checksum:
            raise CheckpointError(f"{part} does not read back as it was written")
        return Extent(rows, sums, self.extent.parts | {part.name: end})

    def _new_part(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        number = 1 + max((int(path.name) for path in self.folder.iterdir() if path.name.isdigit()), default=0)
        part = self.folder / f"{number:06d}"
        part.touch(exist_ok=False)
        sync(self.folder)
        return part


def archived_blocks(folder: Path, parts: Mapping[str, int], file: str) -> Iterator[Block]:
    """Rows of an output file. Raises OSError, ValueError, KeyError or TypeError where a part is damaged."""
    for name, size in sorted(parts.items()):
        with (folder / name).open("rb") as part:
            while part.tell() < size:
                block = json.loads(part.readline(LONGEST_LINE))
                length = 8 * math.prod(block["shape"])
                if not 0 <= length <= size - part.tell():
                    raise ValueError(f"'{name}' holds an incomplete block")
                if block["file"] == file:
                    yield block["variable"], block["row"], np.frombuffer(part.read(length), "<f8").reshape(block["shape"])
                else:
                    part.seek(length, os.SEEK_CUR)


def find_rows(checkpoint: Path, extent: Extent) -> dict[str, Source]:
    """A verified source for every output file of a checkpoint. Raises CheckpointError when there is none."""
    return {name: _source(checkpoint, extent, name) for name in extent.rows}


def _source(checkpoint: Path, extent: Extent, name: str) -> Source:
    rows, path, folder = extent.rows[name], checkpoint.parents[1] / name, checkpoint.parent / FOLDER
    if (copy := checkpoint / name).exists():  # format 1: verified together with the checkpoint
        return Source(functools.partial(_file_blocks, copy, rows), archived=False)
    from_archive = functools.partial(archived_blocks, folder, extent.parts, name)
    from_file = functools.partial(_file_blocks, path, rows)
    damaged, lost = (_problem(blocks, rows, extent.sums.get(name, {})) for blocks in (from_archive, from_file))
    if damaged and lost:
        raise CheckpointError(f"the rows of {name} {damaged} in {folder} and {lost} in {path}")
    same = None
    if not lost:
        with h5py.File(path, "r") as file:
            same = path if len(file["time"]) == rows else None
    if damaged:
        return Source(from_file, False, same, f"{folder} {damaged}: the rows of {name} are read from {path}")
    return Source(from_archive, True, same, f"{path} {lost}: it is written again from {folder}" if lost else "")


def _problem(blocks: Callable[[], Iterable[Block]], rows: int, sums: Mapping[str, int]) -> str:
    """Why blocks are not the first `rows` rows with these checksums, as a predicate; '' when they are."""
    counts, read = dict.fromkeys(sums, 0), dict.fromkeys(sums, 0)
    try:
        for variable, first, values in blocks():
            if first != counts[variable]:
                return f"hold row {first} of {variable} after {counts[variable]}"
            counts[variable] += len(values)
            read[variable] = zlib.crc32(np.ascontiguousarray(values, "<f8").data.cast("B"), read[variable])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        return f"cannot be read ({error})"
    if any(count != rows for count in counts.values()):
        return f"are {min(counts.values())}, expected {rows}"
    return "" if read == sums else "have wrong checksums"


def _file_blocks(path: Path, rows: int) -> Iterator[Block]:
    with h5py.File(path, "r") as file:
        yield from row_blocks(file, 0, rows)


def file_sum(path: Path, start: int, end: int) -> int:
    """CRC-32 of the bytes of a file from `start` to before `end`, or to its end."""
    checksum = 0
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(min(_CHUNK, end - file.tell())):
            checksum = zlib.crc32(data, checksum)
    return checksum


def sync(path: Path) -> None:
    """What a file or a directory holds reaches the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
