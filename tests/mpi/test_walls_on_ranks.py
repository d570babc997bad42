"""Walls: the same on any number of ranks."""

import numpy as np
import pytest
from mpi4py import MPI
from test_walls import hills
from walled import Sample

from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.walls import Edges, Sides, Surface

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
BOUNDARIES = {
    "equal": Surface(0.7, 0.4),
    "different": Edges(Sides(Surface(0.2), Surface(1.0, 1.0)), Sides("open", Surface(0.5, 0.5))),
    "one axis": Edges("periodic", Surface(0.9)),
}


if COMM.size > 1:

    @pytest.mark.parametrize("landscape", [False, True], ids=["uniform", "landscape"])
    @pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES)
    @pytest.mark.parametrize("shape", [(17, 1), (14, 13)], ids=["slab", "plane"])
    def test_walls_on_ranks(generator, shape, boundary, landscape):
        """Five whole steps from random numbers, against one rank: 1e-13 of the largest."""
        grid = SpaceGrid(1 if shape[1] == 1 else 2, 25.0 * shape[0], shape, boundary)
        energies = hills(grid, generator.equilibrium.thermal_energy) if landscape else None
        parallel = Sample(generator, grid, COMM, landscape=energies)
        u = np.random.default_rng(7).random((*shape, *parallel.decomposition.per_point)) * generator.equilibrium.population
        mine = np.ascontiguousarray(parallel.decomposition.local(u))

        def alone():
            serial = Sample(generator, grid, landscape=energies)
            after = serial.after(u, 5).copy()
            serial.free()
            return after

        expected, now = on_first_rank(COMM, alone), parallel.after(mine, 5)
        assert np.abs(now - parallel.decomposition.local(expected)).max() < 1e-13 * expected.max()
        parallel.free()
