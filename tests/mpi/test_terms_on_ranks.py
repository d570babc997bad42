"""Terms that look around a point: densities with ghost cells, the same on any number of ranks."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.exciton import materials, valley
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.observables.budget import Entry
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import DensityTerm, State

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
WEIGHTS = np.array([1.0, 0.3, 0.1])
"""Of the valleys."""


class Smoothing(DensityTerm):
    """Adds a weighted sum of the densities at the six cells around a point along each axis to the lowest cell."""

    name = part = "smoothing"
    why_not_closed = "a trap holds excitons"

    def __init__(self, cells, dimensions):
        self.cells, self.dimensions = cells, dimensions

    def prepare(self, densities):
        self.densities = densities

    def add(self, time, state, out):
        total = self.densities @ WEIGHTS
        nx = total.shape[0] - 6
        y = slice(3, -3) if self.dimensions == 2 else slice(None)
        around = sum(total[3 + k : 3 + k + nx, y] for k in (-3, -2, -1, 1, 2, 3))
        if self.dimensions == 2:
            ny = total.shape[1] - 6
            around = around + sum(total[3:-3, 3 + k : 3 + k + ny] for k in (-3, -2, -1, 1, 2, 3))
        out.u[:, :, 0] += around.reshape(-1, 1)

    def entry(self, time, moments):
        return Entry(np.zeros((len(moments.values), 1)), 0.0)


@pytest.fixture(scope="module")
def cells():
    return EnergyCells.build(valley.solve(materials.load("ws2_hbn")), 8.0, 60.0)


def padded(total, grid):
    """`total` (x, y) with three ghost cells at each end, by numpy.pad."""
    modes = {"periodic": "wrap", "reflecting": "symmetric", "open": "edge"}
    for axis in range(grid.dimensions):
        ends = []
        for side in (0, 1):
            width = [(0, 0), (0, 0)]
            width[axis] = (3, 0) if side == 0 else (0, 3)
            place = slice(None, 3) if side == 0 else slice(-3, None)
            ends.append(
                np.take(np.pad(total, width, modes[grid.wall(axis, side)]), np.arange(total.shape[axis] + 3)[place], axis)
            )
        total = np.concatenate((ends[0], total, ends[1]), axis)
    return total


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
@pytest.mark.parametrize("boundary", ["periodic", "open", "reflecting"])
@pytest.mark.parametrize("shape", [(17, 1), (23, 14)])
def test_densities_around_a_point(cells, shape, boundary, folded):
    """A term's right-hand side against the same sum over the whole grid, padded by NumPy."""
    dimensions = 1 if shape[1] == 1 else 2
    angles = Angles(8, half=dimensions == 1)
    grid = SpaceGrid(dimensions, 1000.0, shape, boundary, (folded, folded and dimensions == 2))
    decomposition = Decomposition(grid, COMM, (angles.count, cells.size))
    equation = WignerEquation(decomposition, angles, [Smoothing(cells, dimensions)])
    whole = np.random.default_rng(4).random((*shape, angles.count, cells.size))
    u = np.ascontiguousarray(decomposition.local(whole)).reshape(equation.shape)
    out = State(np.empty_like(u), np.zeros((len(u), 0)))
    for _ in range(2):
        equation.explicit(0.0, State(u, out.fields), out)
    total = whole.sum(axis=2) @ WEIGHTS[cells.valley_of_cell]
    outer, (nx, ny) = padded(total, grid), shape
    inner = slice(3, 3 + ny) if ny > 1 else slice(None)
    expected = sum(outer[3 + k : 3 + k + nx, inner] for k in (-3, -2, -1, 1, 2, 3))
    if ny > 1:
        expected = expected + sum(outer[3 : 3 + nx, 3 + k : 3 + k + ny] for k in (-3, -2, -1, 1, 2, 3))
    mine = decomposition.local(expected).reshape(-1, 1)
    assert out.u[:, :, 0] == pytest.approx(np.broadcast_to(mine, out.u[:, :, 0].shape), rel=1e-12)
    assert not out.u[:, :, 1:].any()
    equation.free()
