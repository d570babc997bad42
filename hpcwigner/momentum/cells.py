"""Energy cells of all valleys.

The density of states of a parabolic valley in two dimensions is constant, so cells of equal energy width hold equal numbers
of states. The cells of all valleys share one index, "cell" below, valley after valley; angles have their own index.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR2_OVER_M0
from hpcwigner.exciton.valley import ValleyState
from hpcwigner.runtime.arrays import Array


@dataclasses.dataclass(frozen=True)
class EnergyCells:
    """Cells of equal width within each valley, from kinetic energy zero up to a top per valley."""

    valleys: tuple[ValleyState, ...]
    counts: tuple[int, ...]  # Number of cells of each valley
    tops: tuple[float, ...]  # Largest kinetic energy of each valley [meV]

    @classmethod
    def build(
        cls, valleys: Sequence[ValleyState], energy_step: float, energy_above: float, spread: tuple[Array, Array] | None = None
    ) -> EnergyCells:
        """Cells of at most `energy_step` [meV], in all valleys up to `energy_above` [meV] over the highest valley bottom.

        `spread` are the lowest and highest bottom of each valley in the sample, where they vary in space.
        """
        lowest, highest = spread or [[valley.energy for valley in valleys]] * 2
        top = max(highest) + energy_above
        tops = tuple(float(top - bottom) for bottom in lowest)
        counts = tuple(math.ceil(kinetic / energy_step - 1e-9) for kinetic in tops)
        return cls(tuple(valleys), counts, tops)

    @property
    def size(self) -> int:
        """Number of energy cells of all valleys."""
        return sum(self.counts)

    @functools.cached_property
    def slices(self) -> tuple[slice, ...]:
        """Range of each valley in the index of cells."""
        ends = np.cumsum(self.counts)
        return tuple(slice(int(end) - count, int(end)) for end, count in zip(ends, self.counts, strict=True))

    @functools.cached_property
    def valley_of_cell(self) -> NDArray[np.int64]:
        """Valley index of each cell, shape (cell,)."""
        return np.repeat(np.arange(len(self.valleys)), self.counts)

    def per_cell(self, values: Iterable[float]) -> Array:
        """Values of the valleys, repeated for each of their cells, shape (cell,)."""
        return np.array(list(values))[self.valley_of_cell]

    @functools.cached_property
    def bottoms(self) -> Array:
        """E_v of each cell's valley [meV], shape (cell,)."""
        return self.per_cell(valley.energy for valley in self.valleys)

    def edges(self, valley: int) -> Array:
        """Cell edges of a valley as kinetic energies [meV], from 0, shape (count + 1,)."""
        return np.linspace(0.0, self.tops[valley], self.counts[valley] + 1)

    def width(self, valley: int) -> float:
        """Cell width of a valley [meV]."""
        return self.tops[valley] / self.counts[valley]

    def cell_within(self, valley: int, kinetic: Array) -> NDArray[np.int64]:
        """Cell that contains each kinetic energy [meV], counted from the valley's first one; the topmost one above the top."""
        return np.minimum((np.asarray(kinetic) / self.width(valley)).astype(np.int64), self.counts[valley] - 1)

    @functools.cached_property
    def states(self) -> Array:
        """Number of states per area in each cell, all angles [1/nm²]: g M ΔE/(2πħ²), shape (cell,)."""
        per_area = 2 * math.pi * HBAR2_OVER_M0
        return self.per_cell(v.degeneracy * v.mass * self.width(i) / per_area for i, v in enumerate(self.valleys))

    def valley_sum(self, values: Array) -> Array:
        """Sum over each valley's cells along the last axis: (..., cell) → (..., valley)."""
        return np.stack([values[..., s].sum(axis=-1) for s in self.slices], axis=-1)
