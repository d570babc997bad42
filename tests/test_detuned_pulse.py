"""Resonant pulses away from resonance, and where the bright exciton varies in space."""

import dataclasses
import functools
import math

import numpy as np
import pytest
from helpers import small_input
from mpi4py import MPI
from scipy.integrate import solve_ivp

from hpcwigner.exciton.constants import HBAR
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.observables.fields import Directions, SpatialMomentSums
from hpcwigner.problem import builder, loading
from hpcwigner.problem.equation import source as source_of
from hpcwigner.problem.sample import held
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.detuned import DetunedSource, DetuningNodes
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.pulse import CoherentPopulation, GaussianField, LocalPopulations
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import State

FIELD = GaussianField(0.2, 0.1)
GAMMA = 0.9
TIMES = np.linspace(0.02, 14, 60)
"""In units of σ."""
CASES = [(damping, detuning) for damping in (0.05, 1.0, 8.0, 50.0) for detuning in (0.0, 0.3, 4.0, 50.0)]
GRIDS = {"slab": SpaceGrid(1, 2400.0, (48, 1), "periodic"), "plane": SpaceGrid(2, 1140.0, (10, 8), "reflecting")}


@functools.cache
def solved(damping, detuning, center):
    """(|p0|², ∫|p0|² dt) at TIMES by an ODE solver, in units of σ, for κσ = `damping` + i `detuning`."""
    kappa = complex(damping, detuning)

    def slope(t, y):
        return math.exp(-0.5 * (t - center) ** 2) - kappa * y[0], abs(y[0]) ** 2

    start = np.zeros(2, dtype=complex)
    solution = solve_ivp(slope, (0, TIMES[-1]), start, "DOP853", TIMES, rtol=1e-12, atol=1e-16).y
    return np.abs(solution[0]) ** 2, solution[1].real


@pytest.mark.parametrize("delay", [4, 0.5], ids=["whole", "cut"])
@pytest.mark.parametrize(("damping", "detuning"), CASES)
def test_population_solves_its_equation(damping, detuning, delay):
    """With t_c = σ/2 the field is cut at t = 0, and the polarisation rings at the detuning."""
    expected, integral = solved(damping, detuning, delay)
    total = integral[-1] + expected[-1] / (2 * damping)
    for fwhm in (0.01, 0.1, 3.0, 100.0):
        sigma = fwhm / math.sqrt(8 * math.log(2))
        kappa, delta = damping / sigma, HBAR * detuning / sigma
        whole = CoherentPopulation(delay * sigma, fwhm, kappa, 1.7, delta)
        scaled = expected / (1.7 * total * sigma)
        assert np.abs(whole.course(TIMES * sigma) - scaled).max() < 1e-9 * scaled.max()
        assert 1.7 * whole.integral(3000 * sigma / min(damping, 1)) == pytest.approx(1, abs=1e-12)
        places = LocalPopulations(delay * sigma, fwhm, np.full(2, kappa), np.array([delta, -delta]))
        found = places.course(TIMES * sigma) / sigma**2
        assert np.abs(found - expected).max() < 1e-9 * expected.max()
        assert places.integral(math.inf) / sigma**3 == pytest.approx(total, rel=1e-9)
        assert places.integral(TIMES[28] * sigma) / sigma**3 == pytest.approx(integral[28], rel=1e-9)


def test_no_detuning_is_resonance():
    resonant = CoherentPopulation(0.2, 0.1, 4.4, 7.2)
    same = CoherentPopulation(0.2, 0.1, 4.4, 7.2, 0.0)
    nearly = CoherentPopulation(0.2, 0.1, 4.4, 7.2, 1e-12)
    t = np.linspace(0, 2, 500)
    assert np.array_equal(resonant.course(t), same.course(t))
    assert np.abs(nearly.course(t) - same.course(t)).max() < 1e-14 * same.course(t).max()


