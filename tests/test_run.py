"""A small run from input to files, as a user sees it."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray
from helpers import FEW_STEPS, FILES, ROOT, hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.observables.fields import central_weights
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation import estimate
from hpcwigner.storage.reading import read

COARSE = "momentum.energy_step=5 meV", "momentum.angles=4"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on two ranks with automatic steps, and what it printed."""
    folder = tmp_path_factory.mktemp("small")
    path = small_input(folder, steps="auto")
    ran = hpcwigner(path, ranks=2)
    assert ran.returncode == 0, ran.stderr
    return folder, ran.stdout


@pytest.mark.slow
def test_says_how_it_went(finished):
    folder, printed = finished
    for words in (
        "unknowns on 2 ranks", "steps/s", "core-hours", "unknowns·steps/s", "balance off by",
        "largest deviation of D_v", "largest deviation of w_v²",
    ):  # fmt: skip
        assert words in printed
    log = (folder / "run" / "run.log").read_text()
    assert "largest deviation of D_v" in log


def test_agrees_with_the_moment_equations(finished):
    folder, printed = finished
    ran = hpcwigner("moments", folder / "run.yaml", "--output", folder / "exact")
    assert ran.returncode == 0, ran.stderr
    run, exact = (xarray.open_dataset(folder / name, engine="h5netcdf") for name in ("run/series.h5", "exact/moments.h5"))
    late = run.time >= 1
    for name in ("diffusion", "width_squared", "population"):
        scale = np.abs(exact[name][late]).max(dim="time")
        worst = (np.abs(run[name] - exact[name]) / scale)[late].max(dim="time")
        assert float(worst.max()) < 1e-2, name  # the tolerance asked for
        if name != "population":  # and so the run itself has said
            symbol = {"diffusion": "D_v", "width_squared": "w_v²"}[name]
            line = next(text for text in printed.splitlines() if text.startswith(f"largest deviation of {symbol} "))
            told = [float(number) for number in re.findall(r"\d\.\de-\d+", line)]
            assert told == pytest.approx(worst.values.tolist(), rel=0.06)
    assert float(run.population_total[-1]) == pytest.approx(float(exact.population_total[-1]), rel=1e-6)
    assert f"{float(exact.diffusion[-1, 0]):.4g}"[:4] in ran.stdout


def test_xarray_opens_every_file(finished):
    folder, _ = finished
    with xarray.open_dataset(folder / "run/series.h5", engine="h5netcdf") as series:
        assert dict(series.sizes) == {"time": 13, "valley": 3}
        assert list(series.valley.values) == ["KK", "KK'", "KΛ"]
        assert series.time.values == pytest.approx(0.25 * np.arange(13))
        assert series.diffusion.attrs["units"] == "cm2 s-1"
        parts = sum(series[f"diffusion_{p}"] for p in ("drift", "interv", "source", "radiative"))
        assert parts.values[2:] == pytest.approx(series.diffusion.values[2:], rel=1e-12)
        assert np.isnan(series.diffusion.values[0]).all()
        assert np.isfinite(series.diffusion.values[2:]).all()
        for key in ("source", "libraries", "git_revision", "input", "ranks"):
            assert key in series.attrs
    with xarray.open_dataset(folder / "run/fields.h5", engine="h5netcdf") as fields:
        assert fields.density.dims == ("time", "valley", "x")
        assert fields.x.attrs["units"] == "um"
        dx = float(fields.x[1] - fields.x[0])
        total = (fields.density.sum(dim="x") * dx)[-1]
        assert float(np.abs(fields.shape_variation.sum(dim="x") * dx).max()) < 1e-10
        assert float(total.sum()) == pytest.approx(0.998, abs=3e-3)
        assert fields.density.values == pytest.approx(fields.density.values[..., ::-1], rel=1e-9, abs=1e-12)
    with xarray.open_dataset(folder / "run/wigner.h5", engine="h5netcdf") as wigner:
        assert wigner.wigner.dims == ("time", "valley", "x", "k")
        assert list(wigner.time.values) == [2.0]
        at = wigner.wigner.isel(time=0, valley=1)
        forward = float(at.sel(x=0.8, k=0.3, method="nearest"))
        assert forward > float(at.sel(x=0.8, k=-0.3, method="nearest")) > 0  # on the right, more move to the right


