"""Rates, their blocks and the cache: the same bits on any number of ranks."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum import rates_file
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.runtime.errors import InputError
from hpcwigner.terms.scattering import ScatteringStage

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def problem():
    material = materials.load("ws2_hbn")
    couplings = COMM.bcast(Couplings.from_material(material) if COMM.rank == 0 else None)
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 2.0, 30.0), 20.0)
    return couplings, equilibrium, LightCone.from_material(material)


def test_rates_and_blocks_do_not_depend_on_the_ranks(problem):
    couplings, equilibrium, _ = problem
    alone, together = (Rates.build(couplings, equilibrium, 8, 0, comm=comm) for comm in (MPI.COMM_SELF, COMM))
    assert np.array_equal(together.shared.array, alone.shared.array)
    assert np.array_equal(together.formation, alone.formation)
    blocks = [ScatteringStage.build(rates).blocks for rates in (alone, together)]
    assert np.array_equal(*blocks)
    together.free()


def test_large_arrays_exist_once_per_node(problem):
    """What one rank of a node writes, the others see."""
    couplings, equilibrium, _ = problem
    rates = Rates.build(couplings, equilibrium, 2, 0, comm=COMM)
    COMM.Barrier()
    if rates.shared.comm.rank == rates.shared.comm.size - 1:
        rates.intervalley[1, 2, 3] = 42.0
    COMM.Barrier()
    assert rates.intervalley[1, 2, 3] == 42.0


def test_file_on_ranks(problem, folder):
    couplings, equilibrium, _ = problem
    rates = Rates.build(couplings, equilibrium, 4, 0, comm=COMM)
    if COMM.rank == 0:
        rates_file.write(folder / "rates.h5", rates, 0, {})
    COMM.Barrier()
    back = rates_file.read(folder / "rates.h5", equilibrium, 4, COMM)
    assert np.abs(back.formation - rates.formation).max() < 1e-14
    blocks = [ScatteringStage.build(r).blocks for r in (back, rates)]
    assert np.abs(blocks[0] - blocks[1]).max() < 1e-13 * np.abs(blocks[1]).max()


def test_a_file_that_is_refused_is_refused_on_every_rank(problem, tmp_path):
    _, equilibrium, _ = problem
    with pytest.raises(InputError, match="expected a file that exists"):
        rates_file.read(tmp_path / "nothing.h5", equilibrium, 4, COMM)
