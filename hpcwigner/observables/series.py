"""What the numbers of a series row are computed from."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

UNDEFINED_BELOW = 1e-6
"""w² and D are 0/0 before the pump: NaN while a valley holds less than this part of its final population."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """All excitons at one time, by their spatial moments."""

    moments: SpatialMoments
    budget: Budget
    """Of the same moments."""
    scattering: Scattering
    """What acts now."""
    final: Array
    """Populations at the end of the run, shape (valley,)."""

    def where_defined(self, values: Array) -> Array:
        """`values` (valley,), NaN where a valley is as good as empty."""
        return np.where(self.budget.population > UNDEFINED_BELOW * self.final, values, np.nan)
