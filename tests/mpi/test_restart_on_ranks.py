"""Restarted twice on any number of ranks, a run has the same bits as without a stop."""

import shutil

import h5py
import numpy as np
import pytest
from helpers import FILES, same, small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.run import run
from hpcwigner.storage.reading import read_summary

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
SLAB = "{dimensions: 1, length: 6 um, cells: 48}"
PLANE = "{dimensions: 2, length: 4 um, cells: [14, 12], boundary: reflecting}"
FEW_STEPS = "[{size: 62.5 fs, until: 0.75 ps}, {size: 125 fs}]"
"""19 steps to 1.625 ps."""
SHORT = "time.end=1.625 ps", "output.fields_every=0.5 ps", "output.wigner_at=[1.25 ps]"
EVERY_STEP = ("checkpoint.every=0 s", "checkpoint.keep=1000")


def advance(path, directory, settings, restart_from=None):
    """Whether a run reached its end; `directory` is its own."""
    COMM.Barrier()
    finished = run(loading.load(path, [*settings, f"output.directory={directory}"]), COMM, True, restart_from)[1]
    COMM.Barrier()
    return finished


def state(checkpoint):
    """u of a checkpoint."""
    with h5py.File(checkpoint / "state.h5", "r") as file:
        return file["u"][()]


def as_killed_after(number, source, target):
    """What is left of a run that was killed after a checkpoint and has lost its output files; its next start shall stop."""
    if COMM.rank == 0:
        for name in (number, "rows"):
            shutil.copytree(source / "checkpoints" / name, target / "checkpoints" / name)
        (target / "STOP").touch()
    COMM.Barrier()


CASES = {2: [(SLAB, "etd3"), (PLANE, "arkimex3")], 3: [(SLAB, "arkimex3"), (PLANE, "etd3")]}.get(COMM.size, [(PLANE, "etd3")])


@pytest.mark.slow
@pytest.mark.parametrize(("space", "integrator"), CASES)
def test_restarted_twice_it_is_bit_identical(folder, space, integrator):
    """Killed in the pump, between two outputs; then stopped by request, and restarted again. With etd3 angles become fewer."""
    angles = "momentum.angles={start: 8, reduce: [{at: 1.25 ps, to: 4}]}" if integrator == "etd3" else "momentum.angles=8"
    sample = "sample.strain={gaussian: {peak: 0.1 percent, fwhm: 1.5 um}}" if space == PLANE else "sample.strain=0.1 percent"
    spectrum = "output.spectrum={from: -90 meV, to: 10 meV, step: 5 meV, every: 0.5 ps, place: resolved}"
    end = (*SHORT, angles, sample, spectrum)
    path = folder / "run.yaml"
    if COMM.rank == 0:
        small_input(folder, space=space, integrator=integrator, steps=FEW_STEPS)
    whole, resumed = folder / "whole", folder / "resumed"
    assert advance(path, whole, (*EVERY_STEP, *end))
    numbers = sorted(mark.parent.name for mark in (whole / "checkpoints").glob("*/complete.json"))
    assert len(numbers) == 19
    as_killed_after(numbers[9], whole, resumed)
    assert not advance(path, resumed, end, "latest")
    assert f"restarted from checkpoint {numbers[9]}" in (resumed / "run.log").read_text(encoding="utf-8")
    assert not (resumed / "STOP").exists()
    assert advance(path, resumed, end, "latest")
    same(resumed, whole, (*FILES, "spectra.h5"))
    summaries = read_summary(resumed / "series.h5")
    assert {number: set(sections) for number, sections in summaries.items()} == {
        2: {"performance", "warnings"}, 3: {"performance", "checks", "warnings"},
    }  # fmt: skip
    assert any("stopped by a file STOP" in entry.value for entry in summaries[2]["warnings"].values())
    assert sum(summaries[number]["performance"]["steps"].value for number in (2, 3)) == 19 - 10
    states = [state(directory / "checkpoints" / numbers[-1]) for directory in (resumed, whole)]
    assert np.array_equal(*states)
    if integrator == "etd3":  # checkpoints do not alter the steps
        assert advance(path, folder / "plain", end)
        same(folder / "plain", whole)
    COMM.Barrier()


def test_nothing_to_restart_from(folder):
    path = folder / "run.yaml"
    if COMM.rank == 0:
        small_input(folder)
    with pytest.raises(InputError, match="no complete checkpoint"):
        advance(path, folder / "run", (), "latest")
    assert not any((folder / "run" / name).exists() for name in FILES)
    COMM.Barrier()
