"""Studies on several ranks: points of moment equations and varied numbers are dealt out, full runs take all ranks."""

import numpy as np
import pytest
from helpers import FEW_STEPS, small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.runtime.errors import RunError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.storage.reading import read
from hpcwigner.studies import sensitivity, sweep_summary
from hpcwigner.studies.sweep import sweep

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
COARSE = ("momentum.energy_max=64 meV", "momentum.energy_step=8 meV", "time.end=2 ps")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Rank 0 draws them from the summary: tests/test_sweep.py."""
    monkeypatch.setattr(sweep_summary, "plot", lambda *_: None)


def study(folder, name, text):
    path = folder / f"{name}.yaml"
    if COMM.rank == 0:
        small_input(folder, name, "{dimensions: 1, length: 6 um, cells: 24}", steps=FEW_STEPS)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    COMM.Barrier()
    return loading.load(path, COARSE)


def compare(a, b, tolerance):
    for name, values in read(a).data.items():
        reference = read(b).data[name]
        assert np.array_equal(np.isnan(values), np.isnan(reference)), name
        scale = np.nanmax(np.abs(reference), initial=0.0)
        assert np.nanmax(np.abs(values - reference), initial=0.0) <= tolerance * scale, name


if COMM.size in (2, 4):

    @pytest.mark.slow
    def test_moments_are_those_of_one_rank(folder):
        """One point more than ranks."""
        count = COMM.size + 1
        temperatures = ", ".join(("40 K", "50 K", "60 K", "70 K", "77 K")[:count])
        vary = f"sweep: {{vary: {{temperature: [{temperatures}]}}, moments: true}}\n"
        together, alone = study(folder, "all", vary), study(folder, "one", vary)
        table = sweep(together, COMM, quiet=True)
        if COMM.rank == 0:
            assert sweep(alone, MPI.COMM_SELF, quiet=True) == table
            for number in range(count):
                compare(*(folder / name / f"point_{number:03d}/moments.h5" for name in ("all", "one")), 1e-12)
        COMM.Barrier()
        assert f"{count} of {count} points finished" in table


if COMM.size == 2:

    @pytest.mark.slow
    def test_full_runs_one_after_the_other_on_all_ranks(folder):
        vary = "sweep: {vary: {temperature: [40 K, 77 K]}}\n"
        together, alone = study(folder, "all", vary), study(folder, "one", vary)
        table = sweep(together, COMM, quiet=True)
        if COMM.rank == 0:
            sweep(alone, MPI.COMM_SELF, quiet=True)
            for number in range(2):
                compare(*(folder / name / f"point_{number:03d}/series.h5" for name in ("all", "one")), 1e-11)
        COMM.Barrier()
        assert "2 of 2 points finished" in table


def test_a_failing_point_fails_on_every_rank(folder):
    """By moments, where one rank finds out: nothing forms excitons."""
    vary = "sweep: {vary: {scattering.intravalley: [on, off]}, moments: true}\n"
    text = study(folder, "fails", "scattering: {intervalley: off}\n" + vary)
    with pytest.raises(RunError, match=r"1 of 2 points failed .*point_001 .*nothing forms"):
        sweep(text, COMM, quiet=True)


if COMM.size == 3:

    @pytest.mark.slow
    def test_sensitivities_are_those_of_one_rank(folder, monkeypatch):
        """The same text, whichever rank has varied a number; five numbers do not divide evenly."""
        every = sensitivity.parameters
        monkeypatch.setattr(sensitivity, "parameters", lambda *words: every(*words)[:5])
        if COMM.rank == 0:
            small_input(folder, steps=FEW_STEPS)
        COMM.Barrier()
        config = loading.load(folder / "run.yaml", COARSE)
        together = sensitivity.report(config, COMM, False, (1.0, 2.0), None)
        assert together == on_first_rank(COMM, lambda: sensitivity.report(config, MPI.COMM_SELF, False, (1.0, 2.0), None))
        assert "base value" in together
