"""spectra.h5 and what is made of it: instrument, files, predicted size, pictures, widths of sidebands, published statements."""

import h5py
import numpy as np
import pytest
from helpers import hpcwigner, same, small_input
from mpi4py import MPI
from PIL import Image
from scipy.special import ndtr

from hpcwigner.observables import instrument
from hpcwigner.plotting.report import write_report
from hpcwigner.plotting.spectra import Look, Spectra, animate, measured_widths
from hpcwigner.plotting.views import OF_SPECTRA, plot
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation import estimate
from hpcwigner.simulation.run import plan
from hpcwigner.storage.files import chunk
from hpcwigner.storage.reading import attributes_of, read
from hpcwigner.studies.spectra.study import figures_of_spectra

SPECTRUM = "{from: -120 meV, to: 20 meV, step: 2 meV, every: 0.25 ps, place: resolved, psf_fwhm: 0.6 um, time_fwhm: 0.5 ps}"
SPACE = "{dimensions: 1, length: 4 um, cells: 48, boundary: reflecting}"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Directory of a finished run with resolved spectra and an instrument."""
    path = small_input(tmp_path_factory.mktemp("seen"), space=SPACE)
    ran = hpcwigner(path, "--set", f"output.spectrum={SPECTRUM}")
    assert ran.returncode == 0, ran.stderr
    return path.parent / "run"


def variance(x, profile):
    mean = (x @ profile) / profile.sum()
    return ((x - mean) ** 2 @ profile) / profile.sum()


@pytest.mark.parametrize("fwhm", [0.05, 0.3, 1.1])
def test_variances_add_and_light_is_kept(fwhm):
    """At any width against the spacing of 0.1."""
    x = 0.1 * np.arange(-100, 100)
    spot = np.exp(-0.5 * ((x - 0.73) / 0.4) ** 2)
    response = instrument.space_response(len(x), 0.1, fwhm, periodic=False)
    blurred = response @ spot
    assert blurred.min() >= 0
    assert blurred.sum() == pytest.approx(spot.sum(), rel=1e-12)
    assert variance(x, blurred) == pytest.approx(variance(x, spot) + fwhm**2 / (8 * np.log(2)), rel=1e-11)
    twice = response @ blurred
    once = instrument.space_response(len(x), 0.1, np.sqrt(2) * fwhm, periodic=False) @ spot
    assert np.abs(twice - once).max() < 1e-12


def test_a_periodic_sample_keeps_light_and_stays_uniform():
    response = instrument.space_response(12, 1.0, 9.0, periodic=True)
    assert response.sum(axis=0) == pytest.approx(np.ones(12), rel=1e-13)
    assert response.sum(axis=1) == pytest.approx(np.ones(12), rel=1e-13)
    assert response[-1, 0] == pytest.approx(response[1, 0])
    flake = instrument.space_response(12, 1.0, 9.0, periodic=False)
    assert (flake.sum(axis=0) < 0.9).all()
    assert np.allclose(flake[5:7, 5:7], response[5:7, 5:7], atol=1e-2)


def test_detector_is_exact_for_ramps_and_zero_before_the_start():
    """∫g(t − t')I(t')dt' of a step and a ramp that begin at 0, at uneven times; unknown where later light is asked for."""
    times, sigma = np.array([0.0, 0.3, 1.0, 1.5, 3.0, 4.0, 7.0, 12.0]), 0.8
    weights = instrument.time_response(times, sigma * np.sqrt(8 * np.log(2)))
    known = slice(None, -1)
    assert np.isnan(weights[-1]).all()
    assert weights[known].sum(axis=1) == pytest.approx(ndtr(times[known] / sigma), abs=1e-14)
    z = times[known] / sigma
    ramp = sigma * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
    assert (weights @ times)[known] == pytest.approx(ramp, abs=1e-6)  # the last light is held after the end, 5 ps away
    assert (weights @ times)[:6] == pytest.approx(ramp[:6], abs=1e-12)


def test_decay_time_is_that_of_an_exponential():
    time = np.linspace(0, 10, 41)
    light = np.where(time < 1, 0.0, np.exp(-time / 3.2))
    assert instrument.decay_time(time, light) == pytest.approx(3.2, rel=1e-12)
    assert np.isnan(instrument.decay_time(time, np.exp(time)))
    assert np.isnan(instrument.decay_time(time, 0 * time))


def test_windows_share_bins():
    weights = instrument.window_weights(np.array([0.0, 2.0, 4.0, 6.0]), [(1.0, 5.0), (0.0, 6.0)])
    assert np.array_equal(weights, [[0.5, 1], [1, 1], [0.5, 1]])


