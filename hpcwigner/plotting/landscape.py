"""A landscape E_v(r) in pictures: contours on the maps of a plane, curves on a second axis over a slab."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import Variables

LEVELS = 6  # At most so many contours where there is something to see
LABEL = "$E_v$ above its lowest value (meV)"
COLOURS = {"positive": "white", "signed": "0.35"}  # On the maps of maps.SCALES
FLAT = 1e-9  # meV


def heights(fields: Variables) -> dict[str, Array]:
    """E_v(r) above its lowest value in the sample [meV] by title of what moves in it: valleys, and PL, that of the bright one.

    Shapes are (x,) or (x, y). Empty in a homogeneous sample; valleys whose energy is the same everywhere are left out.
    """
    if "landscape" not in fields.data:
        return {}
    by_valley = {valley: energy - energy.min() for valley, energy in zip(fields.valleys, fields.data["landscape"], strict=True)}
    if (bright := fields.attributes.get("bright_valley", "")) in by_valley:
        by_valley["PL"] = by_valley[bright]
    return {title: height for title, height in by_valley.items() if height.max() > FLAT}


def contours(axis: Any, fields: Variables, height: Array | None, scale: str = "positive") -> None:
    """Contours with labels [meV] on a map of a plane whose limits are final; nothing without a height (x, y)."""
    if height is None:
        return
    from matplotlib.ticker import MaxNLocator

    x, y = fields.data["x"], fields.data["y"]
    along_x, along_y = (_within(places, limits) for places, limits in ((x, axis.get_xlim()), (y, axis.get_ylim())))
    seen = height[along_x][:, along_y]
    if np.ptp(seen) <= FLAT:
        return
    levels = MaxNLocator(LEVELS).tick_values(seen.min(), seen.max())
    lines = axis.contour(x[along_x], y[along_y], seen.T, levels=levels, colors=COLOURS[scale], linewidths=0.7, alpha=0.8)
    axis.clabel(lines, fmt="%g", fontsize=6)


def second_axis(axis: Any, fields: Variables, lines: dict[str, dict[str, Any]], heights: dict[str, Array]) -> Any:
    """Curves of heights over x on a second axis to the right of one whose limits are final; None without any.

    `lines` holds options of the curves by title. The scale fits what all `heights` (x,) have within the limits.
    """
    if not lines.keys() & heights.keys():
        return None
    x = fields.data["x"]
    seen = np.concatenate([height[_within(x, axis.get_xlim())] for height in heights.values()])
    margin = 0.05 * max(float(np.ptp(seen)), FLAT)
    twin = axis.twinx()
    for title, options in lines.items():
        if title in heights:
            twin.plot(x, heights[title], **{"ls": ":", "lw": 1.3, **options})
    twin.set(ylim=(seen.min() - margin, seen.max() + margin), ylabel=LABEL)
    return twin


def over_map(axis: Any, fields: Variables, title: str, heights: dict[str, Array], scale: str) -> Any:
    """`second_axis` with the height of that title over a map of position and time; None if there is none."""
    from matplotlib.patheffects import Normal, withStroke

    outline = [withStroke(linewidth=2.5, foreground="0.25"), Normal()] if scale == "positive" else []
    line = {"color": COLOURS[scale], "ls": "-", "lw": 1.2, "path_effects": outline}
    return second_axis(axis, fields, {title: line}, heights)


def on_line(heights: dict[str, Array]) -> dict[str, Array]:
    """The same heights over x, of a plane on y = 0."""
    return {title: style.central_line(height) if height.ndim == 2 else height for title, height in heights.items()}


def _within(places: Array, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Which of the cells' centres lie in the limits of an axis, and the next ones."""
    spacing = places[1] - places[0]
    return np.asarray((places > limits[0] - spacing) & (places < limits[1] + spacing))
