"""The choice of steps does not depend on how many ranks share the search."""

import pytest
from helpers import small_input
from mpi4py import MPI

from hpcwigner.problem import builder, loading
from hpcwigner.reference.step_choice import NoStepsError, choose
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.run import plan

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    folder = COMM.bcast(tmp_path_factory.mktemp("steps") if COMM.rank == 0 else None)
    path = small_input(folder, integrator="auto", steps="auto") if COMM.rank == 0 else folder / "run.yaml"
    COMM.Barrier()
    coarse = ("momentum.energy_max=64 meV", "momentum.energy_step=8 meV", "time.end=1 ps")
    made = builder.build(loading.load(path, coarse), COMM)
    yield made
    made.free()


@pytest.fixture(scope="module")
def planned(problem):
    return plan(problem, COMM)


if COMM.size > 1:

    @pytest.mark.slow
    def test_all_ranks_choose_what_one_rank_chooses(problem, planned):
        reference, choice = planned
        assert choice == on_first_rank(COMM, lambda: plan(problem)[1])
        name = ("etd2", "etd3")[COMM.size % 2]
        largest = {name: problem.largest_step(name), "etd2_dense": 0.02}
        together = choose(problem.moments, largest, 1e-3, reference, COMM)
        assert together == on_first_rank(COMM, lambda: choose(problem.moments, largest, 1e-3, reference))


def test_all_ranks_fail_together(problem, planned):
    with pytest.raises(NoStepsError):
        choose(problem.moments, {"etd2": 1.0}, 1e-12, planned[0], COMM)
