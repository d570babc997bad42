"""The Monte Carlo of single excitons and the moment equations of a tilted sample, against exact results and each other."""

import math

import numpy as np
import particle_cases
import particle_series
import particles
import pytest
import scipy.stats
from particle_cases import equilibrium_at, in_scattering, landscape

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.momentum.rates import generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.reference.tilt import TiltedSample
from hpcwigner.terms.sources import injection_spectrum

FORCE = 0.04  # [meV/nm]


def flat(x):
    return 0 * x


@pytest.fixture(scope="module")
def hot():
    """WS2 at 300 K on coarse cells, and its rates."""
    equilibrium = equilibrium_at(300, step=8.0)
    return equilibrium, in_scattering(equilibrium, 16)


def mass_of(equilibrium, valley):
    return equilibrium.cells.valleys[valley].mass * HBAR**2 / HBAR2_OVER_M0


def relaxation(equilibrium, time):
    """Rates to the equilibrium of the same valley, in any direction, after a constant time: harmonics 0, 1, 2."""
    same = equilibrium.cells.valley_of_cell[:, None] == equilibrium.cells.valley_of_cell
    share = equilibrium.population[:, None] * same
    gamma = np.zeros((3, *share.shape))
    gamma[0] = share / share.sum(axis=0) / time
    return gamma


def thermal(equilibrium, number, seed, width, valley):
    """Excitons of one valley in equilibrium, exp(−x²/width²)."""
    spot = particle_cases.hot_spot(number, seed, width, 25.0, 3.0, valley)
    return spot._replace(kinetic=np.random.default_rng(seed).exponential(equilibrium.thermal_energy, number))


@pytest.mark.slow
def test_free_oscillation(hot):
    """Without collisions in E = ½kx² every exciton oscillates with ω² = k/M, and its energy stays."""
    equilibrium, gamma = hot
    stiffness, mass = 1e-3, mass_of(equilibrium, 0)
    omega = math.sqrt(stiffness / mass)
    start = particle_cases.hot_spot(64, 1, 300.0, 25.0, 3.0)
    land = landscape([lambda x: 0.5 * stiffness * x**2] * 3, 1000, spacing=1.0)
    times = np.array([0.0, 0.25, 0.5]) * 2 * np.pi / omega
    result = particles.run(equilibrium, particles.collisions(equilibrium, [0 * gamma]), land, [start], times, longest=0.005)
    half = particles.run(equilibrium, particles.collisions(equilibrium, [0 * gamma]), land, [start], times[:2], longest=0.005)
    speed = np.sqrt(2 * start.kinetic / mass)
    np.testing.assert_allclose(half.final[0], speed * np.cos(start.angle) / omega, atol=0.02)
    np.testing.assert_allclose(result.final[0], -start.x, atol=0.02)
    total = result.series(together=True)
    energy = total["kinetic_energy"][0][:, 0] + total["potential_energy"][0][:, 0]
    np.testing.assert_allclose(energy, energy[0], rtol=1e-5)


def test_turning_keeps_the_diffusion_coefficient(hot):
    """The angles that are drawn have the first harmonic of the rates, so that D is that of Chapman and Enskog."""
    for equilibrium, rates in (hot, (cold := equilibrium_at(20), in_scattering(cold))):
        table = particles.collisions(equilibrium, [rates])
        source, _ = np.nonzero(rates[0].T > 0)
        drawn = np.zeros_like(rates[:2])
        drawn[0] = rates[0]
        drawn[1, table.target, source] = np.diff(table.turned, prepend=0.0) @ particles.bin_cosines()
        drawn[1] *= rates[0]
        exact, found = (chapman_enskog(equilibrium, generator(r[:2])[1]) for r in (rates, drawn))
        assert found == pytest.approx(exact, rel=5e-4)


