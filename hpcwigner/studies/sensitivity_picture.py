"""Picture of a sensitivity analysis: change of D of the bright valley by each uncertain number, against time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import style

Array = NDArray[np.float64]


def plot_sensitivity(path: Path, time: Array, base: Array, changes: Mapping[str, Array], title: str, most: int = 15) -> Path:
    """Writes a picture of D(t) and of the change of D per +10 % of the `most` effective parameters; returns `path`.

    `base` is D of one valley, `changes` its change by parameter [cm²/s], shape (time,). Raises InputError.
    """
    plt = style.pyplot()
    late = time >= JUDGED_FROM
    scale = np.nanmax(np.abs(base[late]))
    ranked = sorted(changes, key=lambda name: -float(np.nanmax(np.abs(changes[name][late]))))[:most]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 3 + 0.3 * len(ranked)), sharex=True, layout="constrained", height_ratios=(1, max(1, len(ranked) / 5))
    )
    above.plot(time[late], base[late], color=style.COLOURS[1])
    above.axhline(0, **style.ZERO_LINE)
    above.set(ylabel="$D$ (cm²/s)", title=title)
    values = 100 * np.array([changes[name][late] for name in ranked]) / scale
    limit = max(float(np.nanmax(np.abs(values))), 1e-9)
    image = below.pcolormesh(
        time[late], np.arange(len(ranked)), values, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True
    )
    below.set_yticks(np.arange(len(ranked)), ranked)
    below.invert_yaxis()
    below.set(xlabel="time (ps)", xscale="log", xlim=(time[late][0], time[-1]))
    figure.colorbar(image, ax=below, label="change of $D$ per +10 %\n(% of the largest |D|)")
    return style.save(figure, path)
