"""The verb `plot`: which view draws what, and where its picture goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcwigner.plotting import curves, maps, style
from hpcwigner.plotting.overview import overview

VIEWS: dict[str, Callable[[Path], Any]] = {
    "overview": overview,
    "fields": maps.fields,
    "widths": curves.widths,
    "wigner": maps.wigner,
    "budget": curves.budget,
}
"""Each draws one figure of a run directory."""


def plot(directory: Path, view: str, output: Path | None = None, interactive: bool = False) -> Path | None:
    """Draws a view of a run and returns the path of the picture: `output` (PNG, PDF or SVG), RUN/<view>.png without one.

    `interactive` opens a window instead, and writes a picture only if `output` names one. Raises schema.InputError.
    """
    path = output if output or interactive else directory / f"{view}.png"
    if path:
        style.check_suffix(path)
    plt = style.pyplot(interactive)
    figure = VIEWS[view](directory)
    if interactive:
        plt.show()
    return style.save(figure, path) if path else None
