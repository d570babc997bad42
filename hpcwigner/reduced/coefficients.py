"""What drift and diffusion need of the kinetic rates: diffusion coefficients, transfer and loss rates of thermal valleys.

Within each valley excitons are taken to be thermal, N_i = n_v π_i with the Boltzmann shares π_i of the valley's cells. Then

    D_vw = −½ Σ_{i∈v, j∈w} v_i (L_1⁻¹)_ij v_j π_j        k_wv = Σ_{i∈v} Γ_wi π_i        ℓ_v = Σ_{i∈v} ℓ_i π_i

with L_1 of scattering alone and the rate Γ_wi of cell i into valley w. L_1 is taken without losses: a loss that is the same for
all momenta only makes every density smaller, and no loss is comparable with scattering. Both D and k obey detailed balance,
D_vw p_w = D_wv p_v and k_wv p_v = k_vw p_w with the shares p_v in equilibrium, and Σ_vw D_vw p_w is Chapman–Enskog's D.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.scattering import ScatteringStage


@dataclasses.dataclass(frozen=True, eq=False)
class Coefficients:
    """Of the points that share rates, while the same processes act."""

    diffusion: Array  # D_vw [nm²/ps], shape (valley, valley)
    transfer: Array  # k_wv from valley v into w; on the diagonal minus what leaves [1/ps], shape (valley, valley)
    losses: Mapping[str, Array]  # By the name of the term [1/ps], each of shape (valley,)
    light: Array  # The part of the losses that is PL [1/ps], shape (valley,)

    @property
    def loss(self) -> Array:
        """All losses together [1/ps], shape (valley,)."""
        return sum(self.losses.values(), np.zeros(len(self.light)))


def thermal_shares(equilibrium: Equilibrium) -> Array:
    """π_i: share of each cell in its valley in equilibrium, shape (cell,)."""
    cells = equilibrium.cells
    return np.asarray(equilibrium.population / cells.valley_sum(equilibrium.population)[cells.valley_of_cell])


def of_scattering(stage: ScatteringStage) -> tuple[Array, Array]:
    """D_vw [nm²/ps] and k_wv [1/ps] of scattering, each of shape (valley, valley)."""
    cells, shares = stage.cells, thermal_shares(stage.equilibrium)
    own = np.equal.outer(np.arange(len(cells.valleys)), cells.valley_of_cell).astype(float)
    moving = own * stage.equilibrium.velocity
    diffusion = -0.5 * moving @ np.linalg.solve(stage.blocks[1], (moving * shares).T)
    return diffusion, stage.valley_transfer @ (own * shares).T


def coefficients(problem: Problem) -> list[list[Coefficients]]:
    """By stage of the scattering, then by class of points."""
    by_stage = [[stage] for stage in problem.scattering.stages]
    if problem.offsets is not None:
        by_stage = [[stages[0], *problem.offsets.stages[1:]] for stages in by_stage]
    light = problem.generators[0].light
    terms = [term for term in problem.terms if isinstance(term, Loss)]
    result = []
    for stages in by_stage:
        classes = []
        for number, stage in enumerate(stages):
            shares, total = thermal_shares(stage.equilibrium), stage.cells.valley_sum
            losses: dict[str, Array] = {}
            for term in terms:
                losses[term.name] = losses.get(term.name, 0.0) + total(shares * term.rate_in(number))
            classes.append(Coefficients(*of_scattering(stage), losses, total(shares * light)))
        result.append(classes)
    return result


def mean_free_paths(problem: Problem) -> Array:
    """ℓ_v = 2 D_v/√⟨v²⟩ [nm], shape (valley,): D_v = ½⟨v²⟩τ, ℓ = √⟨v²⟩ τ; at the centre, at the start."""
    diffusion, _ = of_scattering(problem.scattering.stages[0])
    return np.asarray(2 * diffusion.diagonal() / np.sqrt(problem.equilibrium.mean_square_speed))
