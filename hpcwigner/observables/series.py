"""The state of the whole sample at one time, from which a row of series.h5 is computed."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

UNDEFINED_BELOW = 1e-6
"""w_v² and D_v are 0/0 before the pump: NaN while n_v is below this part of its final value."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Spatial moments of all excitons at one time, and the scattering that acts on them."""

    moments: SpatialMoments
    budget: Budget
    """Of the same moments."""
    scattering: Scattering
    final: Array
    """Populations at the end of the run, shape (valley,)."""

    def where_defined(self, values: Array) -> Array:
        """`values` (valley,), NaN where n_v is too small to divide by."""
        return np.where(self.budget.population > UNDEFINED_BELOW * self.final, values, np.nan)
