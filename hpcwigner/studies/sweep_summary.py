"""The results of a sweep: numbers of the D_v(t) of its points, as a table and as summary.h5, which xarray reads as netCDF-4."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import Array, Curves
from hpcwigner.problem.config import Sweep
from hpcwigner.problem.loading import Point
from hpcwigner.runtime import schema
from hpcwigner.simulation.ensure import MOMENTS, SERIES, finished
from hpcwigner.storage.files import whole
from hpcwigner.storage.reading import read

FEATURES = {
    "diffusion_peak_time": ("ps", "time of the largest D_v from 1 ps on"),
    "diffusion_peak": ("cm2 s-1", "largest D_v from 1 ps on"),
    "diffusion_minimum_time": ("ps", "time of the smallest D_v from 1 ps on"),
    "diffusion_minimum": ("cm2 s-1", "smallest D_v from 1 ps on"),
    "window_start": ("ps", "start of the longest window with D_v < 0; NaN: none"),
    "window_end": ("ps", "end of the longest window with D_v < 0; where it equals end_time, the window is still open then"),
}
"""Unit and meaning of the numbers taken off each D_v(t), in the order in which `SweepSummary.of` computes them."""
VARIABLES = {
    "end_time": (("point",), "ps", "last time; NaN: the point is not finished"),
    "diffusion": (("point", "time", "valley"), "cm2 s-1", "diffusion coefficient D_v"),
    **{name: (("point", "valley"), *meaning) for name, meaning in FEATURES.items()},
}
"""Dimensions, unit and meaning of all results."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A varied key of the input, with one value per point: numbers in `unit`, or texts if not all are numbers."""

    key: str
    values: NDArray[Any]
    unit: str

    @classmethod
    def of(cls, key: str, points: Sequence[Point]) -> "Parameter":
        """The values as messages show them."""
        shown = [schema.shown(point.config, key) for point in points]
        if any(isinstance(value, str) for value, _ in shown):
            return cls(key, np.array([f"{text(value, 'g')} {unit}".strip() for value, unit in shown]), "")
        return cls(key, np.array([value for value, _ in shown]), shown[0][1])

    @property
    def texts(self) -> list[str]:
        """Different values if they are texts, else empty."""
        return list(dict.fromkeys(map(str, self.values))) if self.values.dtype.kind == "U" else []


@dataclasses.dataclass(frozen=True)
class SweepSummary:
    """Numbers of D_v(t), NaN for points that are not finished."""

    parameters: list[Parameter]
    directories: list[str]
    """Names of the points' directories."""
    valleys: list[str]
    """Of all points: a varied material may have others."""
    times: list[float]
    """[ps]"""
    values: dict[str, Array]
    """Results by name as in VARIABLES."""

    @classmethod
    def of(cls, points: Sequence[Point], sweep: Sweep) -> "SweepSummary":
        """From the files of the finished points. Raises InputError."""
        paths = [Path(point.config.output.directory) / (MOMENTS if sweep.moments else SERIES) for point in points]
        files = [read(path) if finished(p.config, sweep.moments) else None for p, path in zip(points, paths, strict=True)]
        valleys = list(dict.fromkeys(name for file in files if file for name in file.valleys))
        longest = max((file.last_time() for file in files if file), default=math.inf)
        times = [t for t in sweep.diffusion_at if t <= longest]
        sizes = {"point": len(points), "time": len(times), "valley": len(valleys)}
        values = {name: np.full([sizes[d] for d in dimensions], np.nan) for name, (dimensions, *_) in VARIABLES.items()}
        for p, file in enumerate(files):
            if file is None:
                continue
            curves = Curves(file.data["time"], file.need("diffusion"))
            places = [valleys.index(name) for name in file.valleys]
            values["end_time"][p] = curves.time[-1]
            values["diffusion"][p][:, places] = curves.at(times)
            for v, place in enumerate(places):
                numbers = (*curves.extremum(v, 1), *curves.extremum(v, -1), *curves.window(v))
                for name, number in zip(FEATURES, numbers, strict=True):
                    values[name][p, place] = number
        return cls([Parameter.of(key, points) for key in sweep.vary], [p.parent.name for p in paths], valleys, times, values)

    @property
    def window_open(self) -> NDArray[np.bool_]:
        """Where D is still negative at the end, shape (point, valley)."""
        return self.values["window_end"] == self.values["end_time"][:, None]


def write(path: Path, summary: SweepSummary, attributes: Mapping[str, str | int]) -> None:
    """Puts the file in the place of an older one. Raises WriteError."""
    with whole(path) as part, h5py.File(part, "w") as file:

        def put(name: str, values: Any, dimensions: Sequence[str], unit: str, meaning: str) -> h5py.Dataset:
            data = np.asarray(values)
            file[name] = data if data.dtype.kind != "U" else data.astype(h5py.string_dtype())
            for i, dimension in enumerate(dimensions):
                file[name].dims[i].attach_scale(file[dimension])
            file[name].attrs.update({"long_name": meaning} | ({"units": unit} if unit else {}))
            return file[name]

        file.attrs.update(attributes)
        put("point", np.arange(len(summary.directories)), (), "", "number of the point").make_scale("point")
        put("time", summary.times, (), "ps", "time").make_scale("time")
        put("valley", summary.valleys, (), "", "exciton valley").make_scale("valley")
        put("directory", summary.directories, ("point",), "", "directory of the point")
        names = {p.key.replace(".", "_"): p for p in summary.parameters}
        for name, p in names.items():
            put(name, p.values, ("point",), p.unit, f"{p.key} of the input")
        for name, meaning in VARIABLES.items():
            put(name, summary.values[name], *meaning).attrs["coordinates"] = " ".join(["directory", *names])  # as in CF


def table(summary: SweepSummary) -> str:
    """Text for the terminal: a block per valley, a line per point."""
    missing = [name for name, end in zip(summary.directories, summary.values["end_time"], strict=True) if math.isnan(end)]
    points = [
        ["point", *summary.directories],
        *([f"{p.key} [{p.unit}]" if p.unit else p.key, *map(text, p.values)] for p in summary.parameters),
    ]
    heads = [
        "  ".join(f"{x:>{max(map(len, column))}}" for x, column in zip(row, points, strict=True))
        for row in zip(*points, strict=True)
    ]
    titles = [*(f"{t:g}" for t in summary.times), "peak", "at", "min", "at", "from", "to"]
    names = ("diffusion_peak", "diffusion_peak_time", "diffusion_minimum", "diffusion_minimum_time", "window_start", "window_end")
    lines = []
    for v, valley in enumerate(summary.valleys):
        lines.append(f"D_{valley} [cm²/s] at t [ps] =; its peak and its minimum from 1 ps on; D < 0 from, to [ps]")
        rows = [titles]
        for i in range(len(summary.directories)):
            row = [*map(text, summary.values["diffusion"][i, :, v]), *(text(summary.values[name][i, v]) for name in names)]
            rows.append([*row[:-1], ">" * summary.window_open[i, v] + row[-1]])
        lines += [head + "".join(f"{x:>10}" for x in row) for head, row in zip(heads, rows, strict=True)]
        lines.append("")
    count, but = len(summary.directories), f", not {', '.join(missing)}" if missing else ""
    return "\n".join([*lines, f"{count - len(missing)} of {count} points finished{but}"])


def text(value: float | str, form: str = ".4g") -> str:
    """A value of a parameter or a result; NaN as a dash."""
    if isinstance(value, str):
        return value
    return "—" if math.isnan(value) else f"{value:{form}}"
