"""Local losses: light from the light cone, and non-radiative recombination."""

from collections.abc import Mapping

import numpy as np

from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.term import LocalLinearTerm, State


class Loss(LocalLinearTerm):
    """−ℓ u with a rate ℓ of each energy cell, the same in every direction."""

    def __init__(self, equilibrium: Equilibrium, rate: Array) -> None:
        """`rate` [1/ps] has shape (cell,)."""
        self.equilibrium, self.rate = equilibrium, rate

    def add(self, time: float, state: State, out: State) -> None:
        populations = out.u
        populations -= self.rate * state.u

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        power = float((self.equilibrium.total_energy * self.rate) @ moments.zeroth)
        return Entry(-self.equilibrium.cells.valley_sum(self.rate * moments.values), -power)


class Radiation(Loss):
    """−γ δ(Q in the light cone) N in the bright valley.

    The light cone is a small part of the first energy cell: its loss is γ times the Boltzmann share of the light cone.
    """

    name, part = "radiation", "radiative"

    def __init__(self, equilibrium: Equilibrium, light_cone: LightCone) -> None:
        cells, bright = equilibrium.cells, light_cone.bright_valley
        rate = np.zeros(cells.size)
        share = light_cone.fraction(cells.width(bright), equilibrium.temperature)
        rate[cells.slices[bright].start] = light_cone.rate * share
        super().__init__(equilibrium, rate)


class Recombination(Loss):
    """−N_v/τ_v: non-radiative recombination with a lifetime of each valley."""

    name, part = "recombination", "recombination"

    def __init__(self, equilibrium: Equilibrium, lifetime: float | Mapping[str, float]) -> None:
        """`lifetime` [ps], of all valleys or by valley name; a valley that is not named does not recombine."""
        cells = equilibrium.cells
        names = [valley.name for valley in cells.valleys]
        times = dict.fromkeys(names, lifetime) if isinstance(lifetime, float) else lifetime
        per_valley = np.array([1 / times[name] if name in times else 0.0 for name in names])
        super().__init__(equilibrium, per_valley[cells.valley_of_cell])
