"""Angular harmonics of states and back, by a compiled kernel with a third of the operations of the full matrices.

Angle cells that θ → −θ and θ → π − θ exchange are first folded into sums and differences. Each harmonic is even or odd
under either mirror, so it needs only those of its kind. Both steps are sparse matrices, applied to one row of energies
after the other.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.compiled import njit
from hpcwigner.momentum.grid import Angles

Array = NDArray[np.float64]
Rows = tuple[NDArray[np.int64], NDArray[np.int64], Array]
"""A sparse matrix: where each row starts, its columns, its values."""

CACHE = 2**18
"""Bytes of a piece of work that should stay in the core's own cache."""


class AngularTransform:
    """Between cells u[point, angle, cell] and harmonics h[harmonic, point, cell]; every column on its own, in fixed order."""

    def __init__(self, angles: Angles, cells: int) -> None:
        """`cells` is the number of energy cells of a state."""
        fold, member = _folding(angles)
        alike = np.abs(angles.to_harmonics @ fold.T) > 1e-9  # (harmonic, folded): of the same kind
        self._fold, self._unfold = _rows(fold), _rows(fold.T)
        self._forward = _rows(np.where(alike, angles.to_harmonics[:, member], 0.0))
        self._backward = _rows(np.where(alike.T, angles.from_harmonics[member], 0.0))
        # Several points at a time, so that each harmonic is written in long runs.
        self._work = np.zeros((max(1, CACHE // (8 * angles.count * cells)) * angles.count, cells))

    def forward(self, state: Array, slots: Array, index: int, factor: float = 1.0, minus: int | None = None) -> None:
        """slots[:, :, index] = factor · harmonics of `state` − slots[:, :, minus].

        `state` (point, angle, cell) and `slots` (harmonic, point, slot, cell) are contiguous.
        """
        points, angles = state.shape[:2]
        count = slots.shape[2]
        starts, columns, values = self._forward
        source, target = (angles, 1, 0), (count, count * points, index)
        other = index if minus is None else minus
        second = starts, columns, factor * values
        _apply(points, self._fold, second, _flat(state), source, self._work, _flat(slots), target, other - index, False)

    def backward(self, harmonics: Array, out: Array, add: bool = False) -> None:
        """`out` (point, angle, cell) becomes the state with these harmonics (harmonic, point, cell), or grows by it."""
        points, angles, _ = out.shape
        source, target = (1, points, 0), (angles, 1, 0)
        work = self._work[:angles]  # a point at a time: it is written in one run
        _apply(points, self._backward, self._unfold, _flat(harmonics), source, work, _flat(out), target, 0, add)


class AngularSums:
    """A few weighted sums over angles, Σ_k w[sum, k] u[point, k, cell], in one pass over the state."""

    def __init__(self, weights: Array) -> None:
        """`weights` has shape (sum, angle): ones for the isotropic part, cos θ and sin θ for the first harmonics."""
        sums, angles = weights.shape
        self._weights = np.zeros((sums, -(-angles // 8) * 8))
        self._weights[:, :angles] = weights

    def __call__(self, state: Array, out: Array | None = None) -> Array:
        """Sums of `state` (point, angle, cell), shape (sum, point, cell); both arrays contiguous."""
        points, angles, cells = state.shape
        sums = np.empty((len(self._weights), points, cells)) if out is None else out
        _sum(points, angles, self._weights, _flat(state), _flat(sums))
        return sums


def _flat(array: Array) -> Array:
    """All rows of energies, never a copy: setting a shape fails where that would take one."""
    rows = array.view()
    rows.shape = (-1, array.shape[-1])
    return rows


def _folding(angles: Angles) -> tuple[Array, NDArray[np.int64]]:
    """Matrix (folded, angle) of signs, and an angle cell of each folded one."""
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
    """The nonzeros of each row, filled up with zeros to what the kernel takes in one pass: four, or the last five."""
    starts, columns, values = [0], [], []
    for row in matrix:
        found = np.flatnonzero(row)
        more = 0 if len(found) % 4 == 1 and len(found) > 1 else -len(found) % 4
        columns += [*found, *found[:1].repeat(more)]
        values += [*row[found], *np.zeros(more)]
        starts.append(len(columns))
    return np.array(starts), np.array(columns), np.array(values)


@njit(cache=True, fastmath={"contract"})
def _apply(points, first, second, x, source, work, y, target, shift, add):  # type: ignore[no-untyped-def]
    """y = second · first · x at each point; row k of point p is row p·a + k·b + c of an array with (a, b, c)."""
    count, cells = first[0].size - 1, x.shape[1]
    block = work.shape[0] // count
    for begin in range(0, points, block):
        some = min(block, points - begin)
        for b in range(some):
            for k in range(count):
                _row(first, k, x, (begin + b) * source[0] + source[2], source[1], work, b * count + k, False)
        for k in range(count):
            for b in range(some):
                place = (begin + b) * target[0] + k * target[1] + target[2]
                _row(second, k, work, b * count, 1, y, place, add)
                if shift != 0:
                    other = place + shift
                    for n in range(cells):
                        y[place, n] -= y[other, n]


@njit(cache=True)
def _sum(points, angles, weights, x, y):  # type: ignore[no-untyped-def]
    """y[sum, point] = weights · x[point], eight angles at a time: as fast as memory is read."""
    cells = y.shape[1]
    for point in range(points):
        base = point * angles
        for k in range(weights.shape[0]):
            place = k * points + point
            for j in range(0, weights.shape[1], 8):
                c0, c1, c2, c3 = weights[k, j], weights[k, j + 1], weights[k, j + 2], weights[k, j + 3]
                c4, c5, c6, c7 = weights[k, j + 4], weights[k, j + 5], weights[k, j + 6], weights[k, j + 7]
                i0, i1, i2, i3 = base + j, base + j + 1, base + j + 2, base + j + 3
                last = base + angles - 1  # beyond the angles weights are zero
                i4, i5, i6, i7 = min(i3 + 1, last), min(i3 + 2, last), min(i3 + 3, last), min(i3 + 4, last)
                i1, i2, i3 = min(i1, last), min(i2, last), min(i3, last)
                if j == 0:
                    for n in range(cells):
                        near = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
                        y[place, n] = near + c4 * x[i4, n] + c5 * x[i5, n] + c6 * x[i6, n] + c7 * x[i7, n]
                else:
                    for n in range(cells):
                        near = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
                        y[place, n] += near + c4 * x[i4, n] + c5 * x[i5, n] + c6 * x[i6, n] + c7 * x[i7, n]


@njit(inline="always")
def _row(matrix, k, x, base, stride, y, place, add):  # type: ignore[no-untyped-def]
    """Row k of a product. Whole arrays are indexed: a view of a row costs more than a pass over it (views are counted)."""
    starts, columns, c = matrix
    cells = y.shape[1]
    j, end = starts[k], starts[k + 1]
    while j < end:
        c0, c1, c2, c3 = c[j], c[j + 1], c[j + 2], c[j + 3]
        i0, i1 = base + stride * columns[j], base + stride * columns[j + 1]
        i2, i3 = base + stride * columns[j + 2], base + stride * columns[j + 3]
        if end - j == 5:
            c4, i4 = c[j + 4], base + stride * columns[j + 4]
            j += 5
            if add:
                for n in range(cells):
                    y[place, n] += c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n] + c4 * x[i4, n]
            else:
                for n in range(cells):
                    y[place, n] = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n] + c4 * x[i4, n]
        else:
            j += 4
            if add:
                for n in range(cells):
                    y[place, n] += c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
            else:
                for n in range(cells):
                    y[place, n] = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
        add = True
