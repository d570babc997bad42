"""A fit on several ranks: sets of numbers and runs are dealt out, the result is that of one rank."""

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.studies.fit.study import fit

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi

TEXT = """\
material: ws2_hbn
directory: {directory}
input: {{temperature: 77 K, momentum: {{energy_max: 64 meV, energy_step: 8 meV}}, time: {{end: 1 ps}}}}
runs: {{cool: {{}}}}
parameters: [sound_velocity, intervalley_phonons.M TA.electron]
search: {search}
targets:
{targets}  slope: {{quantity: acoustic_slope, value: 25 ueV/K, tolerance: 1 ueV/K}}
"""


OF_A_RUN = "  D of KK: {quantity: diffusion, run: cool, valley: KK, at: 1 ps, value: 7 cm^2/s, tolerance: 0.5 cm^2/s}\n"
SEARCHES = {
    2: ("{iterations: 2}", OF_A_RUN),
    3: ("{method: evolution, generations: 1, population: 5, iterations: 1}", OF_A_RUN),
    4: ("{iterations: 3, nearest: on}", ""),  # many sets of numbers, and no run of any
}


if COMM.size > 1:

    @pytest.mark.slow
    @pytest.mark.parametrize(("search", "targets"), [SEARCHES.get(COMM.size, SEARCHES[4])])
    def test_the_result_is_that_of_one_rank(folder, search, targets):
        if COMM.rank == 0:
            for name in ("all", "one"):
                (folder / f"{name}.yaml").write_text(
                    TEXT.format(directory=folder / name, search=search, targets=targets), encoding="utf-8"
                )
        COMM.Barrier()
        text = fit(folder / "all.yaml", None, COMM, quiet=True)
        if COMM.rank == 0:
            assert fit(folder / "one.yaml", None, MPI.COMM_SELF, quiet=True).replace("/one/", "/all/") == text
            with h5py.File(folder / "all/history.h5") as one, h5py.File(folder / "one/history.h5") as other:
                for name in ("places", "readings"):
                    assert np.array_equal(one[name][...], other[name][...], equal_nan=True)
            materials = [(folder / name / "material.yaml").read_text(encoding="utf-8") for name in ("all", "one")]
            assert materials[0].replace(" all", " one") == materials[1]
        COMM.Barrier()
