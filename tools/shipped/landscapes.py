"""Numbers of the shipped landscapes, and their pictures: E_v(r), profiles, and how excitons move."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.plotting import style
from hpcwigner.problem import kinetics
from hpcwigner.problem.sample import Variation
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import Variables
from shipped.catalogue import number
from shipped.diffusion import CM2_PER_S, drift_diffusion
from shipped.homogeneous import Numbers, Runs, Table
from shipped.runs import Run

LOCAL = 10.0
"""Time from which excitons are as warm as the phonons [ps]: diffusion equations begin there."""
NEAR = 0.5
"""Radius around a tip [µm]."""


def sample(run: Run) -> tuple[Array, Array]:
    """E_v [meV] and the equilibrium density of all valleys together normalised to 1, shape (valley, x, y), of a run's input."""
    material, couplings = kinetics.solve(run.config.material)
    energy = Variation.from_input(run.config, material, couplings.valleys, kinetics.whole_grid(run.config)).energy
    weight = np.array([v.degeneracy * v.mass for v in couplings.valleys])[:, None, None]
    density = weight * np.exp(-(energy - energy.min()) / (BOLTZMANN * run.config.temperature))
    return energy, density / density.sum()


def spot(runs: Runs) -> tuple[Numbers, Table]:
    """A strain spot beside which excitons start, at x > 0: positions, velocities and shares."""
    run = runs["main"]
    data, valleys = run.series.data, run.series.valleys
    middle, end = 50.0, run.time[-1]
    i, j = (int(np.abs(run.time - t).argmin()) for t in (middle - 5, middle + 5))
    position, total = data["mean_position"][:, :, 0], data["mean_position_total"][:, 0]
    light = data["pl_mean_position"][:, 0]
    speed = 1e3 * (position[j] - position[i]) / (run.time[j] - run.time[i])
    population = run.at("population", middle)
    first = int(np.abs(run.time - LOCAL).argmin())
    moved = 1e3 * (total[-1] - total[first])
    shares = data["population"] / data["population"].sum(axis=1, keepdims=True).clip(1e-300)
    variance = (shares * np.nan_to_num(0.5 * data["width_squared_axis"][:, :, 0] + position**2)).sum(axis=1) - total**2
    spread = 1e3 * float(np.sqrt(variance[-1] - variance[first]))
    rows: Table = [("", *valleys, "all", "PL")]
    rows.append(("d⟨x⟩/dt at 50 ps, nm/ps", *(f"{v:.2g}" for v in speed),
                 *(f"{1e3 * (x[j] - x[i]) / (run.time[j] - run.time[i]):.2g}" for x in (total, light))))  # fmt: skip
    rows.append(("share at 50 ps, %", *(f"{100 * s:.2g}" for s in population / population.sum()), "100", "–"))
    for t in (2.0, LOCAL, middle, float(end)):
        k = int(np.abs(run.time - t).argmin())
        rows.append((f"⟨x⟩ at {t:g} ps, nm", *(f"{1e3 * x:.3g}" for x in (*position[k], total[k], light[k]))))
    return {
        "dark_speed": number(
            float(speed[valleys.index("KΛ")]), "nm/ps", "d⟨x⟩/dt of KΛ at 50 ps (above 0: away from the tension)"
        ),
        "total_speed": number(
            1e3 * float(total[j] - total[i]) / (run.time[j] - run.time[i]), "nm/ps", "d⟨x⟩/dt of all excitons at 50 ps"
        ),
        "light_moved": number(1e3 * float(light[-1] - light[first]), "nm", f"way of ⟨x⟩ of the PL from 10 to {end:g} ps"),
        "moved": number(float(moved), "nm", f"way of ⟨x⟩ of all excitons from 10 to {end:g} ps"),
        "spread": number(spread, "nm", "spreading of all excitons in that time, root of the growth of their variance"),
        "funnelled": number(float(abs(moved) / spread), "", "way of all excitons over their spreading"),
    }, rows


def tip(runs: Runs) -> tuple[Numbers, Table]:
    """Light on a strained spot of a plane, beside the same without strain."""
    run, flat = runs["main"], runs["unstrained"]
    end = float(run.fields.data["time"][-1])

    def near(run: Run, values: Array) -> float:
        x, y = run.fields.data["x"], run.fields.data["y"]
        inside = np.hypot(x[:, None], y[None]) < NEAR
        return 100 * float(values[inside].sum() / values.sum())

    shares = {name: (near(r, r.density(5)), near(r, r.density(end))) for name, r in (("tip", run), ("flat", flat))}
    light = [near(r, r.fields.data["pl"][-1]) for r in (run, flat)]
    population = run.at("population", end)
    return {
        "near_5": number(shares["tip"][0], "%", f"excitons within {NEAR:g} µm of the tip at 5 ps"),
        "near_end": number(shares["tip"][1], "%", f"excitons within {NEAR:g} µm of the tip at {end:g} ps"),
        "flat_5": number(shares["flat"][0], "%", "without strain at 5 ps"),
        "flat_end": number(shares["flat"][1], "%", f"without strain at {end:g} ps"),
        "gathered": number(shares["tip"][1] - shares["flat"][1], "%", "difference by strain at the end, in % of all excitons"),
        "light": number(light[0], "%", f"PL from within {NEAR:g} µm at the end"),
        "light_flat": number(light[1], "%", "PL from there without strain"),
        "brighter": number(
            float(run.at("pl_total", end) / flat.at("pl_total", end)), "", "PL at the end over that without strain"
        ),
        "bright_share": number(100 * float(population[run.bright] / population.sum()), "%", "share of KK at the end"),
    }, []