@pytest.mark.slow
def test_written_input_runs_again_to_the_same_result(tmp_path):
    first = hpcwigner(small_input(tmp_path, steps="auto"))
    again = hpcwigner(tmp_path / "run/input.yaml", "--output", tmp_path / "again")
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    for name in FILES:
        a, b = (xarray.load_dataset(tmp_path / folder / name, engine="h5netcdf") for folder in ("run", "again"))
        assert a.drop_attrs().identical(b.drop_attrs()), name


def test_a_run_directory_is_never_overwritten(finished):
    folder, _ = finished
    before = (folder / "run/series.h5").read_bytes()
    ran = hpcwigner(folder / "run.yaml")
    assert ran.returncode == 2
    assert "holds a run already" in ran.stderr
    assert (folder / "run/series.h5").read_bytes() == before


def test_plot_and_info(finished):
    folder, _ = finished
    ran = hpcwigner("plot", folder / "run")
    assert ran.returncode == 0, ran.stderr
    assert (folder / "run/overview.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    ran = hpcwigner("info", folder / "run")
    assert "0 … 3 ps in 13 outputs" in ran.stdout
    empty = folder / "empty"
    empty.mkdir()
    shutil.copy(folder / "run.yaml", empty / "series.h5")
    ran = hpcwigner("info", empty)
    assert ran.returncode == 2
    assert "cannot be read" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("integrator", ["etd2", "arkimex3", "ars443"])
def test_every_integrator_reaches_the_tolerance(tmp_path, integrator):
    ran = hpcwigner(small_input(tmp_path, integrator=integrator, steps="auto"))
    assert ran.returncode == 0, ran.stderr
    line = next(text for text in ran.stdout.splitlines() if text.startswith("largest deviation of D_v"))
    worst = max(float(word.strip(",")) for word in line.split(":")[1].split() if word[0].isdigit())
    assert worst < 1.2e-2  # tolerance 1e-2, and the stencil's part


def test_population_scales_with_the_density(tmp_path):
    ran = hpcwigner(small_input(tmp_path), "--set", "pump.density=1e11 cm^-2", "--set", "time.end=2 ps")
    assert ran.returncode == 0, ran.stderr
    with xarray.open_dataset(tmp_path / "run/series.h5", engine="h5netcdf") as series:
        # peak 1e11/cm² = 1e3/µm² times π w0² = π 0.0451 µm²
        assert float(series.population_total[-1]) == pytest.approx(1e3 * np.pi * 0.0451 * 0.998, rel=5e-3)


def test_open_boundary_says_why_it_is_not_compared(tmp_path):
    ran = hpcwigner(small_input(tmp_path, space="{cells: 24, length: 1 um, boundary: open}"))
    assert ran.returncode == 0, ran.stderr
    assert "not compared" in ran.stdout
    assert "boundary" in ran.stdout


@pytest.mark.slow
def test_slab_and_two_dimensions_agree(tmp_path):
    """By translation symmetry n_v, w_v² and D_v are the same."""
    results = []
    for name, space in (
        ("slab", "{dimensions: 1, cells: 40, length: 4 um}"),
        ("plane", "{dimensions: 2, cells: 40, length: 4 um}"),
    ):
        path = small_input(tmp_path, name, space)
        ran = hpcwigner(path, "--set", "time.end=2 ps", "--set", "output.wigner_at=[]")
        assert ran.returncode == 0, ran.stderr
        results.append(xarray.open_dataset(tmp_path / name / "series.h5", engine="h5netcdf"))
    slab, plane = results
    for name in ("population", "width_squared", "diffusion"):
        scale = np.abs(slab[name]).max(dim="time")
        assert float((np.abs(slab[name] - plane[name]) / scale)[4:].max()) < 1e-3, name


@pytest.mark.slow
def test_shipped_inputs_are_valid():
    inputs = sorted((ROOT / "inputs").glob("*.yaml"))
    assert len(inputs) == 26
    for path in inputs:
        end = 12 if "off" in path.name else 1
        step = 10 if "300K" in path.name else 5  # [meV]
        settings = (
            f"time.end={end} ps",
            "time.integrator=etd3",
            *COARSE,
            f"momentum.energy_step={step} meV",
            "output.wigner_at=[]",
        )
        ran = hpcwigner("check", path, *(word for setting in settings for word in ("--set", setting)))
        assert ran.returncode == 0, (path, ran.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    "space",
    [
        "{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}",
        "{dimensions: 1, length: 2 um, cells: 48, boundary: open}",
        "{dimensions: 2, length: 2 um, cells: [24, 20], boundary: periodic}",
        "{dimensions: 2, length: 2 um, cells: [24, 20], boundary: reflecting}",
        "{dimensions: 2, length: 2 um, cells: [24, 20], boundary: open}",
    ],
)
def test_a_folded_sample_gives_the_whole_one(tmp_path, space):
    """1e-12 of the largest value in every quantity of every file; folded on several ranks: mpi/test_run_on_ranks.py."""
    path = small_input(tmp_path, space=space, steps=FEW_STEPS)
    for symmetry in ("whole", "folded"):
        shorter = "time.end=1.5 ps", "output.fields_every=0.5 ps", "output.wigner_at=[1 ps]"
        settings = (f"space.symmetry={symmetry}", "output.observables=[all]", *shorter)
        words = (*(w for s in settings for w in ("--set", s)), "--output", tmp_path / symmetry)
        assert hpcwigner(path, *words).returncode == 0
    for name in FILES:
        whole, folded = (read(tmp_path / symmetry / name).data for symmetry in ("whole", "folded"))
        assert set(whole) == set(folded)
        for quantity, expected in whole.items():
            assert np.array_equal(np.isnan(expected), np.isnan(folded[quantity]))
            scale = np.nanmax(np.abs(whole["diffusion"] if quantity.startswith("diffusion_") else expected))
            # While excitons form, rates that are hundreds of times larger cancel in the rate of a fit's width.
            tolerance = 1e-11 if quantity.endswith("fit_diffusion") else 1e-12
            assert np.nanmax(np.abs(folded[quantity] - expected)) <= tolerance * scale, (name, quantity)


def test_folding_is_chosen_when_it_can_be(tmp_path):
    even = hpcwigner("check", small_input(tmp_path)).stdout
    odd = small_input(tmp_path, space="{dimensions: 1, length: 6 um, cells: 49}")
    assert "folded" in even
    assert "folded" not in hpcwigner("check", odd).stdout
    refused = hpcwigner("check", odd, "--set", "space.symmetry=folded")
    assert refused.returncode == 2
    assert "space.symmetry" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("integrator", "ranks"), [("etd2", 1), ("etd3", 2), ("arkimex3", 1)])
