"""Figures 2 to 5 and a supplement: PL, widths, diffusion coefficients, and how intervalley scattering makes the cloud shrink."""

from typing import Any

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.observables.curves import JUDGED_FROM, phases
from hpcwigner.plotting import style, views
from hpcwigner.plotting.maps import threshold_lines
from hpcwigner.studies.paper.data import SWITCHED_AT, PaperData, PaperRun

PHASE_COLOURS = ("#d9ead3", "#f4cccc", "#cfe2f3")  # Green, red, blue: as in Fig. 3 of the paper
START = 0.5  # First time shown [ps]: until then the pump forms excitons
WIGNER_TIMES = (5.0, 50.0)  # Times of the Wigner maps [ps]
SHAPE_TIMES = (2.0, 20.0, 50.0, 120.0)  # Times of the shape variation [ps]
NEGATIVE_FROM = 30.0  # Start of the inset with the negative D_v [ps]


def figure2(data: PaperData) -> Any:
    """PL(x, t)/PL(0, t) on y = 0 at three temperatures."""
    figure, axes = style.subplots(1, 3, figsize=(10, 3.4), sharey=True)
    for axis, (title, run) in zip(axes, data.by_temperature.items(), strict=True):
        pl, shown = run.line("pl"), run.fields.data["time"] >= START
        relative, time = (pl[shown] / style.central_line(pl)[shown, None]).T, run.fields.data["time"][shown]
        image = axis.pcolormesh(time, run.x, relative, cmap="magma", vmin=0, vmax=1, shading="gouraud", rasterized=True)
        axis.contour(time, run.x, relative, levels=[np.exp(-1)], colors="white", linewidths=1)
        axis.set(xlabel="time (ps)", ylim=(-1.5, 1.5), title=title)
    axes[0].set_ylabel("x (µm)")
    figure.colorbar(image, ax=axes, label="PL(x, t) / PL(0, t)")
    return style.lettered(figure, axes)


def figure3(data: PaperData) -> Any:
    """w_v² and D_v of all valleys and the total PL at three temperatures, with the phases and an inset of negative D_v."""
    figure, axes = style.subplots(2, 3, figsize=(11, 6), sharex="col")
    for column, (title, run) in zip(axes.T, data.by_temperature.items(), strict=True):
        rise_end, alike_from = phases(run.time, run.series.need("diffusion"))
        edges = np.nan_to_num((START, rise_end, alike_from, run.time[-1]), nan=run.time[-1])
        for axis, name, symbol in zip(column, ("width_squared", "diffusion"), ("$w_v^2$", "$D_v$"), strict=True):
            for start, stop, colour in zip(edges[:-1], edges[1:], PHASE_COLOURS, strict=True):
                if stop > start:
                    axis.axvspan(start, stop, color=colour, lw=0, zorder=-1)
            views.valleys(axis, run.series, name, symbol, START, margin=0.1)
        column[0].set_title(title)
        column[1].set(xlabel="time (ps)", xscale="log", xlim=(START, run.time[-1]))
        column[1].axhline(0, **style.ZERO_LINE)
        right = column[0].twinx()
        pl = run.series.need("pl_total") / run.series.data["pl_total"].max()
        right.plot(run.time, pl, "k--", lw=0.9)
        right.set(yscale="log", ylim=(0.3 * pl[run.time >= START].min(), 2))  # at 20 K PL falls by many orders of magnitude
        views.negative_inset(column[1], run.series, (0.57, 0.5, 0.41, 0.42))
    right.set_ylabel("PL / largest PL (dashed)")
    axes[0, 0].legend(frameon=False, loc="lower right")
    return style.lettered(figure, axes[0])


