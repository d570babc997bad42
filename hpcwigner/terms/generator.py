"""The generator L of all local linear terms: what exponentials and resolvents integrate exactly."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.terms.scattering import ScatteringStage

Indices = NDArray[np.int64]
NEGLIGIBLE = 1e-8  # In-scattering below this part of the rates out of both cells is left out of the sparse blocks of m ≥ 1


@dataclasses.dataclass(frozen=True)
class SparseBlocks:
    """The in-scattering Γ_m, m ≥ 1, without its diagonal: a few phonons that shift the energy make a few diagonals.

    Rows are taken eight (WIDTH) at a time. Group g has the pieces of diagonals starts[m, g] ≤ k < starts[m, g + 1]: in its
    row i the value values[k, i] [1/ps] stands in column columns[k] + i. The last group ends with the last row; rows that it
    shares with the group before are zero in it. All else is in `rest`, row by row: rows members[r] with begins[m] ≤ r <
    begins[m + 1] have values[k] in columns[k] for starts[r] ≤ k < starts[r + 1].
    """

    diagonals: tuple[Indices, Indices, Array]  # starts (m, group + 1), columns, values (piece, WIDTH)
    rest: tuple[Indices, Indices, Indices, Indices, Array]  # begins, members, starts, columns, values

    @classmethod
    def from_dense(cls, blocks: Array, negligible: float = NEGLIGIBLE) -> SparseBlocks:
        """From L_m, shape (m, cell, cell); entries below a `negligible` part of the rates out of both cells are left out."""
        cells = blocks.shape[1]
        groups = -(-cells // WIDTH)
        starts = np.zeros((len(blocks), groups + 1), dtype=np.int64)
        columns: list[int] = []
        values: list[Array] = []
        begins, members, ends = [0, 0], list[int](), [0]
        rest_columns, rest_values = list[int](), list[float]()
        for m, block in enumerate(blocks[1:], start=1):
            left = _in_scattering(block, negligible)
            starts[m, 0] = len(columns)
            for group in range(groups):
                first = min(group * WIDTH, cells - WIDTH)
                rows = left[first : first + WIDTH]
                row, column = np.nonzero(rows)
                shifts, counts = np.unique(column - row, return_counts=True)
                for shift in shifts[counts > 1]:
                    row = np.arange(max(0, -shift), min(WIDTH, cells - shift))
                    piece = np.zeros(WIDTH)
                    piece[row] = rows[row, shift + row]
                    rows[row, shift + row] = 0.0
                    columns.append(shift)
                    values.append(piece)
                starts[m, group + 1] = len(columns)
            for i in np.flatnonzero(left.any(axis=1)):
                used = np.flatnonzero(left[i])
                members.append(i)
                rest_columns += [*used]
                rest_values += [*left[i, used]]
                ends.append(len(rest_columns))
            begins.append(len(members))
        rest = _integers(begins), _integers(members), _integers(ends), _integers(rest_columns), np.array(rest_values, dtype=float)
        return cls((starts, _integers(columns), np.array(values, dtype=float).reshape(-1, WIDTH)), rest)

    def nonzeros(self, m: int) -> int:
        """Number of nonzeros of Γ_m."""
        (starts, _, values), (begins, _, ends, *_) = self.diagonals, self.rest
        return int(np.count_nonzero(values[starts[m, 0] : starts[m, -1]]) + ends[begins[m + 1]] - ends[begins[m]])


def harmonics_by_order(orders: Sequence[int], last: int) -> Indices:
    """Numbers of the harmonics of each order m ≤ `last`, filled up with −1: shape (m, harmonic)."""
    members = [[h for h, order in enumerate(orders) if order == m] for m in range(last + 1)]
    most = max(map(len, members))
    return np.array([[*row, *[-1] * (most - len(row))] for row in members])


def _integers(numbers: list[int]) -> Indices:
    return np.array(numbers, dtype=np.int64)


def _in_scattering(block: Array, negligible: float) -> Array:
    """A copy of one L_m without its diagonal and what is negligible against the rates out of both cells."""
    out = np.maximum(-block.diagonal(), 1e-300)
    gain = np.abs(block) / out
    counts = np.maximum(gain, gain.T) > negligible
    np.fill_diagonal(counts, False)
    return np.where(counts, block, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class FieldDrive:
    """What drives the auxiliary fields f of a point: ∂t f = linear · Σ_θ u + Σ_s strength_s sources[s]."""

    linear: Array  # [1/ps], shape (field, cell)
    sources: Sequence[Array]  # By source, per unit of its strength [1/ps], each of shape (field,)


@dataclasses.dataclass(frozen=True)
class LocalGenerator:
    """Scattering and losses of one class of points that share rates, while the same processes act.

    L_m[j, i] = Γ_m[j, i] − δ_ij (Σ_k Γ_0[k, i] + ℓ_i) with the same loss ℓ in every harmonic.
    """

    scattering: ScatteringStage
    loss: Array  # ℓ, all losses together [1/ps], shape (cell,)
    light: Array  # The radiative part of `loss` [1/ps], shape (cell,)
    drive: FieldDrive | None = None  # Of auxiliary fields that follow the populations

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
        """L_m without its diagonal for m ≥ 1."""
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
