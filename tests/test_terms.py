"""The list of terms: right-hand sides, budgets, classes of points, auxiliary fields, symmetries."""

import dataclasses

import numpy as np
import pytest
from helpers import small_input
from mpi4py import MPI
from scipy.integrate import solve_ivp

from hpcwigner.integrators.exponential import ETD2, ETD3, SCHEMES
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.steps import Step
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.observables.budget import Entry
from hpcwigner.observables.fields import Directions, SpatialMomentSums
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.balance import Balance
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import State, Term

SPACES = {"slab": "{dimensions: 1, length: 4 um, cells: 24}", "plane": "{dimensions: 2, length: 3.6 um, cells: [20, 18]}"}


@pytest.fixture(scope="module", params=["slab", "plane"])
def problem(request, tmp_path_factory):
    """Every shipped kind of term on a small grid, not folded."""
    path = small_input(tmp_path_factory.mktemp("terms"), space=SPACES[request.param])
    settings = ["recombination.lifetime={KK: 3 ps, KΛ: 7 ps}", "space.symmetry=whole"]
    problem = builder.build(loading.load(path, settings), MPI.COMM_SELF)
    yield problem
    problem.free()


def cloud(problem, equation, seed=3):
    """A smooth positive state in the middle of the sample, different in every cell and direction."""
    rng = np.random.default_rng(seed)
    grid, shape = problem.space, equation.decomposition.local_shape
    profile = grid.gaussian(6e4)[:, :, None, None]
    u = profile * rng.random(shape[2:]) * (1 + 0.1 * rng.random((*shape[:2], 1, 1)) * (profile > 1e-3 * profile.max()))
    return np.ascontiguousarray(u.reshape(equation.shape))


def right_hand_side(term, time, equation, u):
    out = State(np.zeros_like(u), np.zeros((len(u), equation.field_count)))
    term.add(time, State(u, np.zeros_like(out.fields)), out)
    return out.u


def test_every_term_books_what_it_does(problem):
    """Entries from the moments against number, second moment and energy of the right-hand side on the grid itself."""
    equation = problem.equation(MPI.COMM_SELF)
    u, time = cloud(problem, equation), 0.25
    sums, directions = SpatialMomentSums(equation.decomposition), Directions(problem.angles)
    moments = sums(directions(u))
    assert {term.name for term in problem.terms} == {"drift", "scattering", "source", "radiation", "recombination"}
    for term in problem.terms:
        entry = term.entry(time, moments)
        change = sums(directions(right_hand_side(term, time, equation, u)))
        valley_sum = problem.cells.valley_sum
        scale = np.abs(valley_sum(np.abs(change.zeroth))).max() + moments.zeroth.sum()  # drift moves excitons, it makes none
        assert entry.number == pytest.approx(valley_sum(change.zeroth), abs=1e-12 * scale), term.name
        tolerance = 2e-3 if term.name in ("drift", "source") else 1e-9  # the stencil, and the Gaussian on a coarse grid
        expected = valley_sum(change.second)
        scale = valley_sum(np.abs(change.second)).max()
        assert entry.second == pytest.approx(expected, abs=tolerance * scale), term.name
        power = float(problem.equilibrium.total_energy @ change.zeroth)
        scale = float(np.abs(problem.equilibrium.total_energy) @ np.abs(change.zeroth))
        assert entry.power == pytest.approx(power, abs=1e-9 * scale + 1e-12), term.name
    equation.free()


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_a_step_follows_the_sum_of_all_terms(problem, scheme):
    """(u₊ − u)/h tends to Σ add as h does, at first order: no term is left out or counted twice."""
    equation = problem.equation(MPI.COMM_SELF)
    start, t = cloud(problem, equation), 0.25
    total = sum(right_hand_side(term, t, equation, start) for term in problem.terms)
    errors = []
    for h in (4e-5, 2e-5, 1e-5):
        spectra = [[source.spectrum(0)] for source in problem.sources]
        operators = StepOperators(scheme, [problem.generators[0]], spectra, h, equation.orders, MPI.COMM_SELF)
        vector = equation.create_vector()
        state = equation.view(vector)
        state.u[...] = start
        scheme(equation).step(state, t, operators, [source.polynomial(t, h) for source in problem.sources])
        errors.append(np.abs((state.u - start) / h - total).max() / np.abs(total).max())
        operators.free()
        vector.destroy()
    assert errors[2] < 1e-2
    assert np.diff(np.log2(errors)) == pytest.approx([-1, -1], abs=0.1)
    equation.free()


