"""One picture of a run: w_v²(t), D_v(t) and PL(x, t)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import style
from hpcwigner.storage.reading import Variables, read

Array = NDArray[np.float64]


def plot_overview(directory: Path, output: Path | None = None) -> Path:
    """Draws RUN/overview.png (or `output`) and returns its path. Raises schema.InputError."""
    plt = style.pyplot()
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    _curves(axes[0], series, "width_squared", "$w_v^2$ (µm²)")
    _curves(axes[1], series, "diffusion", "$D_v$ (cm²/s)")
    axes[1].axhline(0, **style.ZERO_LINE)
    _negative_inset(axes[1], series)
    image = _photoluminescence(axes[2], fields)
    figure.colorbar(image, ax=axes[2], label="PL / largest PL at that time")
    temperature = next(
        (line.split(":", 1)[1].strip() for line in series.attributes["input"].splitlines() if line.startswith("temperature")), ""
    )
    figure.suptitle(f"{directory.name}   {temperature}")
    return style.save(figure, output or directory / "overview.png")


def _curves(axis: Any, series: Variables, name: str, label: str) -> None:
    for i, valley in enumerate(series.valleys):
        axis.plot(series.data["time"], series.data[name][:, i], label=valley, **style.curve(i))
    axis.set(xlabel="time (ps)", ylabel=label, xlim=(0, series.data["time"][-1]))
    shown = series.data[name][series.data["time"] >= 1.0]
    if shown.size and np.isfinite(shown).any():  # the first picosecond, when valleys still fill, would set the scale
        low, high = np.nanmin(shown), np.nanmax(shown)
        axis.set_ylim(min(0.0, low - 0.05 * (high - low)), high + 0.05 * (high - low))
    axis.legend(frameon=False)


def _negative_inset(axis: Any, series: Variables) -> None:
    """Enlarges the stretch in which some D_v is negative."""
    time, diffusion = series.data["time"], series.data["diffusion"]
    with np.errstate(invalid="ignore"):
        negative = (diffusion < 0).any(axis=1) & (time >= 1)
    if negative.sum() < 3:
        return
    inset = axis.inset_axes((0.42, 0.42, 0.55, 0.33))
    first, last = time[negative][0], time[negative][-1]
    margin = 0.15 * (last - first)
    for i in range(diffusion.shape[1]):
        inset.plot(time, diffusion[:, i], **style.curve(i))
    inset.axhline(0, **style.ZERO_LINE)
    low = np.nanmin(diffusion[negative])
    inset.set(xlim=(first - margin, min(last + margin, time[-1])), ylim=(1.15 * low, -0.3 * low))
    inset.tick_params(labelsize=7)


def _photoluminescence(axis: Any, fields: Variables) -> Any:
    """PL(x, t) along y = 0 (of a slab: integrated over y), normalised at each time."""
    pl = fields.data["pl"]
    in_two = pl.ndim == 3
    if in_two:
        pl = style.central_line(pl)
    with np.errstate(invalid="ignore"):
        normalised = np.where(pl.max(axis=1, keepdims=True) > 0, pl / pl.max(axis=1, keepdims=True), np.nan)
    x, time = fields.data["x"], fields.data["time"]
    image = axis.pcolormesh(x, time, normalised, cmap="viridis", vmin=0, vmax=1, shading="nearest", rasterized=True)
    visible = np.nanmax(normalised[1:], axis=0) > 0.02 if len(time) > 1 else np.ones(len(x), dtype=bool)
    if visible.any():
        reach = np.abs(x[visible]).max()
        axis.set_xlim(-reach, reach)
    axis.set(xlabel="x (µm)", ylabel="time (ps)", title="along y = 0" if in_two else "integrated over y")
    return image
