"""Numbers and pictures of annihilation and repulsion against density, beside the diffusion equation with both."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import curve_fit

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.plotting import style
from hpcwigner.problem.blocks import Annihilation
from hpcwigner.runtime.arrays import Array
from shipped.catalogue import number
from shipped.diffusion import CM2_PER_S, FLOOR, with_density
from shipped.homogeneous import Numbers, Runs, Table
from shipped.runs import Run

PER_CM2 = 1e8  # Of 1/µm²
START, LOCAL = 1.0, 10.0  # Excitons are formed; they are as warm as the phonons also at 77 K [ps]
CELLS = 400
FITTED = "pl_fit_width_squared"
PUBLISHED = (0.3, 30.0)
"""Smallest and largest D of Kulig et al., PRL 120, 207401 (2018) [cm²/s]."""


def peak(point: Run) -> float:
    """Density in the middle that the pulse forms [1/µm²]."""
    (pulse,) = point.config.pulses.values()
    assert pulse.density is not None
    return 1e6 * pulse.density


def initial(point: Run) -> float:
    """w² of what the pulse forms [µm²]."""
    (pulse,) = point.config.pulses.values()
    return float(1e-6 * pulse.spot_fwhm**2 / (8 * np.log(2)))


def annihilation_of(point: Run) -> tuple[float, float]:
    """R [µm²/ps], and the part that comes back hot."""
    assert point.config.interaction is not None
    given = point.config.interaction.annihilation
    return (1e-6 * given.rate, given.hot) if isinstance(given, Annihilation) else (1e-6 * (given or 0.0), 0.0)


def softness(point: Run) -> float:
    """g/kT [µm²]."""
    assert point.config.interaction is not None
    return 1e-6 * (point.config.interaction.repulsion or 0.0) / (BOLTZMANN * point.config.temperature)


def label(point: Run) -> str:
    """Density in the middle, and whether excitons come back hot."""
    mantissa, exponent = f"{peak(point) * PER_CM2:.0e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{f'{mantissa}·' * (mantissa != '1')}10{power} cm⁻²{', hot' * (annihilation_of(point)[1] > 0)}"


def profile(point: Run, time: float) -> Array:
    """Density of all excitons along x, in a plane on y = 0 [1/µm²]."""
    density = point.density(time)
    return style.central_line(density) if density.ndim == 2 else density


def mean(point: Run, begin: float, end: float) -> float:
    """D [cm²/s] between two times from the squared width of the Gaussian that is fitted to the PL."""
    return float(CM2_PER_S * (point.at(FITTED, end) - point.at(FITTED, begin)) / (4 * (end - begin)))


def diffusion_equation(point: Run, linear: float, begin: float) -> tuple[Array, Array, Array, Array]:
    """Times [ps], w² by second moments and of a fitted Gaussian [µm²], and the last profile along x [1/µm²]."""
    x, plane = point.fields.data["x"], point.config.space.dimensions == 2
    spacing = (x[-1] + 0.5 * (x[1] - x[0])) / CELLS
    r, right = spacing * (np.arange(CELLS) + 0.5), x > 0
    floor = FLOOR * peak(point)  # for the logarithm, which is smooth in r²
    start = np.exp(PchipInterpolator(x[right] ** 2, np.log(np.maximum(profile(point, begin)[right], floor)))(r**2))
    loss = point.series.data["pl_total"][-1] / point.series.data["population_total"][-1]
    loss += 0.0 if point.config.recombination is None else 1 / point.config.recombination.lifetime  # type: ignore[operator]
    times = point.time[point.time >= begin - 1e-9]
    rate = annihilation_of(point)[0]
    solved = with_density(r, plane, start, linear / CM2_PER_S, softness(point), rate, loss, times, floor)
    weight, counted = (r, 1) if plane else (np.ones_like(r), 2)  # A slab counts 2x²
    moments = counted * (solved @ (weight * r**2)) / (solved @ weight)
    profiles = np.array([np.interp(np.abs(x), r, n) for n in solved])
    fitted = np.array([curve_fit(gaussian, x, p / p.max(), (1.0, w))[0][1] for p, w in zip(profiles, moments, strict=True)])
    return times, moments, fitted, profiles[-1]


def gaussian(x: Array, height: float, width_squared: float) -> Array:
    """A Gaussian of squared width w²."""
    return np.asarray(height * np.exp(-(x**2) / width_squared))


def slope(times: Array, width_squared: Array) -> Array:
    """¼ ∂t w² [cm²/s]."""
    return np.asarray(0.25 * CM2_PER_S * np.gradient(width_squared, times))


def apparent(point: Run, linear: float) -> float:
    """D + R n0 w0²/16 [cm²/s], of second moments of a Gaussian spot before many have annihilated."""
    return linear + CM2_PER_S * annihilation_of(point)[0] * peak(point) * initial(point) / 16


def annihilation(runs: Runs) -> tuple[Numbers, Table]:
    """Effective D against density, rings, and what hot partners do."""
    points = runs["main"].points
    linear, end = points[0].linear, float(points[0].time[-1])
    colder = [p for p in points if annihilation_of(p)[1] == 0]
    hot = [p for p in points if annihilation_of(p)[1] > 0]
    means = [mean(p, START, LOCAL) for p in colder]
    rows: Table = [("n₀", "second moments, 1 ps", "D + R n₀ w₀²/16", "fit to the PL, 1 ps", "its mean to 10 ps", f"to {end:g} ps",
                    "fit to all excitons, 2 ps", "by the diffusion equation")]  # fmt: skip
    off = []
    for p, m in zip(colder, means, strict=True):
        times, _, fitted, _ = diffusion_equation(p, linear, START)
        run = p.series.data["fit_diffusion"][p.time >= START - 1e-9]
        equation = slope(times, fitted)
        off.append(float(np.abs(equation / run - 1)[1:-1].max()))
        texts = (p.at("diffusion_total", START), apparent(p, linear), p.at("pl_fit_diffusion", START), m, mean(p, START, end),
                 p.at("fit_diffusion", 2.0), equation[np.abs(times - 2.0).argmin()])  # fmt: skip
        rows.append((label(p), *(f"{d:.3g}" for d in texts)))
    changes = []
    for p in hot:
        (same,) = (q for q in colder if peak(q) == peak(p))
        late = p.time >= START - 1e-9
        changes.append(float(np.abs(p.series.data["fit_diffusion"][late] / same.series.data["fit_diffusion"][late] - 1).max()))
    warmth = hot[0].at("temperature", START) - hot[0].config.temperature
    at_12 = next(m for p, m in zip(colder, means, strict=True) if np.isclose(peak(p) * PER_CM2, 1e12))
    return {
        "linear": number(linear, "cm²/s", "D of few excitons by Chapman–Enskog"),
        "low": number(means[0], "cm²/s", "mean D from 1 to 10 ps at the lowest density"),
        "high_12": number(at_12, "cm²/s", "mean D from 1 to 10 ps at 10¹² cm⁻²"),
        "high": number(means[-1], "cm²/s", "mean D from 1 to 10 ps at the highest density"),
        "factor": number(at_12 / means[0], "", "rise of the mean D from 1 to 10 ps from the lowest density to 10¹² cm⁻²"),
        "ring": number(max(float(p.series.data["ring_contrast"].max()) for p in points), "",
                       "largest ring over the density in the middle"),
        "difference": number(100 * max(off), "%", "largest difference of D of the fits from the diffusion equation"),
        "hot": number(100 * max(changes), "%", "largest change of D of the fits by hot partners"),
        "warmest": number(float(np.max(warmth)), "K", "excess of the warmest valley at 1 ps with hot partners at 10¹² cm⁻²"),
    }, rows  # fmt: skip


def annihilation_curves(runs: Runs) -> Any:
    """D against time and density, profiles; dotted: the diffusion equation; dots: with hot partners."""
    points = runs["main"].points
    linear, end = points[0].linear, float(points[0].time[-1])
    figure, axes = style.subplots(1, 3, figsize=(11, 3.4))
    for i, point in enumerate(points):
        late = point.time >= START - 1e-9
        times, run = point.time[late], point.series.data["fit_diffusion"][late]
        if annihilation_of(point)[1] > 0:
            dots = np.searchsorted(times, np.geomspace(START, end, 12) - 1e-9)
            axes[0].plot(times[dots], run[dots], "k.", ms=4)
            continue
        axes[0].plot(times, run, color=style.COLOURS[i], label=label(point))
        _, _, fitted, _ = diffusion_equation(point, linear, START)
        axes[0].plot(times[1:-1], slope(times, fitted)[1:-1], "k:", lw=0.8)
        axes[2].plot(point.fields.data["x"], profile(point, LOCAL) / profile(point, LOCAL).max(), color=style.COLOURS[i])
    axes[0].set(xlabel="time (ps)", xscale="log", yscale="log", title="D of fits (cm²/s); dots: hot")
    axes[2].set(xlabel="x (µm)", xlim=(-1.2, 1.2), title=f"density at {LOCAL:g} ps, normalised")
    against_density(axes[1], [p for p in points if annihilation_of(p)[1] == 0], linear)
    for axis in axes[:2]:
        axis.legend(frameon=False, fontsize=7)
    return figure


def against_density(axis: Any, points: list[Run], linear: float) -> None:
    """Effective D in several ways."""
    peaks = [peak(p) * PER_CM2 for p in points]
    axis.axhspan(*PUBLISHED, color="0.93", label="published range")
    axis.plot(peaks, [apparent(p, linear) for p in points], "k:", label="$D + R n_0 w_0^2/16$")
    axis.plot(peaks, [p.at("diffusion_total", START) for p in points], "ks", ms=4, label=f"second moments, {START:g} ps")
    fits = [p.at("pl_fit_diffusion", START) for p in points]
    axis.plot(peaks, fits, "o-", color=style.COLOURS[0], label=f"fit to the PL, {START:g} ps")
    means = [mean(p, START, LOCAL) for p in points]
    axis.plot(peaks, means, "^-", color=style.COLOURS[1], label=f"its mean to {LOCAL:g} ps")
    axis.set(xlabel="$n_0$ (cm⁻²)", xscale="log", yscale="log", title="effective D (cm²/s)")


def softened(point: Run, linear: float, time: float) -> float:
    """D(1 + ½ g⟨n⟩/kT) [cm²/s] with ⟨n⟩ = ∫n² dr / ∫n dr, of second moments in local equilibrium."""
    density = point.density(time)
    return linear * (1 + 0.5 * softness(point) * float((density**2).sum() / density.sum()))


def repulsion(runs: Runs) -> tuple[Numbers, Table]:
    """D against density by repulsion, beside what it is in local equilibrium."""
    points = runs["main"].points
    linear, kT, end = points[0].linear, BOLTZMANN * points[0].config.temperature, float(points[0].time[-1])
    rows: Table = [("n₀", "g n₀/kT", *(f"D at {t:g} ps: run, D(1 + ½ g⟨n⟩/kT)" for t in (5, 20, end)))]
    growth = []
    for point in points:
        _, moments, _, _ = diffusion_equation(point, linear, LOCAL)
        width = point.series.data["width_squared_total"]
        grown = width[-1] - width[np.abs(point.time - LOCAL).argmin()]
        growth.append(float(grown / (moments[-1] - moments[0]) - 1))
        pairs = (f"{point.at('diffusion_total', t):.3f}, {softened(point, linear, t):.3f}" for t in (5, 20, end))
        rows.append((label(point), f"{softness(point) * peak(point):.3g}", *pairs))
    dense = points[-1]
    return {
        "linear": number(linear, "cm²/s", "D of few excitons by Chapman–Enskog"),
        "difference": number(100 * max(growth, key=abs), "%", "largest difference of the growth of w² from 10 ps on"),
        "shift": number(softness(dense) * kT * peak(dense), "meV", f"shift in the middle at {label(dense)}"),
        "factor": number(float(dense.at("diffusion_total", 5) / points[0].at("diffusion_total", 5)), "",
                         "D at 5 ps at the highest density over that at the lowest"),
        "dense": number(float(dense.at("diffusion_total", 5)), "cm²/s", f"D at 5 ps at {label(dense)}"),
    }, rows  # fmt: skip


def repulsion_curves(runs: Runs) -> Any:
    """Widths and D against time, profiles; dotted: D(1 + ½ g⟨n⟩/kT), and profiles by the diffusion equation."""
    points = runs["main"].points
    linear, end = points[0].linear, float(points[0].time[-1])
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    for i, point in enumerate(points):
        _, _, _, last = diffusion_equation(point, linear, LOCAL)
        times, x = point.fields.data["time"][2:], point.fields.data["x"]
        axes[0].plot(point.time, point.series.data["width_squared_total"], color=style.COLOURS[i], label=label(point))
        axes[1].plot(point.time, point.series.data["diffusion_total"], color=style.COLOURS[i])
        axes[1].plot(times, [softened(point, linear, t) for t in times], "k:", lw=0.8)
        axes[2].plot(x, profile(point, end) / peak(point), color=style.COLOURS[i])
        axes[2].plot(x, last / peak(point), "k:", lw=0.8)
    axes[0].set(xlabel="time (ps)", title="squared width (µm²)", ylim=(0, None))
    axes[1].set(xlabel="time (ps)", title="D (cm²/s); dotted: $D(1+g⟨n⟩/2kT)$", ylim=(0, 6.5))
    axes[2].set(xlabel="x (µm)", xlim=(-1.5, 1.5), title=f"$n/n_0$ at {end:g} ps")
    axes[0].legend(frameon=False)
    return figure
