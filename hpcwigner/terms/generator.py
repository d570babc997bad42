"""The generator L of all local linear terms: what exponentials and resolvents integrate exactly."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.terms.scattering import ScatteringStage

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class LocalGenerator:
    """Scattering and losses of one class of points that share rates, while the same processes act.

    L_m[j, i] = Γ_m[j, i] − δ_ij (Σ_k Γ_0[k, i] + ℓ_i) with the same loss ℓ in every harmonic.
    """

    scattering: ScatteringStage
    loss: Array
    """ℓ, all losses together [1/ps], shape (cell,)."""
    light: Array
    """The radiative part of `loss` [1/ps], shape (cell,)."""

    @property
    def equilibrium(self) -> Equilibrium:
        """The energy cells with their Boltzmann state."""
        return self.scattering.equilibrium

    @property
    def parts(self) -> tuple[tuple[slice, ...], ...]:
        """Ranges of cells that do not couple to each other, per m."""
        return self.scattering.parts

    @property
    def valley_transfer(self) -> Array:
        """Intervalley gain minus loss of each valley per population of each cell [1/ps], shape (valley, cell)."""
        return self.scattering.valley_transfer

    @property
    def orders(self) -> int:
        """Number of harmonics m = 0, 1, …"""
        return len(self.scattering.blocks)

    def block(self, m: int) -> Array:
        """L_m [1/ps], shape (cell, cell); a copy."""
        block = self.scattering.blocks[m].copy()
        diagonal = np.arange(len(block))
        block[diagonal, diagonal] -= self.loss
        return block

    @property
    def fastest_rate(self) -> float:
        """Largest total rate out of a cell [1/ps]."""
        return float((self.loss - self.scattering.blocks[0].diagonal()).max())

    @property
    def slowest_relaxation(self) -> float:
        """Smallest relaxation rate of the first harmonic of any cell [1/ps]."""
        return float((self.loss - self.scattering.blocks[1].diagonal()).min())

    @functools.cached_property
    def adiabatic_response(self) -> Array:
        """½ Σ_{i∈v} v_i (−L_1⁻¹)_ij [nm], shape (valley, cell): what a source v·n of the first harmonic adds to n_v D_v.

        NaN where momentum does not relax (all scattering off).
        """
        cells = self.equilibrium.cells
        own = np.equal.outer(np.arange(len(cells.valleys)), cells.valley_of_cell)
        try:
            return np.asarray(-0.5 * np.linalg.solve(self.block(1).T, (own * self.equilibrium.velocity).T).T)
        except np.linalg.LinAlgError:
            return np.full(own.shape, np.nan)
