"""The references for density effects are right themselves: closed forms of annihilation, the solver of nonlinear diffusion."""

import dataclasses

import annihilation_reference as annihilation
import numpy as np
import pytest
import scipy.integrate
import scipy.special
from nonlinear_diffusion import Medium, barenblatt, barenblatt_width_squared, solve

LEVELS = [1e-3, 0.1, 1.0, 7.0, 300.0, 1e6]


@pytest.mark.parametrize("a", LEVELS)
def test_closed_forms_are_the_integrals_of_the_density(a):
    reach = 12.0

    def integral(power, dimensions):
        volume = 2.0 if dimensions == 1 else 2 * np.pi

        def integrand(r):
            return volume * r ** (power + dimensions - 1) * float(annihilation.density(r, a, 1.0))

        return scipy.integrate.quad(integrand, 0, reach, epsabs=0, epsrel=1e-12, limit=500)[0]

    line, spot = integral(0, 1), integral(0, 2)
    assert annihilation.slab_number(a) == pytest.approx(line / np.sqrt(np.pi), rel=1e-10)
    assert annihilation.plane_number(a) == pytest.approx(spot / np.pi, rel=1e-10)
    assert annihilation.slab_width_squared(a) == pytest.approx(2 * integral(2, 1) / line, rel=1e-10)
    assert annihilation.plane_width_squared(a) == pytest.approx(integral(2, 2) / spot, rel=1e-10)
    assert annihilation.fermi(2, a) == pytest.approx(-scipy.special.spence(1 + a), rel=1e-11)  # dilogarithm


def test_polylogarithms_are_their_series_where_it_converges():
    k = np.arange(1, 60)
    for order in (0.5, 1.5, 2):
        assert annihilation.fermi(order, 0.5) == pytest.approx(-((-0.5) ** k / k**order).sum(), rel=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_linear_diffusion_with_a_lifetime(dimensions):
    times = np.linspace(0, 4, 5)
    solved = solve(Medium(0.5, lifetime=3.0), dimensions, lambda r: np.exp(-(r**2)), times, 16.0)
    assert solved.number == pytest.approx(np.pi ** (dimensions / 2) * np.exp(-times / 3), rel=1e-6)
    assert solved.width_squared == pytest.approx(1 + 2 * times, rel=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_annihilation_alone(dimensions):
    times = np.array([0, 0.1, 1.0, 10.0])
    solved = solve(Medium(0.0, annihilation=2.0), dimensions, lambda r: np.exp(-(r**2)), times, 7.0)
    number, width = {
        1: (annihilation.slab_number, annihilation.slab_width_squared),
        2: (annihilation.plane_number, annihilation.plane_width_squared),
    }[dimensions]
    assert solved.number[1:] / solved.number[0] == pytest.approx([number(2 * t) for t in times[1:]], rel=1e-4)
    assert solved.width_squared[1:] == pytest.approx([width(2 * t) for t in times[1:]], rel=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_strong_repulsion_is_barenblatts_solution(dimensions):
    """gn ≫ kT: ∂t n = ½ D b ∇²n², so that times count ½ D b."""
    b, first, last = 1e6, 1.0, 30.0
    times = np.linspace(first, last, 4) * 2 / b
    solved = solve(Medium(1.0, repulsion=b), dimensions, lambda r: barenblatt(r, first, dimensions), times, 16.0, 800)
    for n, t in zip(solved.density, times, strict=True):
        exact = barenblatt(solved.centers, 0.5 * b * t, dimensions)
        assert np.abs(n - exact).max() < 5e-3 * exact.max()  # at the edge, where the slope jumps
    assert solved.width_squared == pytest.approx([barenblatt_width_squared(0.5 * b * t, dimensions) for t in times], rel=1e-3)
    assert solved.number == pytest.approx(np.full(len(times), solved.number[0]), rel=1e-7)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_solver_converges(dimensions):
    """All processes together: order 2 in the cells, 1e-4 with the default number."""
    medium, times = Medium(0.3, repulsion=4.0, annihilation=0.5, lifetime=5.0), np.linspace(0, 3, 4)
    coarse, middle, fine = (solve(medium, dimensions, lambda r: np.exp(-(r**2)), times, 12.0, cells) for cells in (100, 200, 400))
    for name in ("number", "width_squared"):
        ends = [getattr(s, name)[-1] for s in (coarse, middle, fine)]
        assert (ends[0] - ends[1]) / (ends[1] - ends[2]) == pytest.approx(4, rel=0.1)
        assert abs(ends[1] / ends[2] - 1) < 3e-4  # a third of which is what is left at 400
    linear = solve(dataclasses.replace(medium, repulsion=0.0), dimensions, lambda r: np.exp(-(r**2)), times, 12.0)
    assert fine.width_squared[-1] > 1.1 * linear.width_squared[-1]  # repulsion is there
