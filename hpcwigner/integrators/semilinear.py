"""What the integrators see of a problem: u' = L u + N(u, t) + s(t), with L block-diagonal in angular harmonics.

The Wigner equation on a grid and its closed moment equations both are such problems, so the same integrators run both,
and the time error of the one equals that of the other.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.harmonics import CACHE
from hpcwigner.momentum.tile import Tile
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.term import Source, State

Points = NDArray[np.int64]


class SemilinearSystem(Protocol):
    """State arrays are (point, row, cell); harmonic arrays are (harmonic, point, cell)."""

    shape: tuple[int, int, int]  # Local (point, row, cell)
    orders: tuple[int, ...]  # Order m of each harmonic; as many harmonics as rows
    classes: Sequence[Points]  # Points that share one generator L, class by class
    sources: Sequence[Source]
    field_count: int  # Auxiliary local fields per point; L acts on them by LocalGenerator.drive only

    def create_vector(self) -> Any:
        """A PETSc vector for the state."""

    def view(self, vector: Any) -> State:
        """Its local part, without a copy."""

    def read(self, vector: Any) -> State:
        """The same for reading only: PETSc locks the vectors that it passes to callbacks."""

    def tiles(self, tile: Tile, time: float, state: State, out: State | None = None) -> Iterator[Tile]:
        """Fills `tile` with N(u, t) and u, some points at a time, until all had their turn. Collective.

        `out` is what the caller fills at the tile's points, if that is the next state that N is asked of: its ghost cells then
        travel ahead.
        """

    def load(self, tile: Tile, number: int, state: State) -> None:
        """Slot of the tile = harmonics of `state` at its points."""

    def store(self, tile: Tile, state: State) -> None:
        """`state` takes the tile's result at its points."""

    def explicit(self, time: float, state: State, out: State) -> None:
        """out = N(u, t)."""

    def to_harmonics(self, u: Array, slots: Array, index: int) -> None:
        """slots[:, :, index] = harmonics of u, for slots (harmonic, point, slot, cell)."""

    def from_harmonics(self, harmonics: Array, out: Array) -> None:
        """`out` becomes the state with the given harmonics (contiguous)."""

    def local_polynomials(self, polynomials: Sequence[Array | None], start: float, size: float) -> Sequence[Array | None]:
        """The sources' polynomials in a step, (k,), as they are or, where a source differs from point to point, (point, k)."""

    def add_source(self, harmonics: Array, number: int, per_cell: Array, points: Points) -> None:
        """Adds the profile of source `number` at some points times `per_cell`, (cell,) or (point, cell), to their harmonics."""


def combined(polynomial: Array, vectors: Array, points: Points) -> Array:
    """Σ_k a_k vectors[k] for vectors (k, cell): (cell,) of a polynomial (k,); (point, cell) at some points of one by point.

    The latter without BLAS, whose last bits depend on how many points there are.
    """
    if polynomial.ndim == 1:
        return np.asarray(polynomial @ vectors)
    here = polynomial[points]
    return np.asarray(sum(here[:, k, None] * vector for k, vector in enumerate(vectors)))


def apply_blocks(
    blocks: Array, orders: Sequence[int], vectors: Array, out: Array, parts: Sequence[Sequence[slice]] | None = None
) -> None:
    """out[h] = vectors[h] @ blocks[orders[h]]: one matrix product per harmonic whose order has a block.

    `vectors` (harmonic, point, slot, cell) has its slots side by side in memory; `blocks` (m, slot·cell, cell) holds the
    transposed matrices of all slots, stacked, so that a sum over slots is one product. `out` is (harmonic, point, cell).
    `parts[m]` are the ranges of cells that do not couple to each other in order m; each is a product of its own then.
    """
    count, slots, cells = vectors.shape[1:]
    for h, m in enumerate(orders):
        if m >= len(blocks):
            continue
        if parts is not None and len(parts[m]) > 1:
            _apply_parts(blocks[m].reshape(slots, cells, cells), parts[m], vectors[h], out[h])
            continue
        rows = np.lib.stride_tricks.as_strided(vectors[h], (count, slots * cells), (vectors.strides[1], vectors.strides[3]))
        np.matmul(rows, blocks[m], out=out[h])


def _apply_parts(matrices: Array, parts: Sequence[slice], vectors: Array, out: Array) -> None:
    """One harmonic whose cells fall into uncoupled parts; sums over slots are made while a few points are in the cache."""
    widest = max(part.stop - part.start for part in parts)
    few = min(len(out), max(1, CACHE // (8 * widest)))
    scratch = np.empty(few * widest)
    for part in parts:
        width = part.stop - part.start
        for first in range(0, len(out), few):
            some = slice(first, min(first + few, len(out)))
            target = out[some, part]
            np.matmul(vectors[some, 0, part], matrices[0, part, part], out=target)
            for slot in range(1, len(matrices)):
                more = scratch[: target.shape[0] * width].reshape(target.shape)
                np.matmul(vectors[some, slot, part], matrices[slot, part, part], out=more)
                target += more
