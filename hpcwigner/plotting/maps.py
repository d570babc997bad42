"""Views of fields.h5 and wigner.h5: maps over position, time and momentum, and their animation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import landscape, style
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

VISIBLE = 0.02  # Maps are cut where everything is below this part of its largest value
ANIMATED = ("pl", "density")
MOST_FRAMES = 120
FRAMES_PER_SECOND = 12
SCALES: dict[str, dict[str, Any]] = {
    "positive": {"cmap": "viridis", "vmin": 0, "vmax": 1},
    "signed": {"cmap": "RdBu_r", "vmin": -1, "vmax": 1},
}
"""Colours of maps divided by their largest value."""


def draw_map(axis: Any, x: Array, y: Array, values: Array, scale: str = "positive") -> Any:
    """Map of `values` (y, x), which lie between −1 and 1, on one of SCALES."""
    return axis.pcolormesh(x, y, values, shading="nearest", rasterized=True, **SCALES[scale])


def fields(directory: Path) -> Any:
    """Density, PL and shape variation: of a slab against x and time, of a plane as maps at four times. Raises InputError.

    A landscape is drawn over them: of a slab as curves on a second axis, of a plane as contours.
    """
    file = read(directory / "fields.h5")
    file.last_time()
    density, variation = file.need("density"), file.need("shape_variation")
    panels = [(f"$N$ {valley}", density[:, v], "positive", valley) for v, valley in enumerate(file.valleys)]
    panels.append(("PL", file.need("pl"), "positive", "PL"))
    panels += [(f"$\\eta$ {valley}", variation[:, v], "signed", valley) for v, valley in enumerate(file.valleys)]
    figure = (_plane_figure if "y" in file.data else _slab_figure)(file, panels)
    figure.suptitle(style.title(directory, file))
    return figure


def _slab_figure(file: Variables, panels: list[tuple[str, Array, str, str]]) -> Any:
    """`panels`: title, values (time, x) and scale of each map, and the title of its landscape."""
    columns = len(file.valleys) + 1
    figure, axes = style.subplots(2, columns, figsize=(1 + 3.2 * columns, 7), sharex=True, sharey=True)
    axes[1, -1].set_axis_off()
    images, heights = {}, landscape.heights(file)
    for axis, (title, values, scale, _) in zip(axes.flat, panels, strict=False):
        images[scale] = space_time_map(axis, file, values, scale)
        axis.set_title(title)
    for number, (axis, (*_, scale, where)) in enumerate(zip(axes.flat, panels, strict=False)):
        twin = landscape.over_map(axis, file, where, heights, scale)
        if twin is not None and number not in (columns - 1, len(panels) - 1):
            twin.tick_params(labelright=False)
            twin.set_ylabel("")
    for axis in axes[:, 0]:
        axis.set_ylabel("time (ps)")
    for axis in axes[0, :-1]:
        axis.set_xlabel("")
    axes[0, -1].tick_params(labelbottom=True)
    _colour_bars(figure, images, axes[0], axes[1], f"{file.place},\n/ largest magnitude at that time")
    return figure


def _plane_figure(file: Variables, panels: list[tuple[str, Array, str, str]]) -> Any:
    """`panels`: title, values (time, x, y) and scale of each row of maps, and the title of its landscape."""
    rows, x, y = chosen_rows(file), file.data["x"], file.data["y"]
    size = 1.5 + 2.3 * len(rows), 0.8 + 2.1 * len(panels)
    figure, axes = style.subplots(len(panels), len(rows), figsize=size, sharex=True, sharey=True, squeeze=False)
    reach = visible_reach(x, file.need("density")[rows].max(axis=(1, 3)))
    images, heights = {}, landscape.heights(file)
    for line, (title, values, scale, where) in zip(axes, panels, strict=True):
        for axis, relative in zip(line, normalised(values[rows]), strict=True):
            images[scale] = draw_map(axis, x, y, relative.T, scale)
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            landscape.contours(axis, file, heights.get(where), scale)
        line[0].set_ylabel(f"{title}\ny (µm)")
    for axis, row in zip(axes[0], rows, strict=True):
        axis.set_title(f"{file.data['time'][row]:g} ps")
    for axis in axes[-1]:
        axis.set_xlabel("x (µm)")
    if heights:
        figure.supxlabel(f"contours: {landscape.LABEL}", fontsize=9)
    split = len(file.valleys) + 1
    _colour_bars(figure, images, axes[:split], axes[split:], "/ largest magnitude of the map", aspect=40)
    return figure


def _colour_bars(figure: Any, images: dict[str, Any], first: Any, second: Any, text: str, **options: Any) -> None:
    figure.colorbar(images["positive"], ax=first, label=f"density and PL {text}", **options)
    figure.colorbar(images["signed"], ax=second, label=f"shape variation $\\eta_v$ {text}", **options)


def chosen_rows(file: Variables) -> list[int]:
    """Rows of four times from 1 ps to the end in equal ratios, since the cloud changes fastest at first."""
    time = file.data["time"]
    start = min(1.0, time[-1])
    wanted = np.geomspace(start, time[-1], 4) if start > 0 else time[-1:]
    return sorted({int(np.abs(time - t).argmin()) for t in wanted})


def space_time_map(axis: Any, file: Variables, values: Array, scale: str = "positive") -> Any:
    """Map of a field (time, x[, y]) over x and time, each time divided by its largest magnitude; of a plane on y = 0."""
    x, time = file.data["x"], file.data["time"]
    file.last_time()
    relative = normalised(style.central_line(values) if values.ndim == 3 else values)
    image = draw_map(axis, x, time, relative, scale)
    reach = visible_reach(x, np.abs(relative[1:] if len(time) > 1 else relative))
    axis.set(xlim=(-reach, reach), xlabel="x (µm)")
    return image


def normalised(values: Array) -> Array:
    """Values (time, ...) over the largest magnitude of each time; NaN at times where all are zero."""
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
    file = read(directory / "wigner.h5")
    file.last_time()
    values, x, k, times = file.need("wigner"), file.data["x"], file.data["k"], file.data["time"]
    rows, columns = len(times), len(file.valleys)
    size = 1.5 + 3.4 * columns, 0.9 + 2.6 * rows
    figure, axes = style.subplots(rows, columns, figsize=size, sharex=True, sharey="col", squeeze=False)
    reach_x, reach_k = wigner_reach(file)
    unit = style.unit_text(file.units["wigner"])
    for line, time, maps in zip(axes, times, values, strict=True):
        for v, (axis, map_) in enumerate(zip(line, maps, strict=True)):
            largest = np.nanmax(map_)
            image = draw_map(axis, x, k, map_.T / largest)
            axis.set(xlim=(-reach_x, reach_x), ylim=(-reach_k[v], reach_k[v]))
            threshold_lines(axis, file.need("threshold")[v])
            axis.set_title(f"{file.valleys[v]}, {time:g} ps: largest {largest:.2g} {unit}", fontsize=9)
        line[0].set_ylabel(style.label("k", file.units["k"]))
    for axis in axes[-1]:
        axis.set_xlabel("x (µm)")
    figure.colorbar(image, ax=axes, label=f"occupation per state {file.place} / largest of the map")
    figure.suptitle(style.title(directory, file))
    return figure


def threshold_lines(axis: Any, threshold: float) -> None:
    """Marks ±`threshold`, beyond which one acoustic phonon takes an exciton to the bright valley; NaN draws nothing."""
    for sign in (-1, 1):
        axis.axhline(sign * threshold, color="white", ls=":", lw=1)


def wigner_reach(file: Variables) -> tuple[float, list[float]]:
    """Half width in x of all maps, and of each valley's in k, that hold what is visible at any stored time."""
    values = np.nan_to_num(file.need("wigner"))
    reach_k = [visible_reach(file.data["k"], values[:, v].max(axis=1)) for v in range(len(file.valleys))]
    return visible_reach(file.data["x"], values.max(axis=3)), reach_k


