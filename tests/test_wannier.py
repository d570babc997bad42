"""The Wannier equation against exact and independent results."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers import exponential_overlap

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import COULOMB, HBAR2_OVER_M0
from hpcwigner.exciton.valley import film_potential, solve
from hpcwigner.exciton.wannier import Film, OverlapTable, RytovaKeldysh, bound_states

TABLE = {  # μ, r0, κ, E_1s, E_2s, E_3s, rms radius, ψ(0)², measured 1s
    "mos2_hbn": (0.275, 3.4, 4.45, 220.18, 51.81, 22.46, 1.23, 0.370, 221),
    "mose2_hbn": (0.350, 3.9, 4.4, 231.96, 60.63, 27.31, 1.10, 0.450, 231),
    "ws2_hbn": (0.175, 3.4, 4.35, 178.68, 37.82, 15.84, 1.66, 0.211, 180),
    "wse2_hbn": (0.20, 4.5, 4.5, 161.45, 37.39, 16.12, 1.68, 0.200, 161),
}


def test_hydrogen_in_two_dimensions():
    """E_n = −Ry/(n − ½)², 1s state √(8/π)/a exp(−2r/a); in a basis that does not contain it."""
    mass, dielectric = 0.2, 4.0
    bohr = dielectric * HBAR2_OVER_M0 / (mass * COULOMB)
    rydberg = COULOMB / (2 * dielectric * bohr)
    states = bound_states(RytovaKeldysh(0.0, dielectric), mass, scale=0.8 * bohr)
    for n, state in enumerate(states, start=1):
        assert -state.energy == pytest.approx(rydberg / (n - 0.5) ** 2, rel=1e-6)
    assert states[0].rms_radius == pytest.approx(np.sqrt(3 / 8) * bohr, rel=1e-6)
    assert states[0].at_origin == pytest.approx(np.sqrt(8 / np.pi) / bohr, rel=1e-3)
    shift = np.linspace(0, 8 / bohr, 30)
    assert states[0].overlap(states[0], shift) == pytest.approx(exponential_overlap(shift, bohr / 2, bohr / 2), abs=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_energies_of_the_table(name):
    mass, screening, surroundings, *energies, radius, density, measured = TABLE[name]
    material = materials.load(name)
    bright = next(v for v in solve(material) if v.name == "KK")
    assert bright.reduced_mass == mass
    assert (material.dielectric.screening_length.value, material.dielectric.surroundings.value) == (screening, surroundings)
    assert [-s.energy for s in bright.states] == pytest.approx(energies, abs=0.01)
    assert bright.states[0].rms_radius == pytest.approx(radius, abs=0.005)
    assert bright.states[0].at_origin ** 2 == pytest.approx(density, abs=6e-4)
    assert -bright.states[0].energy == pytest.approx(measured, abs=3)


def test_energies_fall_towards_the_exact_ones_with_the_size_of_the_basis():
    potential = RytovaKeldysh(3.4, 4.35)
    energies = [bound_states(potential, 0.175, 1.0, size=size)[0].energy for size in (10, 20, 40, 60, 100)]
    assert all(later < earlier for earlier, later in itertools.pairwise(energies))
    assert energies[-2] - energies[-1] < 1e-5


@pytest.mark.parametrize("potential", [RytovaKeldysh(3.4, 4.35), film_potential(materials.load("ws2_hbn").film)])
def test_virial_theorem(potential):
    """2⟨T⟩ = ⟨r dV/dr⟩, which the method does not enforce."""
    state = bound_states(potential, 0.175, 1.0)[0]
    r, weight = state.basis.radius, state.basis.weight * state(state.basis.radius) ** 2
    kinetic = state.energy - weight @ potential(r)
    slope = (potential(r * (1 + 1e-5)) - potential(r * (1 - 1e-5))) / 2e-5  # r dV/dr
    assert 2 * kinetic == pytest.approx(weight @ slope, rel=2e-5)


def test_film_without_contrast_is_a_uniform_dielectric():
    medium = (6.0, 3.0)
    r = np.array([0.1, 1.0, 10.0])
    assert Film(medium, 0.6, medium, medium)(r) == pytest.approx(-COULOMB / (np.sqrt(18.0) * r), rel=1e-12)


@pytest.mark.slow
def test_film_against_its_fourier_transform():
    """V(r) = ∫qdq/2π V(q) J0(qr), with a Gaussian cut-off that is far above 1/r."""
    from scipy.special import j0

    film = Film((14.0, 6.1), 0.616, (4.95, 4.1), (1.0, 1.0))
    inside, above, below = (np.sqrt(np.prod(part)) for part in (film.film, film.above, film.below))
    alpha = np.sqrt(14.0 / 6.1)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    panel = 60 / 100
    q, w = (panel * (np.arange(100)[:, None] + 0.5 * (1 + nodes))).ravel(), np.tile(0.5 * panel * weights, 100)
    p1, p2 = ((inside - side) / (inside + side) for side in (above, below))
    x = np.exp(-alpha * q * film.thickness)
    correction = (1 + p1 * x) * (1 + p2 * x) / (1 - p1 * p2 * x**2) - 1  # beyond the uniform part, which is known
    for r in (0.3, 2.0, 10.0):
        expected = -COULOMB / inside * (1 / r + np.sum(w * correction * j0(q * r)))
        assert film(np.array(r)) == pytest.approx(expected, rel=1e-8)


def test_thin_film_is_a_polarisable_sheet():
    """d → 0 with r0 = ε∥d/2 fixed: V(q) → −2πe²/[q(κ + r0 q)]."""
    thickness, surroundings = 1e-3, (4.0, 4.0)
    film = Film((2 * 3.4 / thickness, 2 * 3.4 / thickness), thickness, surroundings, surroundings)
    r = np.array([0.5, 2.0, 20.0])
    assert film(r) == pytest.approx(RytovaKeldysh(3.4, 4.0)(r), rel=2e-3)


def test_overlaps_are_symmetric_bounded_and_tabulated():
    valleys = {v.name: v for v in solve(materials.load("ws2_hbn"))}
    states = {name: v.states[0] for name, v in valleys.items()}
    shift = np.linspace(0, 9, 200)
    for a in states:
        for b in states:
            direct = states[a].overlap(states[b], shift)
            assert np.all(np.abs(direct) <= 1 + 1e-12)
            assert direct == pytest.approx(states[b].overlap(states[a], shift), abs=1e-6)
            table = valleys[a].overlaps[b](shift)
            assert np.abs(table - direct).max() < 2e-6
        assert states[a].overlap(states[a], np.array(0.0)) == pytest.approx(1, abs=1e-9)


def test_overlap_by_quadrature_in_the_plane():
    """∫ψψ' exp(iκ·r) d²r on a Cartesian grid."""
    a, b = (bound_states(RytovaKeldysh(3.4, 4.35), mass, 1.0)[0] for mass in (0.175, 0.27))
    x = (np.arange(1200) + 0.5) * 0.02 - 12
    r = np.hypot(x[:, None], x[None, :])
    product = np.interp(r, np.linspace(0, 17, 4001), a(np.linspace(0, 17, 4001)) * b(np.linspace(0, 17, 4001)))
    direct = (product * np.cos(1.3 * x)[:, None]).sum() * 0.02**2
    assert OverlapTable.from_states(a, b)(np.array(1.3)) == pytest.approx(direct, abs=1e-4)


def test_offsets_follow_from_splittings_and_binding_energies():
    material = materials.load("mos2_hbn")
    valleys = solve(material)
    binding = {v.name: -v.states[0].energy for v in valleys}
    for v in valleys:
        expected = material.valleys[v.name].splitting.value + binding["KK"] - binding[v.name]
        assert v.computed == pytest.approx(expected, abs=1e-12)
    dark = next(v for v in valleys if v.name == "KK'")
    assert dark.given is None
    assert dark.energy == dark.computed


def test_given_offsets_win():
    assert {v.name: v.energy for v in solve(materials.load("ws2_hbn"))} == {"KK": 0.0, "KK'": -51.5, "KΛ": -30.5}


def test_film_takes_the_place_of_a_missing_sheet():
    material = materials.load("ws2_hbn")
    filmed = solve(dataclasses.replace(material, dielectric=None))
    assert filmed[0].states[0].energy == pytest.approx(-208.2, abs=0.2)