@pytest.mark.slow
def test_diffusion_and_mobility(hot):
    """⟨x²⟩ grows by 2D per time, and a tilt moves excitons by DF/kT, with D of Chapman and Enskog."""
    equilibrium, gamma = hot
    exact = chapman_enskog(equilibrium, generator(gamma[:2])[1])
    table, times = particles.collisions(equilibrium, [gamma]), np.array([0.0, 1.5, 4.0])
    starts = [particle_cases.hot_spot(2**10, b, 1e-6, 25.0, 3.0, valley=1) for b in range(16)]
    spread = particles.run(equilibrium, table, landscape([flat] * 3, 1000), starts, times)
    mean, error = spread.series(together=True)["mean_square"]
    found, uncertain = (mean[2, 0] - mean[1, 0]) / 5, math.hypot(error[2, 0], error[1, 0]) / 5
    assert uncertain < 0.04 * exact
    assert abs(found - exact) < 4 * uncertain
    force = 1.0
    tilted = particles.run(equilibrium, table, landscape([lambda x: -force * x] * 3, 1000), starts, times)
    mean, error = tilted.series(together=True)["mean_position"]
    found, uncertain = (mean[2, 0] - mean[1, 0]) / 2.5, math.hypot(error[2, 0], error[1, 0]) / 2.5
    expected = exact * force / equilibrium.thermal_energy
    assert uncertain < 0.04 * expected
    assert abs(found - expected) < 4 * uncertain


@pytest.mark.slow
def test_equilibrium_in_a_landscape_with_local_offsets():
    """In a trap with a deeper spot for KΛ hot excitons of KK come to the Boltzmann distribution of places, valleys, energies."""
    equilibrium, width, depth, nodes = equilibrium_at(77, step=2.0), 40.0, -15.0, 10
    kt = equilibrium.thermal_energy

    def spot(x):
        return np.exp(-0.5 * (x / width) ** 2)

    def trap(x):
        return 0.5 * kt * (x / width) ** 2

    energies = [trap, trap, lambda x: trap(x) + depth * spot(x)]
    gammas = [in_scattering(equilibrium, 4, (0, 0, depth * s)) for s in np.linspace(0, 1, nodes)]
    land = landscape(energies, 280, lambda x: (nodes - 1) * spot(x), spacing=0.5)  # 24 kT deep
    starts = [particle_cases.hot_spot(2**9, b, 60.0, 25.0, 3.0) for b in range(16)]
    result = particles.run(equilibrium, particles.collisions(equilibrium, gammas), land, starts, np.array([0.0, 15.0]))
    x = np.linspace(-350, 350, 7001)
    weight = np.array([np.exp(-e(x) / kt) for e in energies])
    share = equilibrium.valley_weight * weight.sum(axis=1)
    share /= share.sum()
    assert share[2] > 2 * equilibrium.valley_weight[2] / equilibrium.valley_weight.sum()  # the spot matters
    population, error = result.series()["population"]
    np.testing.assert_array_less(np.abs(population[-1] - share), 4 * error[-1] + 1e-3)
    for valley in (1, 2):
        mine = result.final[:, result.final[3] == valley]
        places = np.cumsum(weight[valley]) / weight[valley].sum()
        assert scipy.stats.kstest(mine[0], lambda q, p=places: np.interp(q, x, p)).pvalue > 1e-3
        energy = 0.5 * mass_of(equilibrium, valley) * (mine[1] ** 2 + mine[2] ** 2)
        assert scipy.stats.kstest(energy, "expon", args=(0, kt)).pvalue > 1e-3


def test_constant_relaxation_time():
    """⟨x⟩ = (Fτ/M)[t − τ(1 − exp(−t/τ))] with directions lost after τ, by particles and by moment equations."""
    equilibrium = equilibrium_at(77)
    time, times, valley = 0.5, np.linspace(0, 2, 9), 1
    gamma = relaxation(equilibrium, time)
    exact = FORCE * time / mass_of(equilibrium, valley) * (times - time * (1 - np.exp(-times / time)))
    starts = [thermal(equilibrium, 2**11, b, 1e-6, valley) for b in range(16)]
    table = particles.collisions(equilibrium, [gamma])
    result = particles.run(equilibrium, table, landscape([lambda x: -FORCE * x] * 3, 2000), starts, times)
    mean, error = (part[:, 0] for part in result.series(together=True)["mean_position"])
    assert error[-1] < 0.04 * exact[-1]
    np.testing.assert_array_less(np.abs(mean - exact)[1:], 4 * error[1:])
    start = np.where(equilibrium.cells.valley_of_cell == valley, equilibrium.population, 0.0)
    sample = TiltedSample(equilibrium, np.concatenate([gamma, np.zeros((6, *gamma.shape[1:]))]), FORCE)
    solved = sample.solve(start / start.sum(), 0.0, times)
    np.testing.assert_allclose(solved.mean_position[:, valley], exact, rtol=2e-3, atol=1e-6)


