"""Numbers and pictures of the transient grating and of two pulses."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from shipped.catalogue import number
from shipped.diffusion import CM2_PER_S
from shipped.homogeneous import Numbers, Runs, Table
from shipped.runs import Run

FORMED = 2.0  # ps
PERIOD = "pump.profile.1.cosine.period"
MEASURED = 1.4
"""D of Kuhn et al., arXiv:1911.08939 [cm²/s]."""


def decay(point: Run, period: float) -> tuple[Array, Array, float]:
    """Times [ps] from 2 ps on, contrast ∫n cos(qx)dx/∫n dx of a grating, and the rate of its decay [1/ps]."""
    fields = point.fields.data
    wave = np.cos(2 * np.pi * fields["x"] / period)
    density, time = fields["density"].sum(axis=1), fields["time"]
    late = time >= FORMED
    contrast = (density[late] @ wave) / density[late].sum(axis=1)
    return time[late], contrast, float(-np.polyfit(time[late], np.log(contrast), 1)[0])


def _gratings(runs: Runs) -> tuple[Array, list[tuple[Array, Array, float]], Array]:
    """Periods [µm], decays, and rates over q² [cm²/s]."""
    sweep = runs["main"]
    periods = sweep.varied(PERIOD)
    decays = [decay(point, p) for point, p in zip(sweep.points, periods, strict=True)]
    return periods, decays, CM2_PER_S * np.array([rate for *_, rate in decays]) * (periods / (2 * np.pi)) ** 2


def grating(runs: Runs) -> tuple[Numbers, Table]:
    """Rates of decay against the period."""
    periods, decays, diffusion = _gratings(runs)
    linear = runs["main"].points[0].linear
    rows: Table = [("period (µm)", "rate (1/ns)", "rate/q² (cm²/s)")]
    rows += [(f"{p:g}", f"{1e3 * rate:.3g}", f"{d:.3g}") for p, (*_, rate), d in zip(periods, decays, diffusion, strict=True)]
    wide = periods >= 0.25
    return {
        "linear": number(linear, "cm²/s", "D by Chapman–Enskog from the same rates"),
        "diffusion": number(float(diffusion[0]), "cm²/s", "rate/q² at the longest period"),
        "difference": number(
            100 * float(diffusion[0] / linear - 1), "%", "difference of rate/q² at the longest period from Chapman–Enskog"
        ),
        "bend": number(
            100 * float(np.ptp(diffusion[wide]) / diffusion[0]), "%", "largest difference of rate/q² from 2 to 0.25 µm"
        ),
        "shortest": number(100 * float(diffusion[-1] / diffusion[0] - 1), "%", "deviation of rate/q² at the shortest period"),
    }, rows


def grating_curves(runs: Runs) -> Any:
    """Contrast against time, and the rate of its decay against q²."""
    periods, decays, _ = _gratings(runs)
    q, rates = 2 * np.pi / periods, np.array([rate for *_, rate in decays])
    linear = runs["main"].points[0].linear
    figure, axes = style.subplots(1, 2, figsize=(8, 3.2))
    for i, (period, (time, contrast, _)) in enumerate(zip(periods, decays, strict=True)):
        axes[0].semilogy(time, contrast, label=f"{period:g} µm", **style.curve(i))
    axes[0].set(xlabel="time (ps)", ylabel="contrast", title=runs["main"].directory.name)
    axes[0].legend(frameon=False)
    axes[1].loglog(q**2, rates, "ok")
    for value, ls, origin in ((linear, "-", "Chapman–Enskog"), (MEASURED, "--", "measured")):
        axes[1].loglog(q**2, value * q**2 / CM2_PER_S, color="0.5", ls=ls, label=f"{value:.3g} cm²/s · q², {origin}", zorder=0)
    axes[1].set(xlabel="q² (µm⁻²)", title="rate of decay (1/ps)")
    axes[1].legend(frameon=False)
    return figure


def spreading(run: Run, begin: float, end: float) -> float:
    """½ ∂t of the variance of all excitons along x between two times of fields.h5 [cm²/s]."""
    x = run.fields.data["x"]
    means = [(n @ x / n.sum(), n @ x**2 / n.sum()) for n in (run.density(begin), run.density(end))]
    variances = [second - first**2 for first, second in means]
    return float(0.5 * CM2_PER_S * (variances[1] - variances[0]) / (end - begin))


def two_pulses(runs: Runs) -> tuple[Numbers, Table]:
    """Both pulses beside the sum of two runs with one of them each."""
    both, pump, probe = (runs[name] for name in ("main", "pump", "probe"))
    errors = {}
    for name in ("density", "pl"):
        whole = both.fields.data[name]
        errors[name] = float(np.abs(pump.fields.data[name] + probe.fields.data[name] - whole).max() / np.abs(whole).max())
    before = float(both.at("population", 20.25)[both.bright])
    after = float(both.at("population", 21.25)[both.bright])
    diffusion = both.at("diffusion", 20.5)
    return {
        "sum": number(
            max(errors.values()), "", "largest difference of densities and PL from the sum of two runs, over the largest"
        ),
        "left": number(100 * after / before, "%", "excitons in KK at 21.25 ps over those at 20.25 ps"),
        "probe_early": number(spreading(probe, 21, 22), "cm²/s", "D of the probe's excitons from 1 to 2 ps after it"),
        "probe_late": number(spreading(probe, 30, 40), "cm²/s", "D of the probe's excitons from 10 to 20 ps after it"),
        "arrival": number(float(diffusion[both.bright]), "cm²/s", "D of KK about the origin at 20.5 ps"),
    }, []


def two_pulses_curves(runs: Runs) -> Any:
    """Densities at some times, excitons of the valleys, and light."""
    run = runs["main"]
    series, fields = run.series, run.fields
    x, time, density = fields.data["x"], fields.data["time"], fields.data["density"].sum(axis=1)
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    for number_, at in enumerate((2, 19, 21, 30, 60)):
        i = int(np.searchsorted(time, at))
        axes[0].plot(x, 1e-3 * density[i], label=f"{time[i]:.4g} ps", **style.curve(number_))
    title = style.title(run.directory, series)
    axes[0].set(xlabel="x (µm)", ylabel="all excitons (10¹¹ cm⁻²)", xlim=(-2, 2), title=title)
    axes[0].legend(frameon=False)
    light = fields.data["pl"]
    image = axes[1].pcolormesh(x, time[1:], np.log10(np.maximum(light[1:] / light.max(), 1e-6)), rasterized=True)
    figure.colorbar(image, ax=axes[1], label="log₁₀ PL / largest PL")
    axes[1].set(xlabel="x (µm)", ylabel="time (ps)", xlim=(-2, 2), title="PL")
    for i, valley in enumerate(series.valleys):
        axes[2].semilogy(series.data["time"], series.data["population"][:, i], label=valley, **style.curve(i))
    axes[2].semilogy(series.data["time"], series.data["pl_total"], color="k", ls=":", label="PL per ps")
    label = style.label("excitons", series.units["population"])
    axes[2].set(xlabel="time (ps)", ylabel=label, ylim=(1e-3, 4e3), xlim=(0, None))
    axes[2].legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1.0, 0.8))
    return figure