def wrinkles(runs: Runs) -> tuple[Numbers, Table]:
    """A period of strain: densities on the crest (x = 0) and in the valley between two."""
    run = runs["main"]
    fields, (energy, equilibrium) = run.fields.data, sample(run)
    crest, valley = int(np.abs(fields["x"]).argmin()), int(np.abs(fields["x"]).argmax())
    density, even, light = run.density(run.time[-1]), equilibrium.sum(axis=0)[:, 0], fields["pl"]
    lowest = energy.min(axis=0)[:, 0]
    return {
        "crest": number(float(density[crest] / density[valley]), "", "density on a crest over that in a valley at the end"),
        "even": number(float(even[crest] / even[valley]), "", "the same in equilibrium"),
        "light": number(float(light[-1][crest] / light[-1][valley]), "", "PL on a crest over that in a valley at the end"),
        "light_early": number(float(light[run.row(2)][crest] / light[run.row(2)][valley]), "", "the same at 2 ps"),
        "ridge": number(float(abs(fields["x"][lowest.argmax()])), "µm", "|x| where the lowest energy is highest"),
        "fewest": number(float(abs(fields["x"][density.argmin()])), "µm", "|x| with the fewest excitons at the end"),
    }, []


def beside_diffusion(run: Run, periodic: bool) -> tuple[Array, Array, Array]:
    """Times, and densities of all excitons (time, x) by drift and diffusion in E(x) from 10 ps on and by the run."""
    fields = run.fields.data
    first = run.row(LOCAL)
    times, density = fields["time"][first:], fields["density"][first:].sum(axis=1)
    energy = sample(run)[0][run.bright, :, 0]
    kT = BOLTZMANN * run.config.temperature
    return times, drift_diffusion(fields["x"], density[0], energy, run.linear / CM2_PER_S, kT, times, periodic), density


def step(runs: Runs) -> tuple[Numbers, Table]:
    """A step of the energy of all valleys: how many are at its foot, beside drift and diffusion."""
    run = runs["main"]
    x = run.fields.data["x"]
    _, expected, density = beside_diffusion(run, periodic=False)
    ours, theirs, start = (1e3 * float(n @ x / n.sum()) for n in (density[-1], expected[-1], density[0]))
    even = sample(run)[1].sum(axis=0)[:, 0]
    foot = x < 0
    return {
        "foot": number(100 * float(density[-1][foot].sum() / density[-1].sum()), "%", "excitons below the step at the end"),
        "foot_even": number(100 * float(even[foot].sum()), "%", "in equilibrium"),
        "position": number(ours, "nm", "mean position at the end"),
        "expected": number(theirs, "nm", "by drift and diffusion in E(x)"),
        "difference": number(
            100 * (ours - theirs) / (theirs - start),
            "%",
            "difference of the mean position from it, relative to the way from 10 ps on",
        ),
        "linear": number(run.linear, "cm²/s", "D by Chapman–Enskog"),
    }, []


def disorder(runs: Runs) -> tuple[Numbers, Table]:
    """A random landscape: D along x, beside drift and diffusion, and what it tends to."""
    run = runs["main"]
    x = run.fields.data["x"]
    _, expected, density = beside_diffusion(run, periodic=True)

    def variance(n: Array) -> float:
        return float(n @ x**2 / n.sum() - (n @ x / n.sum()) ** 2)

    grown, theirs = (variance(n[-1]) - variance(density[0]) for n in (density, expected))
    scaled = sample(run)[0][run.bright, :, 0] / (BOLTZMANN * run.config.temperature)
    limit = 1 / (np.exp(scaled).mean() * np.exp(-scaled).mean())
    population = run.series.data["population"]
    total = (population * np.nan_to_num(run.series.data["diffusion_axis"][:, :, 0])).sum(axis=1) / population.sum(axis=1).clip(
        1e-9
    )
    return {
        "early": number(float(total[np.abs(run.time - 5).argmin()]), "cm²/s", "D along x of all excitons at 5 ps"),
        "late": number(float(total[-1]), "cm²/s", "D along x at the end"),
        "linear": number(run.linear, "cm²/s", "D without disorder by Chapman–Enskog"),
        "limit": number(float(limit) * run.linear, "cm²/s", "D over long distances, D/⟨exp(E/kT)⟩⟨exp(−E/kT)⟩"),
        "difference": number(
            100 * (grown / theirs - 1), "%", "growth of the variance from 10 ps on relative to drift and diffusion"
        ),
    }, []


