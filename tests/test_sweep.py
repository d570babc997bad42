"""Parameter studies: points equal single runs, stopped sweeps resume, summaries agree with the files."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray
from helpers import BROAD, FEW_STEPS, FIXED_STEPS, LONG, ROOT, clean_environment, hpcwigner, same, small_input
from mpi4py import MPI

from hpcwigner.observables.curves import Curves, negative_windows
from hpcwigner.problem import loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.control import Control, Request
from hpcwigner.storage.reading import read
from hpcwigner.studies import sweep_summary
from hpcwigner.studies.sweep import moments_run, sweep

TEMPERATURES = "temperature: [40 K, 77 K]"


def sweep_input(folder, vary, more="", **options):
    """A small input with a sweep of `vary`."""
    path = small_input(folder, "study", **({"steps": FEW_STEPS} | options))
    with path.open("a", encoding="utf-8") as file:
        file.write(f"sweep: {{vary: {{{vary}}}, diffusion_at: [1 ps, 2.1 ps, 50 ps]{more}}}\n")
    return path


def started(path, wait_for, *words):
    """A sweep in a process of its own, once `wait_for` is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hpcwigner", str(path), *words], cwd=ROOT, env=clean_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not wait_for.exists():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError("did not start")
        time.sleep(0.02)
    return process


@pytest.fixture
def no_pictures(monkeypatch):
    """For sweeps whose pictures are not looked at."""
    monkeypatch.setattr(sweep_summary, "plot", lambda *_: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two full runs, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    ran = hpcwigner(sweep_input(folder, TEMPERATURES))
    assert ran.returncode == 0, ran.stderr
    return folder, ran.stdout


@pytest.mark.slow
def test_points_are_the_runs_made_by_hand(finished):
    folder, _ = finished
    plain = small_input(folder, "plain", steps=FEW_STEPS)
    for number, temperature in enumerate(("40 K", "77 K")):
        assert hpcwigner(plain, "--set", f"temperature={temperature}", "-o", folder / f"hand{number}").returncode == 0
        point = folder / f"study/point_{number:03d}"
        same(point, folder / f"hand{number}")
        by_hand = (folder / f"hand{number}/input.yaml").read_text().replace(f"hand{number}", f"study/point_{number:03d}")
        assert (point / "input.yaml").read_text() == by_hand
        assert loading.load(point / "input.yaml").sweep is None


def test_summary_says_what_the_series_hold(finished):
    folder, printed = finished
    with xarray.open_dataset(folder / "study/summary.h5", engine="h5netcdf") as summary:
        assert summary.diffusion.dims == ("point", "time", "valley")
        assert list(summary.temperature.values) == [40, 77]
        assert summary.temperature.attrs["units"] == "K"
        assert {"temperature", "directory"} <= set(summary.coords)
        assert list(summary.directory.values) == ["point_000", "point_001"]
        assert list(summary.time.values) == [1.0, 2.1]  # 50 ps lie beyond the end of every point
        for number in range(2):
            series = read(folder / f"study/point_{number:03d}/series.h5")
            t, d = series.data["time"], series.data["diffusion"]
            for v, valley in enumerate(series.valleys):
                row = summary.isel(point=number).sel(valley=valley)
                assert row.diffusion.values == pytest.approx([d[4, v], 0.6 * d[8, v] + 0.4 * d[9, v]], rel=1e-14)
                assert float(row.diffusion_peak) == d[4:, v].max()
                assert float(row.diffusion_peak_time) == t[4 + d[4:, v].argmax()]
                assert float(row.diffusion_minimum) == d[4:, v].min()
                assert np.isnan(row.window_start)
                assert f"{d[4:, v].max():.4g}" in printed
    for name in ("summary.png", "summary.pdf"):
        assert (folder / "study" / name).stat().st_size > 10_000
    assert "2 of 2 points finished" in printed


@pytest.mark.slow
def test_a_finished_sweep_is_not_run_again(finished):
    folder, printed = finished
    before = {p: p.stat().st_mtime_ns for p in folder.glob("study/point_*/**/*") if p.is_file()}
    again = hpcwigner(folder / "study.yaml")
    assert again.returncode == 0, again.stderr
    assert "0 of 2 to do" in again.stdout
    assert again.stdout[again.stdout.index("D_KK") :] == printed[printed.index("D_KK") :]
    assert {p: p.stat().st_mtime_ns for p in folder.glob("study/point_*/**/*") if p.is_file()} == before
    collected = hpcwigner("collect", folder / "study")
    assert collected.stdout == again.stdout[again.stdout.index("D_KK") :]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("momentum.angles=12", "momentum.angles 8, expected 12"),
        ("sweep.vary={temperature: [41 K, 77 K]}", "temperature '40.0 K', expected '41.0 K'"),
        ("sweep.moments=true", "with a full run, expected another for sweep.moments"),
    ],
)
def test_a_directory_of_another_input_is_refused(finished, override, expected):
    folder, _ = finished
    before = (folder / "study/sweep.yaml").read_text()
    ran = hpcwigner(folder / "study.yaml", "--set", override)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert "point_000" in ran.stderr
    assert expected in ran.stderr
    assert (folder / "study/sweep.yaml").read_text() == before


