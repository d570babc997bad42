"""Interference in a stack: limits that are known exactly."""

import math

import numpy as np
import pytest

from hpcwigner.exciton.constants import HBAR_C
from hpcwigner.exciton.stack import SILICA, SILICON, encapsulated, enhancement, reflection

PHOTON, N = 2050.0, 2.1  # [meV], index of hBN
WAVELENGTH = 2 * math.pi * HBAR_C / PHOTON  # in vacuum [nm]


def test_without_an_interface_there_is_no_change():
    assert enhancement(N, [(N, 30.0), (N, 0)], [(N, 7.0), (N, 0)], PHOTON) == pytest.approx(1, abs=1e-14)


def test_thin_films_in_air_give_the_rate_in_vacuum():
    """The rate in a medium is 1/n of that in vacuum, so that films of no thickness raise it by n."""
    assert enhancement(N, [(N, 0.0), (1, 0)], [(N, 0.0), (1, 0)], PHOTON) == pytest.approx(N, rel=1e-14)


@pytest.mark.parametrize(("waves", "factor"), [(0.0, 0.0), (0.25, 2.0), (0.5, 0.0), (0.125, 1.0)])
def test_in_front_of_a_perfect_mirror(waves, factor):
    """2 sin²(2π d/λ): nothing at a node of the field, twice at an antinode."""
    value = enhancement(1, [(1, 0), (1, 0)], [(1, waves * WAVELENGTH), (1e9, 0)], PHOTON)  # this index reflects −1
    assert value == pytest.approx(factor, abs=1e-7)


def test_reflection_of_one_film_is_the_airy_formula():
    thickness = 285.0
    r1, r2 = (1 - SILICA) / (1 + SILICA), (SILICA - SILICON) / (SILICA + SILICON)
    turn = np.exp(2j * SILICA * PHOTON / HBAR_C * thickness)
    expected = (r1 + r2 * turn) / (1 + r1 * r2 * turn)
    assert reflection(1, [(SILICA, thickness), (SILICON, 0)], PHOTON) == pytest.approx(expected, rel=1e-13)
    assert reflection(1, [(SILICA, 0.0), (SILICON, 0)], PHOTON) == pytest.approx((1 - SILICON) / (1 + SILICON), rel=1e-13)


def test_light_from_a_sheet_leaves_on_both_sides():
    """The enhancement is the light that leaves upwards and downwards through lossless films, by the Poynting vector."""
    above, below = [(N, 25.0), (1.7, 80.0), (1.0, 0)], [(N, 60.0), (SILICA.real, 120.0), (3.9, 0)]
    r1, r2 = (reflection(N, layers[1:], PHOTON) * np.exp(2j * N * PHOTON / HBAR_C * layers[0][1]) for layers in (above, below))
    up, down = (1 + r2) / (1 - r1 * r2), (1 + r1) / (1 - r1 * r2)  # amplitudes that travel outwards at the sheet
    leaving = 0.5 * (abs(up) ** 2 * (1 - abs(r1) ** 2) + abs(down) ** 2 * (1 - abs(r2) ** 2))
    assert enhancement(N, above, below, PHOTON) == pytest.approx(leaving, rel=1e-12)


def test_encapsulated_range_contains_suppression_and_enhancement():
    lowest, highest = encapsulated(N, PHOTON)
    assert 0 < lowest < 0.5
    assert 1.5 < highest < 2 * N
