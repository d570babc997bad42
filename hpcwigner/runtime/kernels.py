"""Compiled loops over states: the drift's stencil, sums over angles, and both in one pass.

They stand in one file because a kernel that is kept on disk does not notice when another file's kernel, which it
contains, has changed. A state is u[x, y, angle, cell]; whole arrays are indexed, since a view of a row costs more than a
pass over it (views are counted). Rows have WIDTH cells or more; a row's last vector overlaps the one before.
"""

import numpy as np
from numba import njit

from hpcwigner.runtime.vectors import WIDTH, load, multiply, multiply_add, splat, store

HALO = 3  # Cells that the stencil reaches to either side
DOWNSTREAM = 2  # Of them on the side to which excitons move
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
def upwind(points, places, u, ghosts, rates, speed, weights, bounds, out):
    """out[places[p]] = −v·∇u at points[p]; the same operations in the same order, whoever owns a point's neighbours.

    `ghosts` are the planes below and above along x, then along y (empty in a slab); rates[axis, angle]·speed[cell] is
    the velocity in cells per time. With `weights` (point, axis, 2, valley, 7) the stencil is that of a landscape, for motion
    towards larger and smaller coordinates, from the farthest cell upstream on; valley v has the cells from bounds[v] on.
    """
    nx, ny, angles, cells = u.shape
    thickness_y = 0 if ghosts[2].size == 0 else HALO
    rows, result = u.reshape(-1, cells), out.reshape(-1, cells)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        first = places[p] * angles
        inside = HALO <= i < nx - HALO and thickness_y <= j < ny - thickness_y
        if weights.size > 0:
            here, slab = weights[i * ny + j], thickness_y == 0
            if inside:
                _fitted_inside(rows, (i * ny + j) * angles, ny * angles, angles, slab, rates, speed, here, bounds, result, first)
            else:
                _fitted_at_edge(i, j, u, ghosts, slab, rates, speed, here, bounds, result, first)
        elif inside:
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
    x0, x1, x2, x3, x4, x5 = splat(-x * w0), splat(-x * w1), splat(-x * w2), splat(-x * w3), splat(-x * w4), splat(-x * w5)
    cells = out.shape[1]
    for begin in range(0, cells, WIDTH):
        n = min(begin, cells - WIDTH)
        near = multiply_add(x1, load(a1, r1 * cells + n), multiply(x0, load(a0, r0 * cells + n)))
        near = multiply_add(x3, load(a3, r3 * cells + n), multiply_add(x2, load(a2, r2 * cells + n), near))
        total = multiply_add(x5, load(a5, r5 * cells + n), multiply_add(x4, load(a4, r4 * cells + n), near))
        store(multiply(load(speed, n), total), out, row * cells + n)


@njit(inline="always")
def _across(x_planes, x_rows, y_planes, y_rows, x, y, speed, out, row):
    """The same in the plane: the cells of the stencil along x, then along y."""
    w0, w1, w2, w3, w4, w5 = UPWIND5
    a0, a1, a2, here, a4, a5 = x_planes
    r0, r1, r2, r, r4, r5 = x_rows
    b0, b1, b2, _, b4, b5 = y_planes
    s0, s1, s2, _, s4, s5 = y_rows
    x0, x1, x2, x4, x5 = splat(-x * w0), splat(-x * w1), splat(-x * w2), splat(-x * w4), splat(-x * w5)
    y0, y1, y2, y4, y5 = splat(-y * w0), splat(-y * w1), splat(-y * w2), splat(-y * w4), splat(-y * w5)
    both, one = splat(-(x + y) * w3), splat(1.0)
    cells = out.shape[1]
    for begin in range(0, cells, WIDTH):
        n = min(begin, cells - WIDTH)
        in_x = multiply_add(x1, load(a1, r1 * cells + n), multiply(x0, load(a0, r0 * cells + n)))
        in_y = multiply_add(y1, load(b1, s1 * cells + n), multiply(y0, load(b0, s0 * cells + n)))
        in_x = multiply_add(x4, load(a4, r4 * cells + n), multiply_add(x2, load(a2, r2 * cells + n), in_x))
        in_y = multiply_add(y4, load(b4, s4 * cells + n), multiply_add(y2, load(b2, s2 * cells + n), in_y))
        in_y = multiply_add(both, load(here, r * cells + n), multiply_add(y5, load(b5, s5 * cells + n), in_y))
        in_x = multiply_add(x5, load(a5, r5 * cells + n), in_x)
        store(multiply(load(speed, n), multiply_add(one, in_x, in_y)), out, row * cells + n)


