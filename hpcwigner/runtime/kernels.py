"""Compiled loops over states: the drift's stencil, sums over angles, and both in one pass.

They stand in one file because a kernel that is kept on disk does not notice when another file's kernel, which it
contains, has changed. A state is u[x, y, angle, cell]; whole arrays are indexed, since a view of a row costs more than a
pass over it (views are counted).
"""

import numpy as np
from numba import njit

HALO = 3  # Cells that the stencil reaches to either side
UPWIND5 = (-2 / 60, 15 / 60, -60 / 60, 20 / 60, 30 / 60, -3 / 60)
"""Weights of u at i−3 … i+2 in Δx ∂u/∂x for motion towards larger i; order 5."""


@njit(inline="always")
def _x_plane(u, lower, upper, i, j):
    if i < 0:
        return lower[i + HALO, j]
    if i >= u.shape[0]:
        return upper[i - u.shape[0], j]
    return u[i, j]


@njit(inline="always")
def _y_plane(u, lower, upper, i, j):
    if j < 0:
        return lower[i, j + HALO]
    if j >= u.shape[1]:
        return upper[i, j - u.shape[1]]
    return u[i, j]


@njit(cache=True)
def upwind(points, places, u, ghosts, rates, speed, out):
    """out[places[p]] = −v·∇u at points[p]; the same operations in the same order, whoever owns a point's neighbours.

    `ghosts` are the planes below and above along x, then along y (empty in a slab); rates[axis, angle]·speed[cell] is
    the velocity in cells per time.
    """
    nx, ny, angles, cells = u.shape
    thickness_y = 0 if ghosts[2].size == 0 else HALO
    rows, result = u.reshape(-1, cells), out.reshape(-1, cells)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        first = places[p] * angles
        if HALO <= i < nx - HALO and thickness_y <= j < ny - thickness_y:
            _inside(rows, (i * ny + j) * angles, ny * angles, angles, thickness_y == 0, rates, speed, result, first)
        else:
            _at_edge(i, j, u, ghosts, thickness_y == 0, rates, speed, result, first)


@njit(inline="always")
def _inside(u, row, to_x, to_y, slab, rates, speed, out, first):
    """A point whose neighbours are all rows of the same array: twice as fast as with views of planes."""
    same = (u, u, u, u, u, u)
    for k in range(rates.shape[1]):
        x, y = rates[0, k], rates[1, k]
        r, s, t = row + k, to_x if x >= 0 else -to_x, to_y if y >= 0 else -to_y
        along_x = (r - 3 * s, r - 2 * s, r - s, r, r + s, r + 2 * s)
        if slab:
            _along(same, along_x, abs(x), speed, out, first + k)
        else:
            along_y = (r - 3 * t, r - 2 * t, r - t, r, r + t, r + 2 * t)
            _across(same, along_x, same, along_y, abs(x), abs(y), speed, out, first + k)


@njit
def _at_edge(i, j, u, ghosts, slab, rates, speed, out, first):
    """A point with neighbours among the ghost cells."""
    below, above, left, right = ghosts
    a0, a1, a2 = _x_plane(u, below, above, i - 3, j), _x_plane(u, below, above, i - 2, j), _x_plane(u, below, above, i - 1, j)
    a4, a5, a6 = _x_plane(u, below, above, i + 1, j), _x_plane(u, below, above, i + 2, j), _x_plane(u, below, above, i + 3, j)
    here = u[i, j]
    rightwards, leftwards = (a0, a1, a2, here, a4, a5), (a6, a5, a4, here, a2, a1)
    if slab:
        for k in range(rates.shape[1]):
            x = rates[0, k]
            _along(rightwards if x >= 0 else leftwards, (k, k, k, k, k, k), abs(x), speed, out, first + k)
        return
    b0, b1, b2 = _y_plane(u, left, right, i, j - 3), _y_plane(u, left, right, i, j - 2), _y_plane(u, left, right, i, j - 1)
    b4, b5, b6 = _y_plane(u, left, right, i, j + 1), _y_plane(u, left, right, i, j + 2), _y_plane(u, left, right, i, j + 3)
    upwards, downwards = (b0, b1, b2, here, b4, b5), (b6, b5, b4, here, b2, b1)
    for k in range(rates.shape[1]):
        x, y, rows = rates[0, k], rates[1, k], (k, k, k, k, k, k)
        in_x, in_y = rightwards if x >= 0 else leftwards, upwards if y >= 0 else downwards
        _across(in_x, rows, in_y, rows, abs(x), abs(y), speed, out, first + k)


