"""The generator L of all local linear terms: what exponentials and resolvents integrate exactly."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.scattering import ScatteringStage

NEGLIGIBLE = 1e-8  # In-scattering below this part of the rates out of both cells is left out of the sparse blocks of m ≥ 1


@dataclasses.dataclass(frozen=True)
class SparseBlocks:
    """The in-scattering Γ_m, m ≥ 1, without its diagonal: of a few phonons, hence few nonzeros in a row.

    Row i of Γ_m has `values`[k] [1/ps] in `columns`[k] for starts[m, i] ≤ k < starts[m, i + 1]; rows are padded with zeros to
    multiples of four.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Array

    @classmethod
    def from_dense(cls, blocks: Array) -> SparseBlocks:
        """From L_m, shape (m, cell, cell)."""
        starts, columns, values = np.zeros((len(blocks), blocks.shape[1] + 1), dtype=np.int64), [], []
        end = 0
        for m, block in enumerate(blocks):
            out = np.maximum(-block.diagonal(), 1e-300)
            gain = np.abs(block) / out
            counts = np.maximum(gain, gain.T) > NEGLIGIBLE  # relative to the rates out of the initial and of the final cell
            np.fill_diagonal(counts, False)
            starts[m, 0] = end
            for i, row in enumerate(counts if m > 0 else ()):
                used = np.flatnonzero(row)
                padding = -len(used) % 4
                columns += [used, np.full(padding, i)]
                values += [block[i, used], np.zeros(padding)]
                end += len(used) + padding
                starts[m, i + 1] = end
        return cls(starts, np.concatenate(columns or [np.zeros(0, dtype=np.int64)]), np.concatenate(values or [np.zeros(0)]))


@dataclasses.dataclass(frozen=True)
class LocalGenerator:
    """Scattering and losses of one class of points that share rates, while the same processes act.

    L_m[j, i] = Γ_m[j, i] − δ_ij (Σ_k Γ_0[k, i] + ℓ_i) with the same loss ℓ in every harmonic.
    """

    scattering: ScatteringStage
    loss: Array  # ℓ, all losses together [1/ps], shape (cell,)
    light: Array  # The radiative part of `loss` [1/ps], shape (cell,)

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
    def out_rates(self) -> Array:
        """−L_m[i, i] [1/ps], shape (m, cell): the rate at which each harmonic of a cell decays."""
        return self.loss - np.diagonal(self.scattering.blocks, axis1=1, axis2=2)

    @functools.cached_property
    def in_scattering(self) -> SparseBlocks:
        """L_m without its diagonal for m ≥ 1, as rows of nonzeros."""
        return SparseBlocks.from_dense(self.scattering.blocks)

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