def figure4(data: PaperData) -> Any:
    """D_v at 300 K with intervalley scattering switched off, and D of each valley by itself."""
    run = data.switched
    figure, axis = style.subplots(1, 1, figsize=(5.2, 3.8))
    views.valleys(axis, run.series, "diffusion", "$D_v$", START, margin=0.1)
    formulas = (("exact", "-", "Chapman–Enskog"), ("relaxation_time", "--", r"$\frac{1}{2}\langle\tau_Q v_Q^2\rangle$"),
                ("constant_time", ":", r"$\tau_v k_BT/M_v$"))  # fmt: skip
    for name, dashes, text in formulas:
        for v, level in enumerate(CM2_PER_S * data.intrinsic[name]):
            axis.plot((SWITCHED_AT, run.time[-1]), (level, level), color=style.curve(v)["color"], ls=dashes, lw=0.8)
        axis.plot([], [], color="0.4", ls=dashes, lw=0.8, label=text)
    axis.axvline(SWITCHED_AT, **style.ZERO_LINE)
    largest = max(axis.get_ylim()[1], 1.08 * CM2_PER_S * np.max(list(data.intrinsic.values())))
    axis.set(xlim=(0, run.time[-1]), ylim=(0, largest), xlabel="time (ps)")
    axis.legend(frameon=False, fontsize=8, ncols=2)
    return figure


def figure5(data: PaperData) -> Any:
    """At 20 K: D and D^interv of the bright valley, Wigner maps of the lowest one, shape variation of the bright one."""
    run = data.cold
    figure, axes = style.subplots(2, 2, figsize=(9, 7))
    _diffusion(axes[0, 0], run)
    for axis, time in zip((axes[0, 1], axes[1, 0]), WIGNER_TIMES, strict=True):
        _wigner(axis, run, time)
    name, axis = run.valleys[run.bright], axes[1, 1]
    for i, time in enumerate(SHAPE_TIMES):
        axis.plot(*run.shape_at_width(time), label=f"{time:g} ps", **style.curve(i))
    axis.axhline(0, **style.ZERO_LINE)
    axis.set(xlim=(-4, 4), xlabel=f"x/w {name}", ylabel=rf"$\eta$ {name} / $N(0)$ (ps⁻¹)")
    axis.legend(frameon=False, fontsize=8)
    return style.lettered(figure, axes.ravel())


def _diffusion(axis: Any, run: PaperRun) -> None:
    name = run.valleys[run.bright]
    values = np.stack([run.series.need(quantity)[:, run.bright] for quantity in ("diffusion", "diffusion_interv")], axis=1)
    inset = axis.inset_axes((0.45, 0.3, 0.52, 0.45))
    for target, start in ((axis, JUDGED_FROM), (inset, NEGATIVE_FROM)):
        views.lines(target, run.time, values, (f"$D$ {name}", f"$D$ {name}, intervalley"))
        target.axhline(0, **style.ZERO_LINE)
        style.fit_y(target, values[run.time >= start], margin=0.1)
    inset.set_xlim(NEGATIVE_FROM, run.time[-1])
    inset.tick_params(labelsize=7)
    axis.set(xlim=(0, run.time[-1]), xlabel="time (ps)", ylabel=style.label("$D$", run.series.units["diffusion"]))
    axis.legend(frameon=False, fontsize=8)


def _wigner(axis: Any, run: PaperRun, time: float) -> None:
    k, values = run.wigner_line(run.dark, time)
    relative = values.T / np.nanmax(values)
    image = axis.pcolormesh(run.x, k, relative, cmap="magma", vmin=0, vmax=1, shading="nearest", rasterized=True)
    threshold = float(run.wigner.need("threshold")[run.dark])
    threshold_lines(axis, threshold)
    axis.set(xlim=(-1.2, 1.2), ylim=(-1.7 * threshold, 1.7 * threshold), xlabel="x (µm)", ylabel="$k_x$ (nm⁻¹)")
    axis.set_title(f"{run.valleys[run.dark]}, {time:g} ps", fontsize=10)
    axis.figure.colorbar(image, ax=axis, label="$N_{k_x}(x)$ / largest")


def figure_s1(data: PaperData) -> Any:
    """|n_v D_v^interv| of every valley at 20 K, by which |D_1^interv| n_1 ≈ |D_2^interv| n_2 can be judged."""
    run = data.cold
    figure, axis = style.subplots(1, 1, figsize=(5.2, 3.8))
    values = np.abs(run.exchange())
    views.lines(axis, run.time, values, run.valleys)
    shown = values[run.time >= JUDGED_FROM]
    axis.set(xscale="log", yscale="log", xlim=(JUDGED_FROM, run.time[-1]))
    axis.set(ylim=(0.5 * np.nanmin(shown[shown > 0]), 2 * np.nanmax(shown)))
    axis.set(xlabel="time (ps)", ylabel="$|n_v D_v^{interv}|$ (cm²/s)")
    axis.legend(frameon=False)
    return figure
