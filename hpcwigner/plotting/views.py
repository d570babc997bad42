"""The views of the verb `plot`, by name, and the overview among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcwigner.plotting import curves, maps, style
from hpcwigner.storage.reading import read


def overview(directory: Path) -> Any:
    """Widths, diffusion coefficients (negative ones enlarged) and PL of a run directory. Raises InputError."""
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    figure, axes = style.subplots(1, 3, figsize=(13, 4))
    curves.valleys_against_time(axes[0], series, "width_squared", "$w_v^2$")
    curves.valleys_against_time(axes[1], series, "diffusion", "$D_v$")
    axes[1].axhline(0, **style.ZERO_LINE)
    curves.negative_inset(axes[1], series, (0.42, 0.42, 0.55, 0.33))
    image = maps.space_time_map(axes[2], fields, fields.need("pl"))
    figure.colorbar(image, ax=axes[2], label="PL / largest PL at that time")
    axes[2].set(ylabel="time (ps)", title="along y = 0" if "y" in fields.data else "integrated over y")
    figure.suptitle(style.title(directory, series))
    return figure


VIEWS: dict[str, Callable[[Path], Any]] = {
    "overview": overview,
    "fields": maps.fields,
    "widths": curves.widths,
    "wigner": maps.wigner,
    "budget": curves.budget,
}
"""Each draws one figure of a run directory."""


def plot(directory: Path, view: str, output: Path | None = None, interactive: bool = False) -> Path | None:
    """Draws a view of a run and returns the path of the picture: `output` (PNG, PDF or SVG), by default RUN/<view>.png.

    `interactive` opens a window instead, and writes a picture only if `output` names one. Raises InputError.
    """
    path = output if output or interactive else directory / f"{view}.png"
    if path:
        style.check_suffix(path)
    plt = style.pyplot(interactive)
    figure = VIEWS[view](directory)
    if interactive:
        plt.show()
    return style.save(figure, path) if path else None
