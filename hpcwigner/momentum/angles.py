"""Angle cells, and the matrices between them and angular harmonics."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array


@dataclasses.dataclass(frozen=True)
class Angles:
    """N angle cells with centres θ_k = 2πk/N, N a multiple of 4, and their angular harmonics.

    In a slab f(θ) = f(−θ), so only 0 ≤ θ ≤ π is stored (`half`), and a cell holds the population of both signs of θ.
    Harmonics are Σ_k u_k cos mθ_k for m = 0…N/2, then (full circle) Σ_k u_k sin mθ_k for m = 1…N/2−1: as many as cells.
    """

    number: int
    half: bool

    @functools.cached_property
    def theta(self) -> Array:
        """Cell centres, shape (angle,)."""
        count = self.number // 2 + 1 if self.half else self.number
        return 2 * np.pi * np.arange(count) / self.number

    @property
    def count(self) -> int:
        """Number of stored cells (and of harmonics)."""
        return len(self.theta)

    def with_count(self, count: int) -> Angles:
        """Angle cells of which `count` are stored."""
        return Angles(2 * (count - 1) if self.half else count, self.half)

    @functools.cached_property
    def cosine(self) -> Array:
        """cos θ_k, antisymmetric under θ → π − θ to the last bit, shape (angle,)."""
        return self._exact(np.arange(self.count))

    @functools.cached_property
    def sine(self) -> Array:
        """sin θ_k, antisymmetric under θ → −θ to the last bit, shape (angle,)."""
        return self._exact(np.arange(self.count) - self.number // 4)

    def _exact(self, k: NDArray[np.int64]) -> Array:
        """cos(2πk/N) from its values in the first quadrant, so that mirror symmetries hold to the last bit."""
        quarter = self.number // 4
        k = np.abs(k) % self.number
        k = np.minimum(k, self.number - k)
        folded = np.where(k <= quarter, k, 2 * quarter - k)
        values = np.where(folded == quarter, 0.0, np.cos(2 * np.pi * folded / self.number))
        return np.where(k <= quarter, values, -values)

    @functools.cached_property
    def multiplicity(self) -> Array:
        """Number of the N cells that each stored cell represents, shape (angle,)."""
        if not self.half:
            return np.ones(self.count)
        return np.where(np.isin(np.arange(self.count), (0, self.number // 2)), 1.0, 2.0)

    @functools.cached_property
    def orders(self) -> tuple[int, ...]:
        """Order m of each harmonic, shape (harmonic,)."""
        cosines = range(self.number // 2 + 1)
        return tuple(cosines) if self.half else (*cosines, *range(1, self.number // 2))

    @functools.cached_property
    def to_harmonics(self) -> Array:
        """Matrix (harmonic, angle) from cell populations to harmonics."""
        k = np.arange(self.count)
        rows = [self._exact(m * k) for m in range(self.number // 2 + 1)]
        if not self.half:
            rows += [self._exact(m * k - self.number // 4) for m in range(1, self.number // 2)]
        return np.array(rows)

    @functools.cached_property
    def from_harmonics(self) -> Array:
        """The inverse matrix (angle, harmonic)."""
        m = np.array(self.orders)
        norm = np.where((m == 0) | (m == self.number // 2), 1.0, 2.0) / self.number
        return np.ascontiguousarray((self.to_harmonics * norm[:, None]).T * self.multiplicity[:, None])

    def resampled(self, other: Angles) -> Array:
        """Matrix (angle of `other`, angle): the same function of θ in another number of cells, by its harmonics.

        With fewer cells higher harmonics are dropped. In N cells cos(Nθ/2) stands for the harmonics m = ±N/2 together.
        """
        pick = np.array([[kind == own for own in self.kinds] for kind in other.kinds], dtype=float)
        if self.number != other.number:
            last = min(self.number, other.number) // 2, False
            pick[other.kinds.index(last), self.kinds.index(last)] = 2.0 if other.number < self.number else 0.5
        return np.asarray(other.from_harmonics @ pick @ self.to_harmonics)

    @functools.cached_property
    def kinds(self) -> list[tuple[int, bool]]:
        """Order of each harmonic, and whether it is a sine."""
        return [(m, i > self.number // 2) for i, m in enumerate(self.orders)]

    def mirror(self, axis: int) -> NDArray[np.int64]:
        """Mirror image of each cell at a wall normal to x (axis 0: θ → π − θ) or y (axis 1: θ → −θ), shape (angle,)."""
        k = np.arange(self.count)
        image = self.number // 2 - k if axis == 0 else -k
        return image if self.half and axis == 0 else image % self.number