@njit(inline="always")
def _along(planes, rows, x, speed, out, row):
    """One row of a slab; `planes` and `rows` of the six cells of the stencil, from the farthest upstream on."""
    w0, w1, w2, w3, w4, w5 = UPWIND5
    a0, a1, a2, a3, a4, a5 = planes
    r0, r1, r2, r3, r4, r5 = rows
    for n in range(out.shape[1]):
        near = w0 * a0[r0, n] + w1 * a1[r1, n] + w2 * a2[r2, n] + w3 * a3[r3, n]
        out[row, n] = -x * speed[n] * (near + w4 * a4[r4, n] + w5 * a5[r5, n])


@njit(inline="always")
def _across(x_planes, x_rows, y_planes, y_rows, x, y, speed, out, row):
    """The same in the plane: the cells of the stencil along x, then along y."""
    w0, w1, w2, w3, w4, w5 = UPWIND5
    a0, a1, a2, here, a4, a5 = x_planes
    r0, r1, r2, r, r4, r5 = x_rows
    b0, b1, b2, _, b4, b5 = y_planes
    s0, s1, s2, _, s4, s5 = y_rows
    x0, x1, x2, x4, x5 = -x * w0, -x * w1, -x * w2, -x * w4, -x * w5
    y0, y1, y2, y4, y5 = -y * w0, -y * w1, -y * w2, -y * w4, -y * w5
    both = -(x + y) * w3
    for n in range(out.shape[1]):
        in_x = x0 * a0[r0, n] + x1 * a1[r1, n] + x2 * a2[r2, n] + x4 * a4[r4, n] + x5 * a5[r5, n]
        in_y = y0 * b0[s0, n] + y1 * b1[s1, n] + y2 * b2[s2, n] + y4 * b4[s4, n] + y5 * b5[s5, n]
        out[row, n] = speed[n] * (in_x + (both * here[r, n] + in_y))


@njit(cache=True)
def add_upwind(points, places, u, ghosts, rates, speed, scratch, out):
    """`upwind` added to out[places[p]], a few points at a time by way of `scratch` (point, angle, cell)."""
    few = scratch.shape[0]
    local = np.arange(few)
    for begin in range(0, points.shape[0], few):
        end = min(begin + few, points.shape[0])
        upwind(points[begin:end], local[: end - begin], u, ghosts, rates, speed, scratch)
        for p in range(begin, end):
            out[places[p]] += scratch[p - begin]


@njit(cache=True, fastmath={"contract"})
def transform(sources, targets, first, second, x, source, work, y, target, add):
    """y = second · first · x from point sources[p] to point targets[p], or y grows by it.

    Row k of point p is row p·a + k·b + c of an array with (a, b, c) = `source` or `target`; arrays have one row per angle
    or harmonic of a point, `first` and `second` are sparse matrices (row starts, columns, values).
    """
    count = first[0].size - 1
    block = work.shape[0] // count
    for begin in range(0, sources.size, block):
        some = min(block, sources.size - begin)
        for b in range(some):
            for k in range(count):
                _row(first, k, x, sources[begin + b] * source[0] + source[2], source[1], work, b * count + k, False)
        for k in range(count):
            for b in range(some):
                place = targets[begin + b] * target[0] + k * target[1] + target[2]
                _row(second, k, work, b * count, 1, y, place, add)


@njit(cache=True, fastmath={"contract"})
def upwind_transformed(points, numbers, u, ghosts, rates, speed, drift, fold, second, work, slots, target):
    """Harmonics of `upwind` and of u itself, a few points at a time: what drift brings is never written to memory.

    `drift` (point, angle, cell) holds it for these few. Point p of the list goes to rows p·a + k·b + c of `slots` with
    (a, b, c) = `target`; its state's harmonics go into the rows before those. `fold` and `second` are the matrices.
    """
    few, angles, cells = drift.shape
    flat, rows = u.reshape(-1, cells), drift.reshape(-1, cells)
    per_angle, own = (angles, 1, 0), (target[0], target[1], target[2] - 1)
    every = np.arange(points.shape[0])
    for begin in range(0, points.shape[0], few):
        end = min(begin + few, points.shape[0])
        here = every[: end - begin]
        upwind(points[begin:end], here, u, ghosts, rates, speed, drift)
        transform(here, every[begin:end], fold, second, rows, per_angle, work, slots, target, False)
        transform(numbers[begin:end], every[begin:end], fold, second, flat, per_angle, work, slots, own, False)


