"""The state of the whole sample at one time, from which a row of series.h5 is computed."""

import dataclasses

import numpy as np

from hpcwigner.observables import profiles
from hpcwigner.observables.budget import Budget, PointRates, SpatialMoments
from hpcwigner.observables.profiles import Profiles
from hpcwigner.runtime.arrays import Array

UNDEFINED_BELOW = 1e-6  # w_v² and D_v are 0/0 before the pump: NaN while n_v is below this part of its final value


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Spatial moments of all excitons at one time, and the scattering that acts on them; results by valley are (valley,)."""

    moments: SpatialMoments
    budget: Budget  # Of the same moments
    rates: PointRates  # What acts now
    final: Array  # Populations at the end of the run, shape (valley,)
    heat: float = np.nan  # Energy given to phonons since the start [meV per generated exciton]
    potential: Array | None = None  # ∫E_v N_v dr [meV], shape (valley,)
    annihilated: float = np.nan  # Excitons annihilated since the start
    profiles: Profiles | None = None  # Density and light along x
    light_rates: Array | None = None  # ∂t ∫w PL dr for the weights of SpatialMoments, shape (weight,)

    def where_defined(self, values: Array) -> Array:
        """`values` (valley,), NaN where n_v is too small to divide by."""
        return np.where(self.budget.population > UNDEFINED_BELOW * self.final, values, np.nan)

    def _per_exciton(self, values: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.where_defined(values / self.budget.population)

    def growth(self) -> Array:
        """c_v = (1/n_v) ∂t n_v by intervalley scattering [1/ps]."""
        return self._per_exciton(self.budget.entries["interv"].number)

    def _axes(self) -> tuple[Array, Array]:
        """∫r_a u [nm] and ∫r_a² u [nm²], each of shape (axis, cell)."""
        assert self.moments.axes is not None
        first, second = np.split(self.moments.axes, 2)
        return first, second

    def _rates(self) -> Array:
        """∂t ∫w N_v dr by all terms, shape (weight, valley)."""
        return np.asarray(sum((entry.rates for entry in self.budget.entries.values()), np.zeros(())))

    def mean_position(self) -> Array:
        """⟨r⟩ of each valley [nm], shape (valley, axis)."""
        return self._per_exciton(self.rates.equilibrium.cells.valley_sum(self._axes()[0])).T

    def mean_position_total(self) -> Array:
        """⟨r⟩ of all excitons [nm], shape (axis,)."""
        return np.asarray(self._axes()[0].sum(axis=1) / _positive(float(self.moments.zeroth.sum())))

    def pl_mean_position(self) -> Array:
        """∫r PL dr / ∫PL dr [nm], shape (axis,); NaN without PL."""
        return np.asarray(self._axes()[0] @ self.rates.light / _positive(float(self.rates.light @ self.moments.zeroth)))

    def velocity(self) -> Array:
        """∂t⟨r⟩ of each valley [nm/ps], shape (valley, axis)."""
        rates, center = self._rates(), np.nan_to_num(self.mean_position().T)
        return self._per_exciton(rates[2 : 2 + len(center)] - center * rates[0]).T

    def width_squared_axis(self) -> Array:
        """2⟨(r_a − ⟨r_a⟩)²⟩ of each valley [nm²], shape (valley, axis)."""
        second = self._per_exciton(self.rates.equilibrium.cells.valley_sum(self._axes()[1]))
        return np.asarray(2 * (second.T - self.mean_position() ** 2))

    def diffusion_axis(self) -> Array:
        """¼ ∂t of `width_squared_axis` [nm²/ps], shape (valley, axis)."""
        rates, center = self._rates(), np.nan_to_num(self.mean_position().T)
        first, second = np.split(rates[2:], 2)
        central = second - 2 * center * first + (center**2 - 0.5 * self.width_squared_axis().T) * rates[0]
        return self._per_exciton(0.5 * central).T

    def potential_energy(self) -> Array:
        """Mean of E_v(r) [meV] from the bright valley's bottom without strain."""
        assert self.potential is not None
        return self._per_exciton(self.potential)

    def total_width_squared(self) -> float:
        """Squared width of all excitons about their mean position [nm²]."""
        return profiles.width_squared(self.moments.values.sum(axis=1))

    def total_diffusion(self) -> float:
        """¼ ∂t of `total_width_squared` [nm²/ps]."""
        return profiles.diffusion(self.moments.values.sum(axis=1), self._rates().sum(axis=1))

    def pl_diffusion(self) -> float:
        """¼ ∂t of the PL's squared width about its mean position [nm²/ps]."""
        assert self.light_rates is not None
        return profiles.diffusion(self.moments.values @ self.rates.light, self.light_rates)

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


def _positive(number: float) -> float:
    """A number to divide by, NaN unless it is above 0."""
    return number if number > 0 else np.nan
