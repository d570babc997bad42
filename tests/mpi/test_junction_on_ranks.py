"""Sharp steps: the same on any number of ranks, wherever the face is between them."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.landscape import Jump, Landscape
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.scattering import Scattering, ScatteringStage

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
HEIGHTS = (12.0, -9.0, 0.0)


@pytest.fixture(scope="module")
def rates():
    couplings = Couplings.from_material(materials.load("ws2_hbn"))
    low = np.array([valley.energy for valley in couplings.valleys])
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 6.0, 80.0, (low - 12, low + 12)), 77.0)
    return Rates.build(couplings, equilibrium, 4, bright_valley=0, comm=MPI.COMM_SELF)


def final(name, comm, landscape, rates):
    """(u (x, y, angle, cell) of this rank after some steps from a state of many colours, decomposition)."""
    grid, zero = landscape.grid, np.zeros(rates.cells.size)
    angles, stage = Angles(8, half=grid.dimensions == 1), ScatteringStage.build(rates)
    equilibrium = rates.equilibrium
    terms = [
        Drift(equilibrium, angles, grid, landscape), Junction(equilibrium, angles, landscape), Scattering(angles, [stage]),
        Force(equilibrium, angles, landscape),
    ]  # fmt: skip
    decomposition = Decomposition(grid, comm, (angles.count, rates.cells.size))
    equation = WignerEquation(decomposition, angles, terms)
    vector = equation.create_vector()
    whole = np.random.default_rng(4).random((*grid.shape, angles.count, rates.cells.size)) * equilibrium.population
    equation.view(vector).u[...] = decomposition.local(whole).reshape(equation.shape)
    schedule = Schedule(plan(0.1, 0.5, [(0.5, 0.05)], ()), [])
    integrate(name, equation, [[LocalGenerator(stage, zero, zero)]], schedule, comm, lambda number, u: None, vector)
    u = equation.view(vector).u.reshape(decomposition.local_shape).copy()
    vector.destroy()
    equation.free()
    return u, decomposition


def landscape_of(shape, axis, faces, rates, boundary="reflecting"):
    grid = SpaceGrid(1 if shape[1] == 1 else 2, 40.0 * shape[0], shape, boundary)
    x, y = grid.centers(0)[:, None], grid.centers(1)
    energy = np.array([3 * np.sin(x / 150 + v) + 2 * np.cos(y / 170 - v) for v in range(3)])
    jumps = tuple(Jump(axis, face, tuple((-1) ** i * np.array(HEIGHTS))) for i, face in enumerate(faces))
    for jump in jumps:
        np.moveaxis(energy, 1 + axis, 1)[:, jump.face :] += np.array(jump.heights)[:, None, None]
    return Landscape(energy, rates.equilibrium.thermal_energy, grid, jumps)


PLACES = [
    *(((24, 1), 0, (face,)) for face in (8, 10, 11, 12, 13, 15)),
    ((24, 1), 0, (9, 12)),
    ((14, 12), 0, (7,)),
    ((12, 14), 1, (6,)),
]
CASES = [(*place, ("etd2", "arkimex3")[(number + COMM.size // 4) % 2]) for number, place in enumerate(PLACES)]
"""At each place the one scheme on two and three ranks, the other on four: both at the border in the middle."""


if COMM.size > 1:

    @pytest.mark.slow
    @pytest.mark.parametrize(("shape", "axis", "faces", "name"), CASES)
    def test_a_junction_on_ranks(rates, shape, axis, faces, name):
        """Faces at and beside every border of two, three and four ranks, against one rank."""
        landscape = landscape_of(shape, axis, faces, rates)
        mine, decomposition = final(name, COMM, landscape, rates)
        whole = on_first_rank(COMM, lambda: final(name, MPI.COMM_SELF, landscape, rates)[0])
        assert np.abs(mine - decomposition.local(whole)).max() < 1e-11 * whole.max()
        start = np.random.default_rng(4).random(whole.shape) * rates.equilibrium.population
        assert whole.sum() == pytest.approx(start.sum(), rel=1e-12)
