"""The interactive plots of a report: plotly figures of series.h5, fields.h5 and wigner.h5.

Each function returns a figure and a note on what was left out to keep the page small ('' when nothing was).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import PARTS
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import style
from hpcwigner.plotting.maps import normalised, visible_reach, wigner_reach
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables

Plot = tuple[Any, str]

MOST_TIMES, MOST_FRAMES, MOST_CELLS, MOST_MOVING_CELLS = 200, 24, 200, 64
"""Times and cells per side of still maps, and of moving ones, that go into a page."""
_DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot")
_COLOUR_AXIS = {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": {"title": "of the<br>largest", "thickness": 14}}


def layout(figure: Any, height: int = 380, **options: Any) -> Any:
    """The figure in the style of all plots of a page."""
    return figure.update_layout(
        height=height, margin={"l": 70, "r": 20, "t": 40, "b": 50}, template="plotly_white", hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, font={"size": 13}, **options,
    )  # fmt: skip


def line(x: Array, values: Array, name: str, index: int, **options: Any) -> Any:
    """A curve in the `index`-th colour and dashes."""
    from plotly import graph_objects as go

    pen = {"color": style.curve(index)["color"], "dash": _DASHES[index % len(_DASHES)], "width": 2, "simplify": False}
    usual = {"mode": "lines", "line": pen, "hovertemplate": "%{x:g} ps: %{y:.4g}"}
    return go.Scatter(x=x, y=values, name=name, **(usual | options))


def curves(series: Variables, name: str, symbol: str, logarithmic: bool = False) -> Plot:
    """A variable (time[, valley]), one curve per valley. The first picosecond does not set the scale. Raises InputError."""
    from plotly import graph_objects as go

    time, values = series.data["time"], series.need(name)
    axis: dict[str, Any] = {"title": style.label(symbol, series.units[name])}
    if logarithmic:  # with about six labels, all of them powers of ten
        values = np.where(values > 0, values, np.nan)
        span = np.ptp(np.log10(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
        axis |= {"type": "log", "exponentformat": "power", "dtick": max(1, round(span / 6))}
    else:
        axis["range"] = style.extent(values[time >= JUDGED_FROM])
    names = series.valleys if values.ndim == 2 else (symbol,)
    lines = [line(time, v, title, i) for i, (title, v) in enumerate(zip(names, np.atleast_2d(values.T), strict=True))]
    return layout(go.Figure(lines), xaxis_title="time (ps)", yaxis=axis), ""


def budget(series: Variables) -> Plot:
    """D_v and its parts, one panel per valley. Raises InputError."""
    from plotly.subplots import make_subplots

    time, total = series.data["time"], series.need("diffusion")
    parts = {part: series.need(f"diffusion_{part}") for part in PARTS}
    names = [series.long_names[f"diffusion_{part}"].removeprefix("part of D_v due to ") for part in PARTS]
    figure = make_subplots(1, len(series.valleys), subplot_titles=series.valleys, horizontal_spacing=0.06)
    for v in range(len(series.valleys)):
        place, first = {"row": 1, "col": v + 1}, {"showlegend": v == 0}
        grey = {"color": "#bbb", "width": 6}
        figure.add_trace(line(time, total[:, v], "D<sub>v</sub>", 0, line=grey, legendgroup="D", **first), **place)
        for i, (part, name) in enumerate(zip(parts, names, strict=True)):
            figure.add_trace(line(time, parts[part][:, v], name, i, legendgroup=part, **first), **place)
        late = time >= JUDGED_FROM
        figure.update_yaxes(range=style.extent(np.stack([total[late, v], *(p[late, v] for p in parts.values())])), **place)
    figure.update_xaxes(title="time (ps)")
    figure.update_yaxes(title=style.label("D<sub>v</sub>", series.units["diffusion"]), col=1)
    return layout(figure, 430).update_layout(legend_y=1.1), ""


def thinned(indices: NDArray[np.intp], most: int) -> tuple[NDArray[np.intp], int]:
    """Every n-th of `indices` so that at most `most` are left, and n."""
    step = max(1, -(-len(indices) // most))
    return indices[::step], step


def note(**steps: int) -> str:
    """'every 2nd time, every 3rd point' for the steps above 1."""
    words = [f"every {n}{ {2: 'nd', 3: 'rd'}.get(n, 'th') } {what}" for what, n in steps.items() if n > 1]
    return f"To keep the page small it shows {' and '.join(words)}; the file holds all." if words else ""


def _heatmap(z: Array, x: Array, y: Array, hover: str, **options: Any) -> Any:
    from plotly import graph_objects as go

    return go.Heatmap(
        z=z.astype("f4"), x=x.astype("f4"), y=y.astype("f4"), zmin=0, zmax=1, coloraxis="coloraxis",
        hovertemplate=f"{hover}: %{{z:.3g}}<extra></extra>", **options,
    )  # fmt: skip


def _panels(fields: Variables) -> dict[str, Array]:
    """Densities and PL (time, x[, y]) by title. Raises InputError."""
    density = fields.need("density")
    return {**{f"N {valley}": density[:, v] for v, valley in enumerate(fields.valleys)}, "PL": fields.need("pl")}


def space_time(fields: Variables) -> Plot:
    """Density of each valley and PL over x (a plane: on y = 0) and time, normalised at each time. Raises InputError."""
    from plotly.subplots import make_subplots

    x, time = fields.data["x"], fields.data["time"]
    panels = {title: normalised(style.central_line(v) if v.ndim == 3 else v) for title, v in _panels(fields).items()}
    reach = visible_reach(x, np.concatenate([v[1:] for v in panels.values()]))
    cells, cell_step = thinned(np.arange(len(x)), MOST_CELLS)
    times, time_step = thinned(np.arange(len(time)), MOST_TIMES)
    figure = make_subplots(1, len(panels), subplot_titles=list(panels), shared_yaxes=True, horizontal_spacing=0.02)
    for column, values in enumerate(panels.values(), 1):
        heatmap = _heatmap(values[np.ix_(times, cells)], x[cells], time[times], "%{x:.3g} µm, %{y:g} ps")
        figure.add_trace(heatmap, row=1, col=column)
    figure.update_xaxes(title="x (µm)", range=[-reach, reach])
    figure.update_yaxes(title="time (ps)", col=1)
    return layout(figure, 420, coloraxis=_COLOUR_AXIS), note(time=time_step, point=cell_step)


def moving(fields: Variables) -> Plot:
    """Profiles of a slab, or maps of a plane, with a slider for the time. Raises InputError."""
    panels, x, time = _panels(fields), fields.data["x"], fields.data["time"]
    chosen, time_step = thinned(np.flatnonzero(time > 0), MOST_FRAMES)
    rows = np.unique(np.append(chosen, len(time) - 1))
    if "y" not in fields.data:
        return _moving_profiles(fields.place, x, time[rows], {t: normalised(v[rows]) for t, v in panels.items()}), note(
            time=time_step
        )
    reach = visible_reach(x, np.concatenate([v[rows].max(axis=2) for v in panels.values()]))
    figure, step = _moving_maps(
        {title: (v[rows], x, fields.data["y"], reach, reach) for title, v in panels.items()},
        time[rows], MOST_MOVING_CELLS, "%{x:.3g}, %{y:.3g} µm", "y (µm)",
    )  # fmt: skip
    figure.update_xaxes(constrain="domain")
    figure.for_each_yaxis(lambda axis: axis.update(scaleanchor=axis.anchor, constrain="domain", constraintoward="top"))
    return figure, note(time=time_step, point=step)


def _moving_profiles(place: str, x: Array, times: Array, panels: dict[str, Array]) -> Any:
    from plotly import graph_objects as go

    hover = "%{x:.3g} µm: %{y:.3g}"
    frames = [
        [line(x.astype("f4"), v[i].astype("f4"), t, n, hovertemplate=hover) for n, (t, v) in enumerate(panels.items())]
        for i in range(len(times))
    ]
    reach = visible_reach(x, np.concatenate(list(panels.values())))
    figure = layout(
        go.Figure(frames[-1]), 460, xaxis={"title": "x (µm)", "range": [-reach, reach]},
        yaxis={"title": f"of the largest, {place}", "range": [-0.05, 1.05]},
    )  # fmt: skip
    return with_slider(figure, frames, times)


def wigner(variables: Variables | None) -> Plot:
    """N_k^v(x) of each valley with a slider over the stored times. Raises InputError."""
    if variables is None or not len(variables.data["time"]):
        raise InputError("No cut is stored (output.wigner_at).")
    values, x, k = np.nan_to_num(variables.need("wigner")), variables.data["x"], variables.data["k"]
    reach_x, reach_k = wigner_reach(variables)
    rows, time_step = thinned(np.arange(len(values)), MOST_FRAMES)
    panels = {valley: (values[rows, v], x, k, reach_x, reach_k[v]) for v, valley in enumerate(variables.valleys)}
    times, k_label = variables.data["time"][rows], style.label("k", variables.units["k"])
    figure, step = _moving_maps(panels, times, 2 * MOST_MOVING_CELLS, "%{x:.3g} µm, %{y:.3g} nm⁻¹", k_label)
    return figure, note(time=time_step, point=step)


def _moving_maps(panels: dict[str, Any], times: Array, most: int, hover: str, y_label: str) -> tuple[Any, int]:
    """A row of maps with a slider, and of which cells the visible part of them is drawn: every n-th, at most `most`.

    `panels` holds by title: values (time, x, y), x, y and the half widths of what is visible along both.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(panels), subplot_titles=list(panels), horizontal_spacing=0.06)
    frames: list[list[Any]] = [[] for _ in times]
    largest = 1
    for n, (values, x, y, *reach) in enumerate(panels.values(), 1):
        inside = [np.flatnonzero(np.abs(axis) <= half + 1e-9) for axis, half in zip((x, y), reach, strict=True)]
        (along_x, step_x), (along_y, step_y) = (thinned(cells, most) for cells in inside)
        largest, axes = max(largest, step_x, step_y), {f"{a}axis": f"{a}{n if n > 1 else ''}" for a in "xy"}
        for frame, map_ in zip(frames, normalised(values[:, along_x][:, :, along_y]), strict=True):
            frame.append(_heatmap(map_.T, x[along_x], y[along_y], hover, **axes))
    figure.add_traces(frames[-1])
    figure.update_xaxes(title="x (µm)")
    figure.update_yaxes(title=y_label, col=1)
    return with_slider(layout(figure, 440, coloraxis=_COLOUR_AXIS), frames, times), largest


def with_slider(figure: Any, frames: list[list[Any]], times: Iterable[float]) -> Any:
    """Adds frames of traces and a slider [ps] that moves through them; the last one is shown first."""
    from plotly import graph_objects as go

    labels = [f"{t:g}" for t in times]
    figure.frames = [go.Frame(data=data, name=label) for data, label in zip(frames, labels, strict=True)]
    if len(labels) == 1:
        return figure.add_annotation(text=f"at {labels[0]} ps", xref="paper", yref="paper", x=0, y=1.12, showarrow=False)
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"label": label, "method": "animate", "args": [[label], at_once]} for label in labels]
    value = {"prefix": "time ", "suffix": " ps"}
    figure.update_layout(sliders=[{"steps": steps, "active": len(steps) - 1, "currentvalue": value, "pad": {"t": 45}}])
    return figure.update_layout(height=figure.layout.height + 70, margin_b=60)
