"""Views of series.h5: widths, diffusion coefficients and their budget against time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import PARTS
from hpcwigner.observables.curves import JUDGED_FROM, negative_windows
from hpcwigner.plotting import style
from hpcwigner.storage.reading import Variables, read

Array = NDArray[np.float64]

SYMLOG_FROM = 30.0
"""A budget whose largest part is this many times the second largest is drawn on a logarithmic scale."""


def widths(directory: Path) -> Any:
    """w_v²(t) above and D_v(t) below; stretches of negative D_v are shaded. Raises InputError."""
    series = read(directory / "series.h5")
    figure, axes = style.subplots(2, 1, figsize=(8, 7), sharex=True)
    valleys_against_time(axes[0], series, "width_squared", "$w_v^2$")
    valleys_against_time(axes[1], series, "diffusion", "$D_v$")
    axes[0].set_xlabel("")
    axes[1].axhline(0, **style.ZERO_LINE)
    time, width, diffusion = series.data["time"], series.data["width_squared"], series.data["diffusion"]
    windows = []
    for i, valley in enumerate(series.valleys):
        colour = style.curve(i)["color"]
        for start, end in negative_windows(time, diffusion[:, i]):
            windows.append(f"{valley} {start:.4g} to {end:.4g} ps")
            inside = (time >= start) & (time <= end)
            axes[0].plot(time[inside], width[inside, i], color=colour, lw=7, alpha=0.25, solid_capstyle="butt")
            axes[1].fill_between(time[inside], diffusion[inside, i], color=colour, alpha=0.25, lw=0)
    axes[1].set_title(f"$D_v$ < 0 (shaded): {', '.join(windows) or 'never'}", fontsize=10)
    figure.suptitle(style.title(directory, series))
    return figure


def budget(directory: Path) -> Any:
    """D_v and its parts by cause, one panel per valley, with the check that the parts sum up to D_v. Raises InputError."""
    series = read(directory / "series.h5")
    parts = {name: series.need(f"diffusion_{name}") for name in PARTS}
    time, total = series.data["time"], series.need("diffusion")
    series.last_time()
    count = len(series.valleys)
    figure, axes = style.subplots(1, count, figsize=(1 + 4.2 * count, 4.6), squeeze=False)
    for v, (axis, valley) in enumerate(zip(axes[0], series.valleys, strict=True)):
        axis.plot(time, total[:, v], color="0.75", lw=5, solid_capstyle="butt", label="$D_v$")
        for i, (name, values) in enumerate(parts.items()):
            text = series.long_names[f"diffusion_{name}"].removeprefix("part of D_v due to ")
            axis.plot(time, values[:, v], label=text, **style.curve(i))
        axis.plot(time, sum(p[:, v] for p in parts.values()), color="k", lw=1, ls=":", label="sum of the parts")
        axis.axhline(0, **style.ZERO_LINE)
        off = sum_error(total[:, v], [p[:, v] for p in parts.values()])
        _time_axis(axis)
        axis.set_title(f"{valley}\n$D_v$ − sum of parts: ≤ {off:.0e} of the largest part", fontsize=10)
        _budget_scale(axis, time >= JUDGED_FROM, total[:, v], np.array([p[:, v] for p in parts.values()]))
    axes[0, 0].set_ylabel(style.label("$D_v$ and its parts", series.units["diffusion"]))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PARTS) + 2, frameon=False)
    figure.suptitle(style.title(directory, series))
    return figure


def sum_error(total: Array, parts: list[Array]) -> float:
    """Largest |D_v − Σ parts| relative to the largest part, over the times at which D_v is defined."""
    defined = np.isfinite(total)
    if not defined.any():
        return float("nan")
    scale = max(float(np.abs(p[defined]).max()) for p in parts)
    return float(np.abs(total - sum(parts))[defined].max() / scale)


def _budget_scale(axis: Any, late: NDArray[np.bool_], total: Array, parts: Array) -> None:
    """Scale for a sum (time) and its parts (part, time) at times `late`: linear, unless one part flattens all others."""
    late = late & np.isfinite(total)
    if not late.any():
        return
    shown = np.vstack((total, parts))[:, late]
    *_, second, largest = sorted(np.abs(parts[:, late]).max(axis=1))
    low, high = min(0.0, shown.min()), max(0.0, shown.max())
    if largest > SYMLOG_FROM * second > 0:
        axis.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(second) - 1))
        axis.set_ylim(1.5 * low, 1.5 * high)
    else:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def valleys_against_time(axis: Any, series: Variables, name: str, symbol: str) -> None:
    """One curve per valley of series variable `name`; the first picosecond does not set the scale. Raises InputError."""
    time, values = series.data["time"], series.need(name)
    series.last_time()
    for i, valley in enumerate(series.valleys):
        axis.plot(time, values[:, i], label=valley, **style.curve(i))
    axis.set_ylabel(style.label(symbol, series.units[name]))
    _time_axis(axis)
    shown = values[time >= JUDGED_FROM]
    if shown.size and np.isfinite(shown).any():
        low, high = np.nanmin(shown), np.nanmax(shown)
        axis.set_ylim(min(0.0, low - 0.05 * (high - low)), high + 0.05 * (high - low))
    axis.legend(frameon=False)


def _time_axis(axis: Any) -> None:
    """From 0 to the last time; called when the curves are there."""
    axis.set_xlabel("time (ps)")
    axis.margins(x=0)
    axis.set_xlim(left=0)
