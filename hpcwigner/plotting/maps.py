"""Views of fields.h5 and wigner.h5: maps over position, time and momentum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import style
from hpcwigner.storage.reading import Variables, read

Array = NDArray[np.float64]

VISIBLE = 0.02
"""Maps are cut where everything is below this part of its largest value."""
SCALES: dict[str, dict[str, Any]] = {
    "positive": {"cmap": "viridis", "vmin": 0, "vmax": 1},
    "signed": {"cmap": "RdBu_r", "vmin": -1, "vmax": 1},
}
"""Colours of normalised maps."""


def fields(directory: Path) -> Any:
    """Density, PL and shape variation: of a slab against x and time, of a plane as maps at four times. Raises InputError."""
    found = read(directory / "fields.h5")
    found.last_time()
    figure = _plane_figure(found) if "y" in found.data else _slab_figure(found)
    figure.suptitle(style.title(directory, found))
    return figure


def _panels(found: Variables) -> list[tuple[str, Array, str]]:
    """Title, values (time, x[, y]) and scale of colours for everything that is drawn."""
    density, variation = found.need("density"), found.need("shape_variation")
    valleys = list(enumerate(found.valleys))
    return [
        *((f"$N$ {name}", density[:, v], "positive") for v, name in valleys),
        ("PL", found.need("pl"), "positive"),
        *((f"$\\eta$ {name}", variation[:, v], "signed") for v, name in valleys),
    ]


def _slab_figure(found: Variables) -> Any:
    panels = _panels(found)
    columns = len(found.valleys) + 1
    figure, axes = style.subplots(2, columns, figsize=(1 + 3.2 * columns, 7), sharex=True, sharey=True)
    axes[1, -1].set_axis_off()
    images = {}
    for axis, (title, values, scale) in zip(axes.flat, panels, strict=False):
        images[scale] = space_time_map(axis, found, values, scale)
        axis.set_title(title)
    for axis in axes[:, 0]:
        axis.set_ylabel("time (ps)")
    for axis in axes[0, :-1]:
        axis.set_xlabel("")
    axes[0, -1].tick_params(labelbottom=True)
    figure.colorbar(images["positive"], ax=axes[0], label="integrated over y,\n/ largest value at that time")
    figure.colorbar(
        images["signed"], ax=axes[1], label="shape variation $\\eta_v$, integrated over y,\n/ largest |$\\eta_v$| at that time"
    )
    return figure


def _plane_figure(found: Variables) -> Any:
    panels, rows = _panels(found), chosen_rows(found)
    figure, axes = style.subplots(
        len(panels), len(rows), figsize=(1.5 + 2.3 * len(rows), 0.8 + 2.1 * len(panels)), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    reach = visible_reach(found.data["x"], found.need("density")[rows].max(axis=(1, 3)))
    images = {}
    for line, (title, values, scale) in zip(axes, panels, strict=True):
        for axis, row in zip(line, rows, strict=True):
            relative = normalised(values[row : row + 1])[0]
            images[scale] = axis.pcolormesh(
                found.data["x"], found.data["y"], relative.T, shading="nearest", rasterized=True, **SCALES[scale]
            )
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        line[0].set_ylabel(f"{title}\ny (µm)")
    for axis, row in zip(axes[0], rows, strict=True):
        axis.set_title(f"{found.data['time'][row]:g} ps")
    for axis in axes[-1]:
        axis.set_xlabel("x (µm)")
    split = len(found.valleys) + 1
    figure.colorbar(images["positive"], ax=axes[:split], label="density and PL / largest value of the map", aspect=40)
    figure.colorbar(
        images["signed"], ax=axes[split:], label="shape variation $\\eta_v$ / largest |$\\eta_v$| of the map", aspect=40
    )
    return figure


def chosen_rows(found: Variables, number: int = 4) -> list[int]:
    """Rows of a few times from 1 ps to the end, in equal ratios: much happens early."""
    time = found.data["time"]
    start = min(1.0, time[-1])
    wanted = np.geomspace(start, time[-1], number) if start > 0 else time[-1:]
    return sorted({int(np.abs(time - t).argmin()) for t in wanted})


def space_time_map(axis: Any, found: Variables, values: Array, scale: str = "positive") -> Any:
    """Map of a field (time, x[, y]) over x and time, normalised at each time; a plane is cut along y = 0."""
    x, time = found.data["x"], found.data["time"]
    found.last_time()
    relative = normalised(style.central_line(values) if values.ndim == 3 else values)
    image = axis.pcolormesh(x, time, relative, shading="nearest", rasterized=True, **SCALES[scale])
    reach = visible_reach(x, np.abs(relative[1:] if len(time) > 1 else relative))
    axis.set(xlim=(-reach, reach), xlabel="x (µm)")
    return image


def normalised(values: Array) -> Array:
    """Values (time, ...) over the largest magnitude of each time; NaN where there is nothing yet."""
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(largest > 0, values / largest, np.nan)


def visible_reach(x: Array, values: Array) -> float:
    """Half width [as x] that holds all of `values` (..., x) above VISIBLE of the largest in its row."""
    with np.errstate(invalid="ignore"):
        relative = values / np.nanmax(values, axis=-1, keepdims=True, initial=0.0)
        visible = (relative > VISIBLE).reshape(-1, len(x)).any(axis=0)
    return float(np.abs(x[visible] if visible.any() else x).max())


def wigner(directory: Path) -> Any:
    """N_k^v(x): one map for each stored time (row) and valley (column). Raises InputError."""
    found = read(directory / "wigner.h5")
    found.last_time()
    values, x, k, times = found.need("wigner"), found.data["x"], found.data["k"], found.data["time"]
    shape = len(times), len(found.valleys)
    figure, axes = style.subplots(
        *shape, figsize=(1.5 + 3.4 * shape[1], 0.9 + 2.6 * shape[0]), sharex=True, sharey="col", squeeze=False
    )
    reach_x, reach_k = wigner_reach(found)
    thresholds = found.data.get("threshold", np.full(shape[1], np.nan))  # files of earlier versions have none
    for line, time, maps in zip(axes, times, values, strict=True):
        for v, (axis, map_) in enumerate(zip(line, maps, strict=True)):
            largest = np.nanmax(map_)
            image = axis.pcolormesh(x, k, map_.T / largest, shading="nearest", rasterized=True, **SCALES["positive"])
            axis.set(xlim=(-reach_x, reach_x), ylim=(-reach_k[v], reach_k[v]))
            for sign in (-1, 1):  # outside of these an acoustic phonon lifts into the bright valley; NaN draws nothing
                axis.axhline(sign * thresholds[v], color="white", ls=":", lw=1)
            axis.set_title(
                f"{found.valleys[v]}, {time:g} ps: largest {largest:.2g} {style.unit_text(found.units['wigner'])}", fontsize=9
            )
        line[0].set_ylabel(style.label("k", found.units["k"]))
    for axis in axes[-1]:
        axis.set_xlabel("x (µm)")
    place = "integrated over y" if "integrated over y" in found.long_names["wigner"] else "along y = 0"
    figure.colorbar(image, ax=axes, label=f"occupation per state {place} / largest of the map")
    figure.suptitle(style.title(directory, found))
    return figure


def wigner_reach(found: Variables) -> tuple[float, list[float]]:
    """Half width in x of all maps, and of each valley's in k, that hold what is visible at any stored time."""
    values = np.nan_to_num(found.need("wigner"))
    reach_k = [visible_reach(found.data["k"], values[:, v].max(axis=1)) for v in range(len(found.valleys))]
    return visible_reach(found.data["x"], values.max(axis=3)), reach_k
