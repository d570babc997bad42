"""Animated PL or density: GIF of a run's fields.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import style
from hpcwigner.plotting.maps import SCALES, normalised, visible_reach
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

Array = NDArray[np.float64]

ANIMATED = ("pl", "density")
MOST_FRAMES = 120
FRAMES_PER_SECOND = 12


def animate(directory: Path, quantity: str, output: Path | None = None) -> Path:
    """Writes `output` (GIF), RUN/<quantity>.gif without one: at most MOST_FRAMES of the stored times.

    `quantity` is one of ANIMATED. Each frame is relative to its largest value. A plane's maps move, or a slab's
    profiles. Raises InputError.
    """
    path = output or directory / f"{quantity}.gif"
    style.check_suffix(path, (".gif",))
    found = read(directory / "fields.h5")
    found.last_time()
    frames = _frames(found, quantity)
    rows = np.flatnonzero(np.abs(frames).max(axis=tuple(range(1, frames.ndim))) > 0)
    if not len(rows):
        raise InputError(f"{found.path}: found {quantity} = 0 at every time, expected a run that has come to its pulse")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_FRAMES).astype(int))] if len(rows) > MOST_FRAMES else rows
    panels = [normalised(frames[rows, p]) for p in range(frames.shape[1])]
    titles = [f"$N$ {valley}" for valley in found.valleys] if quantity == "density" else ["PL"]
    style.pyplot()
    draw = _maps if "y" in found.data else _profiles
    figure, artists = draw(found, panels, titles)
    clock = figure.suptitle("0 ps")

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # or every frame is laid out anew

    def show(frame: int) -> list[Any]:
        clock.set_text(f"{found.data['time'][rows[frame]]:.4g} ps")
        for update, panel in zip(artists, panels, strict=True):
            update(panel[frame])
        return []

    from matplotlib.animation import FuncAnimation, PillowWriter

    animation = FuncAnimation(figure, show, frames=len(rows), init_func=lambda: [])
    return style.write(figure, (path,), lambda part: animation.save(part, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=90))


def _frames(found: Variables, quantity: str) -> Array:
    """The quantity as (time, panel, x[, y])."""
    values = found.need(quantity)
    return values if quantity == "density" else values[:, None]


def _maps(found: Variables, panels: list[Array], titles: list[str]) -> tuple[Any, list[Any]]:
    x, y = found.data["x"], found.data["y"]
    reach = max(visible_reach(x, p.max(axis=2)) for p in panels)
    figure, axes = style.subplots(1, len(panels), figsize=(0.8 + 3.6 * len(panels), 4.2), squeeze=False, sharey=True)
    artists = []
    for axis, panel, title in zip(axes[0], panels, titles, strict=True):
        image = axis.pcolormesh(x, y, panel[0].T, shading="nearest", **SCALES["positive"])
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title, xlabel="x (µm)")
        artists.append(lambda values, image=image: image.set_array(values.T))
    axes[0, 0].set_ylabel("y (µm)")
    figure.colorbar(image, ax=axes, label="/ largest value at that time")
    return figure, artists


def _profiles(found: Variables, panels: list[Array], titles: list[str]) -> tuple[Any, list[Any]]:
    x = found.data["x"]
    reach = max(visible_reach(x, p) for p in panels)
    figure, axes = style.subplots(1, 1, figsize=(6, 4))
    artists = []
    for i, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        (line,) = axes.plot(x, panel[0], label=title, **style.curve(i))
        artists.append(line.set_ydata)
    axes.set(xlim=(-reach, reach), ylim=(-0.05, 1.05), xlabel="x (µm)", ylabel="integrated over y, / largest value at that time")
    axes.legend(frameon=False, loc="upper right")
    return figure, artists
