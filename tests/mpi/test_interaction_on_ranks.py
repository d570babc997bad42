"""Hot annihilation with a delay, repulsion, a landscape and recombination on several ranks, also across restarts."""

import shutil

import h5py
import numpy as np
import pytest
from helpers import close, same, small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.simulation.run import run
from hpcwigner.storage.reading import read_summary

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi

SETTINGS = (
    "pump={density: 1e12 cm^-2, spot_fwhm: 0.9 um}", "recombination.lifetime={KK: 3 ps, KΛ: 7 ps}", "time.end=0.75 ps",
    "interaction={annihilation: {rate: 0.5 cm^2/s, hot: 0.7, above: 20 meV, delay: 0.3 ps}, repulsion: 3e-12 meV cm^2}",
    "sample.energy={all: {gaussian: {peak: -8 meV, fwhm: 1 um, center: [9 nm, 0 nm]}}, KΛ: {step: {height: 5 meV, width: 1 um}}}",
    "output.wigner_at=[0.5 ps]", "checkpoint.every=0 s", "checkpoint.keep=1000", "output.observables=[all]",
)  # fmt: skip
STEPS = "[{size: 62.5 fs, until: 0.5 ps}, {size: 125 fs}]"
"""10 steps."""
SLAB = "{dimensions: 1, length: 3 um, cells: 37, boundary: reflecting}"
PLANE = "{dimensions: 2, length: 2.4 um, cells: [14, 13], boundary: reflecting}"
CASES = [(PLANE, "etd3"), (SLAB, "arkimex3")][COMM.size % 2 :: 2]
"""A plane on even numbers of ranks, a slab on odd ones."""


def advance(comm, folder, name, case, restart_from=None):
    """Directory of a finished run on the ranks of `comm`."""
    path = folder / f"{name}.yaml"
    if comm.rank == 0:
        small_input(folder, name, *case, steps=STEPS)
    comm.Barrier()
    directory, finished = run(loading.load(path, SETTINGS), comm, True, restart_from)
    assert finished
    comm.Barrier()
    return directory


def checkpoints(directory):
    return sorted(mark.parent.name for mark in (directory / "checkpoints").glob("*/complete.json"))


def last_state(directory):
    """u and the auxiliary fields, what waits to come back and the books, of the last checkpoint."""
    with h5py.File(directory / "checkpoints" / checkpoints(directory)[-1] / "state.h5", "r") as file:
        return file["u"][()], file["auxiliary"][()]


def balances(directory):
    """Number and energy by cause at the end of the last start."""
    summaries = read_summary(directory / "series.h5")
    checks = summaries[max(summaries)]["checks"]
    return {name: entry.value for name, entry in checks.items() if name.startswith(("number_", "energy_"))}


def compare(directory, expected, tolerance):
    """Files, state, books and balances of two runs agree; 0: to the last bit."""
    if tolerance == 0:
        same(directory, expected)
    else:
        close(directory, expected, tolerance=tolerance)
    for mine, other in zip(last_state(directory), last_state(expected), strict=True):
        axes = tuple(range(mine.ndim - 1))
        scale = np.abs(other).max(axis=axes)  # of each cell or field
        scale = np.maximum(scale, 1e-5 * scale.max())  # what drift and force add to a number is rounding
        assert (np.abs(mine - other).max(axis=axes) <= tolerance * scale).all()
    mine, other = balances(directory), balances(expected)
    assert mine.keys() == other.keys()
    assert {"number_annihilation", "number_recombination", "energy_force", "number_not_accounted_for"} <= mine.keys()
    for name, value in other.items():
        scale = max(abs(v) for key, v in other.items() if key[:6] == name[:6])
        assert abs(mine[name] - value) <= max(tolerance, 1e-15 * (COMM.size > 1)) * scale, name
    for kind, limit in (("number", 1e-12), ("energy", 1e-10)):
        scale = max(abs(v) for key, v in mine.items() if key.startswith(kind))
        assert abs(mine[f"{kind}_not_accounted_for"]) < limit * scale


def killed_in_the_middle(directory, *names):
    """Run directories that hold the fifth checkpoint of a finished run."""
    if COMM.rank == 0:
        for target in (directory.parent / name / "checkpoints" for name in names):
            for part in (checkpoints(directory)[4], "rows"):
                shutil.copytree(directory / "checkpoints" / part, target / part)
    COMM.Barrier()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_any_number_of_ranks_and_restarts(folder, case):
    """All ranks against one; restarts in the middle: on all ranks to the last bit, from all to one rank, from one to all."""
    together = advance(COMM, folder, "all", case)
    assert len(checkpoints(together)) == 10
    killed_in_the_middle(together, "again", "fewer")
    again = advance(COMM, folder, "again", case, "latest")
    if COMM.rank == 0:
        compare(again, together, 0)
    if COMM.size > 1:
        if COMM.rank == 0:
            compare(together, advance(MPI.COMM_SELF, folder, "one", case), 1e-11)
        if COMM.rank == COMM.size - 1:  # at the same time
            compare(advance(MPI.COMM_SELF, folder, "fewer", case, "latest"), together, 1e-11)
        COMM.Barrier()
        killed_in_the_middle(folder / "one", "more")
        more = advance(COMM, folder, "more", case, "latest")
        if COMM.rank == 0:
            compare(more, together, 1e-11)
    COMM.Barrier()