def trap(runs: Runs) -> tuple[Numbers, Table]:
    """A parabolic trap: ⟨x²⟩ = kT/k in equilibrium."""
    run = runs["main"]
    thermal = 0.5 * run.series.data["width_squared_axis"][:, 1, 0]
    expected = BOLTZMANN * run.config.temperature / 100
    total, light = run.series.data["mean_position_total"][:, 0], run.series.data["pl_mean_position"][:, 0]
    start = np.nanmax(np.abs(total[run.time >= 1]))
    arrived, light_arrived = (float(run.time[np.abs(position) > start / np.e][-1]) for position in (total, light))
    return {
        "variance": number(float(thermal[-1]), "µm²", "⟨x²⟩ of KK' at the end"),
        "expected": number(expected, "µm²", "kT/k"),
        "difference": number(100 * float(thermal[-1] / expected - 1), "%", "difference of ⟨x²⟩ from kT/k"),
        "arrived": number(arrived, "ps", "time until which ⟨x⟩ of all excitons is above 1/e of where they start"),
        "light_arrived": number(light_arrived, "ps", "the same of the PL"),
    }, []


def slab(runs: Runs) -> Any:
    """E_v(x), profiles at some times beside equilibrium, and how the excitons move, spread or change valley."""
    run = runs["main"]
    series, fields = run.series, run.fields
    x, time, energy, equilibrium = fields.data["x"], fields.data["time"], *(part[:, :, 0] for part in sample(run))
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    for i in range(len(fields.valleys)):
        axes[0].plot(x, energy[i], **style.curve(i))
    axes[0].set(xlabel="x (µm)", ylabel="$E_v$ (meV)", title=style.title(run.directory, series))
    profiles = fields.data["density"].sum(axis=1)
    for i, part in enumerate((0.02, 0.1, 0.3, 1.0)):
        row = int(np.searchsorted(time, part * time[-1]))
        axes[1].plot(x, profiles[row], color=style.COLOURS[i + 1], label=f"{time[row]:.4g} ps")
    axes[1].plot(x, profiles[-1].sum() * equilibrium.sum(axis=0), color="0.6", ls=":", zorder=0)
    label = style.label("all excitons", fields.units["density"])
    axes[1].set(xlabel="x (µm)", ylabel=label, title="dotted: equilibrium", ylim=(0, 1.1 * profiles[1:].max()))
    axes[1].legend(frameon=False)
    if abs(series.data["mean_position_total"][1, 0]) > 0.05:
        moved(axes[2], series)
    elif profiles[1].min() < 0.5 * profiles[1].max():
        spread(axes[2], series)
    else:
        filled(axes[2], series)
    axes[2].set(xlabel="time (ps)", xlim=(0, time[-1]))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def moved(axis: Any, series: Variables) -> None:
    """Mean positions of the valleys, of all excitons and of the PL."""
    time, data = series.data["time"], series.data
    for i, valley in enumerate(series.valleys):
        axis.plot(time, data["mean_position"][:, i, 0], label=valley, **style.curve(i))
    axis.plot(time, data["mean_position_total"][:, 0], color="k", label="all")
    axis.plot(time, data["pl_mean_position"][:, 0], color="k", ls=":", label="PL")
    axis.set(title="mean position (µm)")


def spread(axis: Any, series: Variables) -> None:
    """Diffusion coefficients of the valleys along x."""
    for i, valley in enumerate(series.valleys):
        axis.plot(series.data["time"], series.data["diffusion_axis"][:, i, 0], label=valley, **style.curve(i))
    axis.set(title="D along x (cm²/s)", ylim=(0, 4))


def filled(axis: Any, series: Variables) -> None:
    """Shares of the valleys."""
    population = series.data["population"][1:]  # Nothing is there at t = 0
    for i, valley in enumerate(series.valleys):
        axis.plot(series.data["time"][1:], population[:, i] / population.sum(axis=1), label=valley, **style.curve(i))
    axis.set(title="shares of the valleys", ylim=(0, None))


def plane(runs: Runs) -> Any:
    """E of the first valley, and density of all excitons early and at the end."""
    run = runs["main"]
    fields = run.fields
    x, y, time, (energy, _) = fields.data["x"], fields.data["y"], fields.data["time"], sample(run)
    densities = fields.data["density"].sum(axis=1)
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    unit = style.label("all excitons", fields.units["density"])
    shown = ((energy[0], f"$E$ of {fields.valleys[0]} (meV)"), *((densities[i], f"{unit}, {time[i]:.4g} ps") for i in (1, -1)))
    for axis, (values, title) in zip(axes, shown, strict=True):
        figure.colorbar(axis.pcolormesh(x, y, values.T, rasterized=True), ax=axis)
        axis.set(xlabel="x (µm)", title=title, aspect="equal")
    axes[0].set(ylabel="y (µm)")
    return figure