@pytest.mark.parametrize(("start", "size"), [(0.15, 0.01), (0.5, 0.25), (0.6, 0.001), (0.6, 0.05), (2.0, 0.5), (0.7, 3.0)])
def test_polynomials_of_places_are_those_of_each(start, size):
    """In the window, across its end and after it, where the decay is known, for steps up to many decay times."""
    kappa, delta = np.array([0.5, 4.4, 30.0]), np.array([12.0, 0.0, 3.0])
    places = LocalPopulations(0.2, 0.1, kappa, delta)
    found = places.polynomial(start, size)
    for row, k, d in zip(found, kappa, delta, strict=True):
        steps = np.linspace(start, start + size, 401)
        one = CoherentPopulation(0.2, 0.1, k, 1.0, d)
        norm = places.integral(math.inf)[list(kappa).index(k)]
        moments = np.zeros(3)
        for begin in steps[:-1]:
            t, weights = begin + 0.5 * size / 400 * (1 + NODES), 0.5 / 400 * WEIGHTS
            moments += [float(weights @ (one.course(t) * norm * ((t - start) / size) ** power)) for power in range(3)]
        hilbert = np.array([[1 / (i + j + 1) for i in range(3)] for j in range(3)])
        assert hilbert @ row == pytest.approx(moments, rel=1e-10, abs=1e-300)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


@pytest.mark.parametrize("reach", [0.1, 3.0, 40.0, 700.0])
def test_a_few_nodes_integrate_over_many_detunings(reach):
    """Σ_point w f(δ) by nodes, and f interpolated between them, against every point, at times in and after the pulse."""
    rng = np.random.default_rng(3)
    detuning, weights = reach * rng.random(4000), rng.random((2, 4000))
    nodes = DetuningNodes.choose(detuning, FIELD.sigma)
    assert len(nodes.values) < 1200
    times = np.array([0.05, 0.17, 0.2, 0.28, 0.6, 2.0])
    at_nodes, at_points = (
        LocalPopulations(0.2, 0.1, np.full(len(values), 0.7), values).course(times) for values in (nodes.values, detuning)
    )
    assert nodes.weights(weights) @ at_nodes == pytest.approx(weights @ at_points, rel=1e-12)
    for k in range(len(times)):
        between = nodes.interpolate(at_nodes[:, k], detuning)
        assert np.abs(between - at_points[:, k]).max() < 1e-13 * at_points[:, k].max()


def test_equal_detunings_need_one_node():
    nodes = DetuningNodes.choose(np.full(50, 3.0), 0.04)
    assert nodes.values.tolist() == [3.0]
    assert nodes.weights(np.ones((1, 50))) == pytest.approx(50)
    assert len(DetuningNodes.choose(np.zeros(0), 0.04).values) == 0


def strain_spot(grid, depth=20.0, center=150.0):
    """E_KK(r) of a Gaussian spot that is `depth` [meV] deep beside the pump."""
    x, y = grid.centers(0)[:, None], grid.centers(1)
    return -depth * np.exp(
        -((x - center * (not grid.folded[0] and grid.dimensions == 1)) ** 2 + y**2 * (grid.dimensions - 1)) / 3e4
    )


def make(equilibrium, formation, grid, angles, classes=None, **options):
    """A source in a strain spot; with `classes` formation is half as fast again at some points."""
    spectra = [[formation]] if classes is None else [[formation], [1.5 * formation[::-1]]]
    light, share = grid.gaussian(2.5e4), angles.from_harmonics[:, 0]
    return DetunedSource(equilibrium, grid, share, FIELD, GAMMA, spectra, strain_spot(grid), light, classes, **options)


@pytest.fixture(scope="module", params=GRIDS)
def case(request, rates):
    """(grid, angles, formation, class of each point): the points of the classes are interleaved."""
    grid = GRIDS[request.param]
    classes = np.arange(math.prod(grid.shape)).reshape(grid.shape) % 5 // 3
    return grid, Angles(8, half=grid.dimensions == 1), sum(rates.formation), classes


def exact(source, time=None):
    """(Γ_0∫|p0|² dt until `time`, |p0|² then) at every point of the grid (x, y), by the closed form of each."""
    classes = np.zeros(source.grid.shape, dtype=int) if source.class_of_point is None else source.class_of_point
    rates = np.array([by_stage[0].sum() for by_stage in source.spectra])[classes].ravel()
    points = LocalPopulations(0.2, 0.1, 0.5 * (GAMMA + rates), source.detuning.ravel())
    integral, now = points.integral(math.inf if time is None else time), points.course(0.3 if time is None else time)
    return (rates * integral).reshape(source.grid.shape), now.reshape(source.grid.shape)


