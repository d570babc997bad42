"""Radiative decay of the bright valley, and of spin-dark ones by their z dipole, inside the light cone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from hpcwigner.exciton.constants import BOLTZMANN, COULOMB, ELECTRON_REST_ENERGY, HBAR, HBAR2_OVER_M0, HBAR_C
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import ValleyState, reduced_masses


@dataclasses.dataclass(frozen=True)
class LightCone:
    """Excitons of a valley decay at the rate γ while |Q| < nω/c."""

    valley: int  # Index of the valley
    rate: float  # γ [1/ps], a population rate
    energy: float  # Kinetic energy E_lc at the edge of the light cone [meV]

    @classmethod
    def from_material(cls, material: Material) -> LightCone:
        """That of the bright valley."""
        name = material.radiation.bright_valley
        return cls._of(material, name, material.radiation.linewidth.value, 0.0)

    @classmethod
    def of_z_dipoles(cls, material: Material, valleys: Sequence[ValleyState]) -> tuple[LightCone, ...]:
        """Those of the spin-dark valleys that have a z dipole; `valleys` are the material's, solved."""
        dipoles = ((valley, material.valleys[valley.name].z_dipole) for valley in valleys)
        return tuple(cls._of(material, v.name, dipole.linewidth.value, v.energy) for v, dipole in dipoles if dipole is not None)

    @classmethod
    def _of(cls, material: Material, name: str, linewidth: float, offset: float) -> LightCone:
        """Q_lc = nω/c, E_lc = ħ²Q_lc²/2M for photons of `offset` [meV] from those of the bright valley."""
        photon = material.radiation.photon_energy.value + offset
        momentum = material.radiation.refractive_index.value * photon / HBAR_C
        mass = material.valleys[name].mass
        return cls(list(material.valleys).index(name), linewidth / HBAR, HBAR2_OVER_M0 * momentum**2 / (2 * mass))

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
