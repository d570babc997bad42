"""Diffusion coefficients of local equilibrium, from scattering alone: what D_v(t) tends to when nothing else happens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcwigner.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import AcousticPhonon
from hpcwigner.momentum.grid import EnergyGrid

Array = NDArray[np.float64]


def chapman_enskog(grid: EnergyGrid, momentum_relaxation: Array) -> float:
    """D = −½⟨v·L_1⁻¹v⟩ [nm²/ps], exact for slow spatial variation (DESIGN §6).

    `momentum_relaxation` is L_1 without radiative loss, shape (cell, cell) [1/ps].
    """
    velocity = grid.velocity
    return float(-0.5 * velocity @ np.linalg.solve(momentum_relaxation, velocity * grid.equilibrium))


def without_loss(block: Array, loss: Array) -> Array:
    """A scattering block with the radiative loss of each cell taken out of its diagonal."""
    return block + np.diag(loss)


def elastic_acoustic(phonon: AcousticPhonon) -> float:
    """D = ħ³ρv²/(M²D²) [nm²/ps]: acoustic phonons alone, much slower than excitons, and point-like excitons.

    1/τ = M D²kT/(ħ³ρv²) for all momenta, D = kTτ/M (Kaasbjerg et al., Phys. Rev. B 85, 115317 (2012)).
    """
    mass = phonon.valley.mass / HBAR2_OVER_M0 * HBAR**2  # [meV ps²/nm²]
    potential = phonon.electron + phonon.hole
    return HBAR**3 * phonon.area_density * phonon.sound_velocity**2 / (mass * potential) ** 2
