"""Fewer angles: resampling, when it is allowed, and runs whose angles become fewer."""

import functools
import shutil

import h5py
import numpy as np
import pytest
from helpers import ROOT, small_input
from helpers import hpcwigner as command_line
from mpi4py import MPI

from hpcwigner.momentum.angles import Angles
from hpcwigner.problem import builder, loading
from hpcwigner.reference import anisotropy
from hpcwigner.storage.reading import read

hpcwigner = functools.partial(command_line, timeout=200)
SLAB, PLANE = "{dimensions: 1, length: 6 um, cells: 48}", "{dimensions: 2, length: 4 um, cells: [14, 12], boundary: reflecting}"
GIVEN = "momentum.angles={start: 8, reduce: [{at: 1.5 ps, to: 4}]}"


def state(checkpoint):
    with h5py.File(checkpoint / "state.h5", "r") as file:
        return file["u"][()]


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("number", [8, 16])
def test_resampling_takes_the_values_of_a_smooth_function(number, half):
    """Up to cos Mθ of the coarser cells, M half their number; populations of cells are values times the cell's width."""
    fine, coarse = Angles(2 * number, half), Angles(number, half)
    rng = np.random.default_rng(number)
    cosines, sines = rng.standard_normal(number // 2 + 1), rng.standard_normal(number // 2 - 1) * (not half)

    def populations(angles):
        orders = np.arange(number // 2 + 1)
        values = np.cos(np.outer(angles.theta, orders)) @ cosines + np.sin(np.outer(angles.theta, orders[1:-1])) @ sines
        return values * angles.multiplicity / angles.number

    assert fine.resampled(coarse) @ populations(fine) == pytest.approx(populations(coarse), abs=1e-14)
    assert coarse.resampled(fine) @ populations(coarse) == pytest.approx(populations(fine), abs=1e-14)


@pytest.mark.parametrize("half", [True, False])
def test_resampling_drops_what_the_coarser_cells_cannot_hold(half):
    """Orders above stay out of all others, instead of appearing as lower ones."""
    fine, coarse = Angles(16, half), Angles(8, half)
    for m in (5, 6, 7, 8):
        assert np.abs(fine.resampled(coarse) @ (np.cos(m * fine.theta) * fine.multiplicity)).max() < 1e-13
    u = np.random.default_rng(0).random((5, fine.count, 3))
    fewer = fine.resampled(coarse) @ u
    assert fewer.sum(axis=1) == pytest.approx(u.sum(axis=1), rel=1e-14)
    flux = np.einsum("k,pkc->pc", coarse.cosine, fewer)
    assert flux == pytest.approx(np.einsum("k,pkc->pc", fine.cosine, u), abs=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 3])
def test_gradient_moments_are_those_of_a_run(tmp_path, order):
    """∫x^m u_m dx of a slab's state, which is A_m/2^m; implicit Euler steps of 10 fs are exact to a percent or two."""
    path = small_input(tmp_path, space=SLAB)
    changes = ("time.end=2 ps", "output.series_every=10 fs", "output.fields_every=2 ps", "space.symmetry=whole")
    ran = hpcwigner(path, *(word for change in changes for word in ("--set", change)), "--output", tmp_path / "run")
    assert ran.returncode == 0, ran.stderr
    (last,) = (path.parent for path in (tmp_path / "run/checkpoints").glob("*/complete.json"))
    problem = builder.build(loading.load(tmp_path / "run/input.yaml"), MPI.COMM_SELF)
    x, u = problem.space.centers(0), state(last)[:, 0]
    harmonic = np.einsum("k,xkc->xc", np.cos(order * problem.angles.theta), u)
    measured = x**order @ harmonic * problem.space.cell_measure * 2**order
    predicted = anisotropy.gradient_moments(problem.moments, order)[-1]
    assert np.abs(predicted - measured).max() < 0.02 * np.abs(measured).max()
    problem.free()


@pytest.mark.slow
def test_reductions_are_chosen_where_the_dropped_harmonics_are_small():
    """At 20 K after ten ps, at 300 K from the start on, and never while excitons fly freely."""

    def chosen(file, *changes):
        problem = builder.build(loading.load(file, ["space.cells=48", *changes]), MPI.COMM_SELF)
        reference = problem.moments.reference()
        result = problem.reductions(reference), anisotropy.harmonic_sizes(problem.moments, reference, 5), problem.moments.times
        problem.free()
        return result

    ((time, number),), sizes, times = chosen(ROOT / "inputs/ws2_20K.yaml", "momentum.angles={start: 16}")
    assert (number, 5 < time < 20) == (8, True)
    assert np.nanmax(sizes[times >= time]) <= anisotropy.NEGLIGIBLE < np.nanmax(sizes[times < time])
    ((coarse, _),), *_ = chosen(ROOT / "inputs/ws2_20K.yaml", "momentum.angles={start: 16}", "output.series_every=2 ps")
    assert time - 0.25 <= coarse <= time + 2  # at the next output; excitons enter at the beginning of an interval, 0.2 ps earlier
    warm, *_ = chosen(ROOT / "inputs/ws2_300K.yaml", "momentum.angles={start: 32}")
    assert warm == ((0.25, 8),)
    switched = "scattering.intravalley={off_at: 2 ps}", "scattering.intervalley={off_at: 2 ps}"
    free, *_ = chosen(ROOT / "inputs/ws2_300K.yaml", "momentum.angles={start: 16}", *switched)
    assert free == ()
    grating = "pump.profile=[0.5, {cosine: {amplitude: 0.5, period: 2 um}}]"
    assert chosen(ROOT / "inputs/ws2_20K.yaml", "momentum.angles={start: 16}", grating)[0] == ()
    ring = "pump.profile={ring: {radius: 2 um, fwhm: 0.3 um}}"  # closed, but far steeper than its ⟨r²⟩ tells
    assert chosen(ROOT / "inputs/ws2_300K.yaml", "momentum.angles={start: 16}", ring)[0] == ()


@pytest.mark.slow
@pytest.mark.parametrize(("space", "integrator"), [(SLAB, "arkimex3"), (PLANE, "etd2")])
def test_a_restart_before_or_after_a_reduction_is_bit_identical(tmp_path, space, integrator):
    """On several ranks: mpi/test_restart_on_ranks.py."""
    path = small_input(tmp_path, space=space, integrator=integrator, steps="[{size: 125 fs}]")
    words = ("--set", GIVEN, "--set", "checkpoint.every=0 s", "--set", "checkpoint.keep=100", "--set", "time.end=2.25 ps")
    words += ("--set", "momentum.energy_step=8 meV", "--set", "output.series_every=0.75 ps", "--set", "output.wigner_at=[]")
    whole = hpcwigner(path, *words, "--output", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert "4 angles from 1.5 ps on" in whole.stderr + whole.stdout
    numbers = sorted(path.parent.name for path in (tmp_path / "whole/checkpoints").glob("*/complete.json"))
    counts = [state(tmp_path / "whole/checkpoints" / number).shape[2] for number in numbers]
    assert sorted(set(counts), reverse=True) == ([5, 3] if space is SLAB else [8, 4])
    boundary = counts.index(min(counts)) - 1
    assert 1 <= boundary <= len(numbers) - 3  # each start has something to do
    for place in (boundary - 1, boundary, boundary + 1):
        target = tmp_path / f"from{place}"
        for name in (numbers[place], "rows"):
            shutil.copytree(tmp_path / "whole/checkpoints" / name, target / "checkpoints" / name)
        again = hpcwigner(path, *words, "--output", target, "--restart", "latest")
        assert again.returncode == 0, again.stderr
        assert np.array_equal(state(tmp_path / "whole/checkpoints" / numbers[-1]), state(target / "checkpoints" / numbers[-1]))
        for name in ("series.h5", "fields.h5"):
            x, y = read(tmp_path / "whole" / name), read(target / name)
            assert all(np.array_equal(x.data[key], y.data[key], equal_nan=True) for key in x.data)


def test_outputs_keep_their_angles_and_their_numbers(tmp_path):
    """Populations and D_v do not change, profiles little; the plan stands in the written input."""
    path = small_input(tmp_path, space=SLAB)
    results = {}
    for name, angles in (("all", "8"), ("fewer", "{start: 8, reduce: [{at: 1.5 ps, to: 4}]}")):
        words = (f"momentum.angles={angles}", "output.wigner_at=[2 ps]", "output.observables=[default, wigner_angles]")
        ran = hpcwigner(path, *(w for word in words for w in ("--set", word)), "--output", tmp_path / name)
        assert ran.returncode == 0, ran.stderr
        results[name] = {file: read(tmp_path / name / file).data for file in ("series.h5", "fields.h5", "wigner.h5")}
    everything, fewer = results["all"], results["fewer"]
    for key in ("population", "diffusion"):
        assert fewer["series.h5"][key] == pytest.approx(everything["series.h5"][key], rel=1e-8, abs=1e-12, nan_ok=True)
    for file, key in (("fields.h5", "density"), ("wigner.h5", "wigner_angles")):
        x, y = everything[file][key], fewer[file][key]
        assert x.shape == y.shape
        assert 0 < np.nanmax(np.abs(x - y)) < 0.05 * np.nanmax(x)
    text = (tmp_path / "fewer/input.yaml").read_text()
    assert "{at: 1.5 ps, to: 4}" in text


@pytest.mark.slow
def test_a_restart_takes_the_reductions_of_the_first_start(tmp_path):
    path = small_input(tmp_path, space=SLAB)
    words = ("--set", "momentum.angles={start: 16, reduce: auto}", "--output", tmp_path / "run")
    first = hpcwigner(path, *words)
    assert first.returncode == 0, first.stderr
    assert "8 angles from" in (tmp_path / "run/run.log").read_text(encoding="utf-8")
    longer = hpcwigner(path, *words, "--set", "time.end=4 ps", "--restart")
    assert longer.returncode == 0, longer.stderr
    whole = hpcwigner(path, *words[:2], "--set", "time.end=4 ps", "--output", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    x, y = read(tmp_path / "run/series.h5"), read(tmp_path / "whole/series.h5")
    assert np.array_equal(x.data["diffusion"], y.data["diffusion"], equal_nan=True)
