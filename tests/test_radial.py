"""The line y = 0 from profiles integrated over y: closed forms, and a run of the plane beside one of the slab."""

import numpy as np
import pytest
from helpers import hpcwigner, small_input

from hpcwigner.observables.radial import RadialInversion
from hpcwigner.storage.reading import read


@pytest.fixture
def x():
    return (np.arange(64) - 31.5) * 0.1


def test_gaussian_and_its_laplacian(x):
    """η has the shape of a Laplacian: negative in the middle, positive around it."""
    w2 = 0.3
    profile = np.sqrt(np.pi * w2) * np.exp(-(x**2) / w2)
    inversion = RadialInversion(x)
    exact = np.exp(-(x**2) / w2)
    assert np.abs(inversion.isotropic(profile) - exact).max() < 1e-7
    bent = np.sqrt(np.pi * w2) * (4 * x**2 / w2**2 - 2 / w2) * np.exp(-(x**2) / w2)
    expected = (4 * x**2 / w2**2 - 4 / w2) * exact
    assert np.abs(inversion.isotropic(bent) - expected).max() < 1e-5


def test_error_bound_holds_on_a_coarse_grid(x):
    for w2 in (0.02, 0.05, 0.1):
        profile = np.sqrt(np.pi * w2) * np.exp(-(x**2) / w2)
        inversion = RadialInversion(x)
        actual = np.abs(inversion.isotropic(profile) - np.exp(-(x**2) / w2)).max()
        assert actual <= inversion.error(profile)
        assert inversion.error(profile) < 0.7


def test_a_cloud_that_flies_away(x):
    """exp(−|r − R Q̂|²/w²): after a flight without scattering, seen along its own direction."""
    w2, way = 0.4, 0.7
    theta = np.arange(17) * np.pi / 16
    projections = np.sqrt(np.pi * w2) * np.exp(-((x[:, None] - way * np.cos(theta)) ** 2) / w2)
    inversion = RadialInversion(x)
    forward, backward = inversion.along_x(projections)
    assert np.abs(forward - np.exp(-((x - way) ** 2) / w2)).max() < 1e-4
    assert np.abs(backward - np.exp(-((x + way) ** 2) / w2)).max() < 1e-4
    assert inversion.error_along_x(projections) < 0.05


@pytest.mark.slow
def test_slab_and_plane_agree_on_the_middle_line(tmp_path):
    """Density, PL and Wigner cut of a plane against what the slab's profiles give."""
    space = "length: 3 um, cells: 48, boundary: periodic}"
    extra = ("--set", "momentum.angles=16", "--set", "output.observables=[default, wigner_angles]")
    for name, dimensions, words in (("slab", 1, extra), ("plane", 2, extra[:2])):
        path = small_input(tmp_path, name, f"{{dimensions: {dimensions}, {space}", "etd2")
        assert hpcwigner(path, *words).returncode == 0
    slab, plane = (read(tmp_path / name / "fields.h5") for name in ("slab", "plane"))
    inversion = RadialInversion(slab.data["x"])
    weights = np.array([3.0, -25.0, 150.0, 150.0, -25.0, 3.0]) / 256
    for name in ("density", "pl"):
        expected = plane.data[name][-1][..., 21:27] @ weights
        inverted = inversion.isotropic(slab.data[name][-1])
        assert np.abs(inverted - expected).max() < 2e-3 * np.abs(expected).max(), name
    slab, plane = (read(tmp_path / name / "wigner.h5").data for name in ("slab", "plane"))
    projections = np.moveaxis(slab["wigner_angles"][0], 2, -1)  # (valley, x, angle, q) → (valley, x, q, angle)
    projections = np.swapaxes(projections, 1, 2)  # (valley, q, x, angle)
    forward, backward = RadialInversion(slab["x"]).along_x(projections)
    expected = np.swapaxes(plane["wigner"][0], 1, 2)  # (valley, k, x)
    half = len(slab["q"])
    for valley in range(3):
        scale = np.nanmax(expected[valley])
        assert np.nanmax(np.abs(forward[valley, 1:] - expected[valley, half:])) < 1e-2 * scale
        assert np.nanmax(np.abs(backward[valley, 1:] - expected[valley, : half - 1][::-1])) < 1e-2 * scale
