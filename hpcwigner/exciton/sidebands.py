"""Phonon-assisted recombination: an exciton of any momentum emits a photon and emits or absorbs a phonon (README.md).

To second order in coupling, the exciton passes virtually through the bright valley at Q ≈ 0, which has the population rates γ of
radiation and Γ_0 of scattering. With the coupling as a spontaneous rate R(Q) [1/ps] into the bright valley (phonons.py), the
energy E_lc of the light cone's edge and η = n + 1 (emission) or n (absorption), the rate per exciton is

    ℓ(Q) = γ η R(Q) ħ E_lc/2π / [(E_KK − E)² + w²],   E = E_v + ε ∓ ħΩ,   w = ħ(γ + Γ_0)/2,

E the photon's energy: the golden rule, since a sum over the light cone is A Q_lc²/4π. On resonance it is the scattering into the
light cone, a part γ/(γ + Γ_0) of which radiates. Brem et al., Nano Lett. 20, 2849 (2020), give the same up to the prefactor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from hpcwigner.exciton.constants import HBAR
from hpcwigner.exciton.phonons import Couplings, OpticalPhonon, bose
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.exciton.valley import ValleyState
from hpcwigner.runtime.arrays import Array


@dataclasses.dataclass(frozen=True)
class Sideband:
    """One phonon mode with which excitons of one valley recombine."""

    process: OpticalPhonon  # From the valley into the bright one
    emission: bool  # Whether the phonon is emitted, which lowers the photon's energy, or absorbed

    @property
    def valley(self) -> ValleyState:
        """Where the excitons come from."""
        return self.process.initial

    @property
    def name(self) -> str:
        """Valley, sign and phonon, such as `KK' −K TA`."""
        return f"{self.valley.name} {'−' if self.emission else '+'}{self.process.name}"

    @property
    def shift(self) -> float:
        """Energy of the photon less that of the exciton [meV]."""
        return -self.process.energy if self.emission else self.process.energy

    def rate(self, kinetic: Array, light_cone: LightCone, dephasing: float, temperature: float) -> Array:
        """ℓ [1/ps] at kinetic energies [meV] of the valley; `dephasing` w [meV], `temperature` [K] of the phonons."""
        bright, rest = self.process.final, np.array(0.0)
        photon = self.valley.energy + kinetic + self.shift
        eta = bose(np.array(self.process.energy), temperature) + self.emission
        coupling = self.process.rate(self.valley.momentum(kinetic), rest, rest)
        prefactor = light_cone.rate * HBAR * light_cone.energy / (2 * np.pi)
        return np.asarray(prefactor * eta * coupling / ((bright.energy - photon) ** 2 + dephasing**2))


def sidebands(couplings: Couplings, bright: str) -> Iterator[Sideband]:
    """All sidebands of a material with the bright valley of that name: phonons of constant energy, also within the valley.

    Acoustic phonons within the bright valley make wings of the direct line, which has the width of scattering by them.
    """
    for _, final, _, process in couplings.processes():
        if final.name == bright and isinstance(process, OpticalPhonon):
            yield Sideband(process, emission=True)
            yield Sideband(process, emission=False)
