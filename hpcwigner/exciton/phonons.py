"""Exciton-phonon couplings as spontaneous rates R = (M/ħ³) A|G|² [1/ps] between valleys, M the mass of the final valley.

The golden rule (README.md) summed over the final states of one valley, Σ_Q → A/(2π)² ∫d²Q = A M/(2πħ²) ∫dε ∫dθ/2π, gives the
rate  ∫dε ∫dθ/2π R (n + ½ ± ½) δ(ε' − ε ∓ ħω).  momentum/ does the integrals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from hpcwigner.exciton.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.valley import ValleyState, solve
from hpcwigner.runtime.arrays import Array


def bose(energy: Array, temperature: float) -> Array:
    """Occupation 1/(exp(ħω/kT) − 1) of phonons of `energy` [meV] at `temperature` [K]."""
    return 1 / np.expm1(np.asarray(energy) / (BOLTZMANN * temperature))


@dataclasses.dataclass(frozen=True)
class AcousticPhonon:
    """Long-wavelength acoustic phonons within a valley: ω = v q, |g|² = ħ D1² q/(2ρvA), electron and hole terms add."""

    valley: ValleyState
    sound_velocity: float  # [nm/ps]
    area_density: float  # [meV ps²/nm⁴]
    electron: float  # D1 of the electron [meV]
    hole: float  # D1 of the hole [meV]

    @property
    def sound_momentum(self) -> float:
        """Q_s = Mv/ħ [1/nm], at which an exciton moves at the speed of sound."""
        return self.valley.mass * self.sound_velocity / HBAR_OVER_M0

    def rate(self, transfer: Array) -> Array:
        """R(q) [1/ps] at the momentum transfer q [1/nm], without the occupation: M q |D_e F_e + D_h F_h|²/(2ħ²ρv)."""
        overlap = self.valley.overlaps[self.valley.name]
        coupling = self.electron * overlap(transfer * self.valley.hole_fraction)
        coupling = coupling + self.hole * overlap(transfer * self.valley.electron_fraction)
        prefactor = self.valley.mass / HBAR2_OVER_M0 / (2 * self.area_density * self.sound_velocity)
        return prefactor * transfer * coupling**2

    def from_rest(self, temperature: float) -> Iterator[tuple[float, float]]:
        """Kinetic energy [meV] after and rate [1/ps] of scattering from Q = 0: absorption, to Q = 2Q_s.

        There dε/dQ = 2ħv, which doubles the weight of the energy delta.
        """
        momentum = 2 * self.sound_momentum
        energy = HBAR * self.sound_velocity * momentum
        yield energy, float(2 * self.rate(np.array(momentum)) * bose(np.array(energy), temperature))


@dataclasses.dataclass(frozen=True)
class OpticalPhonon:
    """A phonon of constant energy, between two valleys or within one: |g|² = ħ D0²/(2ρωA)."""

    name: str
    initial: ValleyState
    final: ValleyState
    final_valleys: float  # Number of final valleys per initial one
    energy: float  # ħω [meV]
    area_density: float  # [meV ps²/nm⁴]
    electron: float  # D0 of the electron [meV/nm]
    hole: float  # D0 of the hole [meV/nm]; zero when the hole is a spectator
    intervalley: bool

    def directions(self) -> tuple[OpticalPhonon, ...]:
        """Emission processes of this coupling: one from each of its valleys, with the same number of valley pairs."""
        if self.initial is self.final:
            return (self,)
        valleys = self.final_valleys * self.initial.degeneracy / self.final.degeneracy
        return self, dataclasses.replace(self, initial=self.final, final=self.initial, final_valleys=valleys)

    def rate(self, initial_momentum: Array, final_momentum: Array, angle: Array) -> Array:
        """R [1/ps] from |Q'| to |Q| [1/nm] at the angle between them, without the occupation."""
        overlap = self.initial.overlaps[self.final.name]

        def shift(initial_share: float, final_share: float) -> Array:
            a, b = initial_share * initial_momentum, final_share * final_momentum
            return np.sqrt(np.maximum(a**2 + b**2 - 2 * a * b * np.cos(angle), 0.0))

        coupling = self.electron * overlap(shift(self.initial.hole_fraction, self.final.hole_fraction))
        if self.hole:
            coupling = coupling + self.hole * overlap(shift(self.initial.electron_fraction, self.final.electron_fraction))
        prefactor = self.final_valleys * self.final.mass / HBAR2_OVER_M0 / (2 * self.area_density * (self.energy / HBAR))
        return prefactor * coupling**2

    def from_rest(self, temperature: float) -> Iterator[tuple[float, float]]:
        """Kinetic energy [meV] after and rate [1/ps] of scattering from Q = 0: emission and absorption, as far as possible."""
        number, rest = bose(np.array(self.energy), temperature), np.array(0.0)
        for change, occupation in ((-self.energy, number + 1), (self.energy, number)):
            kinetic = self.initial.energy + change - self.final.energy
            if kinetic >= 0:
                yield kinetic, float(self.rate(rest, self.final.momentum(np.array(kinetic)), rest) * occupation)


