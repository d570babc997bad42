"""Population, width and diffusion coefficient of each valley, with the exact budgets of D_v, of number and of energy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array

PARTS = ("drift", "interv", "source", "radiative")  # Causes of D_v in every problem


@dataclasses.dataclass(frozen=True)
class SpatialMoments:
    """M0 [1], M1 [nm], M2 [nm²] per energy cell, each of shape (cell,). A slab counts r² as 2x²."""

    zeroth: Array
    first: Array
    second: Array


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a term contributes to rates of change."""

    number: Array  # ∂t n_v [1/ps], shape (valley,)
    second: Array  # ∂t ∫r²N_v dr [nm²/ps], shape (valley,)
    power: float  # ∂t of the energy of all excitons, valley bottoms included [meV/ps]

    def __add__(self, other: Entry) -> Entry:
        return Entry(self.number + other.number, self.second + other.second, self.power + other.power)


@dataclasses.dataclass(frozen=True)
class Budget:
    """All excitons at one time, and what changes them; arrays have shape (valley,)."""

    population: Array  # n_v
    width_squared: Array  # w_v² [nm²]
    entries: Mapping[str, Entry]  # By part: drift, interv, source, radiative, …
    pl: float  # γ times the light-cone population [1/ps]
    coherent: float  # |p0|²

    @property
    def parts(self) -> dict[str, Array]:
        """D_v by cause [nm²/ps]: ¼ [∂t∫r²N_v − w_v² ∂t n_v]/n_v of each term; 0 for those of PARTS that no term has."""
        with np.errstate(divide="ignore", invalid="ignore"):
            change = {name: e.second - self.width_squared * e.number for name, e in self.entries.items()}
            parts = {name: np.asarray(0.25 * c / self.population) for name, c in change.items()}
        return {name: np.zeros_like(self.population) for name in PARTS} | parts

    @property
    def diffusion(self) -> Array:
        """D_v = ¼ ∂t w_v² [nm²/ps]: the sum of its parts."""
        return np.asarray(sum(self.parts.values()))


def budget(
    moments: SpatialMoments, entries: Mapping[str, Entry], equilibrium: Equilibrium, light: Array, coherent: float
) -> Budget:
    """Budget of some moments. `light` is the radiative loss of each cell [1/ps], `coherent` is |p0|² now."""
    population, second = map(equilibrium.cells.valley_sum, (moments.zeroth, moments.second))
    width = np.divide(second, population, out=np.full_like(second, np.nan), where=population > 0)
    return Budget(population, width, entries, float(light @ moments.zeroth), coherent)
