"""The results of a sweep, numbers of the D_v(t) of its points: a table, summary.h5 (netCDF-4 for xarray) and a picture."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import Curves
from hpcwigner.plotting import style
from hpcwigner.problem.config import Sweep
from hpcwigner.problem.loading import Point
from hpcwigner.runtime import schema
from hpcwigner.runtime.arrays import Array
from hpcwigner.simulation.restart import SERIES
from hpcwigner.simulation.run import MOMENTS, finished
from hpcwigner.storage.files import add_variable, whole
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
MOST_ROWS = 6  # Combinations of the other parameters that are drawn
LOGARITHMIC_FROM = 8.0  # Ratio of the largest to the smallest value of a parameter from which its axis is logarithmic
LINEAR_BELOW = 1.0  # D_v is drawn on a linear scale up to this magnitude [cm²/s], on a logarithmic one beyond


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
    directories: list[str]  # Names of the points' directories
    valleys: list[str]  # Of all points: a varied material may have others
    times: list[float]  # [ps]
    values: dict[str, Array]  # Results by name as in VARIABLES

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
        file.attrs.update(attributes)
        add_variable(file, "point", np.arange(len(summary.directories)), ("point",), "", "number of the point")
        add_variable(file, "time", np.array(summary.times), ("time",), "ps", "time")
        add_variable(file, "valley", np.array(summary.valleys, dtype=str), ("valley",), "", "exciton valley")
        add_variable(file, "directory", summary.directories, ("point",), "", "directory of the point")
        names = {p.key.replace(".", "_"): p for p in summary.parameters}
        for name, p in names.items():
            add_variable(file, name, p.values, ("point",), p.unit, f"{p.key} of the input")
        for name, meaning in VARIABLES.items():
            dataset = add_variable(file, name, summary.values[name], *meaning)
            dataset.attrs["coordinates"] = " ".join(["directory", *names])  # as in CF


def table(summary: SweepSummary) -> str:
    """Text for the terminal: a block per valley, a line per point."""
    missing = [name for name, end in zip(summary.directories, summary.values["end_time"], strict=True) if math.isnan(end)]
    columns = [[f"{p.key} [{p.unit}]" if p.unit else p.key, *map(text, p.values)] for p in summary.parameters]
    columns.insert(0, ["point", *summary.directories])
    widths = [max(map(len, column)) for column in columns]
    heads = ["  ".join(map(str.rjust, row, widths)) for row in zip(*columns, strict=True)]
    titles = [*(f"{t:g}" for t in summary.times), "peak", "at", "min", "at", "from", "to"]
    names = ("diffusion_peak", "diffusion_peak_time", "diffusion_minimum", "diffusion_minimum_time", "window_start", "window_end")
    lines = []
    for v, valley in enumerate(summary.valleys):
        lines.append(f"D_{valley} [cm²/s] at t [ps] =; its peak and its minimum from 1 ps on; D < 0 from, to [ps]")
        rows = [titles]
        for i in range(len(summary.directories)):
            row = [*map(text, summary.values["diffusion"][i, :, v]), *(text(summary.values[name][i, v]) for name in names)]
            rows.append([*row[:-1], f"{'>' if summary.window_open[i, v] else ''}{row[-1]}"])
        lines += [head + "".join(f"{x:>10}" for x in row) for head, row in zip(heads, rows, strict=True)]
        lines.append("")
    count, but = len(summary.directories), f", not {', '.join(missing)}" if missing else ""
    return "\n".join([*lines, f"{count - len(missing)} of {count} points finished{but}"])


def text(value: float | str, form: str = ".4g") -> str:
    """A value of a parameter or a result; NaN as a dash."""
    if isinstance(value, str):
        return value
    return "—" if math.isnan(value) else f"{value:{form}}"


def plot(summary: SweepSummary, bright: str, paths: Sequence[Path], name: str) -> None:
    """Writes the picture to each of `paths`: a row for each combination of the other parameters. Raises InputError."""
    style.pyplot()
    first, groups = summary.parameters[0], _groups(summary)
    places = np.array([first.texts.index(value) for value in first.values], dtype=float) if first.texts else first.values
    rows, columns = min(len(groups), MOST_ROWS), len(summary.valleys) + 1
    figure, axes = style.subplots(rows, columns, figsize=(3.7 * columns, 0.6 + 3.4 * rows), squeeze=False, sharex=True)
    for row, (title, chosen) in zip(axes, groups.items(), strict=False):
        chosen = chosen[np.argsort(places[chosen])]
        for v, (axis, valley) in enumerate(zip(row, summary.valleys, strict=False)):
            _values(axis, places[chosen], summary, chosen, v)
            axis.set(title=f"{title}  " * (v == 0) + valley + " (bright)" * (valley == bright))
        row[0].set_ylabel("$D_v$ (cm²/s)")
        _windows(row[-1], places[chosen], summary, chosen)
    for axis in axes.ravel():
        _parameter_axis(axis, first)
    for axis in axes[-1]:
        axis.set_xlabel(style.label(first.key.rsplit(".", 1)[-1].replace("_", " "), first.unit))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, title="$D_v$ at", loc="outside right center", frameon=False)
    left_out = f"   (the first {rows} of {len(groups)} combinations of the other parameters)" if rows < len(groups) else ""
    figure.suptitle(name + left_out)
    style.save(figure, *paths)


def _groups(summary: SweepSummary) -> dict[str, NDArray[np.intp]]:
    """Numbers of the points by the values of all parameters but the first; one group if each value of that occurs once."""
    first, *others = summary.parameters
    names = [""] * len(first.values)
    if others and len(set(first.values)) < len(first.values):
        texts = [[f"{p.key} {text(value, 'g')} {style.unit_text(p.unit)}".strip() for value in p.values] for p in others]
        names = [", ".join(values) for values in zip(*texts, strict=True)]
    return {name: np.flatnonzero([n == name for n in names]) for name in dict.fromkeys(names)}


def _parameter_axis(axis: Any, parameter: Parameter) -> None:
    from matplotlib import ticker

    if parameter.texts:
        axis.set_xticks(range(len(parameter.texts)), [Path(value).stem for value in parameter.texts], rotation=20, ha="right")
    elif parameter.values.min() > 0 and parameter.values.max() >= LOGARITHMIC_FROM * parameter.values.min():
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())


def _values(axis: Any, x: Array, summary: SweepSummary, chosen: NDArray[np.intp], valley: int) -> None:
    """D_v at each of the times, on a scale that fits those of all valleys."""
    from matplotlib import colormaps, ticker

    options = {"marker": "o", "ms": 3.5, "lw": 1.4, "ls": "none" if summary.parameters[0].texts else "-"}
    shades = colormaps["viridis"](np.linspace(0.0, 0.88, len(summary.times)))
    diffusion = summary.values["diffusion"]
    for t, (time, colour) in enumerate(zip(summary.times, shades, strict=True)):
        axis.plot(x, diffusion[chosen, t, valley], color=colour, label=f"{time:g} ps", **options)
    axis.axhline(0, **style.ZERO_LINE)
    if not np.isfinite(diffusion).any():
        return
    low, high = np.nanmin(diffusion), np.nanmax(diffusion)
    if max(high, -low) > 30 * LINEAR_BELOW:
        axis.set_yscale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_ylim(2 * low if low < 0 else 0, 2 * high)
    else:
        axis.set_ylim(min(0.0, 1.1 * low), 1.1 * high)


def _windows(axis: Any, x: Array, summary: SweepSummary, chosen: NDArray[np.intp]) -> None:
    """Windows of negative D_v and the times of the minima; an arrow where a window is open at the end of the run."""
    from matplotlib.transforms import ScaledTranslation

    names = ("window_start", "window_end", "diffusion_minimum_time")
    for v, valley in enumerate(summary.valleys):
        start, end, dip = (summary.values[name][chosen, v] for name in names)
        exists, is_open = np.isfinite(start), summary.window_open[chosen, v]
        if not exists.any():
            continue
        colour = style.curve(v)["color"]
        if not summary.parameters[0].texts:
            axis.fill_between(x, start, end, where=exists, color=colour, alpha=0.18, lw=0)
        beside = axis.transData + ScaledTranslation(2 * v / 72, 0, axis.figure.dpi_scale_trans)  # valleys side by side
        axis.vlines(x[exists], start[exists], end[exists], color=colour, lw=1.6, label=valley, transform=beside)
        inside = (start < dip) & (dip < end)  # the smallest D_v may be in a shorter window
        marks = ((start, exists, "_", 8), (end, exists & ~is_open, "_", 8), (end, is_open, "^", 8), (dip, inside, "o", 4))
        for times, where, marker, size in marks:
            axis.plot(x[where], times[where], color=colour, ls="none", marker=marker, ms=size, mew=1.6, transform=beside)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, title="bar: $D_v$ < 0, dot: minimum", title_fontsize="small")
    else:
        axis.text(0.5, 0.5, "never", transform=axis.transAxes, ha="center", va="center", color="0.4")
    axis.set(ylabel="time (ps)", title="$D_v$ < 0", ylim=(0, 1.05 * np.nanmax(summary.values["end_time"], initial=0.0) or 1))
