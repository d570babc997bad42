"""Pictures of the gallery: views of `plot`, of a sweep's summary, or of this folder, as small PNG files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from hpcwigner.plotting import style
from hpcwigner.plotting.views import VIEWS
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.files import whole
from shipped.runs import Run

DPI = 110
COLOURS = 256
"""Of the palette: curves, their smoothed edges and colour maps need no more."""
LARGEST = 100_000
"""Bytes of a picture at most: they are in the repository."""
SUMMARY = "summary"
"""The picture that a sweep draws itself."""


def draw(view: str | Callable[[dict[str, Run]], Any], runs: dict[str, Run], path: Path) -> None:
    """Writes one picture of an input's runs. Raises InputError where it is larger than LARGEST."""
    style.pyplot()
    if view == SUMMARY:
        picture = Image.open(runs["main"].directory / "summary.png")
        picture.thumbnail((1400, 1400))
    else:
        figure = VIEWS[view](runs["main"].directory) if isinstance(view, str) else view(runs)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=DPI, format="png")
        style.pyplot().close(figure)
        picture = Image.open(buffer)
    small = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    if small.tell() > LARGEST:
        raise InputError(f"{path}: found a picture of {small.tell()} bytes, expected at most {LARGEST}: choose a smaller view")
    with whole(path) as part:
        part.write_bytes(small.getvalue())
