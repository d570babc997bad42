"""Pictures of the shipped landscapes from their runs: python inputs/plot_landscapes.py RUN [RUN …]; each as RUN/landscape.png.

A sweep over the strain gives D against strain, one over the reflectivity of edges profiles and losses, one over the temperature
the share of excitons beyond x = 0; a slab E_v(x),
profiles and their motion, a plane its strain and densities.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from mpi4py import MPI
from scipy.special import erf, erfcx

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.plotting import style
from hpcwigner.problem import kinetics, loading
from hpcwigner.problem.sample import Variation
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import Variables, read
from hpcwigner.terms.scattering import ScatteringStage


def sample(run: Path) -> tuple[Array, Array]:
    """E_v [meV] and the equilibrium density of all valleys together normalised to 1, shape (valley, x, y), of a run's input."""
    config = loading.load(run / "input.yaml")
    material, couplings = kinetics.solve(config.material)
    energy = Variation.from_input(config, material, couplings.valleys, kinetics.whole_grid(config)).energy
    weight = np.array([v.degeneracy * v.mass for v in couplings.valleys])[:, None, None]
    density = weight * np.exp(-(energy - energy.min()) / (BOLTZMANN * config.temperature))
    return energy, density / density.sum()


def sweep(run: Path) -> None:
    """D at the end and the shares of the valleys against uniform strain."""
    points = sorted(run.glob("point_*"))
    series: list[Variables] = [read(point / "moments.h5") for point in points]
    strain = read(run / "summary.h5").data["sample_strain"]
    shares = np.array([s.data["population"][-1] / s.data["population"][-1].sum() for s in series])
    diffusion = np.array([s.data["diffusion"][-1] @ share for s, share in zip(series, shares, strict=True)])
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    axes[0].plot(strain, diffusion, "o-", color="k")
    axes[0].set(xlabel="biaxial strain (%)", ylabel="D (cm²/s)", ylim=(0, None), title="diffusion coefficient")
    for i, valley in enumerate(series[0].valleys):
        axes[1].plot(strain, shares[:, i], label=valley, **style.curve(i))
    axes[1].set(xlabel="biaxial strain (%)", title="shares of the valleys")
    axes[1].legend(frameon=False)
    save(figure, run)


def flake(run: Path) -> None:
    """Profiles and losses at the edges against diffusion with a surface velocity, dashed; the first point loses nothing."""
    points = sorted(run.glob("point_*"))
    config = loading.load(points[0] / "input.yaml")
    local = kinetics.load(config, MPI.COMM_SELF)
    stage = ScatteringStage.build(local.rates)
    diffusion = chapman_enskog(local.equilibrium, stage.blocks[1])
    share = local.cells.valley_sum(local.equilibrium.population)
    masses = np.array([valley.mass for valley in local.cells.valleys]) * HBAR2_OVER_M0
    speed = share @ np.sqrt(2 * local.equilibrium.thermal_energy / (np.pi * masses)) * HBAR_OVER_M0
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    closed, full = (read(points[0] / name).data for name in ("series.h5", "fields.h5"))
    time, x = closed["time"][1:], full["x"]
    reflectivities = read(run / "summary.h5").data["space_boundary_reflectivity"]
    for i, (point, reflectivity) in enumerate(zip(points, reflectivities, strict=True)):
        series, fields = read(point / "series.h5").data, read(point / "fields.h5").data
        lost = 1 - series["population_total"][1:] / closed["population_total"][1:]
        axes[1].plot(time, 100 * lost, color=f"C{i}", label=f"R = {reflectivity:g}")
        profile = fields["density"][-1].sum(axis=0).ravel() / full["density"][-1].sum(axis=0).ravel()
        axes[0].plot(x, profile, color=f"C{i}")
        if reflectivity == 1:
            continue
        inverse = (1 - reflectivity) / (1 + reflectivity) * speed / diffusion  # S/D [1/nm]
        reach, depth = np.sqrt(diffusion * time), config.space.length / 2 - 1000 * np.abs(x)
        robin = 2 * reach / np.sqrt(np.pi) - (1 - erfcx(inverse * reach)) / inverse  # [nm] at each edge
        axes[1].plot(time, 200 * robin / config.space.length, color="k", ls="--", lw=0.8)
        scaled = depth / (2 * reach[-1])
        axes[0].plot(x, erf(scaled) + np.exp(-(scaled**2)) * erfcx(scaled + inverse * reach[-1]), color="k", ls="--", lw=0.8)
        life = 1 / np.gradient(-np.log1p(-lost), time)
        expected = 1 / np.gradient(-np.log1p(-2 * robin / config.space.length), time)
        print(f"R = {reflectivity:g}: {100 * lost[-1]:.2f} % lost, diffusion {200 * robin[-1] / config.space.length:.2f} %, "
              f"lifetime {life[-2] / 1000:.3f} and {expected[-2] / 1000:.3f} ns")  # fmt: skip
    axes[0].set(xlabel="x (µm)", ylabel="density / that with R = 1", title=f"{time[-1]:g} ps", ylim=(0, None))
    axes[1].set(xlabel="time (ps)", title="lost at the edges (%)", xlim=(0, time[-1]), ylim=(0, None))
    axes[1].legend(frameon=False)
    stage.shared.free()
    save(figure, run)


