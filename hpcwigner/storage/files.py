"""Output files with a growing time axis: parallel HDF5, laid out so that xarray opens them as netCDF-4."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.observables.registry import Observable
from hpcwigner.runtime.errors import WriteError

Array = NDArray[np.float64]

_COORDINATES = {
    "time": ("ps", "time"),
    "valley": ("", "exciton valley"),
    "x": ("um", "position"),
    "y": ("um", "position"),
    "k": ("nm-1", "centre-of-mass momentum along x; negative = motion towards negative x"),
    "q": ("nm-1", "modulus of the centre-of-mass momentum"),
    "angle": ("rad", "direction of motion, counted from the x axis"),
}


@dataclasses.dataclass(frozen=True)
class Constant:
    """A variable without a time axis, in the units of the file."""

    name: str
    dimensions: tuple[str, ...]
    unit: str
    long_name: str
    values: Array


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


def names_dataset(file: h5py.File, name: str, values: Iterable[object]) -> h5py.Dataset:
    """A new dataset of texts that xarray reads as such."""
    # Parallel HDF5 has no variable-length strings.
    encoded = [str(v).encode() for v in values]
    kind = h5py.string_dtype("utf-8", max(map(len, encoded)))
    dataset = file.create_dataset(name, data=np.array(encoded, dtype=kind))
    dataset.attrs["_Encoding"] = "utf-8"  # tells xarray to decode
    return dataset


class OutputFile:
    """One file, opened by all ranks. Rows are appended along time; every method is collective."""

    def __init__(
        self,
        path: Path,
        comm: MPI.Intracomm,
        observables: Sequence[Observable],
        coordinates: Mapping[str, Array | Sequence[str]],
        attributes: Mapping[str, str | int],
        constants: Sequence[Constant] = (),
    ) -> None:
        """Makes the file; `coordinates` are all but time, in the units of the file. Fails if it exists."""
        self.path, self.comm, self.observables, self.rows = path, comm, {o.name: o for o in observables}, 0
        self._file = h5py.File(path, "w-", driver="mpio", comm=comm)
        for name, value in attributes.items():
            self._file.attrs[name] = value
        self._coordinate("time", np.empty(0))
        for name, values in coordinates.items():
            self._coordinate(name, values)
        for observable in observables:
            self._variable(observable)
        for constant in constants:
            dataset = self._file.create_dataset(constant.name, data=constant.values)
            dataset.attrs["units"], dataset.attrs["long_name"] = constant.unit, constant.long_name
            for i, dimension in enumerate(constant.dimensions):
                dataset.dims[i].attach_scale(self._file[dimension])
        self._file.flush()

    @classmethod
    def reopen(cls, path: Path, comm: MPI.Intracomm, observables: Sequence[Observable], rows: int) -> OutputFile:
        """Goes on with a file after its first `rows` rows; what follows them is dropped."""
        self = cls.__new__(cls)
        self.path, self.comm, self.observables, self.rows = path, comm, {o.name: o for o in observables}, rows
        self._file = h5py.File(path, "r+", driver="mpio", comm=comm)
        for name in ("time", *self.observables):
            self._file[name].resize(rows, axis=0)
        self._file.flush()
        return self

    def _coordinate(self, name: str, values: Array | Sequence[str]) -> None:
        unit, long_name = _COORDINATES[name]
        if name == "time":
            dataset = self._file.create_dataset(name, (0,), "f8", maxshape=(None,), chunks=(512,))
        elif name == "valley":
            dataset = names_dataset(self._file, name, values)
        else:
            dataset = self._file.create_dataset(name, data=np.asarray(values))
        dataset.make_scale(name)
        dataset.attrs["long_name"] = long_name
        if unit:
            dataset.attrs["units"] = unit

    def _variable(self, observable: Observable) -> None:
        sizes = [len(self._file[d]) for d in observable.dimensions[1:]]
        chunk_rows = max(1, 512 // max(1, int(np.prod(sizes))))
        dataset = self._file.create_dataset(
            observable.name, (0, *sizes), "f8", maxshape=(None, *sizes), chunks=(chunk_rows, *sizes), fillvalue=np.nan
        )
        for i, dimension in enumerate(observable.dimensions):
            dataset.dims[i].attach_scale(self._file[dimension])
        dataset.attrs["units"] = observable.unit
        dataset.attrs["long_name"] = observable.long_name
        dataset.attrs["formula"] = observable.formula
        if observable.source:
            dataset.attrs["references"] = observable.source
        dataset.attrs["_FillValue"] = np.array([np.nan])

    def append(self, time: float) -> int:
        """Adds a row at `time` [ps] and returns its number; `write` fills it."""
        row = self.rows
        self.rows += 1
        with self._writing():
            for name in ("time", *self.observables):
                self._file[name].resize(self.rows, axis=0)
            if self.comm.rank == 0:
                self._file["time"][row] = time
        return row

    def write(self, row: int, name: str, values: Array | float | None, block: tuple[slice, ...] = ()) -> None:
        """This rank's part of a quantity in the program's units: `block` along its last dimensions; None writes nothing.

        Independent writes: ranks without a part (h5py #965) need no special case.
        """
        if values is None:
            return
        observable = self.observables[name]
        dataset = self._file[name]
        leading = (slice(None),) * (len(observable.dimensions) - 1 - len(block))
        with self._writing():
            dataset[(row, *leading, *block)] = np.asarray(values) * observable.scale

    def flush(self) -> None:
        """What was written reaches the disk."""
        with self._writing():
            self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        with self._writing():
            self._file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what HDF5 raises on a full or lost disk into one line."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise WriteError(f"{self.path}: cannot be written ({error})") from None
