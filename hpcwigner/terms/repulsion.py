"""Repulsion of excitons in mean field: every E_v(r) is higher by g n(r, t), n the density of all excitons.

The energy of the interaction is ½ g ∫n² dr. The valleys move together, so rates of scattering stay as they are. Drift and
force take the landscape E_v + g n with the same fitted stencils as a fixed one, renewed from the densities before each
evaluation.
"""

import math

import numpy as np

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.landscape import Landscape, fitted
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.force import Force
from hpcwigner.terms.term import DensityTerm, State


class Repulsion(DensityTerm):
    """Renews what drift and force know of the landscape; it adds nothing itself."""

    name, part = "repulsion", "force"
    why_not_closed = "excitons repel each other"
    acts_through_others = True

    def __init__(self, equilibrium: Equilibrium, strength: float, expected: Landscape, drift: Drift, force: Force) -> None:
        """`strength` g [meV nm²]. `drift` and `force` have the fixed part of the landscape.

        `expected` is the landscape with all excitons where they are formed, on which limits of the step are based.
        """
        self.equilibrium, self.cells, self.strength = equilibrium, equilibrium.cells, strength
        self.landscape, self._expected, self._drift, self._force = force.landscape, expected, drift, force

    def courant_rate(self) -> Array:
        """By how much the expected landscape exceeds the limits of drift and force, and the sound of the repulsion, (cell,)."""
        drift, force = self._drift, self._force
        steeper = drift.courant_rate_in(self._expected) - drift.courant_rate()
        stronger = force.courant_rate_in(self._expected) - force.courant_rate()
        lightest = min(valley.mass for valley in self.cells.valleys)
        highest = float((self._expected.energy - self.landscape.energy).max())
        sound = math.sqrt(highest * HBAR2_OVER_M0 / lightest) / HBAR  # √(gn/M) [nm/ps]
        spacing = self.landscape.grid.spacing[: self.landscape.grid.dimensions]
        return np.maximum(steeper, 0.0) + np.maximum(stronger, 0.0) + sum(sound / length for length in spacing)

    def distribute(self, decomposition: Decomposition) -> None:
        here = (slice(None), decomposition.x, decomposition.y)
        axes = range(self.landscape.grid.dimensions)
        fixed = np.array([self.landscape.windows(axis)[here] for axis in axes])  # (axis, valley, x, y, 7)
        together = (np.ptp(fixed - fixed[..., HALO, None], axis=1) < 1e-12).all()
        self._fixed = fixed[:, :1] if together else fixed  # One for all valleys where their landscapes are parallel

    def add(self, time: float, state: State, out: State) -> None:
        """Adds nothing: the repulsion acts through drift and force."""

    def prepare(self, densities: Array) -> None:
        scale = self.strength / self.landscape.thermal_energy
        total = scale * densities.sum(axis=-1)
        for axis, fixed in enumerate(self._fixed):
            windows = np.lib.stride_tricks.sliding_window_view(total, 2 * HALO + 1, axis=axis)
            if len(self._fixed) == 2:  # a plane has ghost cells along both axes
                windows = windows[:, HALO:-HALO] if axis == 0 else windows[HALO:-HALO]
            stencils, force = fitted(fixed + windows, self.landscape.grid.spacing[axis], self.landscape.thermal_energy)
            self._drift.set_stencils(axis, stencils)
            self._force.set_force(axis, force)
