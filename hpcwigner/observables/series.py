"""The state of the whole sample at one time, from which a row of series.h5 is computed."""

import dataclasses
from typing import Protocol

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.runtime.arrays import Array

UNDEFINED_BELOW = 1e-6  # w_v² and D_v are 0/0 before the pump: NaN while n_v is below this part of its final value


class PointRates(Protocol):
    """What acts at a point, as far as observables need it: terms.generator.LocalGenerator."""

    @property
    def equilibrium(self) -> Equilibrium: ...
    @property
    def valley_transfer(self) -> Array: ...
    @property
    def light(self) -> Array: ...
    @property
    def adiabatic_response(self) -> Array: ...


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Spatial moments of all excitons at one time, and the scattering that acts on them; results by valley are (valley,)."""

    moments: SpatialMoments
    budget: Budget  # Of the same moments
    rates: PointRates  # What acts now
    final: Array  # Populations at the end of the run, shape (valley,)

    def where_defined(self, values: Array) -> Array:
        """`values` (valley,), NaN where n_v is too small to divide by."""
        return np.where(self.budget.population > UNDEFINED_BELOW * self.final, values, np.nan)

    def _per_exciton(self, values: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.where_defined(values / self.budget.population)

    def growth(self) -> Array:
        """c_v = (1/n_v) ∂t n_v by intervalley scattering [1/ps]."""
        return self._per_exciton(self.rates.valley_transfer @ self.moments.zeroth)

    def pl_width_squared(self) -> float:
        """∫r² PL dr / ∫PL dr [nm²]; NaN without PL."""
        light = self.rates.light @ self.moments.zeroth
        return float(self.rates.light @ self.moments.second / light) if light > 0 else np.nan

    def kinetic_energy(self) -> Array:
        """Mean kinetic energy [meV], kT in equilibrium."""
        equilibrium = self.rates.equilibrium
        return self._per_exciton(equilibrium.cells.valley_sum(equilibrium.kinetic_energy * self.moments.zeroth))

    def energy_distance(self) -> Array:
        """Total variation distance of the energy distribution from a Boltzmann distribution, 0 to 1."""
        equilibrium, cells = self.rates.equilibrium, self.rates.equilibrium.cells
        share = equilibrium.population / cells.valley_sum(equilibrium.population)[cells.valley_of_cell]
        expected = self.budget.population[cells.valley_of_cell] * share
        return self._per_exciton(0.5 * cells.valley_sum(np.abs(self.moments.zeroth - expected)))

    def relative_population(self) -> Array:
        """(n_v/n) / p_v: share of all excitons over the share in equilibrium."""
        equilibrium, population = self.rates.equilibrium, self.budget.population
        expected = population.sum() * equilibrium.cells.valley_sum(equilibrium.population)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.where_defined(population / expected)

    def diffusion_adiabatic(self) -> Array:
        """Drift part of D_v [nm²/ps] with the adiabatic first moment M1 = −L_1⁻¹ v M0 instead of the actual one."""
        return self._per_exciton(self.rates.adiabatic_response @ (self.rates.equilibrium.velocity * self.moments.zeroth))
