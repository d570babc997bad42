"""The reduced model on several ranks: the same files to 1e-11."""

import numpy as np
import pytest
from helpers import close, small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.reduced import stepping
from hpcwigner.reduced.run import reduce
from hpcwigner.storage.reading import read_summary

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi

SETTINGS = (
    "pump={density: 1e12 cm^-2, spot_fwhm: 0.9 um}", "recombination.lifetime={KK: 3 ps, KΛ: 7 ps}", "time.end=0.5 ps",
    "output.series_every=0.5 ps",
    "sample.energy={all: {gaussian: {peak: -8 meV, fwhm: 1 um, center: [9 nm, 0 nm]}}, KΛ: {step: {height: 5 meV, width: 1 um}}}",
)  # fmt: skip
DENSE = "interaction={annihilation: 0.5 cm^2/s, repulsion: 3e-12 meV cm^2}"
SLAB = "{dimensions: 1, length: 3 um, cells: 37, boundary: reflecting}"
PLANE = "{dimensions: 2, length: 2.4 um, cells: [14, 13], boundary: {x: {low: reflecting, high: {reflectivity: 0.5}}, y: open}}"


CASES = {"plane": (PLANE, "radiation=on"), "dense slab": (SLAB, DENSE)}
CHOSEN = "dense slab" if COMM.size % 2 else "plane"


if COMM.size > 1:

    @pytest.mark.slow
    @pytest.mark.parametrize(("space", "more"), [CASES[CHOSEN]], ids=[CHOSEN])
    def test_reduced_model_on_ranks(folder, monkeypatch, space, more):
        monkeypatch.setattr(stepping, "TOLERANCE", 1e-4)  # fewer steps: they are the same on any number of ranks
        for name, comm in (("one", MPI.COMM_SELF), ("all", COMM)):
            if COMM.rank == 0:
                small_input(folder, name, space)
            COMM.Barrier()
            if comm is COMM or COMM.rank == 0:
                reduce(loading.load(folder / f"{name}.yaml", (*SETTINGS, more)), comm, quiet=True)
            COMM.Barrier()
        if COMM.rank == 0:
            close(folder / "one", folder / "all", names=("series.h5", "fields.h5"))
            one, several = (read_summary(folder / name / "series.h5")[1]["checks"] for name in ("one", "all"))
            for name in (n for n in one if n.startswith(("number_", "departs_s")) and np.isfinite(one[n].value)):
                assert abs(several[name].value - one[name].value) < 1e-11 * max(abs(one["number_present"].value), 1.0), name
        COMM.Barrier()
