"""Diffusion coefficients of local equilibrium, from scattering alone: what D_v(t) tends to when nothing else happens."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import AcousticPhonon
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import generator

Array = NDArray[np.float64]


def chapman_enskog(equilibrium: Equilibrium, momentum_relaxation: Array) -> float:
    """D = −½⟨v·L_1⁻¹v⟩ [nm²/ps], exact for slow spatial variation (DESIGN §6).

    `momentum_relaxation` is L_1 without radiative loss, shape (cell, cell) [1/ps].
    """
    velocity = equilibrium.velocity
    return float(-0.5 * velocity @ np.linalg.solve(momentum_relaxation, velocity * equilibrium.population))


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


@dataclasses.dataclass(frozen=True)
class IntrinsicDiffusion:
    """D of a valley in equilibrium with itself, by three formulas, all [nm²/ps]."""

    relaxation_time: float
    """½⟨τ_Q v_Q²⟩ with τ_Q = 1/ΣΓ^{vv} out of Q (Rosati et al.): as if every scattering randomised the direction."""
    constant_time: float
    """⟨τ_Q⟩ kT/M"""
    exact: float
    """Chapman–Enskog, −½⟨v·L_1⁻¹v⟩: in-scattering included."""


def intrinsic_diffusion(equilibrium: Equilibrium, intravalley: Array) -> tuple[IntrinsicDiffusion, ...]:
    """Of every valley alone; `intravalley` is the in-scattering of orders m = 0, 1, shape (m, cell, cell) [1/ps]."""
    momentum_relaxation = generator(intravalley[:2])[1]
    out = intravalley[0].sum(axis=0)
    found = []
    for cells, mean_square in zip(equilibrium.cells.slices, equilibrium.mean_square_speed, strict=True):
        p, v = equilibrium.population[cells], equilibrium.velocity[cells]
        p = p / p.sum()
        time = 1 / out[cells]
        exact = -0.5 * v @ np.linalg.solve(momentum_relaxation[cells, cells], v * p)
        found.append(IntrinsicDiffusion(float(0.5 * p @ (time * v**2)), float(p @ time * 0.5 * mean_square), float(exact)))
    return tuple(found)