@njit(inline="always")
def _fitted_inside(u, row, to_x, to_y, slab, rates, speed, weights, bounds, out, first):
    same = (u, u, u, u, u, u, u)
    for k in range(rates.shape[1]):
        x, y = rates[0, k], rates[1, k]
        r, s, t = row + k, to_x if x >= 0 else -to_x, to_y if y >= 0 else -to_y
        along_x = (r - 3 * s, r - 2 * s, r - s, r, r + s, r + 2 * s, r + 3 * s)
        along_y = along_x if slab else (r - 3 * t, r - 2 * t, r - t, r, r + t, r + 2 * t, r + 3 * t)
        _fitted(same, along_x, same, along_y, slab, x, y, speed, weights, bounds, out, first + k)


@njit
def _fitted_at_edge(i, j, u, ghosts, slab, rates, speed, weights, bounds, out, first):
    below, above, left, right = ghosts
    a0, a1, a2 = _x_plane(u, below, above, i - 3, j), _x_plane(u, below, above, i - 2, j), _x_plane(u, below, above, i - 1, j)
    a4, a5, a6 = _x_plane(u, below, above, i + 1, j), _x_plane(u, below, above, i + 2, j), _x_plane(u, below, above, i + 3, j)
    here = u[i, j]
    rightwards, leftwards = (a0, a1, a2, here, a4, a5, a6), (a6, a5, a4, here, a2, a1, a0)
    upwards, downwards = rightwards, leftwards
    if not slab:
        b0, b1, b2 = _y_plane(u, left, right, i, j - 3), _y_plane(u, left, right, i, j - 2), _y_plane(u, left, right, i, j - 1)
        b4, b5, b6 = _y_plane(u, left, right, i, j + 1), _y_plane(u, left, right, i, j + 2), _y_plane(u, left, right, i, j + 3)
        upwards, downwards = (b0, b1, b2, here, b4, b5, b6), (b6, b5, b4, here, b2, b1, b0)
    for k in range(rates.shape[1]):
        x, y, rows = rates[0, k], rates[1, k], (k, k, k, k, k, k, k)
        in_x, in_y = rightwards if x >= 0 else leftwards, upwards if y >= 0 else downwards
        _fitted(in_x, rows, in_y, rows, slab, x, y, speed, weights, bounds, out, first + k)


@njit(inline="always")
def _fitted(x_planes, x_rows, y_planes, y_rows, slab, x, y, speed, weights, bounds, out, row):
    """One row of a sample with a landscape: the seven cells of the stencil along x, then along y."""
    a0, a1, a2, here, a4, a5, a6 = x_planes
    r0, r1, r2, r, r4, r5, r6 = x_rows
    b0, b1, b2, _, b4, b5, b6 = y_planes
    s0, s1, s2, _, s4, s5, s6 = y_rows
    cells = out.shape[1]
    for v in range(bounds.size - 1):
        w, c = weights[0, 0 if x >= 0 else 1, v], -abs(x)
        x0, x1, x2, x4, x5, x6 = (
            splat(c * w[0]), splat(c * w[1]), splat(c * w[2]), splat(c * w[4]), splat(c * w[5]), splat(c * w[6])
        )  # fmt: skip
        middle = c * w[3]
        w, c = weights[weights.shape[0] - 1, 0 if y >= 0 else 1, v], 0.0 if slab else -abs(y)
        y0, y1, y2, y4, y5, y6 = (
            splat(c * w[0]), splat(c * w[1]), splat(c * w[2]), splat(c * w[4]), splat(c * w[5]), splat(c * w[6])
        )  # fmt: skip
        both, one = splat(middle + c * w[3]), splat(1.0)
        for begin in range(bounds[v], bounds[v + 1], WIDTH):
            n = min(begin, bounds[v + 1] - WIDTH)
            in_x = multiply_add(x1, load(a1, r1 * cells + n), multiply(x0, load(a0, r0 * cells + n)))
            in_x = multiply_add(x4, load(a4, r4 * cells + n), multiply_add(x2, load(a2, r2 * cells + n), in_x))
            in_x = multiply_add(x6, load(a6, r6 * cells + n), multiply_add(x5, load(a5, r5 * cells + n), in_x))
            in_x = multiply_add(both, load(here, r * cells + n), in_x)
            if not slab:
                in_y = multiply_add(y1, load(b1, s1 * cells + n), multiply(y0, load(b0, s0 * cells + n)))
                in_y = multiply_add(y4, load(b4, s4 * cells + n), multiply_add(y2, load(b2, s2 * cells + n), in_y))
                in_y = multiply_add(y6, load(b6, s6 * cells + n), multiply_add(y5, load(b5, s5 * cells + n), in_y))
                in_x = multiply_add(one, in_x, in_y)
            store(multiply(load(speed, n), in_x), out, row * cells + n)


