"""Compiled loop of the force on the angular harmonics of a tile. It contains no kernel of another file (see kernels.py)."""

import numpy as np
from numba import njit

from hpcwigner.runtime.vectors import WIDTH, load, multiply_add, splat, store


@njit(cache=True)
def add_force(points, places, stride, slots, orders, neighbors, force, bounds, raising, lowering, dissipation, turning, x, rows):
    """Slot 1 of each harmonic grows by the force on slot 0, for the first `points` of a tile.

    ∂t c_m, ∂t s_m for the real harmonics f_m = c_m − i s_m of momentum/acceleration.py. `rows` are the tile's slots
    (harmonic, point, slot, cell) as rows of cells, with `stride` points and `slots` slots. neighbors[h] are the harmonics
    cos (m−1), sin (m−1), cos (m+1), sin (m+1) beside harmonic h (−1: none) and 1 if h is a sine; force[places[p], axis, valley]
    is the force; valley v has the cells from bounds[v] on. x (3, cell and WIDTH zeros on either side) is scratch.
    """
    cells = rows.shape[1]
    last = orders.max()
    for p in range(points):
        for h in range(orders.size):
            m = orders[h]
            row = (h * stride + p) * slots
            up = -1.0 if m == last else -0.5
            down = -1.0 if m == 0 else -0.5
            for v in range(bounds.size - 1):
                fx, fy = force[places[p], 0, v], force[places[p], 1, v]
                size = -np.sqrt(fx * fx + fy * fy)
                for n in range(bounds[v], bounds[v + 1]):
                    x[2, WIDTH + n] = size * rows[row, n]
                sine = neighbors[h, 4] == 1
                _combine(x, 0, rows, neighbors[h, 0], neighbors[h, 1], up * fx, up * fy, sine, stride, p, slots, bounds, v)
                _combine(x, 1, rows, neighbors[h, 2], neighbors[h, 3], down * fx, -down * fy, sine, stride, p, slots, bounds, v)
            to, end = (row + 1) * cells, cells - WIDTH
            last_vector = _changed(rows, to, end, m, raising, lowering, dissipation, turning, x)  # overlaps the one before
            for n in range(0, end, WIDTH):
                store(_changed(rows, to, n, m, raising, lowering, dissipation, turning, x), rows, to + n)
            store(last_vector, rows, to + end)


@njit(inline="always")
def _changed(rows, to, n, m, raising, lowering, dissipation, turning, x):
    """Eight cells from n on of the row that begins at `to`, with the force on them."""
    cells, width = rows.shape[1], x.shape[1]
    turn, zero = load(turning, n), splat(0.0)
    total = multiply_add(multiply_add(splat(1.0 - m), turn, zero), load(x, WIDTH + n), load(rows, to + n))
    total = multiply_add(multiply_add(splat(1.0 * m), turn, zero), load(x, width + WIDTH + n), total)
    for d in range(7):
        j = WIDTH + n + d - 3
        total = multiply_add(load(raising, d * cells + n), load(x, j), total)
        total = multiply_add(load(lowering, d * cells + n), load(x, width + j), total)
        total = multiply_add(load(dissipation, d * cells + n), load(x, 2 * width + j), total)
    return total


@njit(inline="always")
def _combine(x, k, rows, cosine, sine, fx, fy, is_sine, stride, p, slots, bounds, v):
    """x[k] = what the harmonics m ∓ 1 bring with the force's components, for one valley's cells."""
    a, b = (fy, fx) if is_sine else (fx, -fy)
    first, second = (cosine * stride + p) * slots, (sine * stride + p) * slots
    for n in range(bounds[v], bounds[v + 1]):
        value = 0.0
        if cosine >= 0:
            value += a * rows[first, n]
        if sine >= 0:
            value += b * rows[second, n]
        x[k, WIDTH + n] = value