def animate(directory: Path, quantity: str, output: Path | None = None) -> Path:
    """Writes a GIF of one of ANIMATED to `output`, by default RUN/<quantity>.gif. Raises InputError.

    Each of at most MOST_FRAMES shows a plane's maps or a slab's profiles over the largest value at that time, in the landscape.
    """
    path = output or directory / f"{quantity}.gif"
    style.check_suffix(path, (".gif",))
    file = read(directory / "fields.h5")
    file.last_time()
    values = file.need(quantity)
    frames = values if quantity == "density" else values[:, None]  # (time, panel, x[, y])
    rows = np.flatnonzero(np.abs(frames).max(axis=tuple(range(1, frames.ndim))) > 0)
    if not len(rows):
        raise InputError(f"{file.path}: found {quantity} = 0 at every time, expected a run that has reached its pulse")
    rows = few(rows)
    panels = [normalised(frames[rows, p]) for p in range(frames.shape[1])]
    titles = {f"$N$ {valley}": valley for valley in file.valleys} if quantity == "density" else {"PL": "PL"}
    plt = style.pyplot()
    figure, updates = (_maps if "y" in file.data else _profiles)(file, panels, titles)
    numbers = {int(row): number for number, row in enumerate(rows)}

    def show(row: int) -> None:
        for update, panel in zip(updates, panels, strict=True):
            update(panel[numbers[row]])

    film(path, figure, file.data["time"], rows, show)
    plt.close(figure)
    return path