def test_memory_is_what_was_predicted(tmp_path, integrator, ranks):
    """Within 10 %, of runs whose state is not small beside the program."""
    space = "{dimensions: 2, length: 4 um, cells: 72}"
    path = small_input(tmp_path, space=space, integrator=integrator)
    settings = [
        "time.end=0.25 ps",
        "momentum.energy_step=2 meV",
        "momentum.angles=16",
        "output.wigner_at=[]",
        "output.fields_every=0.25 ps",
    ]
    steps = "time.steps=[{size: 50 fs}]"
    ran = hpcwigner(path, *(w for s in [*settings, steps] for w in ("--set", s)), ranks=ranks, process=True)
    assert ran.returncode == 0, ran.stderr
    line = next(line for line in (ran.stdout + ran.stderr).splitlines() if "memory: at most" in line)
    measured, predicted = (float(word) for word in line.replace(",", "").split() if word.replace(".", "").isdigit())
    assert measured == pytest.approx(predicted, rel=0.1)


@pytest.mark.slow
def test_peak_memory_is_this_process_s_own(tmp_path):
    """Started by a process that holds half a gibibyte, a small one still says what it holds itself."""
    code = "from hpcwigner.simulation.estimate import peak; print(peak())"
    script = f"import numpy, subprocess, sys; a = numpy.ones(2**26); subprocess.run([sys.executable, '-c', {code!r}])"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert 2**24 < float(ran.stdout) < 2**28