@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_can_be_extended(finished, tmp_path):
    """Points are known by their input, so that new ones may follow."""
    folder, _ = finished
    ran = hpcwigner(folder / "study.yaml", "--set", "sweep.vary={temperature: [40 K, 77 K, 60 K]}", "--point", 2)
    assert ran.returncode == 0, ran.stderr
    assert "sweep of 3 points" in ran.stdout
    collected = hpcwigner("collect", folder / "study")
    assert "3 of 3 points finished" in collected.stdout


def stopped(study):
    """Asks a sweep to stop once its first point, begun anew, makes steps."""
    while not (study / "point_000.unfinished1").exists() or not (study / "point_000/fields.h5").exists():
        time.sleep(0.02)
    (study / "STOP").touch()


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on_bit_identically(finished, tmp_path):
    """kill −9 before the first checkpoint, a STOP file in the sweep's directory, a signal."""
    reference, _ = finished
    path = sweep_input(tmp_path, TEMPERATURES, space=BROAD, steps=FIXED_STEPS)
    process = started(path, tmp_path / "study/point_000/fields.h5", *LONG)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "study/point_000/checkpoints/latest").exists()

    asks = threading.Thread(target=stopped, args=(tmp_path / "study",), daemon=True)
    asks.start()
    ran = hpcwigner(path, *LONG)
    asks.join(60)
    assert (tmp_path / "study/point_000.unfinished1").exists()
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "sweep stopped" in ran.stdout
    assert not (tmp_path / "study/STOP").exists()
    assert (tmp_path / "study/point_000/checkpoints/latest").exists()
    assert not (tmp_path / "study/point_001").exists()

    partly = hpcwigner("collect", tmp_path / "study")
    assert "0 of 2 points finished, not point_000, point_001" in partly.stdout

    (tmp_path / "again").mkdir()
    path = sweep_input(tmp_path / "again", TEMPERATURES)  # as long as the reference; stopped by a signal
    process = started(path, tmp_path / "again/study/point_000/input.yaml", "--set", "checkpoint.every=0 s")
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, out + err
    done = hpcwigner(path, "--set", "checkpoint.every=0 s")
    assert done.returncode == 0, done.stderr
    for number in range(2):
        name = f"study/point_{number:03d}"
        same(tmp_path / "again" / name, reference / name)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_failing_point_does_not_keep_the_others_from_running(tmp_path):
    """With an error that appears only when the point starts: steps too long for its cells."""
    path = sweep_input(tmp_path, "space.cells: [1500, 48]")
    ran = hpcwigner(path)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "1 of 2 points failed" in ran.stderr
    assert "point_000 (space.cells 1500)" in ran.stderr
    assert "stability limit" in ran.stderr
    assert "1 of 2 points finished, not point_000" in ran.stdout
    with xarray.open_dataset(tmp_path / "study/summary.h5", engine="h5netcdf") as summary:
        assert np.isnan(summary.diffusion.values[0]).all()
        assert np.isfinite(summary.diffusion.values[1]).all()


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_points_write_what_only_problems_with_annihilation_have(tmp_path):
    path = sweep_input(tmp_path, "interaction.annihilation: [0.1 cm^2/s, 0.4 cm^2/s]")
    more = "pump.density=1e12 cm^-2", "output.observables=[diffusion, annihilated]", "output.wigner_at=[]"
    ran = hpcwigner(path, *(word for setting in more for word in ("--set", setting)))
    assert ran.returncode == 0, ran.stderr
    few, many = (read(tmp_path / f"study/point_{i:03d}/series.h5").data["annihilated"][-1] for i in range(2))
    assert 0 < few < many < 4 * few


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_by_moments(tmp_path):
    """Whole and by single points; each point what the verb `moments` gives; collected before all are there."""
    path = sweep_input(tmp_path, "temperature: [40 K, 77 K], scattering.intervalley: [on, {off_at: 2.5 ps}]", ", moments: true")
    path.write_text(path.read_text(encoding="utf-8").replace("energy_step: 4 meV", "energy_step: 8 meV"), encoding="utf-8")
    single = hpcwigner(path, "-o", tmp_path / "one", "--point", 2)
    assert single.returncode == 0, single.stderr
    collected = hpcwigner("collect", tmp_path / "one")
    assert "1 of 4 points finished, not point_000, point_001, point_003" in collected.stdout
    ran = hpcwigner("moments", path, "-o", tmp_path / "all")
    assert ran.returncode == 0, ran.stderr
    same(tmp_path / "one/point_002", tmp_path / "all/point_002", ["moments.h5"])
    assert hpcwigner("moments", path, "--point", 2, "-o", tmp_path / "verb").returncode == 0
    same(tmp_path / "verb", tmp_path / "all/point_002", ["moments.h5"])
    assert hpcwigner("moments", tmp_path / "all/point_002/input.yaml", "-o", tmp_path / "again").returncode == 0
    same(tmp_path / "again", tmp_path / "all/point_002", ["moments.h5"])
    with xarray.open_dataset(tmp_path / "all/summary.h5", engine="h5netcdf") as summary:
        assert list(summary.scattering_intervalley.values) == ["true", "{off_at: 2.5 ps}"] * 2
        assert list(summary.temperature.values) == [40, 40, 77, 77]
    later = hpcwigner("moments", path, "-o", tmp_path / "all", "--set", "time.end=4 ps")
    assert later.returncode == 0, later.stderr
    assert "4 of 4 to do" in later.stdout
    assert read(tmp_path / "all/point_002.unfinished1/moments.h5").data["time"][-1] == 3.0
    assert read(tmp_path / "all/point_002/moments.h5").data["time"][-1] == 4.0


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_moments_of_a_sweep_of_runs_need_a_directory_of_their_own(tmp_path):
    path = sweep_input(tmp_path, TEMPERATURES)
    ran = hpcwigner("moments", path)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "--output: missing" in ran.stderr
    assert hpcwigner("moments", path, "-o", tmp_path / "study").returncode == 0
    ran = hpcwigner(path)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "with moments.h5, expected another directory for full runs" in ran.stderr


