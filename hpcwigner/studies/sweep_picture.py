"""Picture of a sweep: D_v at some times and the window of negative D_v against the first parameter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import style
from hpcwigner.studies.sweep_file import Parameter, SweepSummary

Array = NDArray[np.float64]

MOST_ROWS = 6
"""Combinations of the other parameters that are drawn."""
LOGARITHMIC_FROM = 8.0
"""Ratio of the largest to the smallest value of a parameter from which its axis is logarithmic."""
LINEAR_BELOW = 1.0
"""D_v is drawn on a linear scale up to this magnitude [cm²/s], on a logarithmic one beyond."""


def plot_sweep(summary: SweepSummary, bright: str, paths: Sequence[Path], name: str) -> None:
    """Writes the picture to each of `paths`: a row for each combination of the other parameters. Raises InputError."""
    style.pyplot()
    groups = _groups(summary)
    rows, columns = min(len(groups), MOST_ROWS), len(summary.valleys) + 1
    figure, axes = style.subplots(rows, columns, figsize=(3.7 * columns, 0.6 + 3.4 * rows), squeeze=False, sharex=True)
    for row, (title, chosen) in zip(axes, groups.items(), strict=False):
        x = _positions(summary.parameters[0], chosen)
        for v, valley in enumerate(summary.valleys):
            _values(row[v], x, summary, chosen, v)
            row[v].set(title=f"{title}  " * (v == 0) + valley + " (bright)" * (valley == bright))
        for axis in row[:-1]:
            _scale(axis, summary.diffusion)
        row[0].set_ylabel("$D_v$ (cm²/s)")
        _windows(row[-1], x, summary, chosen)
    for axis in axes.ravel():
        _parameter_axis(axis, summary.parameters[0])
    for axis in axes[-1]:
        axis.set_xlabel(_label(summary.parameters[0]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, title="$D_v$ at", loc="outside right center", frameon=False)
    left_out = f"   (the first {rows} of {len(groups)} combinations of the other parameters)" if rows < len(groups) else ""
    figure.suptitle(name + left_out)
    style.save(figure, *paths)


def _groups(summary: SweepSummary) -> dict[str, NDArray[np.intp]]:
    """Numbers of the points by the values of all parameters but the first; one group if each value of that occurs once."""
    first, others = summary.parameters[0], summary.parameters[1:]
    names = ["" for _ in summary.directories]
    if len(set(first.values)) < len(first.values):
        names = [
            ", ".join(f"{p.key} {_short(p.values[i])} {style.unit_text(p.unit)}".strip() for p in others)
            for i in range(len(names))
        ]
    return {name: np.flatnonzero([n == name for n in names]) for name in dict.fromkeys(names)}


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _positions(parameter: Parameter, chosen: NDArray[np.intp]) -> Array:
    if isinstance(parameter.values, tuple):
        known = list(dict.fromkeys(parameter.values))
        return np.array([known.index(parameter.values[i]) for i in chosen], dtype=float)
    return parameter.values[chosen]


def _parameter_axis(axis: Any, parameter: Parameter) -> None:
    from matplotlib import ticker

    if isinstance(parameter.values, tuple):
        known = list(dict.fromkeys(parameter.values))
        axis.set_xticks(range(len(known)), [Path(value).stem for value in known], rotation=20, ha="right")
    elif parameter.values.min() > 0 and parameter.values.max() >= LOGARITHMIC_FROM * parameter.values.min():
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())


def _label(parameter: Parameter) -> str:
    return style.label(parameter.key.rsplit(".", 1)[-1].replace("_", " "), parameter.unit)


def _values(axis: Any, x: Array, summary: SweepSummary, chosen: NDArray[np.intp], valley: int) -> None:
    from matplotlib import colormaps

    order = np.argsort(x)
    joined = "none" if isinstance(summary.parameters[0].values, tuple) else "-"
    shades = colormaps["viridis"](np.linspace(0.0, 0.88, len(summary.times)))
    for t, (time, colour) in enumerate(zip(summary.times, shades, strict=True)):
        values = summary.diffusion[chosen, t, valley][order]
        axis.plot(x[order], values, color=colour, marker="o", ms=3.5, lw=1.4, ls=joined, label=f"{time:g} ps")
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


def _windows(axis: Any, x: Array, summary: SweepSummary, chosen: NDArray[np.intp]) -> None:
    """Windows of negative D_v and the times of the minima; an arrow where a window is open at the end of the run."""
    from matplotlib.transforms import ScaledTranslation

    order = chosen[np.argsort(x)]
    x = np.sort(x)
    for v, valley in enumerate(summary.valleys):
        start, end, dip = (summary.features[name][order, v] for name in ("window_start", "window_end", "diffusion_minimum_time"))
        exists = np.isfinite(start)
        if not exists.any():
            continue
        colour, is_open = style.COLOURS[v % len(style.COLOURS)], summary.window_open[order, v]
        if not isinstance(summary.parameters[0].values, tuple):
            axis.fill_between(x, start, end, where=exists, color=colour, alpha=0.18, lw=0)
        beside = axis.transData + ScaledTranslation(2 * v / 72, 0, axis.figure.dpi_scale_trans)  # valleys side by side
        axis.vlines(x[exists], start[exists], end[exists], color=colour, lw=1.6, label=valley, transform=beside)
        inside = (start < dip) & (dip < end)  # the smallest D_v may be in a shorter window
        marked = ((start, exists, "_"), (end, exists & ~is_open, "_"), (end, is_open, "^"), (dip, inside, "o"))
        for marks, where, marker in marked:
            size = 4 if marker == "o" else 8
            axis.plot(x[where], marks[where], color=colour, ls="none", marker=marker, ms=size, mew=1.6, transform=beside)
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(frameon=False, title="bar: $D_v$ < 0, dot: minimum", title_fontsize="small")
    else:
        axis.text(0.5, 0.5, "never", transform=axis.transAxes, ha="center", va="center", color="0.4")
    latest = np.nanmax(summary.ends, initial=0.0)
    axis.set(ylabel="time (ps)", title="$D_v$ < 0", ylim=(0, 1.05 * latest if latest else 1))