@njit(cache=True)
def add_upwind(points, places, u, ghosts, rates, speed, weights, bounds, scratch, out):
    """`upwind` added to out[places[p]], a point at a time by way of `scratch` (1, angle, cell)."""
    here = np.zeros(1, np.int64)
    for p in range(points.shape[0]):
        upwind(points[p : p + 1], here, u, ghosts, rates, speed, weights, bounds, scratch)
        out[places[p]] += scratch[0]


@njit(cache=True)
def transform(sources, targets, first, second, x, source, work, y, target):
    """y = second · first · x from point sources[p] to point targets[p].

    Row k of point p is row p·a + k·b + c of an array with (a, b, c) = `source` or `target`; arrays have one row per angle
    or harmonic of a point, `first` and `second` are sparse matrices (row starts, columns, values), `work` holds one point.
    """
    for p in range(sources.size):
        _transform_point(sources[p], targets[p], first, second, x, source, work, y, target)


@njit(inline="always")
def _transform_point(number, place, first, second, x, source, work, y, target):
    for k in range(work.shape[0]):
        _row(first, k, x, number * source[0] + source[2], source[1], work, k)
    for k in range(work.shape[0]):
        _row(second, k, work, 0, 1, y, place * target[0] + k * target[1] + target[2])


@njit(inline="always")
def _row(matrix, k, x, base, stride, y, place):
    """y[place] = Σ_j matrix[k, j] x[base + j·stride], rows of cells."""
    starts, columns, values = matrix
    cells = y.shape[1]
    last = cells - WIDTH
    for begin in range(0, cells, 4 * WIDTH):
        n0, n1 = min(begin, last), min(begin + WIDTH, last)
        n2, n3 = min(begin + 2 * WIDTH, last), min(begin + 3 * WIDTH, last)
        sum0 = sum1 = sum2 = sum3 = splat(0.0)
        for j in range(starts[k], starts[k + 1]):
            row, c = (base + columns[j] * stride) * cells, splat(values[j])
            sum0, sum1 = multiply_add(c, load(x, row + n0), sum0), multiply_add(c, load(x, row + n1), sum1)
            sum2, sum3 = multiply_add(c, load(x, row + n2), sum2), multiply_add(c, load(x, row + n3), sum3)
        row = place * cells
        store(sum0, y, row + n0)
        store(sum1, y, row + n1)
        store(sum2, y, row + n2)
        store(sum3, y, row + n3)