def test_the_sample_is_normalised_after_detuning(rates, case):
    """All that is formed, where and with which spectrum, its ⟨r²⟩ and its course, against sums over single points."""
    grid, angles, formation, classes = case
    source = make(rates.equilibrium, formation, grid, angles, classes, amplitude=0.7)
    formed = source.profile() * exact(source)[0]
    total = formed.sum()
    assert source.formed() * grid.cell_measure == pytest.approx(0.7 * formed / total, rel=1e-12)
    assert source.generated(math.inf) == pytest.approx(0.7, rel=1e-13)
    assert source.width_squared == pytest.approx((formed * grid.squared_distance).sum() / total, rel=1e-12)
    shares = [formed[classes == c].sum() / total for c in (0, 1)]
    mean = sum(share * source.spectrum(0, c) / source.spectrum(0, c).sum() for c, share in enumerate(shares))
    assert source.spectrum(0) / source.spectrum(0).sum() == pytest.approx(mean, rel=1e-12)
    for time in (0.15, 0.3, 1.4):
        until, now = exact(source, time)
        assert source.generated(time) == pytest.approx(0.7 * (source.profile() * until).sum() / total, rel=1e-12)
        assert source.strength(time) == pytest.approx(0.7 * (source.profile() * now).sum() / total, rel=1e-12)


def test_one_class_forms_its_strength(rates, case):
    """generated = Γ_0 ∫ strength dt, by the polynomials of the steps, to the last digits."""
    grid, angles, formation, _ = case
    source = make(rates.equilibrium, formation, grid, angles)
    steps = np.arange(0, 1, 0.01)
    whole = sum(source.polynomial(t, 0.01) @ [1, 1 / 2, 1 / 3] * 0.01 for t in steps)
    assert whole * source.spectrum(0).sum() == pytest.approx(source.generated(1.0), rel=1e-12)
    assert source.decay == pytest.approx(GAMMA + formation.sum())
    assert source.mirrors == ({1} if grid.dimensions == 1 else {0, 1})


def test_points_follow_their_own_equation(rates, case):
    """Against the ODE from the pump's centre to the spot's flank: all points have one factor between them and |∫…|²."""
    grid, angles, formation, classes = case
    source = make(rates.equilibrium, formation, grid, angles, classes)
    source.distribute(Decomposition(grid, MPI.COMM_SELF, (angles.count, rates.cells.size)))
    sigma, times = FIELD.sigma, np.array([0.1, 0.2, 0.3, 0.45])
    shape = (math.prod(grid.shape), angles.count, rates.cells.size)
    states = [State(np.zeros(shape), np.zeros((shape[0], 0))) for _ in times]
    for time, state in zip(times, states, strict=True):
        source.add(time, state, state)
    expected, found = [], []
    for k in (0, 1, 2, 3):
        place = grid.shape[0] // 2 + k, grid.shape[1] // 2
        rate = source.spectra[classes[place]][0].sum()
        kappa = complex(0.5 * (GAMMA + rate), source.detuning[place] / HBAR)

        def slope(t, y, kappa=kappa):
            return [math.exp(-0.5 * ((t - 0.2) / sigma) ** 2) - kappa * y[0]]

        y = solve_ivp(slope, (0, 0.5), [0j], "DOP853", times, rtol=1e-12, atol=1e-16).y[0]
        expected.append(np.abs(y) ** 2)
        point = place[0] * grid.shape[1] + place[1]
        found.append([state.u[point].sum() / (rate * source.profile()[place]) for state in states])
    assert np.ptp(expected, axis=0).max() > 0.1 * np.max(expected)
    factor = found[0][1] / expected[0][1]
    assert np.abs(np.array(found) / factor - expected).max() < 1e-9 * np.max(expected)


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
def test_it_books_what_it_does(rates, case, folded):
    """Entries of all weights and the energy in a landscape against the right-hand side, point by point."""
    grid, angles, formation, classes = case
    grid, classes = (grid.folded_along(), held(classes, grid.folded_along())) if folded else (grid, classes)
    source = make(rates.equilibrium, formation, grid, angles, classes, amplitude=0.7)
    decomposition = Decomposition(grid, MPI.COMM_SELF, (angles.count, rates.cells.size))
    source.distribute(decomposition)
    shape = (math.prod(grid.shape), angles.count, rates.cells.size)
    for time in (0.15, 0.3, 1.0):
        out = State(np.zeros(shape), np.zeros((shape[0], 0)))
        source.add(time, out, out)
        moments = SpatialMomentSums(decomposition)(Directions(angles)(out.u))
        entry = source.entry(time, moments)
        assert entry.rates.shape == (2 + 2 * grid.dimensions, len(rates.cells.valleys))
        expected = rates.cells.valley_sum(moments.values)
        scale = grid.length ** np.array([0, 2, *[1] * grid.dimensions, *[2] * grid.dimensions])[:, None] * expected[0].max()
        assert entry.rates / scale == pytest.approx(expected / scale, abs=1e-12)
        assert entry.power == pytest.approx(float(rates.equilibrium.total_energy @ moments.zeroth), rel=1e-11)