@pytest.fixture(scope="module", params=["slab", "plane"])
def hilly(request, tmp_path_factory):
    """The same in a landscape that moves KΛ against the others, so that pulse and rates differ from place to place."""
    path = small_input(tmp_path_factory.mktemp("hilly"), space=HILLY_SPACES[request.param])
    settings = ["recombination.lifetime={KK: 3 ps, KΛ: 7 ps}", "space.symmetry=whole", f"sample.energy={HILLS}"]
    problem = builder.build(loading.load(path, settings), MPI.COMM_SELF)
    yield problem
    problem.free()


HILLY_SPACES = {
    "slab": "{dimensions: 1, length: 3 um, cells: 36, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 2.4 um, cells: [24, 20], boundary: reflecting}",
}
HILLS = "{all: {gaussian: {peak: -8 meV, fwhm: 1 um}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"


def right_hand_sides(problem, time, equation, u):
    """By name; scattering takes at each point the rates of its node, and the rest of them."""
    changes = {term.name: right_hand_side(term, time, equation, u) for term in problem.terms}
    classes, rest = problem.offsets.class_of_point.ravel(), changes["scattering"]  # the later one: OffsetScattering
    changes["scattering"] = rest.copy()
    for number, stage in enumerate(problem.offsets.stages):
        at_node = right_hand_side(Scattering(problem.angles, [stage]), time, equation, u)
        changes["scattering"][classes == number] += at_node[classes == number]
    return changes


def outward(problem, equation):
    """A cloud that flows apart, uphill, beside the origin."""
    grid, angles = problem.space, problem.angles
    x, y = (grid.centers(axis) / 250 for axis in (0, 1))
    flow = np.sin(x + 0.4)[:, None, None] * angles.cosine + np.sin(y - 0.2)[:, None] * angles.sine * (grid.dimensions - 1)
    u = cloud(problem, equation).reshape(equation.decomposition.local_shape) * (1 + 0.4 * flow[..., None])
    return np.ascontiguousarray(u.reshape(equation.shape))


def test_every_term_books_what_it_does_in_a_landscape(hilly):
    """Change of each valley and of the kinetic energy at each point, and of the light, against the right-hand sides."""
    problem, equation = hilly, hilly.equation(MPI.COMM_SELF)
    u, time = outward(problem, equation), 0.25
    expected = right_hand_sides(problem, time, equation, u)
    light = problem.generators[0].light
    state = State(u, np.zeros((len(u), equation.field_count)))
    changes = equation.changes(time, state, problem.local_generators[0], light)
    names = [name for name, _ in equation.books.entries]
    assert set(names) == {"drift", "force", "scattering", "source", "radiation", "recombination"}
    assert len(problem.offsets.stages) > 1
    assert names.count("scattering") == 2
    energy, number = problem.equilibrium.kinetic_energy, problem.cells.valley_sum
    for name, change in expected.items():
        booked = sum(changes.entries[i] for i, other in enumerate(names) if other == name)
        isotropic, size = change.sum(axis=1), np.abs(change).sum(axis=(1, 2)).max() + 1e-300
        assert np.abs(booked[:, :-1] - number(isotropic)).max() < 1e-13 * size, name
        assert np.abs(booked[:, -1] - isotropic @ energy).max() < 1e-12 * size * energy.max(), name
        assert np.abs(booked).max() > 1e-6 * size, name  # it is there at all
    total = sum(expected.values()).sum(axis=1)
    assert np.abs(changes.light - total @ light).max() < 1e-12 * np.abs(total @ light).max()
    balance = Balance(problem, equation.books, equation.decomposition, SpatialMomentSums(equation.decomposition).weights, {})
    entries = balance.entries(changes, problem.cells.valley_sum(u.sum(axis=1)))
    sums, directions = SpatialMomentSums(equation.decomposition), Directions(problem.angles)
    everything = number(sums(directions(np.ascontiguousarray(sum(expected.values())))).values)
    by_entries = sum(entry.rates for entry in entries.values())
    assert by_entries == pytest.approx(everything, abs=1e-10 * np.abs(everything).max())
    height = problem.offsets.landscape.energy.reshape(len(problem.cells.valleys), -1)[problem.cells.valley_of_cell].T
    power = float(((height + problem.equilibrium.total_energy) * total).sum()) * problem.space.cell_measure
    assert sum(entry.power for entry in entries.values()) == pytest.approx(power, rel=1e-10)
    equation.free()