def test_measured_is_the_intensity_through_the_instrument(seen):
    file = read(seen / "spectra.h5")
    space = instrument.space_response(48, float(np.diff(file.data["x"])[0]), 0.6, periodic=False)
    time = instrument.time_response(file.data["time"], 0.5)
    expected = np.einsum("ts,sex,yx->tey", time, file.data["intensity"], space)
    known = np.isfinite(time[:, 0])
    assert 0 < (~known).sum() < 4
    assert np.abs(file.data["measured"] - expected)[known].max() < 1e-14 * expected[known].max()
    assert np.isnan(file.data["measured"][~known]).all()
    attributes = attributes_of(seen / "spectra.h5", "measured")
    assert (attributes["psf_fwhm"], attributes["time_fwhm"]) == ("0.6 um", "0.5 ps")
    assert attributes["unknown"].startswith(f"{(~known).sum()} last times")


def test_photons_by_sideband_and_in_bins_agree(seen):
    data = read(seen / "spectra.h5").data
    inside = 2.0 * data["intensity"].sum(axis=(1, 2)) * np.diff(data["x"])[0]
    assert inside + data["below"] + data["above"] == pytest.approx(data["photons"], rel=1e-10)
    direct = data["photons"] - data["sideband_photons"].sum(axis=1)
    series = read(seen / "series.h5").data
    assert direct == pytest.approx(np.interp(data["time"], series["time"], series["pl_total"]), rel=1e-9)


def test_a_longer_run_measures_anew(seen, tmp_path):
    """After a restart with a later end the rows that were not known are, and the others are the same."""
    path = small_input(tmp_path, space=SPACE)
    words = ("--set", f"output.spectrum={SPECTRUM}")
    assert hpcwigner(path, *words).returncode == 0
    again = hpcwigner(path, *words, "--set", "time.end=4 ps", "--restart")
    assert again.returncode == 0, again.stderr
    before, after = (read(folder / "spectra.h5").data["measured"] for folder in (seen, tmp_path / "run"))
    known = np.isfinite(before[:, 0, 0])
    assert len(after) == len(before) + 4
    assert np.isfinite(after[: len(before)]).all()
    assert np.nanmax(np.abs(after[: len(before)] - before)[known]) < 0.02 * np.nanmax(before[known])
    assert np.array_equal(before[:6], after[:6]) or np.abs(before[:6] - after[:6]).max() < 1e-9 * np.nanmax(before)


def test_chunks_are_small_and_even():
    assert chunk([]) == (512,)
    assert chunk([3]) == (512, 3)
    assert chunk([280]) == (29, 280)
    rows, *block = chunk([280, 512, 512])
    assert rows == 1
    assert 2**14 < np.prod(block) <= 2**16
    assert max(block) <= 4 * min(block)


def test_predicted_size_is_that_of_the_file(seen, tmp_path):
    path = small_input(tmp_path, space=SPACE)
    problem = builder.build(loading.load(path, [f"output.spectrum={SPECTRUM}"]), MPI.COMM_SELF)
    with h5py.File(seen / "spectra.h5") as file:
        numbers = sum(d.size for name, d in file.items() if d.ndim and d.shape[0] == len(file["time"]) and name != "time")
    assert estimate.spectra_bytes(problem, 3.0) == 8.0 * numbers
    assert estimate.output_bytes(problem, plan(problem)[1].plan) > 8.0 * numbers
    problem.free()


@pytest.mark.slow
def test_compressed_spectra_are_the_same(seen, tmp_path):
    """On several ranks: mpi/test_run_on_ranks.py."""
    path = small_input(tmp_path, space=SPACE)
    ran = hpcwigner(path, "--set", f"output.spectrum={SPECTRUM[:-1]}, compression: gzip}}")
    assert ran.returncode == 0, ran.stderr
    same(seen, tmp_path / "run", ["spectra.h5"])
    with h5py.File(tmp_path / "run/spectra.h5") as file:
        assert file["intensity"].compression == file["measured"].compression == "gzip"
        assert file["intensity"].id.get_storage_size() < 0.95 * 8 * file["intensity"].size


@pytest.mark.parametrize("view", OF_SPECTRA)
def test_views_of_spectra(seen, tmp_path, view):
    with Image.open(plot(seen, view, tmp_path / "picture.png")) as image:
        assert min(image.size) > 500
        assert len(image.convert("RGB").getcolors(1 << 22)) > 50