Phonon = AcousticPhonon | OpticalPhonon


@dataclasses.dataclass(frozen=True)
class Couplings:
    """All valleys and phonons of a material, in the order of its file."""

    valleys: tuple[ValleyState, ...]
    acoustic: tuple[AcousticPhonon, ...]
    optical: tuple[OpticalPhonon, ...]

    @classmethod
    def from_material(cls, material: Material, valleys: tuple[ValleyState, ...] = ()) -> Couplings:
        """From a material and its valleys, which are solved for if not given. Raises InputError."""
        valleys = valleys or solve(material)
        density, states = material.area_density.value, {state.name: state for state in valleys}
        acoustic = []
        for name, valley in material.valleys.items():
            potentials = valley.acoustic_electron.value, valley.acoustic_hole.value
            acoustic.append(AcousticPhonon(states[name], material.sound_velocity.value, density, *potentials))
        optical = [
            OpticalPhonon(p.name, state, state, 1, p.energy.value, density, p.electron.value, p.hole.value, intervalley=False)
            for p in material.intravalley_phonons
            for state in valleys
        ]
        for p in material.intervalley_phonons:
            initial, final = (states[name] for name in p.between)
            energy, electron = p.energy.value, p.electron.value
            optical.append(
                OpticalPhonon(p.name, initial, final, p.final_valleys, energy, density, electron, 0.0, intervalley=True)
            )
        return cls(valleys, tuple(acoustic), tuple(optical))

    def processes(self) -> Iterator[tuple[bool, ValleyState, ValleyState, Phonon]]:
        """Emission processes: whether they change the valley, final and initial valley, phonon."""
        for acoustic in self.acoustic:
            yield False, acoustic.valley, acoustic.valley, acoustic
        for optical in self.optical:
            for process in optical.directions():
                yield process.intervalley, process.final, process.initial, process


ACOUSTIC_BRANCHES = ("TA", "LA", "ZA", "acoustic")  # Name endings of acoustic phonons among those of constant energy


def absorption_threshold(couplings: Couplings, target: str) -> Array:
    """Smallest |Q| [1/nm] in each valley from which absorption of one acoustic phonon leads into `target`, shape (valley,).

    √(2M(E_target − E_v − ħω))/ħ with the most energetic phonon; 0 if the bottom suffices, NaN without such a phonon.
    """
    bottom = {state.name: state.energy for state in couplings.valleys}
    thresholds = []
    for state in couplings.valleys:
        lifting = [p.energy for p in couplings.optical if p.name.endswith(ACOUSTIC_BRANCHES) and p.initial is not p.final
                   and {p.initial.name, p.final.name} == {state.name, target}]  # fmt: skip
        missing = bottom[target] - state.energy - max(lifting, default=np.nan)
        thresholds.append(state.momentum(np.maximum(missing, 0.0)))
    return np.array(thresholds)
