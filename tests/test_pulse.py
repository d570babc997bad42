"""|p0(t)|² of a pulse against its equation, and how it enters the steps."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hpcwigner.terms.pulse import CoherentPopulation, Intensity


@pytest.fixture
def pulse():
    return CoherentPopulation(center=0.2, duration_fwhm=0.1, dephasing=4.4, formation_rate=7.2)


CASES = [(fwhm, ks) for fwhm in (0.01, 0.1, 0.8, 3.0, 100.0) for ks in (0.05, 0.5, 2.0, 5.0, 15.0, 50.0)]


@pytest.mark.parametrize("delay", [4, 0.5], ids=["whole", "cut"])
@pytest.mark.parametrize(("fwhm", "strength"), CASES)
def test_population_solves_its_equation(fwhm, strength, delay):
    """Against an ODE solver that also integrates |p0|², hence gives its norm. With t_c = σ/2 the field is cut at t = 0."""
    sigma = fwhm / math.sqrt(8 * math.log(2))
    kappa, center = strength / sigma, delay * sigma
    times = np.linspace(0.02, 20, 120) * sigma

    def slope(t, y):
        return kappa * (math.exp(-0.5 * ((t - center) / sigma) ** 2) - y[0]), y[0] ** 2 / sigma

    solution = solve_ivp(slope, (0, times[-1]), [0.0, 0.0], "DOP853", times, rtol=1e-12, atol=1e-16)
    p, integral = solution.y
    total = sigma * integral[-1] + p[-1] ** 2 / (2 * kappa)
    expected = p**2 / (1.7 * total)
    population = CoherentPopulation(center, fwhm, kappa, 1.7).course(times)
    assert np.abs(population - expected).max() < 1e-9 * expected.max()


@pytest.mark.parametrize(("fwhm", "strength"), CASES)
def test_generates_one_exciton(fwhm, strength):
    sigma = fwhm / math.sqrt(8 * math.log(2))
    pulse = CoherentPopulation(2 * fwhm, fwhm, strength / sigma, 1.3 * strength / sigma)
    end = 5 * fwhm + 40 * sigma / strength
    assert pulse.formation_rate * pulse.integral(end) == pytest.approx(1, abs=1e-10)
    t = np.linspace(0, end, 400001)
    y = pulse.formation_rate * pulse.course(t)
    assert np.sum(0.5 * (y[1:] + y[:-1])) * (t[1] - t[0]) == pytest.approx(1, abs=1e-6)


def test_partial_integral(pulse):
    t = np.linspace(0, 0.3, 30001)
    y = pulse.course(t)
    assert pulse.integral(0.3) == pytest.approx(np.sum(0.5 * (y[1:] + y[:-1])) * (t[1] - t[0]), abs=1e-8)


def test_step_polynomials_have_the_exact_integral(pulse):
    steps = np.arange(0, 12, 0.01)
    total = sum(pulse.polynomial(t, 0.01) @ [1, 1 / 2, 1 / 3] * 0.01 for t in steps)
    assert pulse.formation_rate * total == pytest.approx(1, abs=1e-13)


def test_step_polynomial_follows_the_pulse(pulse):
    a = pulse.polynomial(0.2, 0.01)
    s = np.linspace(0, 1, 11)
    assert a[0] + a[1] * s + a[2] * s**2 == pytest.approx(pulse.course(0.2 + 0.01 * s), rel=1e-3)


def test_intensity_is_normalised_from_the_start_on():
    for center in (0.0, 0.05, 0.4):
        pulse = Intensity(center, 0.1)
        assert pulse.integral(2.0) == pytest.approx(1, abs=1e-12)
        assert pulse.course(np.array([0.0, 3.0])).tolist() == [0.0, 0.0]