def test_check_prints_a_line_for_each_point(tmp_path):
    ran = hpcwigner("check", sweep_input(tmp_path, TEMPERATURES))
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 3
    for line, temperature in zip(lines, (40, 77), strict=False):
        for word in (f"(temperature {temperature} K)", "unknowns", "steps of etd3", "MiB per rank", "output"):
            assert word in line
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("vary", "more", "expected"),
    [
        ("temprature: [3 K]", "", "sweep.vary.temprature[0]: unknown key; did you mean 'temperature'?"),
        ("pump.spot_fwm: [1 um]", "", "sweep.vary.pump.spot_fwm[0]: unknown key; did you mean 'spot_fwhm'?"),
        ("temperature.x: [1 um]", "", "sweep.vary.temperature.x: 'temperature' holds a value, not keys"),
        ("temperature: []", "", "sweep.vary.temperature: found [], expected a list"),
        ("temperature: 20 K", "", "sweep.vary.temperature: found '20 K', expected a list"),
        ("", "", "sweep.vary: found {}, expected at least one key"),
        ("temperature: [20 K, 40 ps]", "", "sweep.vary.temperature[1]: found '40 ps', expected a number with a unit"),
        ("temperature: [20 K], momentum.angles: [8, 7]", "", "sweep.vary.momentum.angles[1]: found 7, expected a multiple of 4"),
        ("output.directory: [a, b]", "", "sweep.vary.output.directory: found ['a', 'b'], expected another key"),
        ("sweep.moments: [on, off]", "", "sweep.vary.sweep.moments: found"),
        ("temperature: [20 K, 40 K], momentum.angles: [8]", ", combine: zip", "2 of temperature, 1 of momentum.angles"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, vary, more, expected):
    with pytest.raises(InputError) as error:
        loading.load(sweep_input(tmp_path, vary, more))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--point", "2"], "--point 2: found a sweep of 2 points, expected a number from 0 to 1"),
        (["--point", "-1"], "--point -1: found a sweep of 2 points"),
        (["--restart"], "--restart latest: found an input with a sweep, which continues without it"),
    ],
)
def test_wrong_ways_to_run_a_sweep(tmp_path, words, expected):
    ran = hpcwigner(sweep_input(tmp_path, TEMPERATURES), *words)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert expected in ran.stderr


