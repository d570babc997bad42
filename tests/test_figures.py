"""The verb `figures` on small runs, the reuse of finished and unfinished runs, and the criteria of phases."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.observables.curves import phases, settled, thermalisation
from hpcwigner.observables.transport import intrinsic_diffusion
from hpcwigner.problem import loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.run import ensure
from hpcwigner.storage.reading import read
from hpcwigner.studies.figures import jobs
from hpcwigner.studies.paper.data import PaperRun

SMALL = (
    "momentum.energy_step=4 meV", "momentum.angles=8", "space.cells=64", "space.length=4 um", "time.tolerance=1e-2",
    "time.integrator=etd2", "output.series_every=0.5 ps", "output.fields_every=2 ps",
)  # fmt: skip
SETTINGS = tuple(word for setting in SMALL for word in ("--set", setting))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folder and output of `figures`."""
    folder = tmp_path_factory.mktemp("paper")
    process = hpcwigner("figures", "-o", folder, *SETTINGS)
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.mark.slow
def test_every_figure_in_print_and_on_screen(drawn):
    folder, process = drawn
    for name in ("figure2", "figure3", "figure4", "figure5", "figure_s1"):
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert name in process.stdout
    assert "Warning" not in process.stderr


def test_each_statement_has_a_number_and_a_verdict(drawn):
    folder, process = drawn
    text = (folder / "figures.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.endswith(("| yes |", "| **no** |"))]
    assert len(rows) == 26
    cells = [row.replace(r"\|", "").split(" | ") for row in rows]
    assert all(len(row) == 7 for row in cells)
    assert all(row[1].startswith("“") and row[1].endswith("”") for row in cells)
    held, holding = (sum("yes" in row[column] for row in cells) for column in (6, 4))
    assert f"{holding} of 26 hold; by the earlier criteria, on the same runs, {held}." in text
    assert f"{holding} of 26 statements hold ({held} by the earlier criteria)" in process.stdout
    assert process.stdout.count("does not hold: ") == 26 - holding
    assert "inverse Abel transform" in text
    assert "Cormack" in text
    assert "move in 8 directions" in text  # as asked for, not as by default
    predicted = [float(x) for x in re.search(r"up to about ([\d.]+) %, ([\d.]+) %, ([\d.]+) %", text).groups()]
    assert predicted[0] > predicted[2] > 0


def test_numbers_in_the_table_are_those_of_the_runs(drawn):
    folder, _ = drawn
    text = (folder / "figures.md").read_text()
    cold = read(folder / "runs/20K/series.h5").data
    late = cold["time"] >= 1
    peak = cold["time"][late][cold["diffusion"][late, 0].argmax()]
    assert f"| {peak:g} ps | within 25 % of 8 ps |" in text
    assert f"down to {np.nanmin(cold['diffusion'][late, 0]):.0f} cm²/s" in text
    warm = read(folder / "runs/300K/series.h5").data
    assert f"| {warm['diffusion'][-1].mean():.2f} cm²/s, different by at most" in text


def test_finished_runs_are_reused_and_other_inputs_refused(drawn):
    folder, _ = drawn
    for settings in jobs("ws2_hbn", folder / "runs", plane=False, overrides=SMALL).values():
        series = Path(settings.output.directory) / "series.h5"
        before = series.stat().st_mtime_ns
        assert ensure(settings, MPI.COMM_SELF, quiet=True)
        assert series.stat().st_mtime_ns == before
    refused = hpcwigner("figures", "-o", folder, *SETTINGS, "--set", "momentum.angles=16")
    assert refused.returncode == 2
    assert "momentum.angles" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_middle_line_keeps_the_population(drawn):
    """2π∫ r N(r) dr of the inverted profile is n_v."""
    run = PaperRun(drawn[0] / "runs/20K", 0)
    density = run.line("density", 20.0)
    r = run.x  # uniform, and nothing is left at its ends
    population = np.pi * (np.abs(r) * density).sum(axis=-1) * (r[1] - r[0])
    assert population[1:] == pytest.approx(run.at("population", 20.0)[1:], rel=2e-3)


def test_fick_regime(drawn):
    """At 300 K the cloud stays a Gaussian whose w² grows by 4D per time, alike in all valleys."""
    run = PaperRun(drawn[0] / "runs/300K", 0)
    w0, w1 = run.at("width_squared", 10.0), run.at("width_squared", 20.0)
    d = run.at("diffusion", 20.0) * 1e-4  # µm²/ps
    assert (w1 - w0) / 10 == pytest.approx(4 * d, rel=1e-3)
    x = run.fields.data["x"]
    density = run.fields.data["density"][-1]
    for v in range(3):
        gaussian = run.at("population", 20.0)[v] * np.exp(-(x**2) / w1[v]) / np.sqrt(np.pi * w1[v])
        assert np.abs(density[v] - gaussian).max() < 1e-2 * density[v].max()


def test_a_valley_alone_diffuses_as_chapman_enskog(drawn, tmp_path):
    """After intervalley scattering has ended, D_v is each valley's own; a constant time is right only if it is constant."""
    run = PaperRun(drawn[0] / "runs/300K_off", 0)
    text = (drawn[0] / "figures.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| without intervalley scattering"))
    assert row.endswith("| yes |")  # by the earlier criterion, which compares with these values
    last = run.at("diffusion", 20.0)
    assert all(f"{d:.2f} (Chapman–Enskog" in row for d in last)