def final(name, terms, grid, angles, generators, source, classes=None, comm=MPI.COMM_SELF):
    """u (x, y, angle, cell) of this rank at 2 ps, after steps that end in and outside of the pulse."""
    decomposition = Decomposition(grid, comm, (angles.count, generators[0].equilibrium.cells.size))
    equation = WignerEquation(decomposition, angles, terms, classes)
    schedule = Schedule(plan(0.25, 2.0, [(0.75, 0.03), (2.0, 0.08)], ()), [source])
    vector = equation.create_vector()
    integrate(name, equation, [generators], schedule, comm, lambda number, u: None, vector)
    u = equation.view(vector).u.copy()
    vector.destroy()
    equation.free()
    return u.reshape(decomposition.local_shape), decomposition


def near(values, expected, rel, least):
    """As pytest.approx, which goes through the 1e5 numbers one by one."""
    return bool((np.abs(values - expected) <= np.maximum(rel * np.abs(expected), least)).all())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), list(enumerate(["etd2", "etd3", "etd2_dense", "ars443"])))
def test_integrators_form_the_local_populations(rates, case, generator, number, name):
    """Without drift and loss every point ends with what it formed; with two classes of rates and with one, in turn."""
    grid, angles, formation, classes = case
    one = LocalGenerator(generator.scattering, 0 * generator.loss, generator.light)
    scattering = Scattering(angles, [generator.scattering])
    class_map = classes if (number + grid.dimensions + (rates.equilibrium.temperature == 20.0)) % 2 else None
    source = make(rates.equilibrium, formation, grid, angles, class_map)
    u, _ = final(name, [scattering, source], grid, angles, [one] if class_map is None else [one, one], source, class_map)
    integrals, _ = exact(source, 2.0)
    density = source.profile() * integrals * source.generated(2.0)
    density /= (source.profile() * integrals).sum() * grid.cell_measure
    found = u.sum(axis=(2, 3))
    assert np.abs(found - density).max() < 1e-11 * density.max()
    assert found.sum() * grid.cell_measure == pytest.approx(source.generated(2.0), rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["etd2", "arkimex3"])
def test_classes_form_their_own_spectra(rates, case, generator, name):
    """Points of two classes against a sample with the rates of one alone, to which the norm is the only difference."""
    grid, angles, formation, classes = case
    one = LocalGenerator(generator.scattering, generator.loss, generator.light)
    scattering = Scattering(angles, [generator.scattering])
    source = make(rates.equilibrium, formation, grid, angles, classes)
    mixed, _ = final(name, [scattering, source], grid, angles, [one, one], source, classes)
    for number in (0, 1):
        alone = dataclasses.replace(source, spectra=[source.spectra[number]], class_of_point=None)
        u, _ = final(name, [scattering, alone], grid, angles, [one], alone)
        here = classes == number
        ratio = mixed[here].sum() / u[here].sum()
        assert near(mixed[here], ratio * u[here], rel=1e-9, least=1e-13 * mixed.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["etd2", "etd3"])
def test_folded_and_whole_grids_agree(rates, generator, name):
    grid = SpaceGrid(2, 960.0, (12, 10), "periodic")
    angles, results = Angles(8, half=False), []
    for space in (grid, grid.folded_along()):
        source = make(rates.equilibrium, sum(rates.formation), space, angles)
        assert source.mirrors == {0, 1}
        terms = [Drift(rates.equilibrium, angles, space), Scattering(angles, [generator.scattering]), source]
        results.append(final(name, terms, space, angles, [generator], source)[0])
        assert source.generated(math.inf) == pytest.approx(1, rel=1e-13)
    assert near(results[0][6:, 5:], results[1], rel=1e-9, least=1e-13 * results[1].max())


def slab_problem(folder, *settings):
    path = small_input(folder, space="{dimensions: 1, length: 4 um, cells: 48}")
    return builder.build(loading.load(path, ["space.symmetry=whole", *settings]), MPI.COMM_SELF)


