"""Transforms between angle cells and angular harmonics, with a third of the operations of the full matrices.

Angle cells that the mirrors θ → −θ and θ → π − θ exchange are first combined into sums and differences. Each harmonic is even
or odd under both mirrors and needs only combinations of its parity. Both steps are sparse matrices, applied by a compiled
kernel to rows of energy cells.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.runtime import kernels
from hpcwigner.runtime.arrays import Array

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
        # Several points at a time, so that each harmonic is written contiguously.
        self.work = np.zeros((self.points_at_once(angles, cells) * angles.count, cells))

    @staticmethod
    def points_at_once(angles: Angles, cells: int) -> int:
        """How many points are processed together, so that their angles stay in the core's own cache."""
        return max(1, CACHE // (8 * angles.count * cells))

    def forward(self, state: Array, slots: Array, index: int, points: Points | None = None, add: bool = False) -> None:
        """slots[:, :, index] = harmonics of `state` (point, angle, cell) at some `points` or at all, or grows by them.

        `slots` (harmonic, point, slot, cell) is contiguous and may hold more points; those given come first.
        """
        sources = np.arange(len(state)) if points is None else points
        room, count, angles = *slots.shape[1:3], state.shape[1]
        places, target = np.arange(len(sources)), (count, count * room, index)
        every_angle = angles, 1, 0
        kernels.transform(
            sources, places, self.fold, self.forwards, flat(state), every_angle, self.work, flat(slots), target, add
        )

    def backward(self, harmonics: Array, out: Array, points: Points | None = None, add: bool = False) -> None:
        """Sets `out` (point, angle, cell) at some `points` to the state with these harmonics, or adds it."""
        targets = np.arange(len(out)) if points is None else points
        room, angles = harmonics.shape[1], out.shape[1]
        places, source, target = np.arange(len(targets)), (1, room, 0), (angles, 1, 0)
        work = self.work[:angles]  # a point at a time: it is contiguous
        kernels.transform(places, targets, self._backwards, self._unfold, flat(harmonics), source, work, flat(out), target, add)


def flat(array: Array) -> Array:
    """A view as rows of energy cells. Raises AttributeError where that would need a copy."""
    rows = array.view()
    rows.shape = (-1, array.shape[-1])
    return rows


class AngularSums:
    """Weighted sums over angles, Σ_k w[sum, k] u[point, k, cell], in one pass over the state."""

    def __init__(self, weights: Array) -> None:
        """`weights` has shape (sum, angle), for example ones, cos θ and sin θ."""
        sums, angles = weights.shape
        self._weights = np.zeros((sums, -(-angles // 8) * 8))
        self._weights[:, :angles] = weights

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
    """The nonzeros of each row, padded with zeros: the kernel takes four in one pass, or five in the last."""
    starts, columns, values = [0], [], []
    for row in matrix:
        used = np.flatnonzero(row)
        more = 0 if len(used) % 4 == 1 and len(used) > 1 else -len(used) % 4
        columns += [*used, *used[:1].repeat(more)]
        values += [*row[used], *np.zeros(more)]
        starts.append(len(columns))
    return np.array(starts), np.array(columns), np.array(values)
