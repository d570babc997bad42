"""Momentum cells: valley × energy × angle (DESIGN §5).

In two dimensions the density of states is constant, so cells of equal energy width hold equal numbers of states. Energy
cells of all valleys stand one after the other in one index, "cell" below; angles are a separate index.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.exciton.phonons import ValleyState

Array = NDArray[np.float64]
MAX_DISCARDED_WEIGHT = 1e-4


@dataclasses.dataclass(frozen=True)
class EnergyGrid:
    """Energy cells of all valleys up to one common energy."""

    valleys: tuple[ValleyState, ...]
    counts: tuple[int, ...]
    """Number of cells of each valley."""
    energy_max: float
    """Top of the grid [meV], on the scale of the valley bottoms."""
    temperature: float
    """[K]"""

    @classmethod
    def build(cls, valleys: Sequence[ValleyState], temperature: float, energy_step: float, energy_above: float) -> EnergyGrid:
        """Cells of at most `energy_step` [meV] up to `energy_above` [meV] over the highest valley bottom."""
        top = max(valley.energy for valley in valleys) + energy_above
        counts = tuple(math.ceil((top - valley.energy) / energy_step - 1e-9) for valley in valleys)
        return cls(tuple(valleys), counts, top, temperature)

    @property
    def size(self) -> int:
        """Number of energy cells of all valleys."""
        return sum(self.counts)

    @property
    def thermal_energy(self) -> float:
        """kT [meV]."""
        return BOLTZMANN * self.temperature

    @functools.cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each valley's cells stand."""
        ends = np.cumsum(self.counts)
        return tuple(slice(int(end) - count, int(end)) for end, count in zip(ends, self.counts, strict=True))

    @functools.cached_property
    def valley_of_cell(self) -> NDArray[np.int64]:
        """Valley index of each cell, shape (cell,)."""
        return np.repeat(np.arange(len(self.valleys)), self.counts)

    def edges(self, valley: int) -> Array:
        """Cell edges of a valley as kinetic energies [meV], from 0, shape (count + 1,)."""
        return np.linspace(0.0, self.energy_max - self.valleys[valley].energy, self.counts[valley] + 1)

    def width(self, valley: int) -> float:
        """Cell width of a valley [meV]."""
        return (self.energy_max - self.valleys[valley].energy) / self.counts[valley]

    @functools.cached_property
    def _moments(self) -> tuple[Array, Array]:
        """Boltzmann weight ∫exp(−ε/kT)dε/kT and mean kinetic energy of each cell."""
        weights, means = [], []
        for v in range(len(self.valleys)):
            edges, x = self.edges(v) / self.thermal_energy, self.width(v) / self.thermal_energy
            weights.append(np.exp(-edges[:-1]) * -np.expm1(-x))
            means.append((edges[:-1] + 1 - x / np.expm1(x)) * self.thermal_energy)
        return np.concatenate(weights), np.concatenate(means)

    @functools.cached_property
    def valley_weight(self) -> Array:
        """Boltzmann weight per kT of each valley's bottom, so that `equilibrium` sums to 1, shape (valley,)."""
        bottom = min(valley.energy for valley in self.valleys)
        weight = np.array([v.degeneracy * v.mass * math.exp(-(v.energy - bottom) / self.thermal_energy) for v in self.valleys])
        return np.asarray(weight / math.fsum(self._moments[0] * weight[self.valley_of_cell]))

    @functools.cached_property
    def equilibrium(self) -> Array:
        """Boltzmann population g_v M_v ∫exp(−ε/kT) of each cell, normalised to 1, shape (cell,)."""
        return self._moments[0] * self.valley_weight[self.valley_of_cell]

    def equilibrium_density(self, valley: int, kinetic: Array) -> Array:
        """Boltzmann population per energy [1/meV] at kinetic energies of a valley; integrates to `equilibrium`."""
        return np.asarray(self.valley_weight[valley] / self.thermal_energy * np.exp(-kinetic / self.thermal_energy))

    def cell_at(self, valley: int, kinetic: Array) -> NDArray[np.int64]:
        """Cell that holds each kinetic energy [meV] of a valley; the topmost one for energies above the grid."""
        return self.cell_within(valley, kinetic) + self.slices[valley].start

    def cell_within(self, valley: int, kinetic: Array) -> NDArray[np.int64]:
        """The same, counted from the valley's own first cell."""
        return np.minimum((np.asarray(kinetic) / self.width(valley)).astype(np.int64), self.counts[valley] - 1)

    @functools.cached_property
    def kinetic_energy(self) -> Array:
        """Boltzmann mean of the kinetic energy in each cell [meV], shape (cell,)."""
        return self._moments[1]

    @functools.cached_property
    def velocity(self) -> Array:
        """Boltzmann rms speed of each cell [nm/ps], shape (cell,): Σ p v² = 2kT/M holds exactly within a valley."""
        mass = np.array([valley.mass for valley in self.valleys])[self.valley_of_cell]
        return np.sqrt(2 * self.kinetic_energy / (mass * HBAR2_OVER_M0)) * HBAR_OVER_M0

    @functools.cached_property
    def mean_square_speed(self) -> Array:
        """⟨v²⟩ of each valley in equilibrium [nm²/ps²], shape (valley,): 2kT/M, but for what the cutoff discards."""
        return np.asarray(self.valley_sum(self.equilibrium * self.velocity**2) / self.valley_sum(self.equilibrium))

    @functools.cached_property
    def states(self) -> Array:
        """Number of states per area in each cell, all angles [1/nm²]: g M ΔE/(2πħ²), shape (cell,)."""
        per_valley = [v.degeneracy * v.mass * self.width(i) / (2 * math.pi * HBAR2_OVER_M0) for i, v in enumerate(self.valleys)]
        return np.array(per_valley)[self.valley_of_cell]

    @property
    def discarded_weight(self) -> float:
        """Largest share of a valley's Boltzmann weight above the grid's top."""
        return max(math.exp(-(self.energy_max - v.energy) / self.thermal_energy) for v in self.valleys)

    def valley_sum(self, values: Array) -> Array:
        """Sum over each valley's cells along the last axis: (..., cell) → (..., valley)."""
        return np.stack([values[..., s].sum(axis=-1) for s in self.slices], axis=-1)


def auto_energy_above(temperature: float) -> float:
    """Height of the grid above the highest valley bottom [meV]: max(30 meV, 12 kT)."""
    return max(30.0, 12 * BOLTZMANN * temperature)


def auto_energy_step(temperature: float) -> float:
    """Energy step [meV]: the largest that keeps D_v(t) within 2 % of its peak (tools/convergence, table in the README).

    At low temperature the excitons' first steps count (they are formed at discrete energies), at room temperature kT does.
    """
    return round(min(8.0, max(0.6, 0.9 * (temperature / 77) ** 1.6)), 1)