def test_options_of_the_instrument_give_what_the_run_wrote(seen):
    spectra, asked = Spectra(seen, Look()), Spectra(seen, Look(psf=0.6, time=0.5))
    assert (spectra.name, asked.name) == ("measured", "intensity")
    assert spectra.described == asked.described == "measured: point spread 0.6 µm, detector 0.5 ps (FWHM)"
    windows = [(-90.0, -40.0), (-10.0, 10.0)]
    for a, b in zip(measured_widths(Spectra(seen, Look(windows=windows))).values(),
                    measured_widths(Spectra(seen, Look(0.6, 0.5, windows))).values(), strict=True):  # fmt: skip
        assert b.width_squared == pytest.approx(a.width_squared, rel=1e-9, nan_ok=True)
        assert b.fitted_diffusion == pytest.approx(a.fitted_diffusion, rel=1e-6, abs=1e-9, nan_ok=True)


def test_a_point_spread_adds_its_width(seen):
    """w² of the light through a microscope is that of the light and 2σ² more, for second moments along one axis 2·σ²."""
    window = [(-90.0, -40.0)]
    sharp = next(iter(measured_widths(Spectra(seen, Look(psf=1e-6, windows=window))).values()))
    blurred = next(iter(measured_widths(Spectra(seen, Look(psf=0.3, windows=window))).values()))
    added = 2 * 0.3**2 / (8 * np.log(2))
    lit = np.isfinite(sharp.width_squared)
    assert lit.sum() > 8
    assert (blurred.width_squared - sharp.width_squared)[lit] == pytest.approx(added, rel=1e-5)
    assert blurred.diffusion[-5:] == pytest.approx(sharp.diffusion[-5:], rel=1e-4)


@pytest.mark.slow
def test_film_report_and_refusals(seen, tmp_path):
    with Image.open(animate(seen, tmp_path / "film.gif")) as film:
        assert film.n_frames > 5
    page = write_report(seen, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Spectra against time" in page
    assert "Light in each sideband" in page
    refused = hpcwigner("plot", seen, "--psf", "0.5 um")
    assert refused.returncode == 2
    assert "found options of spectra" in refused.stderr
    refused = hpcwigner("plot", seen, "--show", "sidebands", "--window", "-40 meV, -80 meV")
    assert "--window: found '-40 meV, -80 meV'" in refused.stderr
    refused = hpcwigner("plot", seen, "--show", "spectrum", "--time-response", "5 um")
    assert "--time-response: found '5 um', expected a number with a unit" in refused.stderr
    with pytest.raises(InputError, match=r"spectra\.h5: no such file"):
        plot(tmp_path, "spectrum")


def test_spectra_of_the_moment_equations_are_those_of_the_run(seen, tmp_path):
    path = small_input(tmp_path, space=SPACE)
    solved = hpcwigner("moments", path, "-o", tmp_path / "moments", "--set", f"output.spectrum={SPECTRUM}")
    assert solved.returncode == 0, solved.stderr
    run, exact = (read(folder / "spectra.h5") for folder in (seen, tmp_path / "moments"))
    whole = run.data["intensity"].sum(axis=2) * np.diff(run.data["x"])[0]
    assert np.abs(whole - exact.data["intensity"]).max() < 1e-4 * whole.max()
    assert "measured" in exact.data


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    overrides = ("momentum.energy_step=2 meV", "time.end=40 ps")
    text = figures_of_spectra(folder, MPI.COMM_SELF, ["mose2_hbn"], [20.0], overrides, quiet=True)
    return folder, text, overrides


@pytest.mark.slow
def test_published_statements(judged):
    folder, text, _ = judged
    rows = [line for line in (folder / "spectra.md").read_text(encoding="utf-8").splitlines() if line.startswith("| moly")]
    assert len(rows) == 2
    assert text.count("does not hold: ") == sum(row.endswith("| **no** |") for row in rows)
    data = read(folder / "spectra/mose2_hbn_20K/spectra.h5")
    others = [n for n, name in enumerate(data.texts["sideband"]) if not name.startswith("KK ")]
    part = 100 * data.data["sideband_photons"][-1, others].sum() / data.data["photons"][-1]
    assert f"sidebands of dark excitons have {part:.3g} % of the light" in rows[0]
    for name in ("spectra_end", "spectra_cold", "cooling"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_solutions_are_reused(judged):
    folder, text, overrides = judged
    path = folder / "spectra/mose2_hbn_20K/spectra.h5"
    before = path.stat().st_mtime_ns
    assert figures_of_spectra(folder, MPI.COMM_SELF, ["mose2_hbn"], [20.0], overrides, quiet=True) == text
    assert path.stat().st_mtime_ns == before
