"""Figure 5 and a supplement: how intervalley scattering makes the cloud shrink."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import curves, style
from hpcwigner.plotting.maps import threshold_lines
from hpcwigner.studies.paper.data import PaperData, PaperRun

Array = NDArray[np.float64]

WIGNER_TIMES = (5.0, 50.0)
"""Times of the Wigner maps [ps]."""
SHAPE_TIMES = (2.0, 20.0, 50.0, 120.0)
"""Times of the shape variation [ps]."""
NEGATIVE_FROM = 30.0
"""Start of the inset with the negative D_v [ps]."""


def figure5(data: PaperData) -> Any:
    """At 20 K: D and D^interv of the bright valley, Wigner maps of the lowest one, shape variation of the bright one."""
    run = data.cold
    figure, axes = style.subplots(2, 2, figsize=(9, 7))
    _diffusion(axes[0, 0], run)
    for axis, time in zip((axes[0, 1], axes[1, 0]), WIGNER_TIMES, strict=True):
        _wigner(axis, run, time)
    _shape(axes[1, 1], run)
    return style.lettered(figure, axes.ravel())


def _diffusion(axis: Any, run: PaperRun) -> None:
    name = run.valleys[run.bright]
    values = np.stack([run.series.need(quantity)[:, run.bright] for quantity in ("diffusion", "diffusion_interv")], axis=1)
    inset = axis.inset_axes((0.45, 0.3, 0.52, 0.45))
    for target, start in ((axis, JUDGED_FROM), (inset, NEGATIVE_FROM)):
        curves.lines(target, run.time, values, (f"$D$ {name}", f"$D$ {name}, intervalley"))
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


def shape_at_width(run: PaperRun, time: float) -> tuple[Array, Array]:
    """x/w and η/N(0) [1/ps] of the bright valley on y = 0. Raises InputError."""
    variation, density = (run.line(name, time)[run.bright] for name in ("shape_variation", "density"))
    width = float(np.sqrt(run.at("width_squared", time)[run.bright]))
    return run.x / width, variation / float(run.centre(density))


def _shape(axis: Any, run: PaperRun) -> None:
    for i, time in enumerate(SHAPE_TIMES):
        axis.plot(*shape_at_width(run, time), label=f"{time:g} ps", **style.curve(i))
    axis.axhline(0, **style.ZERO_LINE)
    name = run.valleys[run.bright]
    axis.set(xlim=(-4, 4), xlabel=f"x/w {name}", ylabel=rf"$\eta$ {name} / $N(0)$ (ps⁻¹)")
    axis.legend(frameon=False, fontsize=8)


def exchange(run: PaperRun) -> Array:
    """n_v D_v^interv [cm²/s], shape (time, valley): equal and opposite between two valleys if η_1 = −η_2."""
    return np.asarray(run.series.need("population") * run.series.need("diffusion_interv"))


def figure_s1(data: PaperData) -> Any:
    """|n_v D_v^interv| of every valley at 20 K, by which |D_1^interv| n_1 ≈ |D_2^interv| n_2 can be judged."""
    run = data.cold
    figure, axis = style.subplots(1, 1, figsize=(5.2, 3.8))
    values = np.abs(exchange(run))
    curves.lines(axis, run.time, values, run.valleys)
    shown = values[run.time >= JUDGED_FROM]
    axis.set(xscale="log", yscale="log", xlim=(JUDGED_FROM, run.time[-1]))
    axis.set(ylim=(0.5 * np.nanmin(shown[shown > 0]), 2 * np.nanmax(shown)))
    axis.set(xlabel="time (ps)", ylabel="$|n_v D_v^{interv}|$ (cm²/s)")
    axis.legend(frameon=False)
    return figure
