"""Radiative recombination of the bright valley: the light cone and its share of the first energy cell."""

from __future__ import annotations

import dataclasses
import math

from hpcwigner.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0, HBAR_C
from hpcwigner.exciton.materials import Material


@dataclasses.dataclass(frozen=True)
class LightCone:
    """Bright excitons decay at the rate γ while |Q| < nω/c."""

    bright_valley: int
    """Position of the bright valley in the material's list."""
    rate: float
    """γ [1/ps], a population rate."""
    energy: float
    """Kinetic energy E_lc at the edge of the light cone [meV]."""

    @classmethod
    def of(cls, material: Material) -> LightCone:
        """From a material file: Q_lc = nω/c, E_lc = ħ²Q_lc²/2M."""
        radiation = material.radiation
        momentum = radiation.refractive_index.value * radiation.photon_energy.value / HBAR_C
        mass = material.valleys[radiation.bright_valley].mass
        return cls(
            bright_valley=list(material.valleys).index(radiation.bright_valley),
            rate=radiation.linewidth.value / HBAR,
            energy=HBAR2_OVER_M0 * momentum**2 / (2 * mass),
        )

    def fraction(self, cell_width: float, temperature: float) -> float:
        """Share of a Boltzmann-filled first cell of `cell_width` [meV] that lies in the light cone (DESIGN §4)."""
        thermal = BOLTZMANN * temperature
        return min(1.0, math.expm1(-self.energy / thermal) / math.expm1(-cell_width / thermal))
