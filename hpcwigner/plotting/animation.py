"""Animated PL or density: GIF of a run's fields.h5."""

from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.plotting import style
from hpcwigner.plotting.maps import draw_map, normalised, visible_reach
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

ANIMATED = ("pl", "density")
MOST_FRAMES = 120
FRAMES_PER_SECOND = 12


def animate(directory: Path, quantity: str, output: Path | None = None) -> Path:
    """Writes a GIF to `output`, by default RUN/<quantity>.gif, with at most MOST_FRAMES of the stored times.

    `quantity` is one of ANIMATED. A frame shows the maps of a plane or the profiles of a slab at one time, divided by the
    largest value at that time. Raises InputError.
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
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_FRAMES)).astype(int))]
    panels = [normalised(frames[rows, p]) for p in range(frames.shape[1])]
    titles = [f"$N$ {valley}" for valley in file.valleys] if quantity == "density" else ["PL"]
    style.pyplot()
    figure, updates = (_maps if "y" in file.data else _profiles)(file, panels, titles)
    clock = figure.suptitle("0 ps")

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # else the layout is computed for every frame

    def show(frame: int) -> list[Any]:
        clock.set_text(f"{file.data['time'][rows[frame]]:.4g} ps")
        for update, panel in zip(updates, panels, strict=True):
            update(panel[frame])
        return []

    from matplotlib.animation import FuncAnimation, PillowWriter

    animation = FuncAnimation(figure, show, frames=len(rows), init_func=lambda: [])
    return style.write(figure, (path,), lambda part: animation.save(part, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=90))


def _maps(file: Variables, panels: list[Array], titles: list[str]) -> tuple[Any, list[Any]]:
    """Figure of the first frame of `panels` (frame, x, y), and for each panel a function that shows another frame (x, y)."""
    x, y = file.data["x"], file.data["y"]
    reach = max(visible_reach(x, p.max(axis=2)) for p in panels)
    figure, axes = style.subplots(1, len(panels), figsize=(0.8 + 3.6 * len(panels), 4.2), squeeze=False, sharey=True)
    updates = []
    for axis, panel, title in zip(axes[0], panels, titles, strict=True):
        image = draw_map(axis, x, y, panel[0].T)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title, xlabel="x (µm)")
        updates.append(lambda values, image=image: image.set_array(values.T))
    axes[0, 0].set_ylabel("y (µm)")
    figure.colorbar(image, ax=axes, label="/ largest value at that time")
    return figure, updates


def _profiles(file: Variables, panels: list[Array], titles: list[str]) -> tuple[Any, list[Any]]:
    """As `_maps`, of `panels` (frame, x)."""
    x = file.data["x"]
    reach = max(visible_reach(x, p) for p in panels)
    figure, axes = style.subplots(1, 1, figsize=(6, 4))
    updates = []
    for i, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        (line,) = axes.plot(x, panel[0], label=title, **style.curve(i))
        updates.append(line.set_ydata)
    axes.set(xlim=(-reach, reach), ylim=(-0.05, 1.05), xlabel="x (µm)", ylabel="integrated over y, / largest value at that time")
    axes.legend(frameon=False, loc="upper right")
    return figure, updates
