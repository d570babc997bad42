# ruff: noqa: NPY002  (numba knows the legacy generators only)
"""Kinetic Monte Carlo of single excitons in a slab with a landscape E_v(x): transport without a grid, without harmonics.

An exciton has a place x, a velocity (v_x, v_y), a valley. It flies under the force −dE_v/dx (velocity Verlet) and scatters
with the package's rates Γ_m[to, from], constant within an energy cell: into cell j with the probability Γ_0[j, i]/Σ_k Γ_0[k, i],
at the same place within it, turned by an angle with the harmonics Γ_m[j, i]/Γ_0[j, i]. Jumps in energy are those of the cells,
and rates in detailed balance have exactly the Boltzmann distribution as their equilibrium. Free flights end at a rate above
those of the cells around; a fraction of these events scatters (null collisions), so that scattering has no time step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from numba import njit
from numpy.typing import NDArray
from particle_series import Particles

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array

Integers = NDArray[np.int64]
EDGES = np.pi * np.sin(np.linspace(0, np.pi / 2, 49)) ** 2
"""Of the bins of the angle between the directions before and after a collision, from 0 to π, narrow at both ends."""


class Landscape(NamedTuple):
    """E_v(x) and the force on a uniform grid, linear between its points; beyond them both stay as at the last one."""

    first: float  # [nm]
    spacing: float  # [nm]
    energy: Array  # Added to the valley's bottom [meV], shape (valley, point)
    force: Array  # [meV/nm], shape (valley, point)
    node: Array  # Place among the nodes of the rates, which are interpolated linearly, shape (point,)


class Collisions(NamedTuple):
    """The possible collisions of each cell, one after the other: those of cell i are first[node, i] … first[node, i + 1] − 1."""

    rate: Array  # Of all collisions [1/ps], shape (node, cell)
    first: Integers  # Shape (node, cell + 1)
    target: Integers  # Cell after the collision, shape (collision,)
    chance: Array  # Cumulative within a cell, shape (collision,)
    turned: Array  # Probability that the angle lies below the end of each bin, shape (collision, bin)


class Momentum(NamedTuple):
    """The energy cells."""

    mass: Array  # M [meV ps²/nm²], shape (valley,)
    width: Array  # [meV], shape (valley,)
    begin: Integers  # First cell of each valley and the number of all, shape (valley + 1,)
    thermal: float  # kT [meV]
    most: Array  # Largest rate of collisions in a cell and its neighbours, at all nodes [1/ps], shape (cell,)


class Start(NamedTuple):
    """Excitons when they appear, each of shape (exciton,)."""

    time: Array  # [ps]
    x: Array  # [nm]
    valley: Integers
    kinetic: Array  # [meV]
    angle: Array  # Of the velocity with the x axis


def collisions(equilibrium: Equilibrium, nodes: Sequence[Array]) -> Collisions:
    """From in-scattering rates Γ_m[to, from] of each node, shape (m, cell, cell) [1/ps]."""
    rates, first, targets, chances, turned, total = [], [], [], [], [], 0
    for given in nodes:
        gamma = possible(given, equilibrium.velocity)
        source, target = np.nonzero(gamma[0].T > 0)
        rate = gamma[0].sum(axis=0)
        share = gamma[0][target, source] / rate[source]
        ends = np.searchsorted(source, np.arange(len(rate) + 1))
        sums = np.concatenate(([0.0], np.cumsum(share)))
        rates.append(rate)
        first.append(total + ends)
        targets.append(target)
        chances.append(sums[1:] - sums[ends[source]])
        turned.append(_turned(gamma[:, target, source] / gamma[0][target, source]))
        total += len(target)
    return Collisions(np.array(rates), np.array(first), np.concatenate(targets), np.concatenate(chances), np.concatenate(turned))


def possible(gamma: Array, velocity: Array) -> Array:
    """Rates that are probabilities, |Γ_1| ≤ Γ_0, with the same momentum Σ_j v_j Γ_1[j, i] after a collision from each cell.

    The package's correction of the energy diffusion breaks this for a percent of all collisions, between neighbouring cells. What
    is too much there goes to collisions within the cell.
    """
    gamma, diagonal = gamma.copy(), np.arange(gamma.shape[1])
    limit = gamma[0] * np.abs(bin_cosines()[[0, -1]]).min()
    excess = gamma[1] - np.clip(gamma[1], -limit, limit)
    excess[diagonal, diagonal] = 0.0
    gamma[1] -= excess
    gamma[1][diagonal, diagonal] += velocity @ excess / velocity
    return gamma


def bin_cosines() -> Array:
    """Mean of cos θ in each bin, shape (bin,)."""
    return np.diff(np.sin(EDGES)) / np.diff(EDGES)


def _turned(harmonics: Array) -> Array:
    """Cumulative probabilities of the bins for ⟨cos mθ⟩, shape (m, collision).

    The series is truncated, so it may be negative somewhere. There it is set to zero, and the result times exp(aθ-cosine) has the
    given ⟨cos θ⟩, which is what mobility depends on.
    """
    m, cosine = np.arange(1, len(harmonics)), bin_cosines()
    p = np.diff(EDGES) / np.pi + (harmonics[1:].T / m) @ np.diff(np.sin(np.outer(m, EDGES)), axis=1) * 2 / np.pi
    p = np.maximum(p, 1e-9)
    low, high = np.full((2, len(p)), [[-1e6], [1e6]])
    for _ in range(60):
        middle = 0.5 * (low + high)
        tilted = p * np.exp(middle[:, None] * cosine - np.abs(middle)[:, None] * cosine[0])
        above = (tilted @ cosine) > harmonics[1] * tilted.sum(axis=1)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    sums = np.cumsum(tilted, axis=1)
    return sums / sums[:, -1:]


@njit(cache=True)
def _interpolated(values: Array, place: float) -> float:
    place = min(max(place, 0.0), len(values) - 1.0)
    i = min(int(place), len(values) - 2)
    return values[i] + (place - i) * (values[i + 1] - values[i])


@njit(cache=True)
def _cell(kinetic, v, momentum):  # type: ignore[no-untyped-def]
    return min(momentum.begin[v] + int(kinetic / momentum.width[v]), momentum.begin[v + 1] - 1)


@njit(cache=True)
def _scatter(cell, node, v, vx, vy, momentum, table):  # type: ignore[no-untyped-def]
    """Valley and velocity after a collision of an exciton in a cell, at the same quantile of the Boltzmann weight within it."""
    above = 0.5 * momentum.mass[v] * (vx * vx + vy * vy) - (cell - momentum.begin[v]) * momentum.width[v]
    below = np.expm1(-min(above, momentum.width[v]) / momentum.thermal) / np.expm1(-momentum.width[v] / momentum.thermal)
    begin, end = table.first[node, cell], table.first[node, cell + 1]
    k = min(begin + np.searchsorted(table.chance[begin:end], np.random.random(), side="right"), end - 1)
    v = np.searchsorted(momentum.begin, table.target[k], side="right") - 1
    within = -np.log1p(below * np.expm1(-momentum.width[v] / momentum.thermal)) * momentum.thermal
    speed = np.sqrt(2 / momentum.mass[v] * ((table.target[k] - momentum.begin[v]) * momentum.width[v] + within))
    turned, u = table.turned[k], np.random.random()
    b = min(np.searchsorted(turned, u, side="right"), len(turned) - 1)
    angle = (EDGES[b] + np.random.random() * (EDGES[b + 1] - EDGES[b])) * (1 if np.random.random() < 0.5 else -1)
    c, s, old = np.cos(angle), np.sin(angle), np.sqrt(vx * vx + vy * vy)
    return v, speed * (vx * c - vy * s) / old, speed * (vx * s + vy * c) / old


@njit(cache=True)
def _run(seed, start, times, longest, land, momentum, table):  # type: ignore[no-untyped-def]
    """Sums (time, valley, quantity) over the excitons of 1, x, x², ε, E_v(x), and the state at the end (quantity, exciton)."""
    np.random.seed(seed)
    sums, final = np.zeros((len(times), len(momentum.mass), 5)), np.zeros((4, len(start.x)))
    for i in range(len(start.x)):
        x, v, time = start.x[i], start.valley[i], start.time[i]
        speed = np.sqrt(2 * start.kinetic[i] / momentum.mass[v])
        vx, vy = speed * np.cos(start.angle[i]), speed * np.sin(start.angle[i])
        for k in range(len(times)):
            while time < times[k]:
                kinetic = 0.5 * momentum.mass[v] * (vx * vx + vy * vy)
                most = momentum.most[_cell(kinetic, v, momentum)]
                flight = min(np.random.exponential() / most, longest)
                collides = flight < longest and time + flight < times[k]
                time, flight = (times[k], times[k] - time) if time + flight >= times[k] else (time + flight, flight)
                vx += 0.5 * flight / momentum.mass[v] * _interpolated(land.force[v], (x - land.first) / land.spacing)
                x += flight * vx
                vx += 0.5 * flight / momentum.mass[v] * _interpolated(land.force[v], (x - land.first) / land.spacing)
                if collides:
                    cell = _cell(0.5 * momentum.mass[v] * (vx * vx + vy * vy), v, momentum)
                    node = int(_interpolated(land.node, (x - land.first) / land.spacing) + np.random.random())
                    if np.random.random() * most < table.rate[node, cell]:
                        v, vx, vy = _scatter(cell, node, v, vx, vy, momentum, table)
            if start.time[i] > times[k]:
                continue  # it has not appeared yet
            potential = _interpolated(land.energy[v], (x - land.first) / land.spacing)
            sums[k, v] += np.array([1.0, x, x * x, 0.5 * momentum.mass[v] * (vx * vx + vy * vy), potential])
        final[0, i], final[1, i], final[2, i], final[3, i] = x, vx, vy, v
    return sums, final


def run(equilibrium: Equilibrium, table: Collisions, land: Landscape, starts: Sequence[Start], times: Array,
        longest: float = 0.01, seed: int = 1) -> Particles:  # fmt: skip
    """Batches of excitons, observed at `times` [ps] from 0 on; `longest` is the longest step of a flight [ps]."""
    cells, begin = equilibrium.cells, np.array([0, *np.cumsum(equilibrium.cells.counts)])
    most = scipy.ndimage.maximum_filter1d(table.rate.max(axis=0), 3) + 1e-9  # also of the next valley, which does no harm
    mass = np.array([v.mass for v in cells.valleys]) * HBAR**2 / HBAR2_OVER_M0
    width = np.array([cells.width(v) for v in range(len(mass))])
    fastest = np.sqrt(2 * (np.array(cells.tops) + np.ptp(land.energy, axis=1)) / mass)
    # Within a step an exciton changes its energy by less than a cell, so that it meets no rate above `most`.
    longest = min(longest, float((width / np.maximum(np.abs(land.force).max(axis=1) * fastest, 1e-9)).min()))
    momentum = Momentum(mass, width, begin, equilibrium.thermal_energy, most)
    parts = [_run(seed * 1000 + b, start, times, longest, land, momentum, table) for b, start in enumerate(starts)]
    return Particles(times, np.array([sums for sums, _ in parts]), np.concatenate([final for _, final in parts], axis=1))