def test_verbs_that_take_one_point(tmp_path):
    path = sweep_input(tmp_path, TEMPERATURES)
    ran = hpcwigner("rates", path, "-o", tmp_path / "rates.h5")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "expected --point N" in ran.stderr
    ran = hpcwigner("rates", path, "-o", tmp_path / "rates.h5", "--point", 1)
    assert "at 77 K" in ran.stdout
    ran = hpcwigner(small_input(tmp_path, "plain"), "--point", 0)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "found an input without a sweep block" in ran.stderr
    assert "found no sweep.yaml" in hpcwigner("collect", tmp_path).stderr


def test_zip_pairs_the_values_and_paths_start_at_the_input(tmp_path):
    path = sweep_input(tmp_path, "temperature: [40 K, 77 K], rates: [auto, cold.h5]", ", combine: zip")
    points = loading.points(loading.load(path))
    assert [p.config.temperature for p in points] == [40, 77]
    assert [p.config.rates for p in points] == ["auto", str(tmp_path / "cold.h5")]
    again = tmp_path / "elsewhere" / "again.yaml"
    again.parent.mkdir()
    again.write_text(loading.to_yaml(loading.load(path)), encoding="utf-8")
    assert loading.points(loading.load(again)) == points


@pytest.mark.slow
def test_a_point_that_runs_elsewhere_is_left_alone(tmp_path):
    """A directory without a checkpoint is renamed only if no run is under way in it."""
    path = sweep_input(tmp_path, TEMPERATURES, space=BROAD, steps=FIXED_STEPS)
    process = started(path, tmp_path / "study/point_000/fields.h5", *LONG, "--point", "0")
    try:
        ran = hpcwigner(path, *LONG, "--point", "0")
        assert ran.returncode == 1
        assert "another run is under way" in ran.stderr
        assert not (tmp_path / "study/point_000.unfinished1").exists()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_walltime_counts_for_the_whole_sweep(tmp_path, monkeypatch):
    path = sweep_input(tmp_path, "temperature: [40 K, 50 K, 60 K, 77 K]", ", moments: true")

    def slow(*point):
        moments_run(*point)
        time.sleep(0.6)

    with monkeypatch.context() as patched:
        patched.setattr("hpcwigner.studies.sweep.moments_run", slow)
        assert sweep(loading.load(path, ["time.walltime=0.5 s"]), MPI.COMM_SELF, quiet=True) is None
    assert len(list((tmp_path / "study").glob("point_*/moments.h5"))) == 1
    assert "4 of 4 points finished" in sweep(loading.load(path), MPI.COMM_SELF, quiet=True)
    above = Control(MPI.COMM_SELF, tmp_path, math.inf, None)
    above.started -= 100
    assert Control(MPI.COMM_SELF, tmp_path, math.inf, 90.0, above).poll() is Request.STOP
    assert Control(MPI.COMM_SELF, tmp_path, math.inf, 110.0, above).poll() is Request.NONE


def test_windows_end_where_the_curve_crosses_zero():
    time, d = np.arange(8.0), np.array([np.nan, 3.0, 1.0, -1.0, -3.0, 1.0, 2.0, -1.0])
    assert negative_windows(time, d) == [(2.5, 4.75), (pytest.approx(6 + 2 / 3), 7.0)]
    curves = Curves(time, d[:, None])
    assert curves.window(0) == (2.5, 4.75)
    assert curves.extremum(0, 1) == (1.0, 3.0)
    assert curves.extremum(0, -1) == (4.0, -3.0)
    assert curves.at([2.5, 7.0, 8.0])[:, 0] == pytest.approx([0.0, -1.0, np.nan], nan_ok=True)
    assert negative_windows(time, -np.abs(d)) == [(1.0, 7.0)]
    never = Curves(time, np.abs(d)[:, None])
    assert np.isnan(never.window(0)).all()


def test_the_time_of_an_extremum_is_not_made_by_rounding():
    time = np.arange(0.0, 50.0)
    settled = 1 + np.exp(-time) + 1e-13 * np.sin(time)
    assert Curves(time, settled[:, None]).extremum(0, -1)[0] == 14.0  # e^−14 < 1e-6 · 1.37