@njit(cache=True)
def upwind_transformed(points, numbers, u, ghosts, rates, speed, weights, bounds, drift, fold, second, work, slots, target):
    """Harmonics of `upwind` and of u itself, a point at a time: what drift brings is never written to memory.

    `drift` (1, angle, cell) holds it. Point p of the list goes to rows p·a + k·b + c of `slots` with (a, b, c) = `target`;
    its state's harmonics go into the rows before those. `fold` and `second` are the matrices.
    """
    angles, cells = drift.shape[1:]
    flat, rows, here = u.reshape(-1, cells), drift.reshape(-1, cells), np.zeros(1, np.int64)
    per_angle, own = (angles, 1, 0), (target[0], target[1], target[2] - 1)
    for p in range(points.shape[0]):
        upwind(points[p : p + 1], here, u, ghosts, rates, speed, weights, bounds, drift)
        _transform_point(0, p, fold, second, rows, per_angle, work, slots, target)
        _transform_point(numbers[p], p, fold, second, flat, per_angle, work, slots, own)


@njit(cache=True)
def combine(points, stride, slots, first, orders, weights, onto, minus, rows, result):
    """result[h, p] = Σ_s weights[m, s] · slots[h, p, first + s] for the harmonics h of order m ≥ 1 of a tile's points.

    Arrays are rows of cells: `rows` of the slots (harmonic, point, slot, cell), `result` of (harmonic, point, cell). With
    onto ≥ 0 slot `onto` is added, also to result[h] of order 0, which must hold the sum already. `minus` (point, harmonic, cell)
    at points[p], unless it is empty, is subtracted from the first slot, but for order 0.
    """
    for p in range(points.size):
        _combine_point(p, points[p], stride, slots, first, orders, weights, onto, minus, rows, result, result, p, stride)


@njit(cache=True)
def combine_transformed(
    points, stride, slots, first, orders, weights, onto, minus, rows, result, harmonics, fold, second, work, u
):  # fmt: skip
    """`combine` for a tile's points, number points[p] of the state `u` (row of cells); `result` is read in order 0 only.

    `harmonics` and `work` (angle or harmonic, cell) hold one point; `fold` and `second` are the matrices back to angles.
    """
    one, angles = (0, 1, 0), work.shape[0]
    for p in range(points.size):
        _combine_point(p, points[p], stride, slots, first, orders, weights, onto, minus, rows, result, harmonics, 0, 1)
        _transform_point(0, points[p], fold, second, harmonics, one, work, u, (angles, 1, 0))


@njit(inline="always")
def _combine_point(p, number, stride, slots, first, orders, weights, onto, minus, rows, zeroth, out, base, step):
    """One point: row base + h·step of `out`; order 0 from row h·stride + p of `zeroth`."""
    cells, terms, negative = rows.shape[1], weights.shape[1], splat(-1.0)
    for h in range(orders.size):
        m, to, row = orders[h], base + h * step, (h * stride + p) * slots
        if m == 0:
            for n in range(cells):
                out[to, n] = zeroth[h * stride + p, n] + (rows[row + onto, n] if onto >= 0 else 0.0)
            continue
        for begin in range(0, cells, WIDTH):
            n = min(begin, cells - WIDTH)
            total = load(rows, (row + onto) * cells + n) if onto >= 0 else splat(0.0)
            for s in range(terms):
                weight, slot = load(weights, (m * terms + s) * cells + n), load(rows, (row + first + s) * cells + n)
                if s == 0 and minus.size > 0:
                    slot = multiply_add(negative, load(minus, (number * orders.size + h) * cells + n), slot)
                total = multiply_add(weight, slot, total)
            store(total, out, to * cells + n)


@njit(cache=True)
def angular_sums(points, angles, weights, x, y):
    """y[sum, point] = weights · x[point], rows of the flat arrays x and y: as fast as memory is read."""
    cells = y.shape[1]
    for point in range(points):
        for begin in range(0, cells, 2 * WIDTH):
            n0, n1 = min(begin, cells - WIDTH), min(begin + WIDTH, cells - WIDTH)
            for k in range(weights.shape[0]):
                sum0 = sum1 = splat(0.0)
                for j in range(angles):
                    c, row = splat(weights[k, j]), (point * angles + j) * cells
                    sum0, sum1 = multiply_add(c, load(x, row + n0), sum0), multiply_add(c, load(x, row + n1), sum1)
                place = (k * points + point) * cells
                store(sum0, y, place + n0)
                store(sum1, y, place + n1)
