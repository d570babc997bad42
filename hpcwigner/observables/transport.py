"""Diffusion coefficients in equilibrium, from scattering alone: the long-time limits of D_v(t)."""

import numpy as np

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import AcousticPhonon
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import generator
from hpcwigner.runtime.arrays import Array


def chapman_enskog(equilibrium: Equilibrium, momentum_relaxation: Array) -> float:
    """D = −½⟨v·L_1⁻¹v⟩ [nm²/ps] of all valleys together: first Chapman–Enskog order, exact for slow spatial variation.

    `momentum_relaxation` is L_1, the first angular harmonic's scattering without radiative loss, shape (cell, cell) [1/ps].
    """
    velocity = equilibrium.velocity
    return float(-0.5 * velocity @ np.linalg.solve(momentum_relaxation, velocity * equilibrium.population))


def elastic_acoustic(phonon: AcousticPhonon) -> float:
    """D = ħ³ρv²/(M²D1²) [nm²/ps]: quasi-elastic acoustic phonons alone, form factors of 1.

    1/τ = M D1²kT/(ħ³ρv²) for all momenta, D = kTτ/M (Kaasbjerg et al., Phys. Rev. B 85, 115317 (2012)); D1 is the sum of the
    deformation potentials of electron and hole.
    """
    mass = phonon.valley.mass / HBAR2_OVER_M0 * HBAR**2  # [meV ps²/nm²]
    return HBAR**3 * phonon.area_density * phonon.sound_velocity**2 / (mass * (phonon.electron + phonon.hole)) ** 2


def intrinsic_diffusion(equilibrium: Equilibrium, intravalley: Array) -> dict[str, Array]:
    """D of each valley without intervalley scattering, in equilibrium, by three formulas, each of shape (valley,) [nm²/ps].

    exact: Chapman–Enskog, −½⟨v·L_1⁻¹v⟩. relaxation_time: ½⟨τ_Q v_Q²⟩, 1/τ_Q = Σ_Q' Γ_{Q'Q}^{vv} (Rosati et al.), exact if every
    scattering event randomised the direction. constant_time: ⟨τ_Q⟩ kT/M_v. `intravalley` is in-scattering, harmonics m = 0, 1
    (or more), shape (m, cell, cell) [1/ps].
    """
    momentum_relaxation, out, results = generator(intravalley[:2])[1], intravalley[0].sum(axis=0), []
    for cells, mean_square in zip(equilibrium.cells.slices, equilibrium.mean_square_speed, strict=True):
        p, v, time = equilibrium.population[cells], equilibrium.velocity[cells], 1 / out[cells]
        p = p / p.sum()
        exact = -0.5 * v @ np.linalg.solve(momentum_relaxation[cells, cells], v * p)
        results.append((exact, 0.5 * p @ (time * v**2), p @ time * 0.5 * mean_square))
    return dict(zip(("exact", "relaxation_time", "constant_time"), np.transpose(results), strict=True))
