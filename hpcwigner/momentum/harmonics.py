"""Transforms between angle cells and angular harmonics, with a third of the operations of the full matrices.

Angle cells that the mirrors θ → −θ and θ → π − θ exchange are first combined into sums and differences. Each harmonic is even
or odd under both mirrors and needs only combinations of its parity. Both steps are sparse matrices, applied by a compiled
kernel to rows of energy cells.
"""

import itertools

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.tile import Tile
from hpcwigner.runtime import kernels
from hpcwigner.runtime.arrays import Array, flat

Points = NDArray[np.int64]
Rows = tuple[NDArray[np.int64], NDArray[np.int64], Array]  # A sparse matrix: start of each row, columns, values

CACHE = 2**18  # Bytes of a block of points, chosen to stay in the core's own cache


class AngularTransform:
    """Between u[point, angle, cell] and h[harmonic, point, cell]. Energy cells do not mix, and sums have a fixed order."""

    def __init__(self, angles: Angles, cells: int) -> None:
        """`cells` is the number of energy cells of a state."""
        fold, member = _folding(angles)
        same_parity = np.abs(angles.to_harmonics @ fold.T) > 1e-9  # (harmonic, combination)
        self.fold, self._unfold = _rows(fold), _rows(fold.T)
        self.forwards = _rows(np.where(same_parity, angles.to_harmonics[:, member], 0.0))
        self._backwards = _rows(np.where(same_parity.T, angles.from_harmonics[member], 0.0))
        self.work, self._harmonics = np.zeros((2, angles.count, cells))

    def forward(self, state: Array, slots: Array, index: int, points: Points | None = None) -> None:
        """slots[:, :, index] = harmonics of `state` (point, angle, cell) at some `points` or at all.

        `slots` (harmonic, point, slot, cell) is contiguous and may hold more points; those given come first.
        """
        sources = np.arange(len(state)) if points is None else points
        room, count, angles = *slots.shape[1:3], state.shape[1]
        places, target = np.arange(len(sources)), (count, count * room, index)
        every_angle = angles, 1, 0
        kernels.transform(sources, places, self.fold, self.forwards, flat(state), every_angle, self.work, flat(slots), target)

    def backward(self, harmonics: Array, out: Array, points: Points | None = None) -> None:
        """Sets `out` (point, angle, cell) at some `points`, or at all, to the state with these harmonics."""
        targets = np.arange(len(out)) if points is None else points
        room, angles = harmonics.shape[1], out.shape[1]
        places, source, target = np.arange(len(targets)), (1, room, 0), (angles, 1, 0)
        kernels.transform(places, targets, self._backwards, self._unfold, flat(harmonics), source, self.work, flat(out), target)

    def store(self, tile: Tile, out: Array) -> None:
        """Sets `out` (point, angle, cell) at the tile's points to the state with the tile's result."""
        if tile.pending is None:
            self.backward(tile.result, out, tile.points)
        else:
            arguments = self._harmonics, self._backwards, self._unfold, self.work, flat(out)
            kernels.combine_transformed(tile.points, *tile.sum_arguments(), *arguments)


class AngularSums:
    """Weighted sums over angles, Σ_k w[sum, k] u[point, k, cell], in one pass over the state."""

    def __init__(self, weights: Array) -> None:
        """`weights` has shape (sum, angle), for example ones, cos θ and sin θ."""
        self._weights = np.ascontiguousarray(weights, dtype=float)

    def __call__(self, state: Array, out: Array | None = None) -> Array:
        """Sums of `state` (point, angle, cell), shape (sum, point, cell); both arrays contiguous."""
        points, angles, cells = state.shape
        sums = np.empty((len(self._weights), points, cells)) if out is None else out
        kernels.angular_sums(points, angles, self._weights, flat(state), flat(sums))
        return sums


def _folding(angles: Angles) -> tuple[Array, NDArray[np.int64]]:
    """Matrix (combination, angle) of signs, and one angle cell of each combination."""
    across = angles.mirror(0)
    along = np.arange(angles.count) if angles.half else angles.mirror(1)
    rows, members = [], []
    for sign, other in itertools.product((1, -1), (1,) if angles.half else (1, -1)):
        for k in range(angles.number // 4 + 1):
            row = np.zeros(angles.count)
            for image, weight in ((k, 1), (across[k], sign), (along[k], other), (across[along[k]], sign * other)):
                row[image] += weight
            if row.any():
                rows.append(np.sign(row))
                members.append(k)
    return np.array(rows), np.array(members)


def _rows(matrix: Array) -> Rows:
    """The nonzeros of each row."""
    sparse = scipy.sparse.csr_array(matrix)
    return sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64), sparse.data