def test_tilt_obeys_the_einstein_relation_in_second_order():
    """A weak tilt moves excitons by DF/kT, up to an error that falls fourfold with half as wide cells."""
    errors = []
    for step in (16.0, 8.0):
        equilibrium = equilibrium_at(300, step=step)
        gamma = in_scattering(equilibrium, 3)
        exact, force = chapman_enskog(equilibrium, generator(gamma[:2])[1]), 1e-3
        solved = TiltedSample(equilibrium, gamma, force).solve(equilibrium.population, 0.0, np.array([0.0, 4.0]))
        assert solved.diffusion[-1] == pytest.approx(exact, rel=1e-4)
        errors.append(solved.drift_velocity[-1] / (exact * force / equilibrium.thermal_energy) - 1)
    assert 3 < errors[0] / errors[1] < 5
    assert abs(errors[1]) < 0.01


@pytest.mark.slow
def test_particles_and_moment_equations_of_a_tilt():
    """Hot excitons of KK at 20 K under 40 meV/µm: n_v, ⟨x⟩, ⟨x²⟩ and energies of each valley agree within chance."""
    equilibrium = equilibrium_at(20, above=45.0)
    gamma, times = in_scattering(equilibrium), np.arange(0, 4.1, 0.5)
    starts = [particle_cases.hot_spot(2**10, b, 50.0, 25.0, 3.0) for b in range(16)]
    table, land = particles.collisions(equilibrium, [gamma]), landscape([lambda x: -FORCE * x] * 3, 4000)
    result = particles.run(equilibrium, table, land, starts, times)
    start = injection_spectrum(equilibrium, 0, 25.0, 3.0)
    solved = TiltedSample(equilibrium, gamma[:9], FORCE).solve(start, 0.5 * 50.0**2, times)
    names = set(particle_series.QUANTITIES) - {"potential_energy"}
    run = {"time": times, **{name: getattr(solved, name) for name in names}}
    for name, deviation in particle_series.compare(run, times, result.series()).items():
        assert deviation.errors < 4.5, (name, deviation)
        assert deviation.relative < 0.05, (name, deviation)


def test_tilt_at_the_default_energy_step():
    """Close to the converged values (cells of 0.15 meV) of hot excitons of KK at 20 K under 40 meV/µm."""
    equilibrium = equilibrium_at(20, above=45.0)
    sample = TiltedSample(equilibrium, in_scattering(equilibrium, 8), FORCE)
    solved = sample.solve(injection_spectrum(equilibrium, 0, 25.0, 3.0), 0.0, np.array([0.0, 1.0, 2.0, 5.0]))
    energy = np.nansum(solved.kinetic_energy * solved.population, axis=1)
    np.testing.assert_allclose(solved.population.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(solved.drift_velocity[1:], [4.7188, 7.6987, 9.7753], rtol=3e-3)
    np.testing.assert_allclose(solved.diffusion[1:], [1873.6, 2689.8, 2696.9], rtol=3e-3)
    np.testing.assert_allclose(energy[1:], [13.377, 12.500, 10.743], rtol=3e-3)
    np.testing.assert_allclose(solved.population[1:, 2], [3.922e-3, 2.042e-3, 1.663e-3], rtol=3e-2)


def test_a_run_without_the_times_is_refused():
    times, pair = np.array([0.0, 1.0]), (np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="no output"):
        particle_series.compare({"time": np.array([0.0, 2.0])}, times, dict.fromkeys(particle_series.QUANTITIES, pair))
