"""Boltzmann equilibrium on the energy cells: populations, and the mean energy and speed within each cell."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.runtime.arrays import Array

MAX_DISCARDED_WEIGHT = 1e-4  # Largest part of a valley's Boltzmann weight that may lie above its topmost cell


@dataclasses.dataclass(frozen=True)
class Equilibrium:
    """The Boltzmann distribution of all valleys together."""

    cells: EnergyCells
    temperature: float  # [K]

    def with_values(self, population: Array, velocity: Array, kinetic_energy: Array) -> Equilibrium:
        """With these values per cell, each of shape (cell,), instead of those of parabolic valleys."""
        other = Equilibrium(self.cells, self.temperature)
        other.__dict__.update(population=population, velocity=velocity, kinetic_energy=kinetic_energy)  # set cached properties
        return other

    @property
    def thermal_energy(self) -> float:
        """kT [meV]."""
        return BOLTZMANN * self.temperature

    @functools.cached_property
    def _cell_averages(self) -> tuple[Array, Array]:
        """Boltzmann weight ∫exp(−ε/kT)dε/kT and mean kinetic energy of each cell."""
        weights, means = [], []
        for v in range(len(self.cells.valleys)):
            edges, x = self.cells.edges(v) / self.thermal_energy, self.cells.width(v) / self.thermal_energy
            weights.append(np.exp(-edges[:-1]) * -np.expm1(-x))
            means.append((edges[:-1] + 1 - x / np.expm1(x)) * self.thermal_energy)
        return np.concatenate(weights), np.concatenate(means)

    @functools.cached_property
    def valley_weight(self) -> Array:
        """g_v M_v exp(−E_v/kT), scaled so that `population` sums to 1, shape (valley,)."""
        valleys = self.cells.valleys
        bottom = min(valley.energy for valley in valleys)
        weight = np.array([v.degeneracy * v.mass * math.exp(-(v.energy - bottom) / self.thermal_energy) for v in valleys])
        return np.asarray(weight / math.fsum(self._cell_averages[0] * weight[self.cells.valley_of_cell]))

    @functools.cached_property
    def population(self) -> Array:
        """Boltzmann population g_v M_v ∫exp(−(E_v + ε)/kT)dε of each cell, normalised to 1, shape (cell,)."""
        return self._cell_averages[0] * self.valley_weight[self.cells.valley_of_cell]

    def density(self, valley: int, kinetic: Array) -> Array:
        """Population per energy [1/meV] at kinetic energies [meV] of a valley; its integral over a cell is `population`."""
        return np.asarray(self.valley_weight[valley] / self.thermal_energy * np.exp(-kinetic / self.thermal_energy))

    @functools.cached_property
    def kinetic_energy(self) -> Array:
        """Boltzmann mean of the kinetic energy in each cell [meV], shape (cell,)."""
        return self._cell_averages[1]

    @functools.cached_property
    def total_energy(self) -> Array:
        """Valley bottom plus mean kinetic energy of each cell [meV], shape (cell,)."""
        return self.cells.bottoms + self.kinetic_energy

    @functools.cached_property
    def velocity(self) -> Array:
        """Boltzmann rms speed of each cell [nm/ps], shape (cell,): Σ p v² = 2kT/M holds exactly within a valley."""
        mass = self.cells.per_cell(valley.mass for valley in self.cells.valleys)
        return np.sqrt(2 * self.kinetic_energy / (mass * HBAR2_OVER_M0)) * HBAR_OVER_M0

    @functools.cached_property
    def mean_square_speed(self) -> Array:
        """⟨v²⟩ of each valley [nm²/ps²], shape (valley,): 2kT/M up to the weight above the topmost cell."""
        total = self.cells.valley_sum
        return np.asarray(total(self.population * self.velocity**2) / total(self.population))

    @property
    def discarded_weight(self) -> float:
        """Largest part of a valley's Boltzmann weight above its topmost cell."""
        return max(math.exp(-top / self.thermal_energy) for top in self.cells.tops)


def auto_energy_above(temperature: float) -> float:
    """Default height of the cells over the highest valley bottom [meV]: max(30 meV, 12 kT)."""
    return max(30.0, 12 * BOLTZMANN * temperature)


def auto_energy_step(temperature: float) -> float:
    """Default energy step [meV]: the largest that keeps the error of D_v(t) within 2 % of its peak (table in README.md).

    At low temperature it is set by the discrete energies at which excitons form, at room temperature by kT.
    """
    return round(min(8.0, max(0.6, 0.9 * (temperature / 77) ** 1.6)), 1)
