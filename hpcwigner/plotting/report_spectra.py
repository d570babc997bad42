"""The interactive plots of a report that only a run with spectra has."""

from typing import Any

import numpy as np

from hpcwigner.plotting import style
from hpcwigner.plotting.maps import normalised
from hpcwigner.plotting.report_plots import MOST_CELLS, MOST_FRAMES, MOST_TIMES, Plot, layout, line, note, thinned, with_slider
from hpcwigner.plotting.spectra import DECADES, ENERGY, Spectra, marks
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError


def _lit(spectra: Spectra) -> Any:
    """Rows with light. Raises InputError without any."""
    lit = np.flatnonzero(np.nan_to_num(spectra.whole).max(axis=1) > 0)
    if not len(lit):
        raise InputError(f"{spectra.path}: found no light at any time, expected some")
    return lit


def _logarithms(values: Array) -> Array:
    """Decimal logarithms of values (time, bin) over the largest at each time, cut at DECADES below."""
    return np.log10(np.maximum(normalised(values), 10.0**-DECADES)).astype("f4")


def moving(spectra: Spectra) -> Plot:
    """Spectra with a slider for the time. Raises InputError."""
    from plotly import graph_objects as go

    energy, whole, lit = spectra.energy, spectra.whole, _lit(spectra)
    chosen, step = thinned(lit, MOST_FRAMES)
    rows = np.unique(np.append(chosen, lit[-1]))
    hover = "%{x:.4g} meV: %{y:.3g}"
    frames = [[line(energy.astype("f4"), whole[row].astype("f4"), "PL", 1, hovertemplate=hover)] for row in rows]
    brightest = np.log10(np.nanmax(whole[rows], axis=1))
    unit = style.label("PL", f"meV-1 {spectra.file.units['photons']}")
    axis = {"title": unit, "type": "log", "exponentformat": "power", "range": [brightest.min() - 3, brightest.max() + 0.3]}
    figure = layout(go.Figure(frames[-1]), 460, xaxis={"title": ENERGY}, yaxis=axis, showlegend=False)
    return with_slider(_marked(figure, spectra), frames, spectra.time[rows]), note(time=step)


def against_time(spectra: Spectra) -> Plot:
    """Map over energy and time. Raises InputError."""
    from plotly import graph_objects as go

    lit = _lit(spectra)
    times, time_step = thinned(lit, MOST_TIMES)
    bins, bin_step = thinned(np.arange(len(spectra.energy)), 2 * MOST_CELLS)
    values = _logarithms(spectra.whole[np.ix_(times, bins)])
    heatmap = go.Heatmap(
        z=values, x=spectra.energy[bins].astype("f4"), y=spectra.time[times].astype("f4"), colorscale="Magma",
        colorbar={"title": "log₁₀ of<br>the largest", "thickness": 14},
        hovertemplate="%{x:.4g} meV, %{y:g} ps: 10^%{z:.3g}<extra></extra>",
    )  # fmt: skip
    figure = layout(go.Figure(heatmap), 460, xaxis={"title": ENERGY}, yaxis={"title": "time (ps)"})
    return _marked(figure, spectra), note(time=time_step, energy=bin_step)


def by_sideband(spectra: Spectra) -> Plot:
    """Photons of the direct line and of each strong sideband against time. Raises InputError."""
    from plotly import graph_objects as go

    photons, total = spectra.file.need("sideband_photons"), spectra.file.need("photons")
    share = np.nanmax(photons / np.maximum(photons.sum(axis=1, keepdims=True), 1e-300), axis=0)
    curves = {"direct line": total - photons.sum(axis=1)}
    curves |= {name: photons[:, n] for n, name in enumerate(spectra.file.texts["sideband"]) if share[n] >= 0.03}
    lines = [line(spectra.time, np.where(v > 0, v, np.nan), name, n) for n, (name, v) in enumerate(curves.items())]
    axis = {"title": style.label("photons", spectra.file.units["photons"]), "type": "log", "exponentformat": "power"}
    return layout(go.Figure(lines), 460, xaxis_title="time (ps)", yaxis=axis), ""


def _marked(figure: Any, spectra: Spectra) -> Any:
    """Dotted lines where the strong sidebands and the direct line begin, with their names."""
    energy = spectra.energy
    for name, place in marks(spectra.file, (float(energy[0]), float(energy[-1]))).items():
        figure.add_vline(place, line={"dash": "dot", "width": 1, "color": "#999"})
        figure.add_annotation(
            x=place, y=1, yref="paper", yanchor="bottom", text=name, textangle=-90, showarrow=False, font_size=9
        )
    return figure.update_layout(margin_t=130)
