"""The choice of steps does not depend on how many ranks share the search."""

import pytest
from helpers import small_input
from mpi4py import MPI

from hpcwigner.problem import builder, loading
from hpcwigner.reference.step_choice import NoStepsError, choose
from hpcwigner.simulation.run import plan

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    folder = MPI.COMM_WORLD.bcast(tmp_path_factory.mktemp("steps") if MPI.COMM_WORLD.rank == 0 else None)
    path = small_input(folder, integrator="auto", steps="auto") if MPI.COMM_WORLD.rank == 0 else folder / "run.yaml"
    MPI.COMM_WORLD.Barrier()
    coarse = ("momentum.energy_max=64 meV", "momentum.energy_step=8 meV", "time.end=2 ps")
    made = builder.build(loading.load(path, coarse), MPI.COMM_WORLD)
    yield made
    made.free()


if MPI.COMM_WORLD.size > 1:

    @pytest.mark.slow
    def test_all_ranks_choose_what_one_rank_chooses(problem):
        reference, choice = plan(problem, MPI.COMM_WORLD)
        alone = plan(problem)[1]
        assert choice == alone
        for name in ("etd2", "etd3"):
            largest = {name: problem.largest_step(name), "etd2_dense": 0.02}
            assert choose(problem.moments, largest, 1e-3, reference, MPI.COMM_WORLD) == choose(
                problem.moments, largest, 1e-3, reference
            )


def test_all_ranks_fail_together(problem):
    reference = plan(problem)[0]
    with pytest.raises(NoStepsError):
        choose(problem.moments, {"etd2": 1.0}, 1e-12, reference, MPI.COMM_WORLD)