def test_photon_energy_detunes_a_homogeneous_sample(tmp_path):
    """One number: the moments stay closed, one exciton is formed, and less of it late."""
    detuned = slab_problem(tmp_path, "pump.photon_energy=-15 meV", "radiation=off")
    resonant = slab_problem(tmp_path, "pump.photon_energy=0 meV", "radiation=off")
    source, other = detuned.sources[0], resonant.sources[0]
    assert (source.pulse.detuning, other.pulse.detuning) == (15.0, 0.0)
    assert detuned.not_closed == ""
    assert detuned.moments.reference()[-1].population.sum() == pytest.approx(1, abs=1e-7)
    assert source.generated(0.3) > other.generated(0.3) + 0.05
    for problem in (detuned, resonant):
        problem.free()


SPOT = "{gaussian: {peak: -20 meV, fwhm: 600 nm, center: [200 nm, 0 nm]}}"


def test_a_landscape_makes_the_source_local(tmp_path):
    """The light follows the bright exciton at the origin or the energy given; the peak is that of what is formed."""
    plain = slab_problem(tmp_path, "pump.density=1e3/cm^2")
    tilted = slab_problem(tmp_path, "pump.density=1e3/cm^2", f"sample={{energy: {{all: {SPOT}}}}}")
    source, homogeneous = tilted.sources[0], plain.sources[0]
    assert isinstance(source, DetunedSource)
    x = tilted.space.centers(0)[:, None]
    energy, origin = (-20 * np.exp(-4 * math.log(2) * ((place - 200) / 600) ** 2) for place in (x, 0.0))
    assert source.detuning == pytest.approx(energy - origin, abs=2e-3)  # the origin lies between two cells
    assert source.formed().max() == pytest.approx(homogeneous.profile().max() * homogeneous.amplitude, rel=1e-10)
    assert source.amplitude < homogeneous.amplitude
    assert "a pulse's detuning varies in space" in tilted.not_closed
    assert tilted.choose_steps(tilted.moments.reference()).plan.end == 3.0

    pump, build = tilted.config.pump, functools.partial(source_of, tilted, "pump")
    fixed = build(dataclasses.replace(pump, photon_energy=-8.0), tilted.scattering, tilted.space, tilted.offsets)
    assert fixed.detuning == pytest.approx(energy + 8, abs=1e-10)
    offsets = tilted.offsets
    halves = np.arange(48).reshape(48, 1) % 2
    two = dataclasses.replace(offsets, stages=2 * offsets.stages, formation=2 * offsets.formation, class_of_point=halves)
    both = build(pump, tilted.scattering, tilted.space, two)
    assert len(both.spectra) == 2
    assert both.generated(1.0) == pytest.approx(source.generated(1.0), rel=1e-12)
    for problem in (plain, tilted):
        problem.free()


def test_a_uniform_shift_does_not_detune(tmp_path):
    plain, shifted = slab_problem(tmp_path), slab_problem(tmp_path, "sample={energy: {all: 3 meV}}")
    assert shifted.offsets is None
    assert shifted.sources[0].pulse == plain.sources[0].pulse
    for problem in (plain, shifted):
        problem.free()


def test_the_nodes_of_a_sample_are_the_classes_of_its_source(tmp_path):
    """KΛ moves against KK: every class has its own formation rates, those of its node."""
    problem = slab_problem(tmp_path, "sample={energy: {KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}}")
    source, offsets = problem.sources[0], problem.offsets
    assert isinstance(source, DetunedSource)
    assert len(source.spectra) == len(offsets.stages) > 1
    assert np.array_equal(source.class_of_point, offsets.class_of_point)
    assert source.detuning == pytest.approx(np.zeros((48, 1)), abs=1e-9)  # KK is the same everywhere
    for number, rates in enumerate(offsets.formation):
        assert np.array_equal(source.spectrum(0, number), rates)
    assert len({float(rates.sum()) for rates in offsets.formation}) == len(offsets.stages)
    problem.free()


def test_light_above_resonance_has_no_detuning(tmp_path):
    with pytest.raises(InputError, match=r"pump\.photon_energy: found '5.0 meV', expected none, since energy is not resonant"):
        slab_problem(tmp_path, "pump.energy={valley: KK, above: 20 meV}", "pump.photon_energy=5 meV")
