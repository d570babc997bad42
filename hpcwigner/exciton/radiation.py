"""Radiative decay of the bright valley: the light cone and its fraction of the first energy cell."""

from __future__ import annotations

import dataclasses
import math

from hpcwigner.exciton.constants import BOLTZMANN, COULOMB, ELECTRON_REST_ENERGY, HBAR, HBAR2_OVER_M0, HBAR_C
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import reduced_masses


@dataclasses.dataclass(frozen=True)
class LightCone:
    """Bright excitons decay at the rate γ while |Q| < nω/c."""

    bright_valley: int  # Index of the bright valley
    rate: float  # γ [1/ps], a population rate
    energy: float  # Kinetic energy E_lc at the edge of the light cone [meV]

    @classmethod
    def from_material(cls, material: Material) -> LightCone:
        """From a material file: Q_lc = nω/c, E_lc = ħ²Q_lc²/2M."""
        radiation = material.radiation
        momentum = radiation.refractive_index.value * radiation.photon_energy.value / HBAR_C
        mass = material.valleys[radiation.bright_valley].mass
        bright = list(material.valleys).index(radiation.bright_valley)
        return cls(bright, radiation.linewidth.value / HBAR, HBAR2_OVER_M0 * momentum**2 / (2 * mass))

    def fraction(self, cell_width: float, temperature: float) -> float:
        """Fraction of a Boltzmann distribution in the first cell, `cell_width` [meV] wide, that lies in the light cone."""
        thermal = BOLTZMANN * temperature
        return min(1.0, math.expm1(-self.energy / thermal) / math.expm1(-cell_width / thermal))

    def mean_lifetime(self, temperature: float) -> float:
        """Radiative lifetime of a thermalised bright valley [ps]: 1/(γ (1 − exp(−E_lc/kT)))."""
        return 1 / (self.rate * -math.expm1(-self.energy / (BOLTZMANN * temperature)))


def linewidth_from_dipole(material: Material, density_at_origin: float) -> float:
    """ħγ [meV] from 1/τ = (2π/n) r_e c f, r_e the classical electron radius and f = ψ(0)² m0/μ (README.md)."""
    strength = density_at_origin / reduced_masses(material)[material.radiation.bright_valley]
    classical_radius = COULOMB / ELECTRON_REST_ENERGY
    return 2 * math.pi / material.radiation.refractive_index.value * classical_radius * HBAR_C * strength