def test_intrinsic_diffusion_with_one_rate_for_all(rates):
    """Isotropic scattering with one rate 1/τ: all three formulas give τ kT/M."""
    equilibrium, cells, rate = rates.equilibrium, rates.cells, 5.0
    one = np.zeros_like(rates.intravalley)
    for own in cells.slices:
        p = equilibrium.population[own]
        one[0, own, own] = rate * np.outer(p / p.sum(), np.ones(len(p)))
    by_formula = np.transpose(list(intrinsic_diffusion(equilibrium, one).values()))
    for valley, values in zip(cells.valleys, by_formula, strict=True):
        expected = equilibrium.thermal_energy * 76.1996 / 0.6582119569**2 / valley.mass / rate
        assert values == pytest.approx(expected, rel=20 * equilibrium.discarded_weight + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "checkpoint", "remains"])
def test_ensure_goes_on_with_what_is_there(tmp_path, left):
    path = small_input(tmp_path)
    settings = loading.load(path)
    if left == "checkpoint":
        (tmp_path / "run").mkdir()
        assert hpcwigner(path, "--set", "time.end=2 ps").returncode == 0
        whole = hpcwigner(path, "--output", tmp_path / "whole")
        assert whole.returncode == 0
    elif left == "remains":
        (tmp_path / "run").mkdir()
        (tmp_path / "run/series.h5").write_bytes(b"cut off")
    assert ensure(settings, MPI.COMM_SELF, quiet=True)
    assert read(tmp_path / "run/series.h5").data["time"][-1] == 3.0
    if left == "checkpoint":
        ours, whole = (read(tmp_path / name / "series.h5").data for name in ("run", "whole"))
        assert np.array_equal(ours["diffusion"], whole["diffusion"], equal_nan=True)
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["run.yaml", "run", *{"checkpoint": ["whole"], "remains": ["run.unfinished1"]}.get(left, [])]
    )


def test_ensure_refuses_a_run_of_another_input(tmp_path):
    path = small_input(tmp_path)
    assert hpcwigner(path).returncode == 0
    with pytest.raises(InputError, match="temperature"):
        ensure(loading.load(path, ["temperature=80 K"]), MPI.COMM_SELF)


def test_info_says_when_it_has_thermalised(drawn):
    text = hpcwigner("info", drawn[0] / "runs/77K").stdout
    series = read(drawn[0] / "runs/77K/series.h5").data
    rise_end, alike_from = phases(series["time"], series["diffusion"])
    energy, momentum, valley = thermalisation(series)
    assert f"D_v rise until {rise_end:g} ps; within 10 % of each other from: {alike_from:g} ps" in text
    assert f"energies {energy:g} ps, directions {momentum:g} ps, valleys {valley:g} ps" in text


def test_phases_of_made_up_curves():
    time = np.arange(0, 20, 0.5)
    rise = 1 - np.exp(-time)
    common = np.stack((1 + 2 * np.exp(-time / 2), np.ones_like(time)), axis=1) * rise[:, None]
    rise_end, alike_from = phases(time, common)
    top = common[:, 1].argmax()  # the second curve rises to the end, but has 95 % early
    assert 0 < rise_end < time[top]
    expected = time[np.flatnonzero(np.ptp(common, axis=1) > 0.1 * common.mean(axis=1))[-1] + 1]
    assert alike_from == expected
    apart = common.copy()
    apart[-1, 0] *= 2
    assert np.isnan(phases(time, apart)[1])


def test_settled_means_from_then_on():
    time = np.arange(6.0)
    assert settled(time, np.array([1, 0, 1, 0, 0, 0.0])) == 3
    assert settled(time, np.zeros(6)) == 0
    assert np.isnan(settled(time, np.array([0, 0, 0, 0, 0, 1.0])))
