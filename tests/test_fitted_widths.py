"""Widths and diffusion coefficients as an experiment extracts them: second moments, Gaussian fits, rings; exact cases."""

import dataclasses

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.observables.profiles import Profiles, along_x, diffusion, width_squared
from hpcwigner.space.grid import Decomposition, SpaceGrid

X = 40.0 * (np.arange(200) - 99.5)  # [nm]
D, W0 = 300.0, 600.0  # [nm²/ps], [nm]


def profiles(density, rate, light=None, light_rate=None, symmetric=False):
    return Profiles(X, density, rate, density if light is None else light, rate if light is None else light_rate, symmetric)


def spreading(t, centre, dimensions=1):
    """A Gaussian with w² = W0² + 4Dt on the line y = 0 and its rate."""
    w2, d2 = W0**2 + 4 * D * t, (X - centre) ** 2
    f = 3e-4 * np.exp(-d2 / w2) / w2 ** (dimensions / 2)
    return f, f * 4 * D * (d2 / w2 - dimensions / 2) / w2


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_spreading_gaussian_has_its_width(symmetric, dimensions):
    centre, light = 0.0 if symmetric else 233.0, spreading(90.0, 0.0, dimensions)
    both = profiles(*spreading(50.0, centre, dimensions), *light, symmetric)
    assert both.fitted_width_squared("density") == pytest.approx(W0**2 + 200 * D, rel=1e-12)
    assert both.fitted_width_squared("light") == pytest.approx(W0**2 + 360 * D, rel=1e-12)
    for kind in ("density", "light"):
        assert both.fitted_diffusion(kind) == pytest.approx(D, rel=1e-10)


def test_motion_alone_does_not_widen():
    f, _ = spreading(10.0, 233.0)
    moving = profiles(f, f * 2 * 5.0 * (X - 233.0) / (W0**2 + 40 * D))  # 5 nm/ps
    assert moving.fitted_diffusion("density") == pytest.approx(0.0, abs=1e-8)


def annihilating(a, skew=0.0):
    """n = e/(1 + a e) solves ∂n/∂a = −n²; `skew` makes e asymmetric."""
    e = np.exp(-((X / W0) ** 2)) * (1 + skew * np.tanh(X / W0))
    n = e / (1 + a * e)
    return n, -(n**2)


