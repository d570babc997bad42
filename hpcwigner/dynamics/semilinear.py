"""What the integrators see of a problem: u' = L u + A u + s(t), L block-diagonal in angular harmonics.

The Wigner equation on a grid and its closed moment equations both are such problems, so the same integrators run both,
and the time error of the one equals that of the other.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class SemilinearSystem(Protocol):
    """State arrays are (point, row, cell); harmonic arrays are (harmonic, point, cell)."""

    shape: tuple[int, int, int]
    """Local (point, row, cell)."""
    orders: tuple[int, ...]
    """Order m of each harmonic; as many harmonics as rows."""

    def create_vector(self) -> Any:
        """A PETSc vector for the state."""

    def view(self, vector: Any) -> Array:
        """Its local part as (point, row, cell), without a copy."""

    def read(self, vector: Any) -> Array:
        """The same for reading only: PETSc locks the vectors that it passes to callbacks."""

    def to_harmonics(self, state: Array, out: Array) -> None:
        """Harmonics of a state; `out` may be a strided view."""

    def from_harmonics(self, harmonics: Array, out: Array, add: bool = False) -> None:
        """`out` becomes the state with the given harmonics (contiguous), or grows by it."""

    def explicit(self, state: Array, out: Array) -> None:
        """out = A u: what is not stiff."""

    def add_source(self, harmonics: Array, per_cell: Array) -> None:
        """Adds the source's spatial profile times `per_cell` (cell,) to harmonics."""


def apply_blocks(blocks: Array, orders: tuple[int, ...], vectors: Array, out: Array) -> None:
    """out[h] = vectors[h] @ blocks[orders[h]]: one matrix product per harmonic.

    `vectors` (harmonic, point, slot, cell) has its slots side by side in memory; `blocks` (m, slot·cell, cell) holds the
    transposed matrices of all slots, stacked, so that a sum over slots is one product. `out` is (harmonic, point, cell).
    """
    points, cells = vectors.shape[1], vectors.shape[2] * vectors.shape[3]
    for h, m in enumerate(orders):
        rows = np.lib.stride_tricks.as_strided(vectors[h], (points, cells), (vectors.strides[1], vectors.strides[3]))
        np.matmul(rows, blocks[m], out=out[h])
