"""Repulsion in mean field against its own equilibrium, nonlinear diffusion, balance of energy and symmetries."""

import numpy as np
import pytest
from dense import advanced, cloud, fields_of, problem_of, right_hand_sides
from helpers import hpcwigner, small_input
from mpi4py import MPI
from nonlinear_diffusion import Medium, barenblatt, barenblatt_width_squared, solve
from scipy.optimize import brentq
from scipy.special import lambertw

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.exciton.materials import load as material
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem.builder import SAFETY
from hpcwigner.storage.reading import read
from hpcwigner.terms.term import State

STRONG = "interaction.repulsion=1.4e-11 meV cm^2"
"""g n = 14 meV = 2.1 kT at 77 K and the density of `cloud`."""
QUIET = "radiation=off", "pump={density: 1e12 cm^-2, center: 500 ps, spot_fwhm: 0.9 um}"
TRAP = "sample.energy={all: {gaussian: {peak: -24 meV, fwhm: 1 um}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"
SPACES = {
    "slab": "{dimensions: 1, length: 2.4 um, cells: 30, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 2 um, cells: [22, 20], boundary: reflecting}",
}


def strength(problem):
    """g [meV nm²]."""
    return problem.config.interaction.repulsion


def settled(problem, number):
    """u (point, angle, cell) with N_v ∝ exp[−(E_v + g n)/kT] and `number` excitons: n exp(g n/kT) = c Σ_v p_v exp(−E_v/kT)."""
    kT, equilibrium, landscape = problem.equilibrium.thermal_energy, problem.equilibrium, problem.offsets.landscape
    energy = landscape.energy.reshape(len(landscape.energy), -1).T  # (point, valley)
    weight = np.exp(-energy / kT) @ problem.cells.valley_sum(equilibrium.population)
    b = strength(problem) / kT

    def density(log_c):
        return lambertw(b * np.exp(log_c) * weight).real / b

    measure = problem.space.cell_measure
    log_c = brentq(lambda x: measure * density(x).sum() - number, -40, 40, xtol=1e-14, rtol=1e-14)
    n = density(log_c)
    factor = np.exp(log_c - energy / kT - b * n[:, None])[:, problem.cells.valley_of_cell]
    u = problem.angles.from_harmonics[:, 0][:, None] * (factor * equilibrium.population)[:, None, :]
    assert u.sum(axis=(1, 2)) == pytest.approx(n, rel=1e-12)
    return np.ascontiguousarray(u)


def settled_with_peak(problem, peak):
    """The same with a largest density of `peak` [1/nm²]."""
    measure, points = problem.space.cell_measure, np.prod(problem.space.shape)

    def excess(log_number):
        return settled(problem, np.exp(log_number)).sum(axis=(1, 2)).max() - peak

    return settled(problem, np.exp(brentq(excess, np.log(1e-3 * peak * measure * points), np.log(peak * measure * points))))


@pytest.fixture(scope="module", params=["slab", "plane"])
def trap(request, tmp_path_factory):
    """A trap with local offsets of a valley and rates of several nodes."""
    problem = problem_of(tmp_path_factory.mktemp("trap"), *QUIET, STRONG, TRAP, space=SPACES[request.param])
    assert len(problem.offsets.stages) > 1
    yield problem
    problem.free()


@pytest.mark.slow
def test_the_self_consistent_equilibrium_stands_still(trap):
    """Drift and force cancel to rounding, scattering is in detailed balance, and 60 ps of steps change nothing."""
    equation, u = trap.equation(MPI.COMM_SELF), settled_with_peak(trap, 0.01)
    kT, density = trap.equilibrium.thermal_energy, u.sum(axis=(1, 2))
    assert strength(trap) * np.ptp(density) > 1.5 * kT
    changes = right_hand_sides(trap, 0.0, equation, State(u, fields_of(equation)))
    scale = np.abs(changes["drift"]).max()
    assert np.abs(changes["drift"] + changes["force"]).max() < 1e-13 * scale
    rates = np.abs(trap.generators[0].scattering.blocks[0].diagonal())
    assert np.abs(changes["scattering"]).max() < 1e-12 * (rates * u).max()
    size = min(1.0, trap.largest_step("etd2"))
    end = advanced("etd2", equation, trap.local_generators, u, 60.0, size, trap.sources)
    assert np.abs(end.u - u).max() < 1e-11 * u.max()
    assert (np.abs(end.u - u) / u).max() < 1e-8
    equation.free()


