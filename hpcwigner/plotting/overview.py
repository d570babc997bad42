"""One picture of a run: w_v²(t), D_v(t) and PL(x, t)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import style
from hpcwigner.plotting.curves import valleys_against_time
from hpcwigner.plotting.maps import space_time_map
from hpcwigner.storage.reading import Variables, read


def overview(directory: Path) -> Any:
    """Widths, diffusion coefficients (negative ones enlarged) and normalised PL. Raises InputError."""
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    figure, axes = style.subplots(1, 3, figsize=(13, 4))
    valleys_against_time(axes[0], series, "width_squared", "$w_v^2$")
    valleys_against_time(axes[1], series, "diffusion", "$D_v$")
    axes[1].axhline(0, **style.ZERO_LINE)
    _negative_inset(axes[1], series)
    image = space_time_map(axes[2], fields, fields.need("pl"))
    figure.colorbar(image, ax=axes[2], label="PL / largest PL at that time")
    axes[2].set(ylabel="time (ps)", title="along y = 0" if "y" in fields.data else "integrated over y")
    figure.suptitle(style.title(directory, series))
    return figure


def _negative_inset(axis: Any, series: Variables) -> None:
    """Enlarges the stretch in which some D_v is negative."""
    time, diffusion = series.data["time"], series.data["diffusion"]
    with np.errstate(invalid="ignore"):
        negative = (diffusion < 0).any(axis=1) & (time >= JUDGED_FROM)
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
