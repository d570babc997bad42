"""Compiled loops over the angular harmonics of a tile: force, in-scattering, slots. None contains a kernel of another file."""

import numpy as np
from numba import njit

from hpcwigner.runtime.vectors import WIDTH, load, multiply, multiply_add, splat, store


@njit(cache=True)
def add_force(points, places, stride, slots, orders, neighbors, force, bounds, raising, lowering, dissipation, turning, x, rows):
    """Slot 1 of each harmonic grows by the force on slot 0, for the first `points` of a tile.

    ∂t c_m, ∂t s_m for the real harmonics f_m = c_m − i s_m of momentum/acceleration.py. `rows` are the tile's slots
    (harmonic, point, slot, cell) as rows of cells, with `stride` points and `slots` slots. neighbors[h] are the harmonics
    cos (m−1), sin (m−1), cos (m+1), sin (m+1) beside harmonic h (−1: none) and 1 if h is a sine; force[places[p], axis, valley]
    is the force; valley v has the cells from bounds[v] on. x (3, cell and WIDTH zeros on either side) is scratch.
    """
    end, last = rows.shape[1] - WIDTH, orders.max()
    for p in range(points):
        for h in range(orders.size):
            m = orders[h]
            row = (h * stride + p) * slots
            _gather(places[p], p, h, m, last, row, stride, slots, neighbors, force, bounds, x, rows)
            to = (row + 1) * rows.shape[1]
            last_vector = _changed(rows, to, end, m, raising, lowering, dissipation, turning, x)  # overlaps the one before
            for n in range(0, end, WIDTH):
                store(_changed(rows, to, n, m, raising, lowering, dissipation, turning, x), rows, to + n)
            store(last_vector, rows, to + end)
            for b in bounds[:-1]:  # what the lowest cells have beyond two cells
                rows[row + 1, b] += raising[6, b] * x[0, WIDTH + b + 3]
                rows[row + 1, b + 3] += lowering[0, b + 3] * x[1, WIDTH + b]


@njit(inline="always")
def _gather(place, p, h, m, last, row, stride, slots, neighbors, force, bounds, x, rows):
    """What the operators act on: x[0] from the harmonics m − 1, x[1] from those of m + 1, x[2] = −|F| times the harmonic."""
    cells, width = rows.shape[1], x.shape[1]
    below, above = (neighbors[h, 0] * stride + p) * slots, (neighbors[h, 2] * stride + p) * slots
    below_sine, above_sine = (neighbors[h, 1] * stride + p) * slots, (neighbors[h, 3] * stride + p) * slots
    up, down = (-1.0 if m == last else -0.5), (-1.0 if m == 0 else -0.5)
    is_sine, zero = neighbors[h, 4] == 1, splat(0.0)
    for v in range(bounds.size - 1):
        fx, fy = force[place, 0, v], force[place, 1, v]
        to_cosine, to_sine = (fy, fx) if is_sine else (fx, -fy)
        from_cosine, from_sine = (-fy, fx) if is_sine else (fx, fy)
        a, b, c, d = splat(up * to_cosine), splat(up * to_sine), splat(down * from_cosine), splat(down * from_sine)
        strength = splat(-np.sqrt(fx * fx + fy * fy))
        for begin in range(bounds[v], bounds[v + 1], WIDTH):
            n = min(begin, bounds[v + 1] - WIDTH)
            first = multiply(a, load(rows, below * cells + n)) if below >= 0 else zero
            if below_sine >= 0:
                first = multiply_add(b, load(rows, below_sine * cells + n), first)
            second = multiply(c, load(rows, above * cells + n)) if above >= 0 else zero
            if above_sine >= 0:
                second = multiply_add(d, load(rows, above_sine * cells + n), second)
            store(first, x, WIDTH + n)
            store(second, x, width + WIDTH + n)
            store(multiply(strength, load(rows, row * cells + n)), x, 2 * width + WIDTH + n)


@njit(inline="always")
def _changed(rows, to, n, m, raising, lowering, dissipation, turning, x):
    """Eight cells from n on of the row that begins at `to`, with the force on them, two cells to either side."""
    cells, width = rows.shape[1], x.shape[1]
    turn = load(turning, n)
    up, down, own = load(rows, to + n), multiply(splat(1.0 - m), turn), multiply(splat(1.0 * m), turn)
    up = multiply_add(down, load(x, WIDTH + n), up)
    down = multiply(own, load(x, width + WIDTH + n))
    own = splat(0.0)
    for d in range(1, 6):
        j = WIDTH + n + d - 3
        up = multiply_add(load(raising, d * cells + n), load(x, j), up)
        down = multiply_add(load(lowering, d * cells + n), load(x, width + j), down)
        own = multiply_add(load(dissipation, d * cells + n), load(x, 2 * width + j), own)
    return multiply_add(splat(1.0), up, multiply_add(splat(1.0), down, own))


