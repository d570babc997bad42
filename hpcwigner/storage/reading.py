"""Reads what a run has written, on one rank, without MPI; and its closing summaries, which are added to series.h5 in this way."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError, writing

GROUP = "summary"  # Of series.h5: closing summaries, in a subgroup for each start of the run


@dataclasses.dataclass(frozen=True)
class Variables:
    """Contents of an output file."""

    path: Path
    data: dict[str, Array]
    units: dict[str, str]
    long_names: dict[str, str]
    valleys: tuple[str, ...]
    attributes: dict[str, str]
    texts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  # Coordinates that are names

    def need(self, name: str) -> Array:
        """A variable that the file holds only if the run was asked for it. Raises InputError when it does not."""
        if name not in self.data:
            raise InputError(
                f"{self.path}: has no '{name}', which is needed here (it holds {', '.join(self.data)}): "
                f"name it in output.observables of the input"
            )
        return self.data[name]

    @property
    def place(self) -> str:
        """Where the values against x are: on y = 0 of a plane, or of a slab as its attribute says."""
        return self.attributes.get("slab", "along y = 0").partition(":")[0]

    def last_time(self) -> float:
        """Time of the last row [ps]. Raises InputError when nothing has been written yet."""
        if not len(self.data["time"]):
            raise InputError(f"{self.path}: holds no times yet, expected a run that has come to its first output")
        return float(self.data["time"][-1])


def read(path: Path, leave: Sequence[str] = ()) -> Variables:
    """All variables of an output file but those to `leave`. Raises InputError when it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            datasets = {name: d for name, d in file.items() if isinstance(d, h5py.Dataset) and name not in leave}
            data = {name: d[()] for name, d in datasets.items() if d.dtype.kind != "S"}
            texts = {n: tuple(t.decode() for t in d[()]) for n, d in datasets.items() if d.dtype.kind == "S"}
            units, long_names = ({n: str(d.attrs.get(key, "")) for n, d in datasets.items()} for key in ("units", "long_name"))
            attributes = {k: str(v) for k, v in file.attrs.items()}
            return Variables(path, data, units, long_names, texts["valley"], attributes, texts)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a run directory with {path.name}") from None
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as an output file of this program ({error})") from None


def names(path: Path) -> list[str]:
    """Names of the variables of an output file that can be read."""
    with h5py.File(path, "r") as file:
        return list(file)


def reduced(path: Path, name: str, reduce: Callable[[Array], Array]) -> Array:
    """What `reduce` makes of each row of a variable, which may be too large to be in memory as a whole, shape (time, …)."""
    with h5py.File(path, "r") as file:
        return np.array([reduce(file[name][row]) for row in range(len(file[name]))])


def attributes_of(path: Path, name: str) -> dict[str, str]:
    """Attributes of a variable of an output file, as texts."""
    with h5py.File(path, "r") as file:
        return {key: str(value) for key, value in file[name].attrs.items()}


def model_of(path: Path) -> str:
    """Attribute `model` of an output file, empty for the kinetics and without a readable file."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("model", ""))
    except OSError:
        return ""


def last_time(path: Path) -> float:
    """Time of the last row [ps]; −∞ without a readable file or row."""
    try:
        with h5py.File(path, "r") as file:
            return float(file["time"][-1:].max(initial=-np.inf))
    except (OSError, KeyError):  # not there, or left in pieces by a killed run
        return -np.inf


@dataclasses.dataclass(frozen=True)
class Entry:
    """A result: a number, one number per valley, or a text."""

    value: float | str | Sequence[float]
    unit: str = ""
    long_name: str = ""


Summary = Mapping[str, Mapping[str, Entry]]  # Entries by section (performance, checks, warnings) and name


def write_summary(path: Path, summary: Summary) -> None:
    """Adds the summary of the latest start to a closed output file, on one rank. Raises WriteError."""
    with writing(path), h5py.File(path, "r+") as file:
        _write_start(file, len(history(file)), summary)


def copy_summary(old: Path, new: Path) -> None:
    """Copies summaries of the starts in the history of both files, if `old` is there and can be read. Raises WriteError."""
    try:
        with h5py.File(old, "r") as file:
            starts = history(file)
        summaries = read_summary(old)
    except (OSError, RuntimeError, ValueError, KeyError):  # left incomplete by a killed run, say
        return
    with writing(new), h5py.File(new, "r+") as file:
        for number, (start, before) in enumerate(zip(history(file), starts, strict=False), 1):
            if start == before and number in summaries:
                _write_start(file, number, summaries[number])


def _write_start(file: h5py.File, number: int, summary: Summary) -> None:
    start = file.create_group(f"{GROUP}/{number:04d}", track_order=True)
    for section, entries in summary.items():
        group = start.create_group(section, track_order=True)
        for name, entry in entries.items():
            dataset = group.create_dataset(name, data=entry.value)
            if dataset.shape:
                dataset.dims[0].attach_scale(file["valley"])
            dataset.attrs["long_name"] = entry.long_name
            if entry.unit:
                dataset.attrs["units"] = entry.unit


def read_summary(path: Path) -> dict[int, dict[str, dict[str, Entry]]]:
    """Summaries by number of the start, counted from 1; a start that was killed has none. Raises what HDF5 raises."""
    with h5py.File(path, "r") as file:
        return {
            int(number): {section: {n: _read(d) for n, d in group.items()} for section, group in start.items()}
            for number, start in file.get(GROUP, {}).items()
        }


def _read(dataset: h5py.Dataset) -> Entry:
    value = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else np.asarray(dataset[()]).tolist()
    return Entry(value, str(dataset.attrs.get("units", "")), str(dataset.attrs["long_name"]))


def history(file: h5py.File) -> list[dict[str, object]]:
    """The starts of a run that led to a file's rows (simulation/restart.attributes), oldest first."""
    return list(json.loads(file.attrs.get("history", "[]")))
