"""Figures 2, 3 and 4: light against position and time, widths and diffusion coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.observables.phases import Phases
from hpcwigner.plotting import style
from hpcwigner.studies.paper.data import PaperData, PaperRun

Array = NDArray[np.float64]

PHASE_COLOURS = ("#d9ead3", "#f4cccc", "#cfe2f3")
"""Green, red, blue: as in the paper's Fig. 3."""
START = 0.5
"""Curves against time begin here [ps]: before, the pump makes excitons."""


def figure2(data: PaperData) -> Any:
    """PL(x, t) on y = 0 at three temperatures, by its value at the centre."""
    figure, axes = style.subplots(1, 3, figsize=(10, 3.4), sharey=True)
    for axis, (title, run) in zip(axes, data.by_temperature.items(), strict=True):
        image = _light(axis, run)
        axis.set_title(title)
    axes[0].set_ylabel("x (µm)")
    figure.colorbar(image, ax=axes, label="PL(x, t) / PL(0, t)")
    return style.lettered(figure, axes)


def _light(axis: Any, run: PaperRun) -> Any:
    time, x = run.fields.data["time"], run.place
    pl = run.line("pl")
    shown = time >= START
    relative = pl[shown] / run.centre(pl)[shown, None]
    image = axis.pcolormesh(time[shown], x, relative.T, cmap="magma", vmin=0, vmax=1, shading="gouraud", rasterized=True)
    axis.contour(time[shown], x, relative.T, levels=[np.exp(-1)], colors="white", linewidths=1)
    axis.set(xlabel="time (ps)", ylim=(-1.5, 1.5))
    return image


def figure3(data: PaperData) -> Any:
    """w_v² and D_v of all valleys at three temperatures, the PL dashed, phases shaded, negative D_v enlarged."""
    figure, axes = style.subplots(2, 3, figsize=(11, 6), sharex="col")
    for column, (title, run) in zip(axes.T, data.by_temperature.items(), strict=True):
        phases = Phases.from_diffusion(run.time, run.series.need("diffusion"))
        for axis, name, symbol in zip(column, ("width_squared", "diffusion"), ("$w_v^2$", "$D_v$"), strict=True):
            _shade(axis, phases, run.time[-1])
            values = _curves(axis, run, name)
            axis.set_ylabel(style.label(symbol, run.series.units[name]))
            low, high = np.nanmin(values), np.nanmax(values)
            axis.set_ylim(min(0.0, low - 0.05 * (high - low)), high + 0.12 * (high - low))
        column[0].set_title(title)
        column[1].set(xlabel="time (ps)", xscale="log", xlim=(START, run.time[-1]))
        column[1].axhline(0, **style.ZERO_LINE)
        right = _light_curve(column[0], run)
        _negative(column[1], run)
    right.set_ylabel("PL / largest PL (dashed)")
    axes[0, 0].legend(frameon=False, loc="lower right")
    return style.lettered(figure, axes[0])


def _shade(axis: Any, phases: Phases, end: float) -> None:
    alike = phases.alike_from if np.isfinite(phases.alike_from) else end
    edges = (START, phases.rise_end, alike, end)
    for start, stop, colour in zip(edges[:-1], edges[1:], PHASE_COLOURS, strict=True):
        if stop > start:
            axis.axvspan(start, stop, color=colour, lw=0, zorder=-1)


def _curves(axis: Any, run: PaperRun, name: str) -> Array:
    """Draws a quantity of every valley and returns what is shown of it, (time, valley)."""
    values = run.series.need(name)
    for v, valley in enumerate(run.valleys):
        axis.plot(run.time, values[:, v], label=valley, **style.curve(v))
    return np.asarray(values[run.time >= START])


def _light_curve(axis: Any, run: PaperRun) -> Any:
    """The total PL on an axis of its own at the right, logarithmic: it falls over many orders of magnitude when cold."""
    pl = run.series.need("pl_total")
    right = axis.twinx()
    right.plot(run.time, pl / pl.max(), "k--", lw=0.9)
    right.set_yscale("log")
    right.set_ylim(0.3 * (pl[run.time >= START] / pl.max()).min(), 2)
    return right


def _negative(axis: Any, run: PaperRun) -> None:
    """Enlarges the stretch in which some D_v is negative."""
    diffusion = run.series.need("diffusion")
    with np.errstate(invalid="ignore"):
        negative = (diffusion < 0).any(axis=1) & (run.time >= JUDGED_FROM)
    if negative.sum() < 3:
        return
    inset = axis.inset_axes((0.57, 0.5, 0.41, 0.42))
    for v in range(len(run.valleys)):
        inset.plot(run.time, diffusion[:, v], **style.curve(v))
    inset.axhline(0, **style.ZERO_LINE)
    low = float(np.nanmin(diffusion[negative]))
    first, last = run.time[negative][[0, -1]]
    inset.set(xlim=(max(0.0, first - 12), min(last + 12, run.time[-1])), ylim=(1.15 * low, -0.45 * low))
    inset.tick_params(labelsize=7)


def figure4(data: PaperData) -> Any:
    """D_v at 300 K with intervalley scattering switched off, and what each valley alone would have."""
    run = data.switched
    figure, axis = style.subplots(1, 1, figsize=(5.2, 3.8))
    values = _curves(axis, run, "diffusion")
    lines = (("exact", "-", "Chapman–Enskog"), ("relaxation_time", "--", r"$\frac{1}{2}\langle\tau_Q v_Q^2\rangle$"),
             ("constant_time", ":", r"$\tau_v k_BT/M_v$"))  # fmt: skip
    for name, dashes, text in lines:
        for v, intrinsic in enumerate(data.intrinsic):
            level = CM2_PER_S * getattr(intrinsic, name)
            axis.plot((data.switched_at, run.time[-1]), (level, level), color=style.curve(v)["color"], ls=dashes, lw=0.8)
        axis.plot([], [], color="0.4", ls=dashes, lw=0.8, label=text)
    axis.axvline(data.switched_at, **style.ZERO_LINE)
    largest = max(values.max(), *(CM2_PER_S * max(vars(i).values()) for i in data.intrinsic))
    axis.set(xlim=(0, run.time[-1]), ylim=(0, 1.08 * largest), xlabel="time (ps)")
    axis.set_ylabel(style.label("$D_v$", run.series.units["diffusion"]))
    axis.legend(frameon=False, fontsize=8, ncols=2)
    return figure