def test_a_run_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    path = small_input(tmp_path, space="{dimensions: 2, length: 40 um, cells: 900}")
    for room, code in ((1e9, 2), (1e15, 0)):
        monkeypatch.setattr(estimate, "available", lambda room=room: room)
        for verb in ("check", "run") if code else ("check",):
            ran = hpcwigner(verb, path)
            assert ran.returncode == code, ran.stderr
            assert ran.stderr.count("\n") == (code == 2)
            assert not (tmp_path / "run").exists()
            if code:
                assert ran.stderr.startswith("hpcwigner: memory: found 954 MiB available, expected ")


def test_room_is_judged_by_what_the_node_has(monkeypatch):
    needed = estimate.Memory(2e8, 1e8, 5e8, 5e7, 4e7, 4)
    assert needed.node == pytest.approx(4 * (1e8 + 5e8 + 5e7) + 4e7)
    assert needed.resident == pytest.approx(2e8 + 5e8 + 5e7 + 4e7)
    monkeypatch.setattr(estimate, "available", lambda: 1e12)
    estimate.require_room(needed, MPI.COMM_SELF)
    monkeypatch.setattr(estimate, "available", lambda: 1e9)
    with pytest.raises(InputError, match="memory: found 954 MiB available, expected 2136"):
        estimate.require_room(needed, MPI.COMM_SELF)


@pytest.mark.slow
def test_cuts_after_the_end_are_left_out_with_a_warning(tmp_path):
    """Any input can be shortened; a restart with a later end writes the cuts."""
    path = small_input(tmp_path)
    cuts = ("--set", "output.wigner_at=[0.5 ps, 2 ps, 9 ps]")
    for end, written, late in (("1 ps", [0.5], "2, 9"), ("3 ps", [0.5, 2.0], "9")):
        found = hpcwigner(path, *cuts, "--set", f"time.end={end}", *(["--restart"] if end == "3 ps" else []))
        assert found.returncode == 0, found.stderr
        assert found.stdout.count("output.wigner_at") == 1
        assert f"output.wigner_at: left out {late} ps, after time.end\n" in found.stdout
        assert read(tmp_path / "run/wigner.h5").data["time"].tolist() == written
    coarse = (word for setting in (*COARSE, "time.integrator=etd3") for word in ("--set", setting))
    shortened = ROOT / "inputs/ws2_20K.yaml", "--set", "time.end=20 ps", *coarse
    assert hpcwigner("check", *shortened).stdout.endswith("output.wigner_at: left out 50 ps, after time.end\n")
    alone = hpcwigner(path, "--set", "time.end=0.5 ps", "--output", tmp_path / "none")
    assert alone.returncode == 0, alone.stderr
    assert not (tmp_path / "none/wigner.h5").exists()


def test_the_input_of_a_run_finds_its_material_again(tmp_path):
    """A run directory's input.yaml is complete: it runs from where it lies, whatever the first input's paths were relative to."""
    (tmp_path / "mine.yaml").write_text("base: ws2_hbn\nname: mine\n", encoding="utf-8")
    path = small_input(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("ws2_hbn", "./mine.yaml"), encoding="utf-8")
    assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
    again = hpcwigner("check", tmp_path / "run" / "input.yaml")
    assert again.returncode == 0, again.stderr
    assert "material      mine" in again.stdout


def test_a_grid_too_coarse_for_the_cloud_is_named(tmp_path):
    """The warning's number is that by which the density in the middle misses a run on a fine grid, within a factor of three."""
    path = small_input(tmp_path)
    settings = ("--set", "temperature=300 K", "--set", "momentum.energy_max=320 meV", "--set", "momentum.energy_step=20 meV")
    settings += ("--set", "time.steps=auto", "--set", "time.end=6 ps")
    middle, said = {}, {}
    for cells in (40, 160):
        ran = hpcwigner(path, *settings, "--set", f"space.cells={cells}", "--output", tmp_path / str(cells))
        assert ran.returncode == 0, ran.stderr
        density = read(tmp_path / str(cells) / "fields.h5").data["density"][-1, 1]
        middle[cells] = float(density @ central_weights(cells))
        said[cells] = re.search(r"up to ([\d.]+) % too low", ran.stdout)
    assert said[160] is None
    missing = 100 * (1 - middle[40] / middle[160])
    assert missing / 3 < float(said[40][1]) < 3 * missing
