"""Pictures of the shipped density effects, and the numbers of inputs/README.md: python inputs/plot_density.py RUN [RUN …].

Each as RUN/density.png. Beside every run stands the diffusion equation ∂t n = ∇·[D(1 + g n/kT)∇n] − R n² − k n from
the run's density at an early time on, D by Chapman–Enskog from the run's rates, k from its light and lifetime: nothing is fitted.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from mpi4py import MPI
from scipy.integrate import solve_ivp
from scipy.interpolate import PchipInterpolator
from scipy.optimize import curve_fit

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.momentum.rates import generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.plotting import style
from hpcwigner.problem import kinetics, loading
from hpcwigner.problem.blocks import Annihilation
from hpcwigner.problem.config import Config
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import read

CM2_PER_S = 1e4  # Of 1 µm²/ps
PER_CM2 = 1e8  # Of 1/µm²
START, EARLY = 1.0, 10.0  # Excitons are formed; excitons are as warm as the phonons also at 77 K [ps]
FITTED = "pl_fit_width_squared"
RING = 0.01  # Part by which a ring must exceed the density at the origin to be seen
PUBLISHED = (0.3, 30.0)  # Smallest and largest D of Kulig et al., PRL 120, 207401 (2018) [cm²/s]
MEASURED = 3.0  # Of the few meV by which interlayer excitons shift near their Mott density (arXiv:2310.18328, abstract) [meV]
LINEAR = 10.0  # Largest linear D of Zipfel et al., PRB 101, 115430 (2020), in hBN [cm²/s]


@dataclasses.dataclass(frozen=True)
class Point:
    """A finished run of a sweep, in µm, ps and meV."""

    config: Config
    time: Array
    data: dict[str, Array]
    fields: dict[str, Array]

    @classmethod
    def of(cls, directory: Path) -> "Point":
        series, fields = read(directory / "series.h5").data, read(directory / "fields.h5").data
        return cls(loading.load(directory / "input.yaml"), series["time"], series, fields)

    @property
    def plane(self) -> bool:
        return self.config.space.dimensions == 2

    @property
    def peak(self) -> float:
        """Density in the middle that the pulse forms [1/µm²]."""
        (pulse,) = self.config.pulses.values()
        assert pulse.density is not None
        return 1e6 * pulse.density

    @property
    def initial(self) -> float:
        """w² of what the pulse forms [µm²]."""
        (pulse,) = self.config.pulses.values()
        return 1e-6 * pulse.spot_fwhm**2 / (8 * np.log(2))

    @property
    def annihilation(self) -> tuple[float, float, float]:
        """R [µm²/ps], the part that comes back hot and its energy [meV]."""
        assert self.config.interaction is not None
        given = self.config.interaction.annihilation
        if isinstance(given, Annihilation):
            return 1e-6 * given.rate, given.hot, given.above
        return 1e-6 * (given or 0.0), 0.0, 0.0

    @property
    def softness(self) -> float:
        """g/kT [µm²]."""
        assert self.config.interaction is not None
        return 1e-6 * (self.config.interaction.repulsion or 0.0) / (BOLTZMANN * self.config.temperature)

    @property
    def label(self) -> str:
        """Density in the middle, and whether excitons come back hot."""
        mantissa, exponent = f"{self.peak * PER_CM2:.0e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{f'{mantissa}·' * (mantissa != '1')}10{power} cm⁻²{', hot' * (self.annihilation[1] > 0)}"

    def at(self, name: str, time: float) -> float:
        """A total at a time of output."""
        return float(self.data[name][np.abs(self.time - time).argmin()])

    def mean(self, name: str, begin: float, end: float) -> float:
        """D [cm²/s] between two times from the squared width `name`."""
        return CM2_PER_S * (self.at(name, end) - self.at(name, begin)) / (4 * (end - begin))

    def profile(self, time: float) -> Array:
        """Density of all excitons along x, in a plane on y = 0 [1/µm²]."""
        density = self.fields["density"].sum(axis=1)[np.abs(self.fields["time"] - time).argmin()]
        return style.central_line(density) if self.plane else density

    def linear(self) -> float:
        """D of few excitons [cm²/s]: Chapman–Enskog from the rates of the run."""
        rates = kinetics.load(self.config, MPI.COMM_SELF).rates
        found = chapman_enskog(rates.equilibrium, generator(rates.intravalley + rates.intervalley)[1])
        rates.free()
        return 1e-6 * CM2_PER_S * found


def diffusion_equation(point: Point, linear: float, begin: float, cells: int = 400) -> tuple[Array, Array, Array, Array]:
    """Times [ps], w² by second moments and of a fitted Gaussian [µm²], and the last profile along x [1/µm²]."""
    x = point.fields["x"]
    spacing = (x[-1] + 0.5 * (x[1] - x[0])) / cells
    r, faces = spacing * (np.arange(cells) + 0.5), spacing * np.arange(1, cells)
    weight, edge = (r, faces) if point.plane else (np.ones(cells), np.ones(cells - 1))
    right = x > 0
    floor = 1e-9 * point.peak  # for the logarithm, which is smooth in r²
    start = np.exp(PchipInterpolator(x[right] ** 2, np.log(np.maximum(point.profile(begin)[right], floor)))(r**2))
    rate, softness, diffusivity = point.annihilation[0], point.softness, linear / CM2_PER_S
    loss = point.data["pl_total"][-1] / point.data["population_total"][-1]
    loss += 0.0 if point.config.recombination is None else 1 / point.config.recombination.lifetime  # type: ignore[operator]

    def change(_: float, n: Array) -> Array:
        flux = -edge * diffusivity * (1 + 0.5 * softness * (n[1:] + n[:-1])) * np.diff(n) / spacing
        return -np.diff(np.concatenate([[0.0], flux, [0.0]])) / (weight * spacing) - rate * n**2 - loss * n

    times = point.time[point.time >= begin - 1e-9]
    solved = solve_ivp(change, times[[0, -1]], start, "LSODA", times, rtol=1e-7, atol=floor, lband=1, uband=1)
    counted = 1 if point.plane else 2  # A slab counts 2x²
    moments = counted * (weight * r**2) @ solved.y / (weight @ solved.y)
    profiles = np.array([np.interp(np.abs(x), r, n) for n in solved.y.T])
    fitted = np.array([curve_fit(gaussian, x, p / p.max(), (1.0, w))[0][1] for p, w in zip(profiles, moments, strict=True)])
    return times, moments, fitted, profiles[-1]


def gaussian(x: Array, height: float, width_squared: float) -> Array:
    return height * np.exp(-(x**2) / width_squared)


def rate(times: Array, width_squared: Array) -> Array:
    """¼ ∂t w² [cm²/s]."""
    return 0.25 * CM2_PER_S * np.gradient(width_squared, times)


def annihilation(points: list[Point], linear: float) -> Any:
    """D against time and density, profiles; prints the numbers."""
    end = points[0].time[-1]
    print(f"Chapman–Enskog D = {linear:.3f} cm²/s, R = {CM2_PER_S * points[0].annihilation[0]:.3g} cm²/s; all D in cm²/s")
    print(f"At {START:g} ps by second moments (D + R n0 w0²/16), by fits to the PL; mean of these to {EARLY:g}, to {end:g} ps:")
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for i, point in enumerate(points):
        late = point.time >= START - 1e-9
        times, moments, fitted, _ = diffusion_equation(point, linear, START)
        run, equation = point.data["fit_diffusion"][late], rate(times, fitted)
        off = (rate(times, moments) / point.data["diffusion_total"][late] - 1, equation / run - 1)
        print(
            f"{point.label:16} {point.at('diffusion_total', START):.3f} ({apparent(point, linear):.3f}), "
            f"{point.at('pl_fit_diffusion', START):.3f}; {point.mean(FITTED, START, EARLY):.2f}, "
            f"{point.mean(FITTED, START, end):.2f}. "
            f"Diffusion equation off by {' and '.join(f'{100 * np.abs(o[1:-1]).max():.1f}' for o in off)} %"
        )
        if point.annihilation[1] > 0:
            warm(point)
            for same in (p for p in points if p.peak == point.peak and p.annihilation[1] == 0):
                change = np.abs(run / same.data["fit_diffusion"][late] - 1).max()
                print(f"  D of the fits changes by {100 * change:.1f} %")
            dots = np.searchsorted(times, np.geomspace(START, end, 12) - 1e-9)
            axes[0].plot(times[dots], run[dots], "k.", ms=4)
            continue
        axes[0].plot(times, run, color=style.COLOURS[i], label=point.label)
        axes[0].plot(times[1:-1], equation[1:-1], "k:", lw=0.8)
        axes[2].plot(point.fields["x"], point.profile(EARLY) / point.profile(EARLY).max(), color=style.COLOURS[i])
    title = "D of fits (cm²/s); dots: hot"
    axes[0].set(xlabel="time (ps)", xscale="log", yscale="log", title=title)
    axes[2].set(xlabel="x (µm)", xlim=(-1.2, 1.2), title=f"density at {EARLY:g} ps, normalised")
    cold = [p for p in points if p.annihilation[1] == 0]
    if cold:
        against_density(axes[1], cold, linear)
        verdicts(cold, max(float(p.data["ring_contrast"].max()) for p in points), linear)
        for axis in axes[:2]:
            axis.legend(frameon=False, fontsize=7)
    return figure


def against_density(axis: Any, points: list[Point], linear: float) -> None:
    """Effective D in several ways."""
    peaks = [p.peak * PER_CM2 for p in points]
    axis.axhspan(*PUBLISHED, color="0.93", label="published range")
    axis.plot(peaks, [apparent(p, linear) for p in points], "k:", label="$D + R n_0 w_0^2/16$")
    axis.plot(peaks, [p.at("diffusion_total", START) for p in points], "ks", ms=4, label=f"second moments, {START:g} ps")
    axis.plot(
        peaks, [p.at("pl_fit_diffusion", START) for p in points], "o-", color="#d55e00", label=f"fit to the PL, {START:g} ps"
    )
    axis.plot(peaks, [p.mean(FITTED, START, EARLY) for p in points], "^-", color="#0072b2", label=f"its mean to {EARLY:g} ps")
    axis.set(xlabel="$n_0$ (cm⁻²)", xscale="log", yscale="log", title="effective D (cm²/s)")


def verdicts(points: list[Point], ring: float, linear: float) -> None:
    """What is published, and whether it is found."""
    means = [point.mean(FITTED, START, EARLY) for point in points]
    for point, mean in list(zip(points, means, strict=True))[-2:]:
        verdict(f"D above {PUBLISHED[1]:g} cm²/s", mean > PUBLISHED[1], f"{mean:.1f} at {point.label}")
    rise = PUBLISHED[1] / PUBLISHED[0]
    verdict(f"D rises by a factor of more than {rise:.0f}", means[-1] > rise * means[0], f"{means[-1] / means[0]:.0f}")
    verdict(f"D = {PUBLISHED[0]:g} cm²/s at low density", abs(means[0] / PUBLISHED[0] - 1) < 0.5, f"{means[0]:.2f}")
    verdict(f"linear D up to {LINEAR:g} cm²/s in hBN", abs(linear / LINEAR - 1) < 0.5, f"{linear:.2f}")
    verdict(f"rings (above {RING:g} of the density at the origin)", ring > RING, f"{ring:.1e}")


def apparent(point: Point, linear: float) -> float:
    """D + R n0 w0²/16 [cm²/s], of second moments of a Gaussian spot before many have annihilated."""
    return linear + CM2_PER_S * point.annihilation[0] * point.peak * point.initial / 16


def warm(point: Point) -> None:
    """Prints how warm excitons are and how fast they cool."""
    r, hot, above = point.annihilation
    i, j = (int(np.abs(times - START).argmin()) for times in (point.time, point.fields["time"]))
    excess = point.data["temperature"][i] - point.config.temperature
    density, x = point.fields["density"][j].sum(axis=0), point.fields["x"]
    power = hot * above * r * (density**2).sum() * (x[1] - x[0]) ** 2
    energy = BOLTZMANN * (point.data["population"][i] * excess).sum()
    print(
        f"  at {START:g} ps warmer than phonons by {', '.join(f'{k:.1f}' for k in excess)} K, which is {energy / power:.3f} ps "
        f"of the power; largest ring {point.data['ring_contrast'].max():.1e}"
    )


def verdict(statement: str, holds: bool, found: str) -> None:
    print(f"published: {statement}; found: {found}: {'reproduced' if holds else 'FAILS'}")


def repulsion(points: list[Point], linear: float) -> Any:
    """Widths and D against time, profiles; prints the numbers."""
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    kT, end = BOLTZMANN * points[0].config.temperature, points[0].time[-1]
    print(f"Chapman–Enskog D = {linear:.3f} cm²/s, g = {points[0].softness * kT * 1e-8:.3g} meV cm², kT = {kT:.2f} meV")
    print("n0 (cm⁻²)     g n0/kT    D(1 + ½ g⟨n⟩/kT) and D of the run at 5, 20 and the end; w² grows; diffusion equation off by")
    for i, point in enumerate(points):
        _, moments, _, last = diffusion_equation(point, linear, EARLY)
        width = point.data["width_squared_total"]
        axes[0].plot(point.time, width, color=style.COLOURS[i], label=point.label)
        axes[1].plot(point.time, point.data["diffusion_total"], color=style.COLOURS[i])
        axes[1].plot(point.fields["time"][2:], [softened(point, linear, t) for t in point.fields["time"][2:]], "k:", lw=0.8)
        axes[2].plot(point.fields["x"], point.profile(end) / point.peak, color=style.COLOURS[i])
        axes[2].plot(point.fields["x"], last / point.peak, "k:", lw=0.8)
        pairs = "  ".join(f"{softened(point, linear, t):.3f} {point.at('diffusion_total', t):.3f}" for t in (5, 20, end))
        off = width[-1] - width[np.abs(point.time - EARLY).argmin()] - (moments[-1] - moments[0])
        print(
            f"{point.label:16} {point.softness * point.peak:6.3f}   {pairs}   {width[-1] - point.initial:.4f} µm²   "
            f"{100 * off / (moments[-1] - moments[0]):+.1f} % from {EARLY:g} ps on"
        )
    rise = MEASURED / (2 * np.sqrt(2) * kT)
    print(f"shift in the middle at {points[-1].label}: {points[-1].softness * kT * points[-1].peak:.1f} meV; ", end="")
    print(f"with {MEASURED:g} meV D would rise by {100 * rise:.0f} %")
    axes[0].set(xlabel="time (ps)", title="squared width (µm²)", ylim=(0, None))
    axes[1].set(xlabel="time (ps)", title="D (cm²/s); dotted: $D(1+g⟨n⟩/2kT)$", ylim=(0, 6.5))
    axes[2].set(xlabel="x (µm)", xlim=(-1.5, 1.5), title=f"$n/n_0$ at {end:g} ps")
    axes[0].legend(frameon=False)
    return figure


def softened(point: Point, linear: float, time: float) -> float:
    """D(1 + ½ g⟨n⟩/kT) [cm²/s] with ⟨n⟩ = ∫n² dr / ∫n dr, of second moments in local equilibrium."""
    density = point.fields["density"].sum(axis=1)[np.abs(point.fields["time"] - time).argmin()]
    return linear * (1 + 0.5 * point.softness * float((density**2).sum() / density.sum()))


for name in map(Path, sys.argv[1:]):
    shown = [Point.of(directory) for directory in sorted(name.glob("point_*"))]
    drawn = (annihilation if shown[0].annihilation[0] else repulsion)(shown, shown[0].linear())
    drawn.savefig(name / "density.png", dpi=100)
    print(name / "density.png")
