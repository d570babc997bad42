"""The operators at one point: against matrix exponentials, detailed balance, Newton's law and Chapman-Enskog."""

import numpy as np
import pytest
from scipy.linalg import expm

import hpcwigner
from hpcwigner.exciton.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0, HBAR_OVER_M0, UM
from hpcwigner.observables.transport import chapman_enskog

INPUT = {
    "material": "ws2_hbn",
    "temperature": "77 K",
    "momentum": {"energy_max": "62 meV", "energy_step": "4 meV", "angles": 8},
    "radiation": False,
}


@pytest.fixture(scope="module")
def point():
    return hpcwigner.Point(INPUT)


def matrix(point, operator):
    """An operator on all momentum cells together, column by column."""
    size = point.equilibrium.size
    columns = np.eye(size).reshape(size, *point.equilibrium.shape)
    return np.array([operator(u).ravel() for u in columns]).T


def test_scattering_is_that_of_the_rates(point):
    gamma = hpcwigner.rates(INPUT).gamma
    u = point.isotropic(np.random.default_rng(1).random(len(point.energy)))
    assert point.scattering(u).sum(axis=0) == pytest.approx(gamma[0].values @ u.sum(axis=0), rel=1e-12)
    assert np.abs(point.scattering(point.equilibrium)).max() < 1e-13
    assert abs(point.scattering(u).sum()) < 1e-11


def test_without_a_force_a_distribution_evolves_by_the_exponential_of_the_rates(point):
    """The smallest populations as well: 1e-3 of the excitons end in KK."""
    u = point.injected("KΛ", above=25.0) * (1 + np.cos(point.angles))[:, None]
    times = [0.1, 0.35, 4.0]
    exact = [(expm(t * matrix(point, point.scattering)) @ u.ravel()).reshape(u.shape) for t in times]
    assert point.evolve(u, times) == pytest.approx(np.array(exact), rel=1e-9, abs=1e-15)
    assert point.population(point.evolve(u, [300.0])[0]) == pytest.approx(point.population(point.equilibrium), rel=1e-9)


def test_with_a_force_it_evolves_by_the_exponential_of_both_operators(point):
    force = (300.0, -120.0)
    u, times = point.formed(), [0.2, 1.0]
    both = matrix(point, point.scattering) + matrix(point, lambda u: point.acceleration(u, force))
    exact = np.array([(expm(t * both) @ u.ravel()).reshape(u.shape) for t in times])
    states = point.evolve(u, times, force)
    assert np.abs(states - exact).max() < 1e-5 * exact.max()
    assert point.mean_velocity(states) == pytest.approx(point.mean_velocity(exact), rel=3e-5, abs=1e-5)


def test_free_excitons_obey_newton_and_gain_the_work():
    """On the line of the force ħk grows as F t: ⟨v⟩ = F t/M, and the energy by F²t²/2M."""
    free = hpcwigner.Point(INPUT, {"scattering.intravalley": "off", "scattering.intervalley": "off", "momentum.angles": 16,
                                   "momentum.energy_step": "2 meV", "momentum.energy_max": "110 meV"})  # fmt: skip
    force, times = 400.0, [0.25, 0.5]
    u = free.evolve(free.equilibrium, times, (force, 0.0))
    assert free.population(u) == pytest.approx(np.tile(free.population(free.equilibrium), (2, 1)), rel=1e-12)
    mass = np.array([valley.mass for valley in free.problem.cells.valleys])
    for velocity, time in zip(free.mean_velocity(u), times, strict=True):
        assert velocity[:, 0] == pytest.approx(UM * force * time / mass * HBAR_OVER_M0 / HBAR, rel=3e-3)
        assert np.abs(velocity[:, 1]).max() < 1e-9
    impulse = UM * force * times[-1] / HBAR  # ħk/ħ [1/nm]
    gained = free.problem.cells.valley_sum((u[-1] - free.equilibrium).sum(axis=0) * free.energy)
    assert gained / free.population(free.equilibrium) == pytest.approx(0.5 * HBAR2_OVER_M0 * impulse**2 / mass, rel=1e-2)


def test_a_weak_force_gives_einsteins_mobility(point):
    """⟨v⟩ = D F/kT of all excitons, with D of Chapman and Enskog from the same rates."""
    force, kT = 1.0, BOLTZMANN * 77
    state = point.evolve(point.equilibrium, [60.0], (force, 0.0))[0]
    diffusion = chapman_enskog(point.problem.equilibrium, point.problem.scattering.stages[0].blocks[1])
    mean = point.population(state) @ point.mean_velocity(state)[:, 0]
    assert mean == pytest.approx(UM * force * diffusion / kT, rel=1e-3)


def test_losses_are_those_of_the_input():
    lossy = hpcwigner.Point(INPUT | {"recombination": {"lifetime": "20 ps"}})
    assert lossy.losses(lossy.equilibrium) == pytest.approx(-lossy.equilibrium / 20, rel=1e-12)
    assert lossy.evolve(lossy.equilibrium, [10.0])[0] == pytest.approx(np.exp(-0.5) * lossy.equilibrium, rel=1e-9)


def test_what_does_not_fit_is_refused(point):
    with pytest.raises(hpcwigner.InputError, match="expected a homogeneous sample"):
        hpcwigner.Point(INPUT, {"sample.energy.all": "{linear: {gradient: [1 meV/um, 0 meV/um]}}", "space.boundary": "open"})
    with pytest.raises(hpcwigner.InputError, match="valley: found 'KX'"):
        point.injected("KX", 10.0)
    with pytest.raises(hpcwigner.InputError, match="above: found 500 meV"):
        point.injected("KK", 500.0)
    with pytest.raises(ValueError, match="expected increasing ones above 0"):
        point.evolve(point.equilibrium, [1.0, 1.0])
    with pytest.raises(ValueError, match=r"expected \(8, 69\)"):
        point.scattering(point.equilibrium[:4])
