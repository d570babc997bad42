"""The interactive plots of a report: plotly figures of series.h5, fields.h5 and wigner.h5.

Each function returns a figure and a note on what was left out to keep the page small ('' when nothing was).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import PARTS
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import style
from hpcwigner.plotting.maps import normalised, visible_reach, wigner_reach
from hpcwigner.storage.reading import Variables

Array = NDArray[np.float64]
Plot = tuple[Any, str]

MOST_TIMES, MOST_FRAMES, MOST_CELLS, MOST_MOVING_CELLS = 200, 24, 200, 64
"""Times and cells per side of still maps, and of moving ones, that go into a page."""
_DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot")


def _layout(figure: Any, height: int = 380, **options: Any) -> Any:
    figure.update_layout(
        height=height, margin={"l": 70, "r": 20, "t": 40, "b": 50}, template="plotly_white", hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, font={"size": 13}, **options,
    )  # fmt: skip
    return figure


def _curve(index: int) -> dict[str, Any]:
    return {
        "color": style.COLOURS[index % len(style.COLOURS)],
        "dash": _DASHES[index % len(_DASHES)],
        "width": 2,
        "simplify": False,
    }


def _scatter(time: Array, values: Array, name: str, index: int, **options: Any) -> Any:
    from plotly import graph_objects as go

    return go.Scatter(
        x=time, y=values, name=name, mode="lines", line=_curve(index), hovertemplate="%{x:g} ps: %{y:.4g}", **options
    )


def valleys(series: Variables, name: str, symbol: str, logarithmic: bool = False) -> Plot:
    """One curve per valley of a variable (time, valley). The first picosecond does not set the scale. Raises InputError."""
    from plotly import graph_objects as go

    time, values = series.data["time"], series.need(name)
    if logarithmic:
        values = _above_zero(values)
    figure = go.Figure([_scatter(time, values[:, v], valley, v) for v, valley in enumerate(series.valleys)])
    axis: dict[str, Any] = {"title": style.label(symbol, series.units[name])}
    if logarithmic:
        axis |= _decades(values)
    elif extent := _extent(values[time >= JUDGED_FROM]):
        axis["range"] = extent
    return _layout(figure, xaxis_title="time (ps)", yaxis=axis), ""


def _extent(values: Array) -> list[float] | None:
    if not np.isfinite(values).any():
        return None
    low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]


def total(series: Variables, name: str, symbol: str) -> Plot:
    """Curve of a variable (time) on a logarithmic axis. Raises InputError."""
    from plotly import graph_objects as go

    values = _above_zero(series.need(name))
    axis = {"title": style.label(symbol, series.units[name]), **_decades(values)}
    return _layout(go.Figure(_scatter(series.data["time"], values, symbol, 0)), xaxis_title="time (ps)", yaxis=axis), ""


def _above_zero(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


def _decades(values: Array) -> dict[str, Any]:
    """A logarithmic axis with about six labels, all of them powers of ten."""
    span = np.ptp(np.log10(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    return {"type": "log", "exponentformat": "power", "dtick": max(1, round(span / 6))}


def budget(series: Variables) -> Plot:
    """D_v and its parts, one panel per valley. Raises InputError."""
    from plotly.subplots import make_subplots

    time, total = series.data["time"], series.need("diffusion")
    parts = {part: series.need(f"diffusion_{part}") for part in PARTS}
    figure = make_subplots(1, len(series.valleys), subplot_titles=series.valleys, horizontal_spacing=0.06)
    for v in range(len(series.valleys)):
        shown = {"row": 1, "col": v + 1}
        first = {"showlegend": v == 0}
        line = _scatter(time, total[:, v], "D<sub>v</sub>", 0, legendgroup="D", **first)
        line.line = {"color": "#bbb", "width": 6}
        figure.add_trace(line, **shown)
        for i, (part, values) in enumerate(parts.items()):
            name = series.long_names[f"diffusion_{part}"].removeprefix("part of D_v due to ")
            figure.add_trace(_scatter(time, values[:, v], name, i, legendgroup=part, **first), **shown)
        late = time >= JUDGED_FROM
        figure.update_yaxes(range=_extent(np.stack([total[late, v], *(p[late, v] for p in parts.values())])), **shown)
    figure.update_xaxes(title="time (ps)")
    figure.update_yaxes(title=style.label("D<sub>v</sub>", series.units["diffusion"]), col=1)
    _layout(figure, 430)
    figure.update_layout(legend_y=1.1)
    return figure, ""


def _thinned(size: int, most: int) -> tuple[NDArray[np.intp], int]:
    """Every n-th index of an axis so that at most `most` are left, and n."""
    step = max(1, -(-size // most))
    return np.arange(0, size, step), step


def _note(**steps: int) -> str:
    """'every 2nd time, every 3rd point' for the steps above 1."""
    words = [f"every {n}{ {2: 'nd', 3: 'rd'}.get(n, 'th') } {what}" for what, n in steps.items() if n > 1]
    return f"To keep the page small it shows {' and '.join(words)}; the file holds all." if words else ""


def _heatmap(z: Array, x: Array, y: Array, hover: str, **options: Any) -> Any:
    from plotly import graph_objects as go

    return go.Heatmap(
        z=z.astype("f4"), x=x.astype("f4"), y=y.astype("f4"), zmin=0, zmax=1, coloraxis="coloraxis",
        hovertemplate=f"{hover}: %{{z:.3g}}<extra></extra>", **options,
    )  # fmt: skip


_COLOUR_AXIS = {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": {"title": "of the<br>largest", "thickness": 14}}


def _panels(fields: Variables) -> dict[str, Array]:
    """Densities and PL (time, x[, y]) by title. Raises InputError."""
    density = fields.need("density")
    return {**{f"N {valley}": density[:, v] for v, valley in enumerate(fields.valleys)}, "PL": fields.need("pl")}


def space_time(fields: Variables) -> Plot:
    """Density of each valley and PL over x (a plane: on y = 0) and time, normalised at each time. Raises InputError."""
    from plotly.subplots import make_subplots

    panels = _panels(fields)
    lines = {title: normalised(style.central_line(v) if v.ndim == 3 else v) for title, v in panels.items()}
    reach = visible_reach(fields.data["x"], np.concatenate([v[1:] for v in lines.values()]))
    cells, cell_step = _thinned(len(fields.data["x"]), MOST_CELLS)
    times, time_step = _thinned(len(fields.data["time"]), MOST_TIMES)
    x, time = fields.data["x"][cells], fields.data["time"][times]
    figure = make_subplots(1, len(lines), subplot_titles=list(lines), shared_yaxes=True, horizontal_spacing=0.02)
    for column, values in enumerate(lines.values(), 1):
        figure.add_trace(_heatmap(values[np.ix_(times, cells)], x, time, "%{x:.3g} µm, %{y:g} ps"), row=1, col=column)
    figure.update_xaxes(title="x (µm)", range=[-reach, reach])
    figure.update_yaxes(title="time (ps)", col=1)
    return _layout(figure, 420, coloraxis=_COLOUR_AXIS), _note(time=time_step, point=cell_step)


def moving(fields: Variables) -> Plot:
    """Profiles of a slab, or maps of a plane, with a slider for the time. Raises InputError."""
    panels = _panels(fields)
    started = np.flatnonzero(fields.data["time"] > 0)
    times, time_step = _thinned(len(started), MOST_FRAMES)
    rows = np.unique(np.append(started[times], len(fields.data["time"]) - 1))
    labels = [f"{t:g}" for t in fields.data["time"][rows]]
    if "y" not in fields.data:
        return _with_slider(*_moving_profiles(fields, panels, rows), labels), _note(time=time_step)
    figure, frames, cell_step = _moving_maps(fields, panels, rows)
    return _with_slider(figure, frames, labels), _note(time=time_step, point=cell_step)


def _moving_profiles(fields: Variables, panels: dict[str, Array], rows: Array) -> tuple[Any, list[list[Any]]]:
    from plotly import graph_objects as go

    x, lines = fields.data["x"], {title: normalised(values[rows]) for title, values in panels.items()}
    frames = [
        [
            go.Scatter(x=x.astype("f4"), y=values[i].astype("f4"), name=title, mode="lines", line=_curve(n),
                       hovertemplate="%{x:.3g} µm: %{y:.3g}")
            for n, (title, values) in enumerate(lines.items())
        ]
        for i in range(len(rows))
    ]  # fmt: skip
    reach = visible_reach(x, np.concatenate(list(lines.values())))
    figure = _layout(
        go.Figure(frames[-1]), 460, xaxis={"title": "x (µm)", "range": [-reach, reach]},
        yaxis={"title": "of the largest, integrated over y", "range": [-0.05, 1.05]},
    )  # fmt: skip
    return figure, frames


def _moving_maps(fields: Variables, panels: dict[str, Array], rows: Array) -> tuple[Any, list[list[Any]], int]:
    x, y = fields.data["x"], fields.data["y"]
    reach = visible_reach(x, np.concatenate([v[rows].max(axis=2) for v in panels.values()]))
    inside = [np.flatnonzero(np.abs(axis) <= reach + 1e-9) for axis in (x, y)]
    picked, steps = zip(*(_thinned(len(i), MOST_MOVING_CELLS) for i in inside), strict=True)
    cells = [i[p] for i, p in zip(inside, picked, strict=True)]
    shown = {title: normalised(values[np.ix_(rows, *cells)]) for title, values in panels.items()}
    place = x[cells[0]], y[cells[1]]
    frames = [[(v[i].T, *place, "%{x:.3g}, %{y:.3g} µm") for v in shown.values()] for i in range(len(rows))]
    figure, made = _map_frames(frames, list(shown), "x (µm)", "y (µm)")
    figure.update_xaxes(constrain="domain")
    for i, _ in _numbered(frames[0]):
        figure.update_layout({f"yaxis{i or ''}": {"scaleanchor": f"x{i or ''}", "constrain": "domain", "constraintoward": "top"}})
    return figure, made, max(steps)


def _map_frames(frames: list[list[Any]], titles: list[str], x: str, y: str) -> tuple[Any, list[list[Any]]]:
    """A row of maps that starts with the last of the frames."""
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.06)
    made = [[_heatmap(*maps, xaxis=f"x{i or ''}", yaxis=f"y{i or ''}") for i, maps in _numbered(frame)] for frame in frames]
    figure.add_traces(made[-1])
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, col=1)
    return _layout(figure, 440, coloraxis=_COLOUR_AXIS), made


def _numbered(frame: list[Any]) -> list[tuple[int, Any]]:
    """Plotly numbers its axes '', 2, 3, …"""
    return [(i if i > 1 else 0, maps) for i, maps in enumerate(frame, 1)]


def wigner(variables: Variables) -> Plot:
    """N_k^v(x) of each valley with a slider over the stored times. Raises InputError."""
    values, x, k = variables.need("wigner"), variables.data["x"], variables.data["k"]
    reach_x, reach_k = wigner_reach(variables)
    rows, time_step = _thinned(len(variables.data["time"]), MOST_FRAMES)
    steps = []
    frames: list[list[Any]] = [[] for _ in rows]
    for v in range(len(variables.valleys)):
        inside = [np.flatnonzero(np.abs(axis) <= reach + 1e-9) for axis, reach in ((x, reach_x), (k, reach_k[v]))]
        picked = [_thinned(len(i), 2 * MOST_MOVING_CELLS) for i in inside]
        steps += [step for _, step in picked]
        cells = [i[p] for i, (p, _) in zip(inside, picked, strict=True)]
        for i, map_ in enumerate(normalised(np.nan_to_num(values[:, v][np.ix_(rows, *cells)]))):
            frames[i].append((map_.T, x[cells[0]], k[cells[1]], "%{x:.3g} µm, %{y:.3g} nm⁻¹"))
    figure, made = _map_frames(frames, list(variables.valleys), "x (µm)", style.label("k", variables.units["k"]))
    labels = [f"{t:g}" for t in variables.data["time"][rows]]
    return _with_slider(figure, made, labels), _note(time=time_step, point=max(steps))


def _with_slider(figure: Any, frames: list[list[Any]], labels: list[str]) -> Any:
    """Adds frames of traces and a slider [ps] that moves through them; the last one is shown first."""
    from plotly import graph_objects as go

    figure.frames = [go.Frame(data=data, name=label) for data, label in zip(frames, labels, strict=True)]
    if len(labels) > 1:
        at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
        steps = [{"label": label, "method": "animate", "args": [[label], at_once]} for label in labels]
        value = {"prefix": "time ", "suffix": " ps"}
        figure.update_layout(sliders=[{"steps": steps, "active": len(steps) - 1, "currentvalue": value, "pad": {"t": 45}}])
        figure.update_layout(height=figure.layout.height + 70, margin_b=60)
    else:
        figure.add_annotation(text=f"at {labels[0]} ps", xref="paper", yref="paper", x=0, y=1.12, showarrow=False)
    return figure
