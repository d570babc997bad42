"""A slab that is uniform along y beside the y-integral of a round spot: the same profiles, other units, said in every file."""

import numpy as np
import pytest
import xarray
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.plotting import views
from hpcwigner.problem import builder, loading
from hpcwigner.storage.reading import read, read_summary

DENSITY = 1e11  # [cm⁻²], 1000 per µm²
SPOT = 0.5  # FWHM of the field [µm]
LINE = f"pump.profile={{gaussian: {{fwhm: {SPOT / np.sqrt(2)!r} um}}}}"
ODD = "space.cells=49"  # a cell is in the middle, where the peak is
KINDS = {"integrated": [], "relative": [LINE], "absolute": [LINE, "pump.density=1e11 cm^-2"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each kind: its directory and what it printed."""
    folder, made = tmp_path_factory.mktemp("slabs"), {}
    for name, settings in KINDS.items():
        words = [word for text in (ODD, "output.observables=[all]", *settings) for word in ("--set", text)]
        ran = hpcwigner(small_input(folder, name), *words)
        assert ran.returncode == 0, ran.stderr
        made[name] = folder / name, ran.stdout
    return made


@pytest.fixture(scope="module")
def files(runs):
    names = ("series.h5", "fields.h5", "wigner.h5")
    return {k: [xarray.open_dataset(run / n, engine="h5netcdf").load() for n in names] for k, (run, _) in runs.items()}


@pytest.mark.slow
def test_numbers_are_those_of_the_integrated_slab(files):
    """Both are the same equation: population π w² times the density there, √π w here, and densities over it."""
    width = SPOT / np.sqrt(8 * np.log(2))
    per_length = 1e-8 * DENSITY * np.sqrt(np.pi) * width  # [1/µm]
    for kind, number in (("relative", 1.0), ("absolute", per_length)):
        for file, expected in zip(files[kind], files["integrated"], strict=True):
            for name, values in expected.data_vars.items():
                extensive = {"population", "population_total", "pl_total", "coherent", "density", "pl", "shape_variation"}
                scale = number if name in extensive or str(name).startswith("wigner") else 1.0
                ours, wanted = file[name].values, scale * values.values
                assert np.array_equal(np.isnan(ours), np.isnan(wanted)), name
                assert not (np.abs(ours - wanted) > np.fmax(1e-5 * np.abs(wanted), 1e-8 * np.nanmax(np.abs(wanted)))).any(), name
    density = files["absolute"][1].density.sum("valley")
    assert float(density.sum("x")[-1] * (density.x[1] - density.x[0])) == pytest.approx(per_length, rel=5e-3)


def test_units_and_names(files):
    expected = {
        "integrated": ("1", "ps-1", "um-1", "um-1 ps-1", "um"),
        "relative": ("1", "ps-1", "um-1", "um-1 ps-1", "um"),
        "absolute": ("um-1", "um-1 ps-1", "um-2", "um-2 ps-1", "1"),
    }
    for kind, (series, fields, wigner) in files.items():
        number, light, density, flux, occupation = expected[kind]
        assert {series[n].units for n in ("population", "population_total", "coherent")} == {number}
        assert series.pl_total.units == light
        assert fields.density.units == density
        assert fields.pl.units == fields.shape_variation.units == flux
        assert {v.units for v in (wigner.wigner, wigner.wigner_angles)} == {occupation}
        place = "integrated over y" if kind == "integrated" else "sample uniform along y"
        assert all(v.long_name.endswith(f", {place}") for v in (*fields.data_vars.values(), wigner.wigner))
        assert ("2<x^2>" in series.width_squared.long_name) == (kind != "integrated")
        assert {f.attrs["slab"].partition(":")[0] for f in files[kind]} == {place.removeprefix("sample ")}


@pytest.mark.slow
def test_summaries_info_and_pictures_say_so(runs):
    for kind, (run, printed) in runs.items():
        told = hpcwigner("info", run).stdout
        assert ("uniform along y" in printed) == (kind != "integrated")
        assert ("/µm" in told) == (kind == "absolute")
        slab = next(line for line in told.splitlines() if line.startswith("slab "))
        assert ("uniform" in slab) == (kind != "integrated")
        checks = read_summary(run / "series.h5")[1]["checks"]
        assert checks["generated"].unit == ("um-1" if kind == "absolute" else "1")
        assert abs(checks["balance_error"].value) < 1e-4
        assert max(checks["deviation_width_squared"].value) < 1e-2
        assert hpcwigner("report", run).returncode == 0
        page = (run / "report.html").read_text(encoding="utf-8")
        assert ("integrated over y" in page) == (kind == "integrated")
        figure = views.overview(run)
        assert figure.axes[2].get_title() == ("integrated over y" if kind == "integrated" else "uniform along y")
        for view in ("fields", "wigner"):
            assert hpcwigner("plot", run, "--show", view).returncode == 0


def test_moments_have_the_same_units(tmp_path, runs):
    run = runs["absolute"][0]
    printed = hpcwigner("moments", run / "input.yaml", "--output", tmp_path / "exact")
    assert "[1/µm]" in printed.stdout
    exact, series = read(tmp_path / "exact/moments.h5"), read(run / "series.h5")
    assert exact.units["population"] == "um-1"
    assert exact.attributes["slab"] == series.attributes["slab"]
    assert series.data["population"][-1] == pytest.approx(exact.data["population"][-1], rel=1e-3)


def test_a_spot_beside_a_profile_is_a_line(tmp_path):
    """Two pulses of the same shape, one by its spot, one by its profile, form equally many."""
    train = f"pump=[{{density: 1e11 cm^-2}}, {{density: 1e11 cm^-2, {LINE.removeprefix('pump.').replace('=', ': ', 1)}}}]"
    config = loading.load(small_input(tmp_path), [train, ODD])
    assert config.uniform_slab
    assert not loading.load(small_input(tmp_path), [train, "space.dimensions=2"]).uniform_slab
    problem = builder.build(config, MPI.COMM_SELF)
    spot, line = problem.sources
    assert spot.amplitude == pytest.approx(line.amplitude, rel=1e-9)
    problem.free()


def test_balances_are_per_length(tmp_path):
    """Where moment equations do not close: light everywhere, whose density is known."""
    ran = hpcwigner(small_input(tmp_path), "--set", "pump={profile: 1, density: 1e11 cm^-2}")
    assert "per um of y" in ran.stdout
    checks = read_summary(tmp_path / "run/series.h5")[1]["checks"]
    assert checks["number_present"].unit == "um-1"
    assert checks["energy_present"].unit == "meV um-1"
    # 1000 per µm² on 6 µm, of which radiation takes some
    assert checks["number_source"].value == pytest.approx(6000, rel=1e-6)
    fields = read(tmp_path / "run/fields.h5")
    assert fields.data["density"][-1].sum(axis=0) == pytest.approx(checks["number_present"].value / 6, rel=1e-6)