@njit(cache=True)
def add_in_scattering(points, stride, slots, members, diagonals, rest, scale, x, rows):
    """Slot 1 of each harmonic of order m ≥ 1 grows by Γ_m · slot 0, for the first `points` of a tile.

    With `scale` (point, cell) slot 0 is multiplied by it first.

    `rows` are the tile's slots (harmonic, point, slot, cell) as rows of cells, with `stride` points and `slots` slots;
    members[m] are the harmonics of order m (−1: none). `diagonals` and `rest` are those of SparseBlocks. Four points are taken
    together; x (4, cell and WIDTH zeros on either side) holds their slots 0.
    """
    flat, step = rows.reshape(-1), slots * rows.shape[1]
    for m in range(1, members.shape[0]):
        for h in members[m]:
            if h < 0:
                continue
            for p in range(0, points, 4):
                p1, p2, p3 = min(p + 1, points - 1), min(p + 2, points - 1), min(p + 3, points - 1)
                base = h * stride
                first = (base + p) * step, (base + p1) * step, (base + p2) * step, (base + p3) * step
                for k in range(4):
                    for n in range(rows.shape[1]):
                        x[k, WIDTH + n] = flat[first[k] + n]
                    if scale.size > 0:
                        for n in range(rows.shape[1]):
                            x[k, WIDTH + n] *= scale[min(p + k, points - 1), n]
                _add_diagonals(m, diagonals, x, first, flat)
                _add_rest(m, rest, x, first, flat)


@njit(inline="always")
def _add_diagonals(m, diagonals, x, first, flat):
    """The diagonals of Γ_m, eight rows of four points at a time."""
    starts, columns, values = diagonals
    width, cells = x.shape[1], x.shape[1] - 2 * WIDTH
    to0, to1, to2, to3 = first[0] + cells, first[1] + cells, first[2] + cells, first[3] + cells
    for group in range(starts.shape[1] - 1):
        n = min(group * WIDTH, cells - WIDTH)
        sum0, sum1, sum2, sum3 = load(flat, to0 + n), load(flat, to1 + n), load(flat, to2 + n), load(flat, to3 + n)
        for k in range(starts[m, group], starts[m, group + 1]):
            c, j = load(values, k * WIDTH), WIDTH + columns[k]
            sum0, sum1 = multiply_add(c, load(x, j), sum0), multiply_add(c, load(x, j + width), sum1)
            sum2, sum3 = multiply_add(c, load(x, j + 2 * width), sum2), multiply_add(c, load(x, j + 3 * width), sum3)
        store(sum0, flat, to0 + n)
        store(sum1, flat, to1 + n)
        store(sum2, flat, to2 + n)
        store(sum3, flat, to3 + n)


@njit(inline="always")
def _add_rest(m, rest, x, first, flat):
    """What stands on no diagonal."""
    begins, members, starts, columns, values = rest
    cells = x.shape[1] - 2 * WIDTH
    for r in range(begins[m], begins[m + 1]):
        i = cells + members[r]
        sum0, sum1, sum2, sum3 = flat[first[0] + i], flat[first[1] + i], flat[first[2] + i], flat[first[3] + i]
        for k in range(starts[r], starts[r + 1]):
            c, j = values[k], WIDTH + columns[k]
            sum0 += c * x[0, j]
            sum1 += c * x[1, j]
            sum2 += c * x[2, j]
            sum3 += c * x[3, j]
        flat[first[0] + i], flat[first[1] + i], flat[first[2] + i], flat[first[3] + i] = sum0, sum1, sum2, sum3


@njit(cache=True)
def subtract_loss(points, stride, slots, rates, rows):
    """Slot 1 of each harmonic −= rates[p] · slot 0, for the first `points` of a tile; `rates` (point, cell)."""
    cells, harmonics, negative = rows.shape[1], rows.shape[0] // (stride * slots), splat(-1.0)
    end = cells - WIDTH
    for h in range(harmonics):
        for p in range(points):
            row = (h * stride + p) * slots
            u, to, r = row * cells, (row + 1) * cells, p * cells
            last = multiply_add(multiply(negative, load(rates, r + end)), load(rows, u + end), load(rows, to + end))
            for n in range(0, end, WIDTH):
                store(multiply_add(multiply(negative, load(rates, r + n)), load(rows, u + n), load(rows, to + n)), rows, to + n)
            store(last, rows, to + end)  # it overlaps the one before


@njit(cache=True)
def save_slot(points, slots, number, stored):
    """stored[points[p], h] = slots[h, p, number], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                stored[points[p], h, n] = slots[h, p, number, n]


@njit(cache=True)
def load_slot(points, slots, number, stored):
    """slots[h, p, number] = stored[points[p], h], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                slots[h, p, number, n] = stored[points[p], h, n]


@njit(cache=True)
def subtract_slot(points, slots, number, stored):
    """slots[h, p, number] −= stored[points[p], h], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                slots[h, p, number, n] -= stored[points[p], h, n]