@njit(cache=True, fastmath={"contract"})
def add_in_scattering(points, stride, slots, members, starts, columns, values, x, y, rows):
    """Slot 1 of each harmonic of order m ≥ 1 grows by Γ_m · slot 0, for the first `points` of a tile.

    `rows` are the tile's slots (harmonic, point, slot, cell) as rows of cells, with `stride` points and `slots` slots;
    members[m] are the harmonics of order m (−1: none). Row i of Γ_m has values[k] in columns[k] for k from starts[m, i] to
    starts[m, i + 1], a multiple of four. x and y (cell, column) hold harmonics side by side, one point a column, which
    makes the sums over columns contiguous.
    """
    cells = rows.shape[1]
    for m in range(1, members.shape[0]):
        width = 0
        for h in members[m]:
            if h >= 0:
                _transpose(rows, h * stride * slots, slots, points, x, width)
                width += points
        for i in range(cells):
            for c in range(width):
                y[i, c] = 0.0
            for k in range(starts[m, i], starts[m, i + 1], 4):
                c0, c1, c2, c3 = values[k], values[k + 1], values[k + 2], values[k + 3]
                j0, j1, j2, j3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
                for c in range(width):
                    y[i, c] += (c0 * x[j0, c] + c1 * x[j1, c]) + (c2 * x[j2, c] + c3 * x[j3, c])
        width = 0
        for h in members[m]:
            if h >= 0:
                _add_transposed(y, width, rows, h * stride * slots + 1, slots, points)
                width += points


@njit(inline="always")
def _transpose(rows, first, step, points, x, column):
    """x[j, column + p] = rows[first + p·step, j], eight cells at a time so that lines of the cache are used whole."""
    cells = rows.shape[1]
    for begin in range(0, cells, 8):
        for p in range(points):
            for j in range(begin, min(begin + 8, cells)):
                x[j, column + p] = rows[first + p * step, j]


@njit(inline="always")
def _add_transposed(y, column, rows, first, step, points):
    """rows[first + p·step, j] grows by y[j, column + p]."""
    cells = rows.shape[1]
    for begin in range(0, cells, 8):
        for p in range(points):
            for j in range(begin, min(begin + 8, cells)):
                rows[first + p * step, j] += y[j, column + p]


@njit(cache=True, fastmath={"contract"})
def combine(points, stride, slots, first, orders, weights, onto, rows, out):
    """out[h, p] = Σ_s weights[m, s] · slots[h, p, first + s] for the harmonics h of order m ≥ 1 of a tile's points.

    Arrays are rows of cells: `rows` of the slots (harmonic, point, slot, cell), `out` of (harmonic, point, cell). With onto ≥ 0
    slot `onto` is added, also to out[h] of order 0, which must hold the sum already.
    """
    cells = rows.shape[1]
    for h in range(orders.size):
        m = orders[h]
        for p in range(points):
            to, row = h * stride + p, (h * stride + p) * slots
            if m > 0:
                for n in range(cells):
                    out[to, n] = weights[m, 0, n] * rows[row + first, n]
                for s in range(1, weights.shape[1]):
                    for n in range(cells):
                        out[to, n] += weights[m, s, n] * rows[row + first + s, n]
            if onto >= 0:
                for n in range(cells):
                    out[to, n] += rows[row + onto, n]


@njit(cache=True)
def save(points, slots, number, stored):
    """stored[points[p], h] = slots[h, p, number], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                stored[points[p], h, n] = slots[h, p, number, n]


@njit(cache=True)
def load(points, slots, number, stored):
    """slots[h, p, number] = stored[points[p], h], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                slots[h, p, number, n] = stored[points[p], h, n]


@njit(cache=True)
def subtract(points, slots, number, stored):
    """slots[h, p, number] −= stored[points[p], h], rows of cells."""
    for p in range(points.size):
        for h in range(slots.shape[0]):
            for n in range(slots.shape[3]):
                slots[h, p, number, n] -= stored[points[p], h, n]


@njit(cache=True)
def angular_sums(points, angles, weights, x, y):
    """y[sum, point] = weights · x[point], rows of the flat arrays x and y, eight angles at a time: as fast as memory is read."""
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
def _row(matrix, k, x, base, stride, y, place, add):
    """Row k of a product, four or five terms at a time."""
    starts, columns, c = matrix
    cells = y.shape[1]
    j, end = starts[k], starts[k + 1]
    while j < end:
        c0, c1, c2, c3, c4 = c[j], c[j + 1], c[j + 2], c[j + 3], 0.0
        i0, i1 = base + stride * columns[j], base + stride * columns[j + 1]
        i2, i3 = base + stride * columns[j + 2], base + stride * columns[j + 3]
        five, i4 = end - j == 5, i3
        if five:
            c4, i4 = c[j + 4], base + stride * columns[j + 4]
        if add and five:
            for n in range(cells):
                y[place, n] += c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n] + c4 * x[i4, n]
        elif add:
            for n in range(cells):
                y[place, n] += c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
        elif five:
            for n in range(cells):
                y[place, n] = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n] + c4 * x[i4, n]
        else:
            for n in range(cells):
                y[place, n] = c0 * x[i0, n] + c1 * x[i1, n] + c2 * x[i2, n] + c3 * x[i3, n]
        j += 5 if five else 4
        add = True
