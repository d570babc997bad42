"""The coherent polarisation and how it enters the steps."""

import math

import numpy as np
import pytest

from hpcwigner.terms.pump import Pump


@pytest.fixture
def pump():
    return Pump(center=0.2, duration_fwhm=0.1, spot_fwhm=500.0, dephasing=4.4, formation_rate=7.2)


def test_polarisation_solves_its_equation(pump):
    """Against classical Runge-Kutta with 2 fs/10 steps; p0 is normalised, so up to a factor."""
    h, p, t = 2e-4, 0.0, 0.0
    times, values = [], []

    def slope(t, p):
        field = math.exp(-4 * math.log(2) * ((t - pump.center) / pump.duration_fwhm) ** 2)
        return -pump.dephasing * p + field

    while t < 1.5 - 1e-12:
        k1 = slope(t, p)
        k2 = slope(t + h / 2, p + h / 2 * k1)
        k3 = slope(t + h / 2, p + h / 2 * k2)
        k4 = slope(t + h, p + h * k3)
        p, t = p + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
        times.append(t)
        values.append(p**2)
    found = pump.coherent(np.array(times))
    scale = found.max() / max(values)
    assert np.abs(found - scale * np.array(values)).max() < 1e-11 * found.max()


def test_generates_one_exciton(pump):
    assert pump.generated(40.0) == pytest.approx(1, abs=1e-13)
    t = np.linspace(0, 6, 600001)
    y = pump.formation_rate * pump.coherent(t)
    assert np.sum(0.5 * (y[1:] + y[:-1])) * (t[1] - t[0]) == pytest.approx(1, abs=1e-8)
    early = y[:30001]
    assert pump.generated(0.3) == pytest.approx(np.sum(0.5 * (early[1:] + early[:-1])) * (t[1] - t[0]), abs=1e-8)


def test_step_polynomials_have_the_exact_integral(pump):
    steps = np.arange(0, 12, 0.01)
    total = sum(pump.polynomial(t, 0.01) @ [1, 1 / 2, 1 / 3] * 0.01 for t in steps)
    assert pump.formation_rate * total == pytest.approx(1, abs=1e-13)


def test_step_polynomial_follows_the_pulse(pump):
    a = pump.polynomial(0.2, 0.01)
    s = np.linspace(0, 1, 11)
    exact = pump.coherent(0.2 + 0.01 * s)
    assert a[0] + a[1] * s + a[2] * s**2 == pytest.approx(exact, rel=1e-3)


def test_density_is_narrower_than_the_field(pump):
    """|A|² of a field with FWHM 0.5 µm starts with w0² = 0.0451 µm²."""
    assert pump.width_squared * 1e-6 == pytest.approx(0.0451, abs=5e-5)
