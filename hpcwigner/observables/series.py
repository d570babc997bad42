"""The state of the whole sample at one time, from which a row of series.h5 is computed."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Budget, SpatialMoments

Array = NDArray[np.float64]

UNDEFINED_BELOW = 1e-6
"""w_v² and D_v are 0/0 before the pump: NaN while n_v is below this part of its final value."""


class PointRates(Protocol):
    """What acts at a point, as far as observables need it."""

    @property
    def equilibrium(self) -> Equilibrium:
        """Energy cells with their Boltzmann state."""

    @property
    def valley_transfer(self) -> Array:
        """Intervalley gain minus loss of each valley per population of each cell [1/ps], shape (valley, cell)."""

    @property
    def light(self) -> Array:
        """Radiative loss of each cell [1/ps], shape (cell,)."""

    @property
    def adiabatic_response(self) -> Array:
        """½ Σ_{i∈v} v_i (−L_1⁻¹)_ij [nm], shape (valley, cell)."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Spatial moments of all excitons at one time, and the scattering that acts on them."""

    moments: SpatialMoments
    budget: Budget
    """Of the same moments."""
    rates: PointRates
    """What acts now."""
    final: Array
    """Populations at the end of the run, shape (valley,)."""

    def where_defined(self, values: Array) -> Array:
        """`values` (valley,), NaN where n_v is too small to divide by."""
        return np.where(self.budget.population > UNDEFINED_BELOW * self.final, values, np.nan)