class OneStep:
    """A schedule of a single step at 0.25 ps, in the middle of the pulse."""

    start = 0.25

    def __init__(self, size, sources):
        self.steps, self.end = [Step(self.start, size, 0)], self.start + size
        self._polynomials = tuple(source.polynomial(self.start, size) for source in sources)

    def sources(self, number):
        return self._polynomials

    def time_after(self, number):
        return self.end if number == 0 else self.start

    def size_after(self, number):
        return self.steps[0].size


@pytest.mark.parametrize("name", [*SCHEMES, "arkimex3"])
def test_a_step_in_a_landscape_follows_the_sum_of_all_terms(hilly, name):
    """As above, with the rates of each point's node, the rest of them, the force and a pulse that differs from place to place."""
    equation = hilly.equation(MPI.COMM_SELF)
    start = cloud(hilly, equation)
    changes = right_hand_sides(hilly, OneStep.start, equation, start)
    total, found = sum(changes.values()), []
    for h in (4e-5, 2e-5, 1e-5):
        vector = equation.create_vector()
        state = equation.view(vector)
        state.u[...] = start
        schedule = OneStep(h, hilly.sources)
        integrate(name, equation, hilly.local_generators, schedule, MPI.COMM_SELF, lambda number, u: None, vector)
        found.append((equation.view(vector).u - start) / h)
        vector.destroy()
    errors = [np.abs(change - total).max() / np.abs(total).max() for change in found]
    assert errors[2] < 1e-2
    assert np.diff(np.log2(errors)) == pytest.approx([-1, -1], abs=0.1)
    for part, change in changes.items():  # What remains at h = 0 has nothing of any of them
        left = 2 * found[2] - found[1] - total
        assert abs((left * change).sum()) < 1e-3 * (change**2).sum(), part
    equation.free()


def advanced(equation, generators, start, h, steps, scheme=ETD2, spectra=(), fields=None):
    operators = StepOperators(scheme, generators, spectra, h, equation.orders, MPI.COMM_SELF)
    vector = equation.create_vector()
    state = equation.view(vector)
    state.u[...] = start
    if fields is not None:
        state.fields[...] = fields
    integrator = scheme(equation)
    for i in range(steps):
        integrator.step(state, i * h, operators, [])
    result = State(state.u.copy(), state.fields.copy())
    operators.free()
    vector.destroy()
    return result


def test_classes_of_points_have_their_own_rates(problem):
    """Points of two classes, interleaved: each evolves as in a sample of its class alone (without drift), to the last bits."""
    generator = problem.generators[0]
    slower = LocalGenerator(generator.scattering, 3 * generator.loss, generator.light)
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    classes = np.arange(np.prod(problem.space.shape)).reshape(problem.space.shape) % 3 % 2
    both = WignerEquation(decomposition, problem.angles, [problem.scattering], classes)
    alone = WignerEquation(decomposition, problem.angles, [problem.scattering])
    start = cloud(problem, both)
    mixed = advanced(both, [generator, slower], start, 0.05, 3).u
    for number, one in enumerate((generator, slower)):
        expected = advanced(alone, [one], start, 0.05, 3).u
        members = classes.ravel() == number
        assert members.any()
        allowed = np.maximum(1e-11 * np.abs(expected), 1e-18 * np.abs(start).max())
        assert (np.abs(mixed - expected) <= allowed)[members].all()
        assert not np.allclose(mixed[~members], expected[~members], rtol=1e-9, atol=0)


def test_one_class_of_all_points_is_the_default(problem):
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    terms = [term for term in problem.terms if term.name in ("drift", "scattering")]
    numbered = WignerEquation(decomposition, problem.angles, terms, np.zeros(problem.space.shape, dtype=np.int64))
    start = cloud(problem, numbered)
    found = advanced(numbered, [problem.generators[0]], start, 0.01, 2).u
    expected = advanced(problem.equation(MPI.COMM_SELF), [problem.generators[0]], start, 0.01, 2, spectra=[]).u
    assert (np.abs(found - expected) <= np.maximum(1e-12 * np.abs(expected), 1e-18)).all()


