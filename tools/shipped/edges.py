"""Numbers and pictures of a flake whose edges absorb, and of a sharp junction."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import HBAR2_OVER_M0, HBAR_OVER_M0, UM
from hpcwigner.plotting import style
from hpcwigner.problem import kinetics
from hpcwigner.runtime.arrays import Array
from shipped.catalogue import number
from shipped.diffusion import CM2_PER_S, robin_loss, robin_profile
from shipped.homogeneous import Numbers, Runs, Table
from shipped.runs import Run


def wall_speed(run: Run) -> float:
    """Mean ⟨|v_x|⟩ [µm/ps] of a thermal gas: S = (1 − R)/(1 + R) √(2kT/πM), averaged over the valleys, is what a wall absorbs."""
    local = kinetics.load(run.config, MPI.COMM_SELF)
    share = local.cells.valley_sum(local.equilibrium.population)
    masses = np.array([valley.mass for valley in local.cells.valleys]) * HBAR2_OVER_M0
    speed = share @ np.sqrt(2 * local.equilibrium.thermal_energy / (np.pi * masses)) * HBAR_OVER_M0
    local.rates.free()
    return float(UM * speed / share.sum())


def _losses(runs: Runs) -> list[tuple[float, Run, Array, float]]:
    """Reflectivity, run, part lost at the edges against time, surface velocity [µm/ps] of each point; the first loses nothing."""
    sweep = runs["main"]
    closed = sweep.points[0]
    speed = wall_speed(closed)
    losses = []
    for point, reflectivity in zip(sweep.points, sweep.varied("space.boundary.reflectivity"), strict=True):
        lost = 1 - point.series.data["population_total"][1:] / closed.series.data["population_total"][1:]
        losses.append((float(reflectivity), point, np.asarray(lost), float((1 - reflectivity) / (1 + reflectivity) * speed)))
    return losses


def flake(runs: Runs) -> tuple[Numbers, Table]:
    """Losses at the edges beside diffusion with Robin's condition."""
    closed = runs["main"].points[0]
    length, D, time = UM * closed.config.space.length, closed.linear / CM2_PER_S, closed.time[1:]
    rows: Table = [("R", "lost (%)", "by diffusion (%)", "lifetime at the end (ns)", "by diffusion (ns)")]
    off = []
    for reflectivity, _, lost, velocity in _losses(runs)[1:]:
        robin = 2 * robin_loss(time, D, velocity) / length
        lives = [1e-3 / np.gradient(-np.log1p(-part), time)[-2] for part in (lost, robin)]
        rows.append((f"{reflectivity:g}", f"{100 * lost[-1]:.2f}", f"{100 * robin[-1]:.2f}", *(f"{life:.2f}" for life in lives)))
        off.append(100 * (lost[-1] / robin[-1] - 1))
    return {
        "difference": number(float(max(off, key=abs)), "%", "largest difference of the loss from diffusion at the end"),
        "linear": number(closed.linear, "cm²/s", "D by Chapman–Enskog"),
        "speed": number(1e3 * wall_speed(closed), "nm/ps", "S of an edge with R = 0"),
        "final": number(1e-3 * length**2 / (np.pi**2 * D), "ns", "lifetime at long times, L²/π²D"),
    }, rows


def flake_curves(runs: Runs) -> Any:
    """Profiles and losses at the edges; dashed: diffusion with a surface velocity."""
    losses = _losses(runs)
    closed = losses[0][1]
    D, time, x = closed.linear / CM2_PER_S, closed.time[1:], closed.fields.data["x"]
    length, end = UM * closed.config.space.length, float(closed.time[-1])
    figure, axes = style.subplots(1, 2, figsize=(8, 3.2))
    for i, (reflectivity, point, lost, velocity) in enumerate(losses):
        axes[1].plot(time, 100 * lost, color=style.COLOURS[i], label=f"R = {reflectivity:g}")
        axes[0].plot(x, point.density(end) / closed.density(end), color=style.COLOURS[i])
        if velocity > 0:
            axes[1].plot(time, 200 * robin_loss(time, D, velocity) / length, color="k", ls="--", lw=0.8)
            axes[0].plot(x, robin_profile(length / 2 - np.abs(x), end, D, velocity), color="k", ls="--", lw=0.8)
    axes[0].set(xlabel="x (µm)", ylabel="density / that with R = 1", title=f"{end:g} ps", ylim=(0, None))
    axes[1].set(xlabel="time (ps)", title="lost at the edges (%)", xlim=(0, end), ylim=(0, None))
    axes[1].legend(frameon=False)
    return figure


def _beyond(run: Run) -> Array:
    """Share of all excitons at x > 0, against the times of fields.h5 from the second on."""
    density = run.fields.data["density"][1:].sum(axis=1)
    return np.asarray(density[:, run.fields.data["x"] > 0].sum(axis=1) / density.sum(axis=1))


def junction(runs: Runs) -> tuple[Numbers, Table]:
    """Excitons that go down a step, and from below up, by temperature."""
    down, below = runs["main"], runs["below"]
    kelvin = down.varied("temperature")
    rows: Table = [
        ("T (K)", "D by Chapman–Enskog (cm²/s)", "came down (%)", "started below, now above (%)", "of these above at first (%)")
    ]
    came, climbed = [], []
    for temperature, a, b in zip(kelvin, down.points, below.points, strict=True):
        share, above = 100 * _beyond(a), 100 * (1 - _beyond(b))
        came.append(share[-1])
        climbed.append(above[-1] - above[0])
        rows.append((f"{temperature:g}", f"{a.linear:.3g}", f"{share[-1]:.2f}", f"{above[-1]:.2f}", f"{above[0]:.2f}"))
    return {
        "climbed": number(float(max(climbed)), "%", "largest growth of the share above the step, of those that start below"),
        "came": number(float(min(came)), "%", "smallest share of those that start above that is below at the end"),
        "cold_over_warm": number(
            float(came[0] / came[-1]), "", f"share that came down at {kelvin[0]:g} K over that at {kelvin[-1]:g} K"
        ),
    }, rows


def crossing(runs: Runs) -> Any:
    """E(x) of the bright valley, profiles at the end, and the share of all excitons at x > 0, by temperature."""
    run = runs["main"]
    figure, axes = style.subplots(1, 3, figsize=(11, 3.2))
    for i, (point, temperature) in enumerate(zip(run.points, run.varied("temperature"), strict=True)):
        fields = point.fields.data
        look = {**style.curve(i), "label": f"{temperature:g} K"}
        axes[1].semilogy(fields["x"], point.density(fields["time"][-1]), **look)
        axes[2].plot(fields["time"][1:], _beyond(point), **look)
    axes[0].step(fields["x"], fields["landscape"][point.bright].ravel(), where="mid", color="k")
    axes[0].set(xlabel="x (µm)", ylabel="$E_{KK}$ (meV)", title=run.directory.name)
    axes[1].set(xlabel="x (µm)", ylabel="all excitons (1/µm)", title=f"{fields['time'][-1]:.4g} ps", ylim=(1e-4, None))
    axes[2].set(xlabel="time (ps)", title="share at x > 0", ylim=(0, None))
    axes[2].legend(frameon=False)
    return figure
