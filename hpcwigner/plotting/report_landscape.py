"""The interactive plots of a report that only a sample with a landscape has: where excitons are, their energies, E_v(r)."""

from typing import Any

import numpy as np

from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import style
from hpcwigner.plotting.landscape import heights
from hpcwigner.plotting.report_plots import MOST_CELLS, Plot, layout, line, note, thinned
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables


def positions(series: Variables) -> Plot:
    """⟨r⟩_v against time, one panel per axis. Raises InputError."""
    values = series.need("mean_position")
    panels = {f"⟨{axis}⟩": values[..., n] for n, axis in enumerate("xy"[: values.shape[2]])}
    unit = series.units["mean_position"]
    return _panels(series, {style.label(symbol, unit): curves for symbol, curves in panels.items()}), ""


def energies(series: Variables, fields: Variables) -> Plot:
    """Mean potential energy above the valley's lowest point, kinetic energy and heat, as far as written. Raises InputError."""
    panels = {}
    if "potential_energy" in series.data:
        lowest = fields.need("landscape").reshape(len(fields.valleys), -1).min(axis=1)
        panels["⟨E<sub>v</sub>⟩ above its lowest value (meV)"] = series.data["potential_energy"] - lowest
    if "kinetic_energy" in series.data:
        panels["kinetic energy (meV)"] = series.data["kinetic_energy"]
    if "heat" in series.data:
        panels["heat (meV per generated exciton)"] = series.data["heat"][:, None]
    if not panels:
        raise InputError(f"{series.path}: has no energies: name potential_energy, kinetic_energy or heat in output.observables")
    return _panels(series, panels), ""


def _panels(series: Variables, panels: dict[str, Array]) -> Any:
    """Curves (time, valley) of each panel, or (time, 1) of all valleys together; the first picosecond does not set scales."""
    from plotly.subplots import make_subplots

    time = series.data["time"]
    figure = make_subplots(1, len(panels), horizontal_spacing=0.08)
    for column, (title, values) in enumerate(panels.items(), 1):
        several = values.shape[1] == len(series.valleys)
        for i, valley in enumerate(series.valleys if several else ("all",)):
            options = {"legendgroup": valley, "showlegend": column == 1 or not several}
            colour = {} if several else {"line": {"color": "#555", "width": 2}}
            figure.add_trace(line(time, values[:, i], valley, i, **options, **colour), row=1, col=column)
        late = values[time >= JUDGED_FROM]
        figure.update_yaxes(title=title, range=style.extent(late if len(late) else values), row=1, col=column)
    figure.update_xaxes(title="time (ps)")
    return layout(figure, 400)


def landscape(fields: Variables) -> Plot:
    """E_v(r) above its lowest value: curves of a slab, maps of a plane. Raises InputError."""
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    shown = {valley: height for valley, height in heights(fields).items() if valley in fields.valleys}
    if not shown:
        raise InputError("The energy of no valley varies in space.")
    x = fields.data["x"]
    if "y" not in fields.data:
        hover = "%{x:.3g} µm: %{y:.4g} meV"
        curves = [line(x, shown[v], v, i, hovertemplate=hover) for i, v in enumerate(fields.valleys) if v in shown]
        return layout(go.Figure(curves), 400, xaxis_title="x (µm)", yaxis_title="E<sub>v</sub> above its lowest value (meV)"), ""
    (along_x, step), (along_y, step_y) = (thinned(np.arange(len(fields.data[axis])), MOST_CELLS) for axis in "xy")
    figure = make_subplots(1, len(shown), subplot_titles=list(shown), horizontal_spacing=0.06)
    for column, height in enumerate(shown.values(), 1):
        map_ = go.Contour(
            z=height[along_x][:, along_y].T.astype("f4"), x=x[along_x].astype("f4"), y=fields.data["y"][along_y].astype("f4"),
            coloraxis="coloraxis", contours={"showlabels": True, "labelfont": {"size": 10, "color": "white"}},
            hovertemplate="%{x:.3g}, %{y:.3g} µm: %{z:.4g} meV<extra></extra>",
        )  # fmt: skip
        figure.add_trace(map_, row=1, col=column)
    figure.update_xaxes(title="x (µm)", constrain="domain")
    figure.for_each_yaxis(lambda axis: axis.update(scaleanchor=axis.anchor, constrain="domain", constraintoward="top"))
    figure.update_yaxes(title="y (µm)", col=1)
    colours = {"colorscale": "Cividis", "colorbar": {"title": "meV", "thickness": 14}}
    return layout(figure, 440, coloraxis=colours), note(point=max(step, step_y))
