"""Series variables that tell how far excitons are from equilibrium: energies, directions, valleys; and the width of the PL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.observables.series import Snapshot

Array = NDArray[np.float64]


def _per_exciton(state: Snapshot, values: Array) -> Array:
    """`values` (valley,) divided by n_v, NaN where that is too small."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return state.where_defined(values / state.budget.population)


def growth(state: Snapshot) -> Array:
    """c_v = (1/n_v) ∂t n_v by intervalley scattering [1/ps], shape (valley,)."""
    return _per_exciton(state, state.rates.valley_transfer @ state.moments.zeroth)


def pl_width_squared(state: Snapshot) -> float:
    """∫r² PL dr / ∫PL dr [nm²]; NaN without PL."""
    loss, moments = state.rates.light, state.moments
    light = loss @ moments.zeroth
    return float(loss @ moments.second / light) if light > 0 else np.nan


def kinetic_energy(state: Snapshot) -> Array:
    """Mean kinetic energy [meV], kT in equilibrium, shape (valley,)."""
    equilibrium = state.rates.equilibrium
    return _per_exciton(state, equilibrium.cells.valley_sum(equilibrium.kinetic_energy * state.moments.zeroth))


def temperature(state: Snapshot) -> Array:
    """Mean kinetic energy over k_B [K], shape (valley,)."""
    return kinetic_energy(state) / BOLTZMANN


def energy_distance(state: Snapshot) -> Array:
    """Total variation distance of the energy distribution from a Boltzmann distribution, 0 to 1, shape (valley,)."""
    equilibrium, cells = state.rates.equilibrium, state.rates.equilibrium.cells
    share = equilibrium.population / cells.valley_sum(equilibrium.population)[cells.valley_of_cell]
    expected = state.budget.population[cells.valley_of_cell] * share
    return _per_exciton(state, 0.5 * cells.valley_sum(np.abs(state.moments.zeroth - expected)))


def relative_population(state: Snapshot) -> Array:
    """(n_v/n) / p_v: share of all excitons over the share in equilibrium, shape (valley,)."""
    equilibrium, population = state.rates.equilibrium, state.budget.population
    expected = population.sum() * equilibrium.cells.valley_sum(equilibrium.population)
    with np.errstate(divide="ignore", invalid="ignore"):
        return state.where_defined(population / expected)


def diffusion_adiabatic(state: Snapshot) -> Array:
    """Drift part of D_v [nm²/ps] with the adiabatic first moment M1 = −L_1⁻¹ v M0 instead of the actual one, shape (valley,)."""
    source = state.rates.equilibrium.velocity * state.moments.zeroth
    return _per_exciton(state, state.rates.adiabatic_response @ source)