@pytest.mark.parametrize("a", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("skew", [0.0, 0.4])
def test_the_fits_rate_is_the_derivative_of_the_fit(a, skew):
    """Against differences of fits of a profile that is not Gaussian."""
    now, small = profiles(*annihilating(a, skew)), 1e-4
    after, before = (profiles(*annihilating(a + s * small, skew)).fitted_width_squared("density") for s in (1, -1))
    assert 4 * now.fitted_diffusion("density") == pytest.approx((after - before) / (2 * small), rel=1e-6)
    assert now.fitted_diffusion("density") > 0.05 * W0**2 / (1 + a) ** 2  # a flatter top seems wider


def test_a_fit_is_the_best_one():
    """No Gaussian nearby has a smaller sum of squares."""
    n, rate = annihilating(3.0, 0.4)
    w2 = profiles(n, rate).fitted_width_squared("density")

    def squares(width_squared):
        """Of the best amplitude and centre at a width."""
        centres = np.linspace(-300, 600, 1801)
        g = np.exp(-((X - centres[:, None]) ** 2) / width_squared)
        return (n @ n - (g @ n) ** 2 / (g**2).sum(axis=1)).min()

    assert squares(w2) < min(squares(w2 * (1 + s)) for s in (-1e-2, 1e-2))
    assert squares(w2 * 1.01) == pytest.approx(squares(w2 * 0.99), rel=2e-3)


def test_what_no_gaussian_fits_has_no_width():
    for f in (np.zeros_like(X), np.ones_like(X) + 1e-3 * (X / X[-1]) ** 2, np.full_like(X, np.nan)):
        flat = profiles(f, 0 * f)
        assert np.isnan([flat.fitted_width_squared("density"), flat.fitted_diffusion("light")]).all()


@pytest.mark.parametrize("b", [1.2, 3.0, 20.0])
def test_rings(b):
    """(1 + b x²)e^{−x²} is largest at x² = 1 − 1/b."""
    u = (X / W0) ** 2
    contrast, radius = profiles((1 + b * u) * np.exp(-u), 0 * X).ring
    assert radius == pytest.approx(W0 * np.sqrt(1 - 1 / b), abs=0.05 * 40)
    assert contrast == pytest.approx(b * np.exp(1 / b - 1) - 1, abs=6e-5 * b)


def test_no_ring():
    for n in (annihilating(100.0)[0], np.ones_like(X), 0 * X):
        assert profiles(n, 0 * X).ring == (0.0, 0.0)


GRIDS = [
    SpaceGrid(1, 8000.0, (200, 1), "open"), SpaceGrid(1, 8000.0, (100, 1), "open", (True, False)),
    SpaceGrid(2, 8000.0, (200, 180), "open"), SpaceGrid(2, 8000.0, (100, 90), "open", (True, True)),
]  # fmt: skip


def sums_of(grid, values):
    """Sums of values (x, y) with the weights of SpatialMoments."""
    x, y = grid.centers(0)[:, None] + 0 * values, grid.centers(1) + 0 * values
    places = [x, y][: grid.dimensions]
    held = [0 * p if any(grid.folded) else p for p in places]
    weights = [np.ones_like(values), grid.squared_distance, *held, *(p**2 for p in places)]
    return np.array([(w * values).sum() for w in weights]) * grid.cell_measure


@pytest.mark.parametrize("grid", GRIDS, ids=["slab", "folded slab", "plane", "folded plane"])
def test_second_moments(grid):
    """A spreading and moving Gaussian; annihilation at its begin, where a plane's spot seems to diffuse by R n0 w0²/16."""
    centre, speed = (0.0, 0.0) if any(grid.folded) else (300.0, 7.0)
    x, y = grid.centers(0)[:, None] - centre, grid.centers(1) * (grid.dimensions == 2)
    w2, d2 = W0**2 + 40 * D, x**2 + y**2
    f = np.exp(-d2 / w2)
    rate = f * (4 * D * (d2 / w2 - grid.dimensions / 2) / w2 + 2 * x * speed / w2)
    assert width_squared(sums_of(grid, f)) == pytest.approx(w2, rel=1e-10)
    assert diffusion(sums_of(grid, f), sums_of(grid, rate)) == pytest.approx(D, rel=1e-9)
    apparent = {1: 0.25 * (2**-0.5 - 2**-1.5), 2: 1 / 16}[grid.dimensions]
    assert diffusion(sums_of(grid, f), sums_of(grid, -(f**2))) == pytest.approx(apparent * w2, rel=1e-9)
    assert np.isnan([width_squared(0 * sums_of(grid, f)), diffusion(0 * sums_of(grid, f), sums_of(grid, f))]).all()


@pytest.mark.parametrize("grid", GRIDS, ids=["slab", "folded slab", "plane", "folded plane"])
def test_profiles_of_a_distributed_sample(grid):
    """On the line y = 0 of a plane, which is a face: order 6."""
    x, y = grid.centers(0)[:, None], grid.centers(1) * (grid.dimensions == 2)
    values = np.stack([np.exp(-(x**2 + y**2) / W0**2), 1 / (1 + (x**2 + 2 * y**2) / W0**2)])
    profile = along_x(Decomposition(grid, MPI.COMM_SELF, (4, 8)), values)
    whole = dataclasses.replace(grid.whole).centers(0)
    exact = np.stack([np.exp(-(whole**2) / W0**2), 1 / (1 + whole**2 / W0**2)])
    assert profile == pytest.approx(exact, abs=5e-6)
