"""Whole runs on several ranks against the same run on one."""

from pathlib import Path

import numpy as np
import pytest
from helpers import small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.simulation.run import run
from hpcwigner.storage.reading import read

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi

TWO = "{dimensions: 2, length: 5 um, cells: [17, 14], boundary: periodic}"
FLAKE = "{dimensions: 2, length: 3 um, cells: [13, 15], boundary: reflecting}"
UNEVEN = "{dimensions: 1, length: 6 um, cells: 53, boundary: periodic}"


def run_on(comm, folder, name, space, integrator):
    path = folder / f"{name}-{comm.size}.yaml"
    if comm.rank == 0:
        small_input(folder, path.stem, space, integrator)
    comm.Barrier()
    directory, finished = run(loading.load(path), comm, quiet=True)
    assert finished
    return directory


@pytest.mark.parametrize(("space", "integrator"), [(UNEVEN, "etd2"), (UNEVEN, "arkimex3"), (TWO, "etd3"), (FLAKE, "etd3")])
def test_any_number_of_ranks_gives_the_same_files(tmp_path, space, integrator):
    """To 1e-11 of the largest value, per valley."""
    folder = Path(COMM.bcast(str(tmp_path)))
    if COMM.rank == 0:
        run_on(MPI.COMM_SELF, folder, "one", space, integrator)
    COMM.Barrier()
    together = run_on(COMM, folder, "all", space, integrator)
    expected = folder / "one-1"
    for file in ("series.h5", "fields.h5", "wigner.h5"):
        a, b = read(together / file), read(expected / file)
        for name, values in a.data.items():
            reference = b.data[name]
            assert np.array_equal(np.isnan(values), np.isnan(reference)), name
            if "valley" not in a.units or values.ndim < 2 or values.shape[1] != len(a.valleys):
                values, reference = values[:, None], reference[:, None]
            for v in range(values.shape[1]):
                scale = np.nanmax(np.abs(reference[:, v]), initial=0.0)
                if name.startswith("diffusion"):  # parts that vanish are compared on the scale of the whole
                    scale = np.nanmax(np.abs(b.data["diffusion"][:, v]))
                assert np.nanmax(np.abs(values[:, v] - reference[:, v]), initial=0.0) <= 1e-11 * scale, (name, v)
