"""Local losses: light from the light cones, and non-radiative recombination."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.term import LocalLinearTerm, State


class Loss(LocalLinearTerm):
    """−ℓ u with a rate ℓ of each energy cell, the same in every direction."""

    def __init__(self, equilibrium: Equilibrium, rate: Array) -> None:
        """`rate` [1/ps] has shape (cell,)."""
        self.equilibrium, self.rate = equilibrium, rate

    def rate_in(self, class_number: int) -> Array:
        """ℓ [1/ps] at the points of a class, shape (cell,)."""
        return self.rate

    def add(self, time: float, state: State, out: State) -> None:
        out.u[...] -= self.rate * state.u

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        power = float((self.equilibrium.total_energy * self.rate) @ moments.zeroth)
        return Entry(-self.equilibrium.cells.valley_sum(self.rate * moments.values), -power)


class _LightConeLoss(Loss):
    """The light cone is a small part of the first energy cell: its loss is γ times the Boltzmann share of the light cone."""

    part = "radiative"

    def __init__(self, equilibrium: Equilibrium, light_cone: LightCone) -> None:
        cells, valley = equilibrium.cells, light_cone.valley
        rate = np.zeros(cells.size)
        share = light_cone.fraction(cells.width(valley), equilibrium.temperature)
        rate[cells.slices[valley].start] = light_cone.rate * share
        super().__init__(equilibrium, rate)


class Radiation(_LightConeLoss):
    """−γ δ(Q in the light cone) N in the bright valley: the light of all observables that say PL."""

    name = "radiation"


class ZDipoleRadiation(_LightConeLoss):
    """−γ_z δ(Q in the light cone) N in a spin-dark valley.

    A dipole perpendicular to the layer shines along it. Instruments above the sample miss it: it is no part of the PL.
    """

    name = "z_dipole"


class PhononAssisted(Loss):
    """−ℓ_Q N: recombination with the help of a phonon, from every valley (exciton/sidebands.py)."""

    name = part = "sidebands"

    def __init__(self, equilibrium: Equilibrium, rates: Sequence[Array], class_of_point: NDArray[np.int64] | None = None) -> None:
        """`rates` [1/ps] by class of points, each of shape (cell,); `class_of_point` (x, y), one class without it."""
        super().__init__(equilibrium, rates[0])
        self._rates, self._class_of_point = np.array(rates), class_of_point
        self._local: NDArray[np.int64] | None = None

    def rate_in(self, class_number: int) -> Array:
        return np.asarray(self._rates[class_number if len(self._rates) > 1 else 0])

    def distribute(self, decomposition: Decomposition) -> None:
        if self._class_of_point is not None:
            self._local = self._class_of_point[decomposition.x, decomposition.y].reshape(-1)

    def add(self, time: float, state: State, out: State) -> None:
        rates = self.rate if self._local is None else self._rates[self._local][:, None]
        out.u[...] -= rates * state.u


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
