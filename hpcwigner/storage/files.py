"""Output files with a growing time axis: parallel HDF5, laid out so that xarray opens them as netCDF-4."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from mpi4py import MPI

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import WriteError, writing
from hpcwigner.storage.reading import copy_summary

FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
Block = tuple[str, int, Array]  # Consecutive rows of a variable: its name, the first row's number, the values
Constant = tuple[str, Array, tuple[str, ...], str, str]  # A variable without a time axis, as `add_variable` takes it

_BLOCK_BYTES = 2**24
_CHUNK_NUMBERS, _CHUNK_ROWS = 2**16, 512  # At most so many numbers, and rows, in a chunk
_COORDINATES = {
    "time": ("ps", "time"),
    "valley": ("", "exciton valley"),
    "axis": ("", "direction in space"),
    "x": ("um", "position"),
    "y": ("um", "position"),
    "k": ("nm-1", "centre-of-mass momentum along x; negative = motion towards negative x"),
    "q": ("nm-1", "modulus of the centre-of-mass momentum"),
    "angle": ("rad", "direction of motion, counted from the x axis"),
    "energy": ("meV", "photon energy, counted from the bright exciton without strain"),
    "window": ("", "range of photon energy [meV], counted from the bright exciton without strain"),
    "sideband": ("", "valley, sign (− emission, + absorption) and phonon"),
}


class Variable(Protocol):
    """What an output file needs to know of a quantity."""

    @property
    def name(self) -> str: ...
    @property
    def dimensions(self) -> tuple[str, ...]: ...  # `time` is the first
    @property
    def unit(self) -> str: ...
    @property
    def long_name(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def source(self) -> str: ...  # publication, may be empty
    @property
    def scale(self) -> float: ...  # from the program's units to `unit`


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a name to write to; the file then takes the place of `path` at once, or never. Raises WriteError."""
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        part.unlink(missing_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """A text file that appears whole or not at all. Raises WriteError."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def add_variable(
    file: h5py.File, name: str, values: Any, dimensions: tuple[str, ...], unit: str, long_name: str, **layout: Any
) -> h5py.Dataset:
    """A new dataset of numbers or texts as netCDF has them; one that is its own dimension becomes a coordinate."""
    data = np.asarray(values)
    if texts := data.dtype.kind == "U":
        data = np.char.encode(data, "utf-8")
        data = data.astype(h5py.string_dtype("utf-8", data.dtype.itemsize))  # parallel HDF5 has no variable-length strings
    content = {"data": data} if data.size else {"shape": data.shape, "dtype": data.dtype}  # filters refuse to write nothing
    dataset = file.create_dataset(name, **content, **layout)
    if dimensions == (name,):
        dataset.make_scale(name)
    else:
        for i, dimension in enumerate(dimensions):
            dataset.dims[i].attach_scale(file[dimension])
    dataset.attrs["long_name"] = long_name
    dataset.attrs.update({"units": unit} if unit else {})
    dataset.attrs.update({"_Encoding": "utf-8"} if texts else {})  # tells xarray to decode
    return dataset


def chunk(sizes: Sequence[int]) -> tuple[int, ...]:
    """Shape of the chunks of a variable along time whose rows have these sizes: many short rows, or a block of a long one.

    A long row is cut evenly, so that a spectrum at one place and an image at one energy read few chunks each.
    """
    block = [max(1, size) for size in sizes]
    while math.prod(block) > _CHUNK_NUMBERS:
        longest = block.index(max(block))
        block[longest] = -(-block[longest] // 2)
    rows = min(_CHUNK_ROWS, _CHUNK_NUMBERS // 8 // math.prod(block))
    return (max(1, rows), *block)


@dataclasses.dataclass(frozen=True)
class Source:
    """The rows of an output file that a restart keeps."""

    blocks: Callable[[], Iterator[Block]]  # Reads them; each variable's rows in order
    archived: bool  # Whether they are read from an archive, to which rows can be appended then
    same: Path | None = None  # The output file, if it holds these rows and no others
    problem: str = ""  # What is wrong with another copy of them; '' is nothing


def row_blocks(file: h5py.File, first: int, last: int) -> Iterator[Block]:
    """Rows `first` to `last` − 1 of all variables along time, a few MiB or a row at a time. ValueError if there are fewer."""
    for name, dataset in file.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.maxshape[:1] != (None,):
            continue
        if len(dataset) < last:
            raise ValueError(f"{name} has {len(dataset)} rows, expected {last}")
        step = max(1, _BLOCK_BYTES // (8 * math.prod(dataset.shape[1:])))
        for row in range(first, last, step):
            yield name, row, dataset[row : min(row + step, last)]


def set_aside(path: Path, mark: str = "replaced", first: int = 0) -> Path | None:
    """Renames what is at `path`, if anything is, to the first free of NAME.mark, NAME.mark1, …, counted from `first`."""
    if not path.exists():
        return None
    names = (path.with_name(f"{path.name}.{mark}{number or ''}") for number in itertools.count(first))
    return path.rename(next(name for name in names if not name.exists()))


def access(comm: MPI.Intracomm) -> dict[str, Any]:
    """How h5py opens a file for all ranks: by MPI-IO, or plainly where one rank has an HDF5 without MPI, as in a notebook."""
    return {"driver": "mpio", "comm": comm} if h5py.get_config().mpi or comm.size > 1 else {}


def together(dataset: h5py.Dataset) -> contextlib.AbstractContextManager[Any]:
    """Within it, all ranks write to a dataset at once."""
    return dataset.collective if h5py.get_config().mpi else contextlib.nullcontext()


class OutputFile:
    """One file, opened by all ranks. Rows are appended along time; every method is collective unless it says otherwise.

    `append` and `write` make a row of parts from many ranks, `append_whole` one that rank 0 has.
    """

    _file: Any

    def __init__(
        self, path: Path, comm: MPI.Intracomm, variables: Sequence[Variable], coordinates: Mapping[str, Array | Sequence[str]],
        attributes: Mapping[str, str | int], constants: Sequence[Constant] = (), compress: bool = False,
    ) -> None:  # fmt: skip
        """Makes the file; `coordinates` are all but time, in the units of the file. Fails if it exists."""
        self._open(path, comm, "w-")
        self._file.attrs.update(attributes)
        for name, axis in {"time": np.empty(0), **coordinates}.items():
            growing: dict[str, Any] = {"maxshape": (None,), "chunks": (512,)} if name == "time" else {}
            add_variable(self._file, name, axis, (name,), *_COORDINATES[name], **growing)
        for v in variables:
            sizes = [len(self._file[d]) for d in v.dimensions[1:]]
            layout = {"maxshape": (None, *sizes), "chunks": chunk(sizes), "fillvalue": np.nan} | (FILTERS if compress else {})
            dataset = add_variable(self._file, v.name, np.empty((0, *sizes)), v.dimensions, v.unit, v.long_name, **layout)
            dataset.attrs.update({"formula": v.formula, "_FillValue": np.array([np.nan])})
            dataset.attrs.update({"references": v.source} if v.source else {})
        for constant in constants:
            add_variable(self._file, *constant)
        self._set_variables(variables)
        self._file.flush()

    @classmethod
    def restored(cls, source: Source | None, path: Path, comm: MPI.Intracomm, *content: Any) -> OutputFile:
        """A file as by the constructor with the rows of `source` (needed on rank 0). Raises WriteError. Collective.

        It takes the place of the present file when it is complete; that one is set aside unless it holds just these rows.
        """
        if source is not None and comm.rank == 0:
            with whole(path) as part:
                with contextlib.closing(cls(part, MPI.COMM_SELF, *content)) as new, writing(part):
                    for name, first, values in source.blocks():
                        new._file[name].resize(first + len(values), axis=0)
                        new._file[name][first:] = values
                copy_summary(path, part)
                if path != source.same:
                    set_aside(path)
        comm.Barrier()
        self = cls.__new__(cls)
        self._open(path, comm, "r+")
        self._set_variables(content[0])
        return self

    def _open(self, path: Path, comm: MPI.Intracomm, mode: str) -> None:
        self.path, self.comm, self._file = path, comm, h5py.File(path, mode, **access(comm))

    def _set_variables(self, variables: Sequence[Variable]) -> None:
        self.variables = {v.name: v for v in variables}
        self._datasets = {name: self._file[name] for name in ("time", *self.variables)}  # looking one up takes as long as a write
        self.rows = len(self._datasets["time"])
        self._held: list[tuple[float, Mapping[str, Array | float] | None]] = []  # Rows that are not written yet

    def append(self, time: float) -> int:
        """Adds a row at `time` [ps] and returns its number; `write` fills it."""
        self.rows += 1
        with writing(self.path):
            for dataset in self._datasets.values():
                dataset.resize(self.rows, axis=0)
            if self.comm.rank == 0:
                self._datasets["time"][-1] = time
        return self.rows - 1

    def append_whole(self, time: float, values: Mapping[str, Array | float] | None) -> None:
        """Adds a row at `time` [ps]: on rank 0 the values of all variables, in the program's units. `flush` writes it.

        Not for compressed files.
        """
        self.rows += 1
        self._held.append((time, values and {name: np.array(value) for name, value in values.items()}))
        if len(self._held) == _CHUNK_ROWS:
            self._write_held()

    def _write_held(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        with writing(self.path):
            for name, dataset in self._datasets.items():
                dataset.resize(self.rows, axis=0)
                if self.comm.rank == 0 and name != "time":
                    rows = np.array([values[name] for _, values in held if values is not None])
                    dataset[-len(held) :] = rows * self.variables[name].scale
            if self.comm.rank == 0:
                self._datasets["time"][-len(held) :] = [time for time, _ in held]

    def write(self, row: int, name: str, values: Array | float | None, block: tuple[slice, ...] = ()) -> None:
        """This rank's part of a variable, if any, in the program's units: `block` along its last dimensions.

        Independent, but collective in a compressed file: HDF5 filters in parallel only collectively.
        """
        dataset = self._datasets[name]
        if dataset.compression is None:
            if values is not None:
                with writing(self.path):
                    dataset[(row, ..., *block)] = np.asarray(values) * self.variables[name].scale
            return
        with writing(self.path), together(dataset):
            if values is not None:
                dataset[(row, ..., *block)] = np.asarray(values) * self.variables[name].scale
            else:
                nowhere, nothing = dataset.id.get_space(), h5py.h5s.create_simple((0,))
                nowhere.select_none()
                dataset.id.write(nothing, nowhere, np.empty(0), dxpl=dataset._dxpl)

    def blocks(self, first: int) -> Iterator[Block]:
        """Rows from `first` on, in the units of the file; one rank reads them after a flush."""
        return row_blocks(self._file, first, self.rows)

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return 8 * sum(math.prod(dataset.shape[1:]) for dataset in self._datasets.values())

    def flush(self) -> None:
        """What was written reaches the disk. Raises WriteError."""
        self._write_held()
        with writing(self.path):
            self._file.flush()

    def close(self) -> None:
        """Closes the file; a second call does nothing. Raises WriteError."""
        if self._file:
            self._write_held()
        with writing(self.path):
            self._file.close()