def crossing(run: Path) -> None:
    """E(x) of the bright valley, profiles at the end, and the share of all excitons at x > 0, by temperature."""
    points = sorted(run.glob("point_*"))
    temperatures = read(run / "summary.h5").data["temperature"]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for i, (point, temperature) in enumerate(zip(points, temperatures, strict=True)):
        fields = read(point / "fields.h5").data
        density, x = fields["density"].sum(axis=1).reshape(len(fields["time"]), -1), fields["x"]
        look = {"color": pyplot.cm.plasma(0.8 * i / max(len(points) - 1, 1)), "label": f"{temperature:g} K"}
        axes[1].semilogy(x, density[-1], **look)
        axes[2].plot(fields["time"][1:], density[1:, x > 0].sum(axis=1) / density[1:].sum(axis=1), **look)
    axes[0].step(x, fields["landscape"][0].ravel(), where="mid", color="k")
    axes[0].set(xlabel="x (µm)", ylabel="$E_{KK}$ (meV)", title=run.name)
    axes[1].set(xlabel="x (µm)", ylabel="all excitons (1/µm)", title=f"{fields['time'][-1]:.4g} ps", ylim=(1e-4, None))
    axes[2].set(xlabel="time (ps)", title="share at x > 0", ylim=(0, None))
    axes[2].legend(frameon=False)
    save(figure, run)


def slab(run: Path) -> None:
    """E_v(x), profiles at some times beside equilibrium, and how the excitons move, spread or change valley."""
    series, fields = read(run / "series.h5"), read(run / "fields.h5")
    x, time, energy, equilibrium = fields.data["x"], fields.data["time"], *(part[:, :, 0] for part in sample(run))
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for i in range(len(fields.valleys)):
        axes[0].plot(x, energy[i], **style.curve(i))
    axes[0].set(xlabel="x (µm)", ylabel="$E_v$ (meV)", title=style.title(run, series))
    profiles = fields.data["density"].sum(axis=1).reshape(len(time), -1)
    for share in (0.02, 0.1, 0.3, 1.0):
        i = int(np.searchsorted(time, share * time[-1]))
        axes[1].plot(x, profiles[i], color=pyplot.cm.viridis(0.9 * (1 - share**0.4)), label=f"{time[i]:.4g} ps")
    axes[1].plot(x, profiles[-1].sum() * equilibrium.sum(axis=0), color="0.6", ls=":", zorder=0)
    axes[1].set(
        xlabel="x (µm)",
        ylabel=style.label("all excitons", fields.units["density"]),
        title="dotted: equilibrium",
        ylim=(0, 1.1 * profiles[1:].max()),
    )
    axes[1].legend(frameon=False)
    if abs(series.data["mean_position_total"][1, 0]) > 0.05:
        moved(axes[2], series)
    elif profiles[1].min() < 0.5 * profiles[1].max():
        spread(axes[2], series)
    else:
        filled(axes[2], series)
    axes[2].set(xlabel="time (ps)", xlim=(0, time[-1]))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    save(figure, run)


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


def plane(run: Path) -> None:
    """E of the first valley, and density of all excitons early and at the end."""
    fields = read(run / "fields.h5")
    x, y, time, (energy, _) = fields.data["x"], fields.data["y"], fields.data["time"], sample(run)
    densities = fields.data["density"].sum(axis=1)
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    shown = (
        (energy[0], f"$E$ of {fields.valleys[0]} (meV)"),
        *((densities[i], f"{style.label('all excitons', fields.units['density'])}, {time[i]:.4g} ps") for i in (1, -1)),
    )
    for axis, (values, title) in zip(axes, shown, strict=True):
        figure.colorbar(axis.pcolormesh(x, y, values.T, rasterized=True), ax=axis)
        axis.set(xlabel="x (µm)", title=title, aspect="equal")
    axes[0].set(ylabel="y (µm)")
    save(figure, run)


def save(figure: Any, run: Path) -> None:
    """Writes RUN/landscape.png."""
    figure.savefig(run / "landscape.png", dpi=100)
    print(run / "landscape.png")


for name in map(Path, sys.argv[1:]):
    if (name / "sweep.yaml").is_file():
        varied = read(name / "summary.h5").data
        draw = flake if "space_boundary_reflectivity" in varied else crossing if "temperature" in varied else sweep
        draw(name)
    else:
        plane(name) if "y" in read(name / "fields.h5").data else slab(name)
