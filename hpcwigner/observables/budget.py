"""Population, width and diffusion coefficient of each valley, with the exact budgets of D_v, of number and of energy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array

PARTS = ("drift", "interv", "source", "radiative")  # Causes of D_v in every problem


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
class SpatialMoments:
    """M0 [1], M1 [nm], M2 [nm²] per energy cell, each of shape (cell,). A slab counts r² as 2x².

    With a grid also those of single axes, from which mean positions and the widths about them follow.
    """

    zeroth: Array
    first: Array
    second: Array
    axes: Array | None = None
    """∫r_a u [nm], then ∫r_a² u [nm²]: shape (2·axis, cell)."""
    flows: Array | None = None
    """∫n_a u, then 2∫r_a n_a u [nm] with the direction of motion n: what drift does to `axes`, divided by the speed."""

    @property
    def values(self) -> Array:
        """∫w u for the weights w = 1, r², and where there is a grid r_a and r_a² of each axis: shape (weight, cell)."""
        rows = np.stack((self.zeroth, self.second))
        return rows if self.axes is None else np.concatenate((rows, self.axes))

    @property
    def gradients(self) -> Array:
        """∫(n·∇w) u for the same weights, shape (weight, cell)."""
        rows = np.stack((np.zeros_like(self.first), 2 * self.first))
        return rows if self.flows is None else np.concatenate((rows, self.flows))


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a term contributes to rates of change."""

    rates: Array  # ∂t ∫w N_v dr for the weights of SpatialMoments [per ps], shape (weight, valley)
    power: float  # ∂t of the energy of all excitons, valley bottoms and landscape included [meV/ps]

    @property
    def number(self) -> Array:
        """∂t n_v [1/ps], shape (valley,)."""
        return np.asarray(self.rates[0])

    @property
    def second(self) -> Array:
        """∂t ∫r²N_v dr [nm²/ps], shape (valley,)."""
        return np.asarray(self.rates[1])

    def __add__(self, other: Entry) -> Entry:
        return Entry(self.rates + other.rates, self.power + other.power)


@dataclasses.dataclass(frozen=True)
class Budget:
    """All excitons at one time, and what changes them; arrays have shape (valley,)."""

    population: Array  # n_v
    width_squared: Array  # w_v² [nm²]
    center: Array  # ⟨r_a⟩ about which widths are measured [nm], shape (axis, valley)
    entries: Mapping[str, Entry]  # By part: drift, interv, source, radiative, …
    pl: float  # γ times the light-cone population [1/ps]
    coherent: float  # |p0|²

    @property
    def parts(self) -> dict[str, Array]:
        """D_v by cause [nm²/ps]: ¼ [∂t∫(r − c)²N_v − w_v² ∂t n_v]/n_v of each term at the present center c.

        0 for those of PARTS that no term has.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            change = {name: self._second(e) - self.width_squared * e.number for name, e in self.entries.items()}
            parts = {name: np.asarray(0.25 * c / self.population) for name, c in change.items()}
        return {name: np.zeros_like(self.population) for name in PARTS} | parts

    def _second(self, entry: Entry) -> Array:
        """∂t ∫(r − c)²N_v dr at a fixed center c, shape (valley,)."""
        if not self.center.any():
            return entry.second
        factor = 2.0 if len(self.center) == 1 else 1.0  # a slab counts r² as 2x²
        first = entry.rates[2 : 2 + len(self.center)]
        return np.asarray(entry.second - factor * (2 * self.center * first - self.center**2 * entry.number).sum(axis=0))

    @property
    def diffusion(self) -> Array:
        """D_v = ¼ ∂t w_v² [nm²/ps]: the sum of its parts."""
        return np.asarray(sum(self.parts.values()))


def budget(
    moments: SpatialMoments, entries: Mapping[str, Entry], equilibrium: Equilibrium, light: Array, coherent: float,
    about_mean: bool = False,
) -> Budget:  # fmt: skip
    """Budget of some moments. `light` is the radiative loss of each cell [1/ps], `coherent` is |p0|² now.

    Widths are about the origin, or `about_mean`: about the mean position of each valley.
    """
    population, second = map(equilibrium.cells.valley_sum, (moments.zeroth, moments.second))
    width = np.divide(second, population, out=np.full_like(second, np.nan), where=population > 0)
    center = np.zeros((0, len(population)))
    if about_mean and moments.axes is not None:
        first = equilibrium.cells.valley_sum(moments.axes[: len(moments.axes) // 2])
        center = np.divide(first, population, out=np.zeros_like(first), where=population > 0)
        width -= (2.0 if len(center) == 1 else 1.0) * (center**2).sum(axis=0)
    return Budget(population, width, center, entries, float(light @ moments.zeroth), coherent)