def few(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most MOST_FRAMES of `rows`, evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_FRAMES)).astype(int))]


def film(path: Path, figure: Any, times: Array, rows: NDArray[np.intp], show: Callable[[int], None]) -> None:
    """Writes a GIF of a figure that `show` changes to a row, with the time [ps] of each of `few(rows)`. Raises InputError."""
    from matplotlib.animation import PillowWriter

    clock = figure.suptitle("0 ps")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # else the layout is computed for every frame
    writer = PillowWriter(fps=FRAMES_PER_SECOND)
    with style.replacing(path) as part, writer.saving(figure, part, dpi=90):
        for row in few(rows):
            clock.set_text(f"{times[row]:.4g} ps")
            show(int(row))
            writer.grab_frame()


def _maps(file: Variables, panels: list[Array], titles: dict[str, str]) -> tuple[Any, list[Any]]:
    """Figure of the first frame of `panels` (frame, x, y), and for each panel a function that shows another frame (x, y).

    `titles` are those of the panels, with the titles of their landscapes.
    """
    x, y = file.data["x"], file.data["y"]
    reach = max(visible_reach(x, p.max(axis=2)) for p in panels)
    figure, axes = style.subplots(1, len(panels), figsize=(0.8 + 3.6 * len(panels), 4.2), squeeze=False, sharey=True)
    updates, heights = [], landscape.heights(file)
    for axis, panel, (title, where) in zip(axes[0], panels, titles.items(), strict=True):
        image = draw_map(axis, x, y, panel[0].T)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title, xlabel="x (µm)")
        landscape.contours(axis, file, heights.get(where))
        updates.append(lambda values, image=image: image.set_array(values.T))
    axes[0, 0].set_ylabel("y (µm)")
    if heights:
        figure.supxlabel(f"contours: {landscape.LABEL}", fontsize=9)
    figure.colorbar(image, ax=axes, label="/ largest value at that time")
    return figure, updates


def _profiles(file: Variables, panels: list[Array], titles: dict[str, str]) -> tuple[Any, list[Any]]:
    """As `_maps`, of `panels` (frame, x)."""
    x = file.data["x"]
    reach = max(visible_reach(x, p) for p in panels)
    figure, axes = style.subplots(1, 1, figsize=(6, 4))
    updates = []
    for i, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        (line,) = axes.plot(x, panel[0], label=title, **style.curve(i))
        updates.append(line.set_ydata)
    axes.set(xlim=(-reach, reach), ylim=(-0.05, 1.05), xlabel="x (µm)", ylabel=f"{file.place}, / largest value at that time")
    axes.legend(frameon=False, loc="upper right")
    options = {where: {"color": style.curve(i)["color"]} for i, where in enumerate(titles.values())}
    if (twin := landscape.second_axis(axes, file, options, landscape.heights(file))) is not None:
        twin.set_ylabel(f"dotted: {landscape.LABEL}")
    return figure, updates
