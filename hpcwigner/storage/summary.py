"""Closing summaries of a run: group `summary` of series.h5, with a subgroup for each start of the run."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.runtime.errors import writing

GROUP = "summary"


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
    """Copies the summaries of those starts that both files have in their history, if `old` is there and can be read.

    Raises WriteError.
    """
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
    """The starts of a run that led to a file's rows (provenance.start), oldest first."""
    return list(json.loads(file.attrs.get("history", "[]")))
