"""Runs from an initial state: equilibrium stays, a checkpoint is continued, and the balances of number and energy close."""

import re

import numpy as np
import pytest
import xarray
from helpers import hpcwigner, small_input


def run(folder, name, *settings, **options):
    words = (word for setting in settings for word in ("--set", setting))
    done = hpcwigner(small_input(folder, name, **options), *words)
    assert done.returncode == 0, done.stderr
    with xarray.open_dataset(folder / name / "series.h5", engine="h5netcdf") as series:
        return series.load(), done.stdout


def balances(printed):
    """Number and energy by cause."""
    lines = re.findall(r"balance: (.*?) +([+-]\S+) excitons, ([+-]\S+) meV", printed)
    return {cause: (float(number), float(energy)) for cause, number, energy in lines}


def test_equilibrium_is_stationary(tmp_path):
    series, printed = run(
        tmp_path, "run", "initial=equilibrium", "pump=off", "radiation=off", "output.wigner_at=[]", steps="auto"
    )
    population = series.population.values
    assert population[0].sum() == pytest.approx(1, abs=1e-12)
    assert population == pytest.approx(np.broadcast_to(population[0], population.shape), rel=1e-12)
    with xarray.open_dataset(tmp_path / "run/fields.h5", engine="h5netcdf") as fields:
        density = fields.density.values
        assert density == pytest.approx(np.broadcast_to(density[:1, :, :1], density.shape), rel=1e-12)
    assert "moment equations: not closed, since the run starts from an initial state" in printed
    assert "moment equations: not compared" in printed
    account = balances(printed)
    assert account["initial state"][0] == pytest.approx(1, abs=1e-8)
    assert abs(account["not accounted for"][0]) < 1e-12
    assert abs(account["not accounted for"][1]) < 1e-9


def test_losses_and_phonons_balance_a_state_that_is_not_stationary(tmp_path):
    """Equilibrium with a pulse on top, light and recombination: what is present is what came less what went."""
    settings = ("initial=equilibrium", "pump={density: 1e10 cm^-2}", "recombination.lifetime=10 ps", "output.wigner_at=[]")
    fine = "[{size: 5 fs, until: 1 ps}, {size: 25 fs}]"
    series, printed = run(tmp_path, "run", *settings, steps=fine)
    account = balances(printed)
    present, energy = account["present"]
    assert present == pytest.approx(float(series.population_total[-1]), rel=1e-8)
    assert account["source"][0] > 1
    assert account["recombination"][0] < 0
    assert account["radiation"][0] < 0
    assert abs(account["scattering"][0]) < 1e-13 * present
    assert abs(account["not accounted for"][0]) < 1e-4 * present
    assert abs(account["not accounted for"][1]) < 2e-3 * max(abs(e) for _, e in account.values())
    booked = sum(e for cause, (_, e) in account.items() if cause not in ("present", "not accounted for"))
    assert energy == pytest.approx(booked, rel=1e-2)


@pytest.mark.slow
def test_a_checkpoint_is_continued_as_an_initial_state(tmp_path):
    """1 ps from the checkpoint at 2 ps, without a pump, against the uninterrupted run: |p0|² is over by then."""
    steps = "[{size: 10 fs, until: 1 ps}, {size: 50 fs}]"
    whole, _ = run(tmp_path, "whole", steps=steps)
    run(tmp_path, "first", "time.end=2 ps", steps=steps)
    (checkpoint,) = (path for path in (tmp_path / "first/checkpoints").iterdir() if path.name.isdigit())
    settings = (f"initial={checkpoint}", "time.end=1 ps", "output.wigner_at=[]")
    rest, _ = run(tmp_path, "rest", *settings, steps="[{size: 50 fs}]")
    for name in ("population", "width_squared", "diffusion"):
        assert rest[name].values[-1] == pytest.approx(whole[name].values[-1], rel=1e-5), name
    again = hpcwigner(tmp_path / "rest/input.yaml", "--output", tmp_path / "again")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("initial=nowhere",), "expected a checkpoint or its state.h5"),
        (("pump=off",), "expected a pump, since initial is none"),
    ],
)
def test_what_cannot_start_is_refused(tmp_path, settings, words):
    refused = hpcwigner("check", small_input(tmp_path), *(w for s in settings for w in ("--set", s)))
    assert refused.returncode == 2
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_checkpoint_of_another_grid_is_refused(tmp_path):
    run(tmp_path, "first", "time.end=1 ps", "output.wigner_at=[]")
    (checkpoint,) = (path for path in (tmp_path / "first/checkpoints").iterdir() if path.name.isdigit())
    refused = hpcwigner("check", small_input(tmp_path, "other"), "--set", f"initial={checkpoint}", "--set", "space.cells=60")
    assert refused.returncode == 2
    assert "cells, angles and energies" in refused.stderr


def test_moments_are_refused_where_they_do_not_close(tmp_path):
    refused = hpcwigner("moments", small_input(tmp_path), "--set", "initial=equilibrium")
    assert refused.returncode == 2
    assert "closed moment equations" in refused.stderr
