"""Picture of a sweep: D_v at some times and the window of negative D_v against the first parameter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import Array
from hpcwigner.plotting import style
from hpcwigner.studies.sweep_summary import Parameter, SweepSummary, text

Numbers = NDArray[np.intp]

MOST_ROWS = 6
"""Combinations of the other parameters that are drawn."""
LOGARITHMIC_FROM = 8.0
"""Ratio of the largest to the smallest value of a parameter from which its axis is logarithmic."""
LINEAR_BELOW = 1.0
"""D_v is drawn on a linear scale up to this magnitude [cm²/s], on a logarithmic one beyond."""


def plot_sweep(summary: SweepSummary, bright: str, paths: Sequence[Path], name: str) -> None:
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
            _scale(axis, summary.values["diffusion"])
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


def _groups(summary: SweepSummary) -> dict[str, Numbers]:
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


def _values(axis: Any, x: Array, summary: SweepSummary, chosen: Numbers, valley: int) -> None:
    from matplotlib import colormaps

    options = {"marker": "o", "ms": 3.5, "lw": 1.4, "ls": "none" if summary.parameters[0].texts else "-"}
    shades = colormaps["viridis"](np.linspace(0.0, 0.88, len(summary.times)))
    for t, (time, colour) in enumerate(zip(summary.times, shades, strict=True)):
        axis.plot(x, summary.values["diffusion"][chosen, t, valley], color=colour, label=f"{time:g} ps", **options)
    axis.axhline(0, **style.ZERO_LINE)


def _scale(axis: Any, values: Array) -> None:
    """Scale that fits `values` (of all valleys)."""
    from matplotlib import ticker

    if not np.isfinite(values).any():
        return
    low, high = np.nanmin(values), np.nanmax(values)
    if max(high, -low) > 30 * LINEAR_BELOW:
        axis.set_yscale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_ylim(2 * low if low < 0 else 0, 2 * high)
    else:
        axis.set_ylim(min(0.0, 1.1 * low), 1.1 * high)


def _windows(axis: Any, x: Array, summary: SweepSummary, chosen: Numbers) -> None:
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
