"""The views of the verb `plot`, by name; among them those of series.h5, curves against time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.observables.budget import PARTS
from hpcwigner.observables.curves import JUDGED_FROM, negative_windows
from hpcwigner.plotting import against, landscape, maps, spectra, style
from hpcwigner.plotting.spectra import Look
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

SYMLOG_FROM = 30.0  # A budget whose largest part is this many times the second largest is drawn on a logarithmic scale


def widths(directory: Path) -> Any:
    """w_v²(t) above and D_v(t) below; times of negative D_v are shaded. Raises InputError."""
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
    """D_v and its parts by cause, one panel per valley, with the largest difference of D_v from their sum. Raises InputError."""
    series = read(directory / "series.h5")
    parts = {name: series.need(f"diffusion_{name}") for name in PARTS}
    time, total = series.data["time"], series.need("diffusion")
    series.last_time()
    count = len(series.valleys)
    figure, axes = style.subplots(1, count, figsize=(1 + 4.2 * count, 4.6), squeeze=False)
    names = [series.long_names[f"diffusion_{name}"].removeprefix("part of D_v due to ") for name in PARTS]
    for v, (axis, valley) in enumerate(zip(axes[0], series.valleys, strict=True)):
        values = np.stack([part[:, v] for part in parts.values()], axis=1)
        axis.plot(time, total[:, v], color="0.75", lw=5, solid_capstyle="butt", label="$D_v$")
        lines(axis, time, values, names)
        axis.plot(time, values.sum(axis=1), color="k", lw=1, ls=":", label="sum of the parts")
        axis.axhline(0, **style.ZERO_LINE)
        _time_axis(axis)
        off = sum_error(total[:, v], values)
        axis.set_title(f"{valley}\n$D_v$ − sum of parts: ≤ {off:.0e} of the largest part", fontsize=10)
        late = (time >= JUDGED_FROM) & np.isfinite(total[:, v])
        _budget_scale(axis, total[late, v], values[late])
    axes[0, 0].set_ylabel(style.label("$D_v$ and its parts", series.units["diffusion"]))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PARTS) + 2, frameon=False)
    figure.suptitle(style.title(directory, series))
    return figure


def sum_error(total: Array, parts: Array) -> float:
    """Largest |D_v − Σ parts| relative to the largest part, where D_v is defined; shapes (time,) and (time, part)."""
    if not (defined := np.isfinite(total)).any():
        return float("nan")
    return float(np.abs(total - parts.sum(axis=1))[defined].max() / np.abs(parts[defined]).max())


def _budget_scale(axis: Any, total: Array, parts: Array) -> None:
    """Scale for a sum (time,) and its parts (time, part): linear, unless one part is much larger than all others."""
    if not len(total):
        return
    *_, second, largest = sorted(np.abs(parts).max(axis=0))
    if largest > SYMLOG_FROM * second > 0:
        axis.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(second) - 1))
        axis.set_ylim(1.5 * min(0.0, total.min(), parts.min()), 1.5 * max(0.0, total.max(), parts.max()))
    else:
        style.fit_y(axis, np.append(total, parts))


def lines(axis: Any, time: Array, values: Array, names: Sequence[str]) -> None:
    """One curve for each of the columns `values` (time, name)."""
    for i, name in enumerate(names):
        axis.plot(time, values[:, i], label=name, **style.curve(i))


def valleys(axis: Any, series: Variables, name: str, symbol: str, start: float = JUDGED_FROM, margin: float = 0.05) -> None:
    """One curve per valley of a series variable, on a scale that fits times from `start` [ps] on. Raises InputError."""
    time, values = series.data["time"], series.need(name)
    series.last_time()
    lines(axis, time, values, series.valleys)
    axis.set_ylabel(style.label(symbol, series.units[name]))
    style.fit_y(axis, values[time >= start], margin)


def valleys_against_time(axis: Any, series: Variables, name: str, symbol: str) -> None:
    """`valleys` from 0 to the last time, with a legend. Raises InputError."""
    valleys(axis, series, name, symbol)
    _time_axis(axis)
    axis.legend(frameon=False)


def negative_inset(axis: Any, series: Variables, bounds: tuple[float, float, float, float]) -> None:
    """Enlarges the times at which some D_v is negative, if there are any; `bounds` (x, y, width, height) in axes coordinates."""
    time, diffusion = series.data["time"], series.need("diffusion")
    with np.errstate(invalid="ignore"):
        negative = (diffusion < 0).any(axis=1) & (time >= JUDGED_FROM)
    if negative.sum() < 3:
        return
    inset = axis.inset_axes(bounds)
    lines(inset, time, diffusion, series.valleys)
    inset.axhline(0, **style.ZERO_LINE)
    first, last = time[negative][[0, -1]]
    margin, low = 0.15 * (last - first), np.nanmin(diffusion[negative])
    inset.set(xlim=(max(0.0, first - margin), min(last + margin, time[-1])), ylim=(1.15 * low, -0.4 * low))
    inset.tick_params(labelsize=7)


def _time_axis(axis: Any) -> None:
    """From 0 to the last time; to be called after the curves are drawn."""
    axis.set_xlabel("time (ps)")
    axis.margins(x=0)
    axis.set_xlim(left=0)


def overview(directory: Path) -> Any:
    """Widths, diffusion coefficients (negative ones enlarged) and PL in its landscape, of a run directory. Raises InputError."""
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    figure, axes = style.subplots(1, 3, figsize=(13, 4))
    valleys_against_time(axes[0], series, "width_squared", "$w_v^2$")
    valleys_against_time(axes[1], series, "diffusion", "$D_v$")
    axes[1].axhline(0, **style.ZERO_LINE)
    negative_inset(axes[1], series, (0.42, 0.42, 0.55, 0.33))
    image = maps.space_time_map(axes[2], fields, fields.need("pl"))
    landscape.over_map(axes[2], fields, "PL", landscape.on_line(landscape.heights(fields)), "positive")
    figure.colorbar(image, ax=axes[2], label="PL / largest PL at that time")
    axes[2].set(ylabel="time (ps)", title=fields.place)
    figure.suptitle(style.title(directory, series))
    return figure


VIEWS: dict[str, Callable[[Path], Any]] = {
    "overview": overview, "fields": maps.fields, "widths": widths, "wigner": maps.wigner, "budget": budget,
}  # fmt: skip
"""Each draws one figure of a run directory."""
OF_SPECTRA: dict[str, Callable[[Path, Look], Any]] = {"spectrum": spectra.spectrum, "sidebands": spectra.sidebands}
"""Those of spectra.h5, which can be looked at in several ways."""


def plot(
    directory: Path, view: str, output: Path | None = None, interactive: bool = False, look: Look | None = None
) -> Path | None:
    """Draws a view into `output` (PNG, PDF or SVG), by default RUN/<view>.png; returns its path. Raises InputError.

    `interactive` opens a window instead, and writes a picture only if `output` names one. `look` is for spectra only.
    """
    if look not in (None, Look()) and view not in OF_SPECTRA:
        raise InputError(f"--show {view}: found options of spectra, expected one of {', '.join(OF_SPECTRA)} with them")

    def draw() -> Any:
        return OF_SPECTRA[view](directory, look or Look()) if view in OF_SPECTRA else VIEWS[view](directory)

    return _shown(draw, output if output or interactive else directory / f"{view}.png", interactive)


def plot_against(directory: Path, other: Path, output: Path | None = None, interactive: bool = False) -> Path | None:
    """Draws two runs over each other, by default into RUN/against.png; otherwise as `plot`. Raises InputError."""
    path = output if output or interactive else directory / "against.png"
    return _shown(lambda: against.against(directory, other), path, interactive)


def _shown(draw: Callable[[], Any], path: Path | None, interactive: bool) -> Path | None:
    """Opens a figure in a window, or writes it into a file, or both."""
    if path:
        style.check_suffix(path)
    plt = style.pyplot(interactive)
    figure = draw()
    if interactive:
        plt.show()
    return style.save(figure, path) if path else None
