"""Pictures of the shipped pulses from their runs: python inputs/plot_pulses.py WHAT RUN; as RUN/WHAT.png.

WHAT is `two_pulses`; `grating`, of a sweep over the period; or `colours`, of a sweep over the energy of injection by moment
equations, with a run at one of them: python inputs/plot_pulses.py colours SWEEP RUN.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot

from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import Variables, read


def two_pulses(run: Path) -> Any:
    """Densities at some times, excitons and diffusion coefficients of the valleys, light."""
    series, fields = read(run / "series.h5"), read(run / "fields.h5")
    x, time, density = fields.data["x"], fields.data["time"], fields.data["density"].sum(axis=1)
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for number, at in enumerate((2, 19, 21, 30, 60)):
        i = int(np.searchsorted(time, at))
        axes[0].plot(x, 1e-3 * density[i], color=pyplot.cm.viridis(0.22 * number), label=f"{time[i]:.4g} ps")
    axes[0].set(xlabel="x (µm)", ylabel="all excitons (10¹¹ cm⁻²)", xlim=(-2, 2), title=style.title(run, series))
    axes[0].legend(frameon=False)
    light = fields.data["pl"]
    image = axes[1].pcolormesh(x, time[1:], np.log10(np.maximum(light[1:] / light.max(), 1e-6)), rasterized=True)
    figure.colorbar(image, ax=axes[1], label="log₁₀ PL / largest PL")
    axes[1].set(xlabel="x (µm)", ylabel="time (ps)", xlim=(-2, 2), title="PL")
    for i, valley in enumerate(series.valleys):
        axes[2].semilogy(series.data["time"], series.data["population"][:, i], label=valley, **style.curve(i))
    axes[2].semilogy(series.data["time"], series.data["pl_total"], color="k", ls=":", label="PL per ps")
    axes[2].set(xlabel="time (ps)", ylabel=style.label("excitons", series.units["population"]), ylim=(1e-3, 4e3), xlim=(0, None))
    axes[2].legend(frameon=False, ncols=2)
    return figure


def whole(series: Variables) -> tuple[Array, Array, Array]:
    """Time [ps], w² of all excitons about the origin [µm²] and ¼ of its slope [cm²/s]; where no excitons are lost."""
    population = series.data["population"]
    share = population / np.maximum(population.sum(axis=1, keepdims=True), 1e-300)
    width = (share * np.nan_to_num(series.data["width_squared"])).sum(axis=1)
    return series.data["time"], width, 0.25e4 * np.gradient(width, series.data["time"])


def colours(sweep: Path, run: Path) -> Any:
    """D(t) of all excitons for some energies of injection, and against it the largest D and w² at 50 ps."""
    energy = read(sweep / "summary.h5").data["pump_energy_above"]
    curves = [whole(read(point / "moments.h5")) for point in sorted(sweep.glob("point_*"))]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for number, wanted in enumerate((10, 30, 45, 60, 75)):
        i = int(np.flatnonzero(energy == wanted)[0])
        late = curves[i][0] >= 1
        axes[0].plot(curves[i][0][late], curves[i][2][late], color=pyplot.cm.viridis(0.22 * number), label=f"{wanted} meV")
    time, _, diffusion = whole(read(run / "series.h5"))
    axes[0].plot(time[time >= 1], diffusion[time >= 1], "k:", label="run at 60 meV")
    axes[0].set(
        xlabel="time (ps)",
        ylabel="D of all excitons (cm²/s)",
        xlim=(0, 60),
        ylim=(0, None),
        title=style.title(run, read(run / "series.h5")),
    )
    axes[0].legend(frameon=False)
    axes[1].plot(energy, [d[t >= 1].max() for t, _, d in curves], "o-", color="k")
    axes[1].set(xlabel="injection above KK (meV)", title="largest D (cm²/s)")
    axes[2].plot(energy, [np.interp(50, t, w) for t, w, _ in curves], "o-", color="k")
    axes[2].set(xlabel="injection above KK (meV)", title="w² of all excitons at 50 ps (µm²)")
    return figure


def decay(point: Path, period: float) -> tuple[Array, Array, float]:
    """Times [ps] from 2 ps on, contrast of a grating, and the rate of its decay [1/ps]."""
    fields = read(point / "fields.h5")
    wave = np.cos(2 * np.pi * fields.data["x"] / period)
    density, time = fields.data["density"].sum(axis=1), fields.data["time"]
    late = time >= 2
    contrast = (density[late] @ wave) / density[late].sum(axis=1)
    return time[late], contrast, float(-np.polyfit(time[late], np.log(contrast), 1)[0])


def grating(sweep: Path) -> Any:
    """Contrast against time, and the rate of its decay against q²."""
    periods = read(sweep / "summary.h5").data["pump_profile_1_cosine_period"]
    decays = [decay(point, p) for point, p in zip(sorted(sweep.glob("point_*")), periods, strict=True)]
    q = 2 * np.pi / periods
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for number, (period, (time, contrast, _)) in enumerate(zip(periods, decays, strict=True)):
        axes[0].semilogy(time, contrast, color=pyplot.cm.viridis(0.22 * number), label=f"{period:g} µm")
    axes[0].set(xlabel="time (ps)", ylabel="contrast", title="MoSe2, 300 K")
    axes[0].legend(frameon=False)
    rates = np.array([rate for *_, rate in decays])
    for period, rate, wave in zip(periods, rates, q, strict=True):
        print(f"period {period:g} µm: rate {rate:.5g}/ps, rate/q² = {1e4 * rate / wave**2:.4g} cm²/s")
    axes[1].loglog(q**2, rates, "ok")
    for value, ls in ((0.611, "-"), (1.4, "--")):
        axes[1].loglog(q**2, 1e-4 * value * q**2, color="0.5", ls=ls, label=f"{value:g} cm²/s · q²", zorder=0)
    axes[1].set(xlabel="q² (µm⁻²)", title="rate of decay (1/ps)")
    axes[1].legend(frameon=False)
    return figure


what, *runs = sys.argv[1:]
drawn = {"two_pulses": two_pulses, "colours": colours, "grating": grating}[what](*map(Path, runs))
drawn.savefig(Path(runs[0], f"{what}.png"), dpi=100)
print(Path(runs[0], f"{what}.png"))