def test_without_the_repulsion_the_same_state_moves(trap):
    """The test above can fail: g that is wrong by a thousandth is seen."""
    equation, u = trap.equation(MPI.COMM_SELF), settled_with_peak(trap, 0.01)
    (term,) = (term for term in trap.terms if term.name == "repulsion")
    term.strength *= 1.001
    changes = right_hand_sides(trap, 0.0, equation, State(u, fields_of(equation)))
    term.strength /= 1.001
    assert np.abs(changes["drift"] + changes["force"]).max() > 1e-5 * np.abs(changes["drift"]).max()
    equation.free()


@pytest.mark.slow
def test_equilibrium_is_reached_from_a_spot(tmp_path):
    """A whole run in a small trap: at its end N_v exp[(E_v + g n)/kT]/M_v is the same everywhere and in all valleys."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 0.2 um, cells: 16}", integrator="etd2")
    hill = "sample.energy={all: {cosine: {amplitude: 9 meV, period: 0.2 um}}, KΛ: {cosine: {amplitude: 3 meV, period: 0.2 um}}}"
    settings = (
        hill, "radiation=off", "interaction.repulsion=1e-11 meV cm^2", "time.end=24 ps", "time.steps=[{size: 16 fs}]",
        "pump={density: 2e12 cm^-2, profile: {gaussian: {fwhm: 80 nm, center: [20 nm, 0 nm]}}}", "output.wigner_at=[]",
        "output.series_every=1 ps", "output.fields_every=12 ps", "momentum={energy_max: 100 meV, energy_step: 6 meV, angles: 8}",
    )  # fmt: skip
    done = hpcwigner(path, *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    fields = read(tmp_path / "run" / "fields.h5").data
    energy, density = fields["landscape"], fields["density"][-1]  # meV, 1/µm²
    kT, mean_field = BOLTZMANN * 77, 1000 * 1e-6 * density.sum(axis=0)  # g = 1000 meV nm²
    assert np.ptp(mean_field) > 0.3 * kT
    masses = np.array([valley.degeneracy * valley.mass for valley in material("ws2_hbn").valleys.values()])
    activity = density * np.exp((energy + mean_field) / kT) / masses[:, None]
    assert activity == pytest.approx(np.full(activity.shape, activity.mean()), rel=1e-4)


EXPANSIONS = {
    "slab": ("{dimensions: 1, length: 2 um, cells: 48}", 3.0, 200.0, 15.0),
    "plane": ("{dimensions: 2, length: 1.6 um, cells: 32}", 2.0, 200.0, 10.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPANSIONS)
def test_a_cloud_spreads_by_nonlinear_diffusion(tmp_path, kind):
    """∂t n = ∇·[D (1 + g n/kT) ∇n], D from L_1 of all valleys, by finite volumes: to 2 %."""
    space, ratio, width, end = EXPANSIONS[kind]
    problem, equation = hot(tmp_path, space, ratio)
    b, distance = ratio / 0.01, np.sqrt(problem.space.squared_distance.ravel() / (2 if kind == "slab" else 1))

    def start(r):
        return 0.01 * np.exp(-((r / width) ** 2))

    found = evolved(problem, equation, start(distance), end)
    diffusion = chapman_enskog(problem.equilibrium, problem.generators[0].block(1))
    dimensions = problem.space.dimensions
    medium = Medium(diffusion, repulsion=b)
    exact, linear = (solve(m, dimensions, start, np.array([0, end]), 900.0) for m in (medium, Medium(diffusion)))
    widened = exact.width_squared[1] - exact.width_squared[0]
    assert widened > 1.3 * (linear.width_squared[1] - linear.width_squared[0])  # repulsion does its part
    square = problem.space.squared_distance.ravel() @ found / found.sum()
    assert square - exact.width_squared[0] == pytest.approx(widened, rel=0.02)
    assert np.abs(found - np.interp(distance, exact.centers, exact.density[1])).max() < 2e-2 * found.max()
    equation.free()
    problem.free()


def test_strong_repulsion_spreads_as_barenblatts_solution(tmp_path):
    """g n = 20 kT: t^(1/3) with a sharp edge, up to what kT adds; and nonlinear diffusion with kT, much closer."""
    ratio, edge = 20.0, 1000.0
    problem, equation = hot(tmp_path, "{dimensions: 1, length: 4 um, cells: 120}", ratio, spot=2.2 * edge)
    diffusion = chapman_enskog(problem.equilibrium, problem.generators[0].block(1))
    b, first = ratio / 0.01, edge**2 / 0.12  # edge² = 12 C t^(2/3) and n(0) = C t^(−1/3) = 0.01
    end, distance, constant = 0.3 * first / (0.5 * diffusion * b), np.abs(problem.space.centers(0)), 0.01 * first ** (1 / 3)

    def start(x):
        return barenblatt(x, first, 1, constant)

    found = evolved(problem, equation, start(distance), end)
    square = problem.space.squared_distance.ravel() @ found / found.sum()
    assert square == pytest.approx(barenblatt_width_squared(1.3 * first, 1, constant), rel=0.03)
    assert square > 1.15 * barenblatt_width_squared(first, 1, constant)
    exact = solve(Medium(diffusion, repulsion=b), 1, start, np.array([0, end]), 2000.0, 800)
    assert square == pytest.approx(exact.width_squared[1], rel=2e-3)
    assert np.abs(found - np.interp(distance, exact.centers, exact.density[1])).max() < 5e-3 * found.max()
    equation.free()
    problem.free()


def hot(folder, space, ratio, spot=500.0):
    """Problem without a landscape at 300 K with g n = `ratio` kT at 0.01/nm², and its equation."""
    settings = (
        "temperature=300 K", "radiation=off", "momentum={energy_max: 260 meV, energy_step: 13 meV, angles: 8}",
        f"pump={{density: 1e12 cm^-2, center: 500 ps, spot_fwhm: {spot} nm}}",
        f"interaction.repulsion={ratio * BOLTZMANN * 300 / 0.01} meV nm^2",
    )  # fmt: skip
    problem = problem_of(folder, *settings, space=space)
    return problem, problem.equation(MPI.COMM_SELF)


def evolved(problem, equation, density, end):
    """Density (point,) at `end` [ps] from a local equilibrium with a given one, with the longest steps of etd2."""
    u = density[:, None, None] * problem.angles.from_harmonics[:, 0][:, None] * problem.equilibrium.population
    size = problem.largest_step("etd2")
    return advanced("etd2", equation, problem.local_generators, u, end, size, problem.sources).u.sum(axis=(1, 2))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_drift_and_force_keep_the_energy_as_the_grid_is_refined(tmp_path, dimensions):
    """∂t(kinetic energy + ½ g ∫n²) of a moving cloud by both, relative to what they exchange, at order 3 and more."""
    shares = []
    for cells in (16, 24, 36) if dimensions == 1 else (12, 18, 27):
        space = f"{{dimensions: {dimensions}, length: 2 um, cells: {cells}, boundary: periodic}}"
        problem = problem_of(tmp_path, *QUIET, STRONG, "space.symmetry=whole", space=space)
        equation, angles = problem.equation(MPI.COMM_SELF), problem.angles
        x, y = (np.pi * problem.space.centers(axis) / 1000 for axis in (0, 1))
        density = 0.01 * (1 + 0.4 * np.sin(x)[:, None] + 0.3 * (dimensions == 2) * np.cos(y))
        flow = np.sin(x + 0.7)[:, None, None] * angles.cosine + (dimensions == 2) * np.sin(y - 0.3)[:, None] * angles.sine
        shape = density[..., None] * (1 + 0.5 * flow) * angles.from_harmonics[:, 0]
        u = (shape[..., None] * problem.equilibrium.population).reshape(equation.shape)
        changes = right_hand_sides(problem, 0.0, equation, State(np.ascontiguousarray(u), fields_of(equation)))
        drift, force = (changes[name].sum(axis=1) for name in ("drift", "force"))
        height = strength(problem) * u.sum(axis=(1, 2))
        potential, work = height @ drift.sum(axis=1), (force @ problem.equilibrium.kinetic_energy).sum()
        assert abs((height @ force).sum()) < 1e-12 * np.abs(height @ np.abs(force)).sum()
        shares.append(abs(potential + work) / abs(work))
        problem.free()
    assert (np.diff(np.log(shares)) / np.log(1.5) < -3).all(), shares
    assert shares[-1] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPACES)
def test_mirrored_and_folded_samples_agree(tmp_path, kind):
    """A cloud beside the middle and its mirror image; a symmetric one in the whole sample and in a part of it."""
    space = SPACES[kind]
    whole = problem_of(tmp_path, *QUIET, STRONG, TRAP, "space.symmetry=whole", space=space)
    folded = problem_of(tmp_path, *QUIET, STRONG, TRAP, space=space)
    assert all(folded.space.folded[: folded.space.dimensions])
    assert not any(whole.space.folded)
    equation, (nx, ny) = whole.equation(MPI.COMM_SELF), whole.space.shape
    shape = nx, ny, whole.angles.count, whole.cells.size
    tilted = cloud(whole).reshape(shape) * (1 + 0.5 * np.tanh(whole.space.centers(0) / 300))[:, None, None, None]

    def after(problem, equation, u):
        u = np.ascontiguousarray(u).reshape(equation.shape)
        return advanced("etd3", equation, problem.local_generators, u, 1.0, 0.1, problem.sources).u

    def mirrored(u):
        return u[::-1][:, :, whole.angles.mirror(0)]

    first, second = (after(whole, equation, u).reshape(shape) for u in (tilted, mirrored(tilted)))
    assert np.abs(mirrored(first) - second).max() < 1e-12 * first.max()
    assert np.abs(first - second).max() > 1e-2 * first.max()
    part = folded.equation(MPI.COMM_SELF)
    start = settled_with_peak(folded, 0.004)[:, :, ::-1] * np.linspace(0.5, 1.5, whole.cells.size)
    held = after(folded, part, start).reshape(*folded.space.shape, *shape[2:])
    sides = [np.concatenate((mirrored(block), block)) for block in (start.reshape(held.shape), held)]
    if kind == "plane":
        turned = whole.angles.mirror(1)
        sides = [np.concatenate((block[:, ::-1][:, :, turned], block), axis=1) for block in sides]
    unfolded = after(whole, equation, sides[0]).reshape(shape)
    assert np.abs(unfolded - sides[1]).max() < 1e-12 * unfolded.max()
    for each in (whole, folded):
        each.free()


@pytest.mark.parametrize("name", ["etd2", "etd3", "arkimex3"])
def test_steps_at_the_limit_are_stable(tmp_path, name):
    """Noise on a self-consistent equilibrium with g n up to 3 kT fades at the limit of the step, and grows at three times it."""
    settings = (
        "temperature=300 K", "radiation=off", "momentum={energy_max: 310 meV, energy_step: 19 meV, angles: 8}",
        "pump={density: 1e12 cm^-2, center: 900 ps, spot_fwhm: 0.14 um}",
        f"interaction.repulsion={3 * BOLTZMANN * 300 / 0.01} meV nm^2",
        "sample.energy.all={cosine: {amplitude: -26 meV, period: 0.4 um}}",
    )  # fmt: skip
    problem = problem_of(tmp_path, *settings, space="{dimensions: 1, length: 0.4 um, cells: 40}")
    equation, u = problem.equation(MPI.COMM_SELF), settled_with_peak(problem, 0.01)
    assert strength(problem) * np.ptp(u.sum(axis=(1, 2))) > BOLTZMANN * 300

    def growth(size, rounds=12, steps=6):
        noise, factors = np.random.default_rng(1).standard_normal(u.shape), []
        for _ in range(rounds):
            noise *= 1e-7 * np.sqrt(noise.size) / np.linalg.norm(noise)
            end = advanced(name, equation, problem.local_generators, u * (1 + noise), steps * size, size, problem.sources)
            grown = end.u / u - 1
            factors.append(np.linalg.norm(grown) / np.linalg.norm(noise))
            noise = grown
        return np.mean(factors[rounds // 2 :]) ** (1 / steps)

    limit = problem.largest_step(name) / SAFETY
    assert growth(limit) < 1
    assert growth(3 * limit) > 1.1
    problem.free()