class Trap(Term):
    """Catches excitons of every cell at a rate that varies in time, and releases them isotropically into one cell."""

    name = part = "trap"
    field_count = 1
    why_not_closed = "a trap holds excitons"
    catch, release, frequency = 0.8, 0.5, 3.0

    def __init__(self, problem):
        self.share, self.valleys = problem.angles.from_harmonics[:, 0], len(problem.cells.valleys)

    def rate(self, time):
        return self.catch * (1 + np.sin(self.frequency * time))

    def add(self, time, state, out):
        caught, trapped = self.rate(time), state.fields[:, self.first_field]
        out.u[...] -= caught * state.u
        out.u[:, :, 0] += self.release * trapped[:, None] * self.share
        out.fields[:, self.first_field] += caught * state.u.sum(axis=(1, 2)) - self.release * trapped

    def entry(self, time, moments):
        return Entry(np.zeros((len(moments.values), self.valleys)), 0.0)


@pytest.mark.parametrize(("scheme", "order"), [(ETD2, 2), (ETD3, 3)])
def test_auxiliary_fields_are_advanced_at_full_order(problem, scheme, order):
    """Number in the trap against an independent ODE solver; caught and free excitons together are conserved."""
    trap = Trap(problem)
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    equation = WignerEquation(decomposition, problem.angles, [problem.scattering, trap])
    without_loss = LocalGenerator(problem.generators[0].scattering, 0 * problem.generators[0].loss, problem.generators[0].light)
    start = cloud(problem, equation)
    free = start.sum(axis=(1, 2))
    fields = (0.3 * free)[:, None]

    def slope(t, y):
        moved = trap.rate(t) * y[0] - trap.release * y[1]
        return [-moved, moved]

    exact = solve_ivp(slope, (0, 1), [1.0, 0.3], rtol=1e-12, atol=1e-14).y[1, -1]
    errors, steps = [], (5, 10, 20, 40)
    for count in steps:
        state = advanced(equation, [without_loss], start, 1 / count, count, scheme, fields=fields)
        assert state.u.sum(axis=(1, 2)) + state.fields[:, 0] == pytest.approx(1.3 * free, rel=1e-11)
        errors.append(np.abs(state.fields[:, 0] / free - exact).max())
    assert -np.diff(np.log2(errors))[-2:] == pytest.approx([order, order], abs=0.25)


def test_other_explicit_terms_join_the_fused_drift(problem):
    """Drift and a second explicit term, in one pass into harmonics, against their sum term by term."""
    terms = [*problem.terms, Trap(problem)]
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    equation = WignerEquation(decomposition, problem.angles, terms)
    u = cloud(problem, equation)
    points, rows, cells = equation.shape
    fields = np.random.default_rng(1).random((points, 1))
    out = State(np.empty_like(u), np.empty_like(fields))
    equation.explicit(0.4, State(u, fields), out)
    expected = np.zeros((rows, points, 2, cells))
    equation.to_harmonics(out.u, expected, 0)
    equation.to_harmonics(u, expected, 1)
    scale = np.abs(expected[:, :, 0]).max()
    for tile in equation.tiles(Tile(rows, 7, 2, cells, 1), 0.4, State(u, fields)):
        here = tile.points
        np.testing.assert_allclose(tile.slot(N), expected[:, here, 0], rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(tile.slot(U), expected[:, here, 1], rtol=0, atol=1e-13 * np.abs(u).max() * rows)
        assert tile.fields[N, : len(here)] == pytest.approx(out.fields[here])
        assert tile.fields[U, : len(here)] == pytest.approx(fields[here])


def test_folding_is_the_intersection_of_the_terms_mirrors(problem):
    config = dataclasses.replace(problem.config, space=dataclasses.replace(problem.config.space, symmetry="auto"))
    assert any(builder.space_grid(config, 1).folded)
    assert not any(builder.space_grid(config, 1, frozenset()).folded)
    folded = dataclasses.replace(config, space=dataclasses.replace(config.space, symmetry="folded"))
    with pytest.raises(InputError, match=r"space\.symmetry: found folded, expected whole: the state is not symmetric"):
        builder.space_grid(folded, 1, frozenset())


def test_a_term_that_opens_the_moments_is_named(problem):
    opened = dataclasses.replace(problem, terms=(*problem.terms, Trap(problem)))
    assert problem.not_closed == ""
    assert "trap" in opened.not_closed
