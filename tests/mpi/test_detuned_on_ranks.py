"""A pulse that is detuned by place: the same on any number of ranks."""

import itertools

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
from hpcwigner.terms.detuned import DetunedSource
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.pulse import GaussianField
from hpcwigner.terms.scattering import Scattering, ScatteringStage

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def rates():
    couplings = Couplings.from_material(materials.load("ws2_hbn"))
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 8.0, 100.0), 77.0)
    return Rates.build(couplings, equilibrium, 4, bright_valley=0, comm=MPI.COMM_SELF)


def final(name, comm, grid, rates, classes):
    """(u (x, y, angle, cell) of this rank at 1 ps, generated, ⟨r²⟩, energy, decomposition)."""
    angles, formation, zero = Angles(8, half=grid.dimensions == 1), sum(rates.formation), np.zeros(rates.cells.size)
    x, y = grid.centers(0)[:, None], grid.centers(1)
    detuning = -20.0 * np.exp(-((x - 100) ** 2 + y**2) / 3e4)
    spectra = [[formation], [1.5 * formation[::-1]]][: 1 if classes is None else 2]
    source = DetunedSource(
        rates.equilibrium, grid, angles.from_harmonics[:, 0], GaussianField(0.2, 0.1), 0.9, spectra, detuning,
        grid.gaussian(2.5e4), classes,
    )  # fmt: skip
    stage = ScatteringStage.build(rates)
    terms = [Drift(rates.equilibrium, angles, grid), Scattering(angles, [stage]), source]
    decomposition = Decomposition(grid, comm, (angles.count, rates.cells.size))
    equation = WignerEquation(decomposition, angles, terms, classes)
    generators = [[LocalGenerator(stage, zero, zero) for _ in spectra]]
    schedule = on_first_rank(comm, lambda: Schedule(plan(0.25, 1.0, [(0.75, 0.05), (1.0, 0.125)], ()), [source]))
    vector = equation.create_vector()
    integrate(name, equation, generators, schedule, comm, lambda number, u: None, vector)
    u = equation.view(vector).u.reshape(decomposition.local_shape).copy()
    vector.destroy()
    equation.free()
    return u, source.generated(1.0), source.width_squared, decomposition


CASES = list(itertools.product(("etd2", "etd3_dense", "arkimex3"), ((26, 1), (14, 13)), (False, True)))[COMM.size % 3 :: 3]
"""Scheme, shape, and whether there are two classes: a third of all cases, with every pair of values, on 2, 3 and 4 ranks each."""


if COMM.size > 1:

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "shape", "two"), CASES)
    def test_a_detuned_pulse_on_ranks(rates, name, shape, two):
        """Against the same run on one rank: state to the last digits, numbers of the whole sample to the last bit."""
        grid = SpaceGrid(1 if shape[1] == 1 else 2, 1600.0, shape, "periodic")
        classes = np.arange(np.prod(shape)).reshape(shape) % 5 // 3 if two else None
        mine, *numbers, decomposition = final(name, COMM, grid, rates, classes)
        whole, *expected = on_first_rank(COMM, lambda: final(name, MPI.COMM_SELF, grid, rates, classes)[:-1])
        assert numbers == expected
        assert COMM.allreduce(mine.sum()) * grid.cell_measure == pytest.approx(numbers[0], rel=1e-11)
        assert np.abs(mine - decomposition.local(whole)).max() < 1e-13 * whole.max()
