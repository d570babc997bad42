"""All terms together: order of the integrators, books of number and energy, limits of the step."""

import dataclasses

import numpy as np
import pytest
from dense import EVERYTHING, advanced, cloud, fields_of, problem_of, right_hand_sides
from mpi4py import MPI

from hpcwigner.observables.fields import Directions, SpatialMomentSums
from hpcwigner.problem.builder import RELAXED, RESOLVED
from hpcwigner.problem.config import StepPhase
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.balance import Balance
from hpcwigner.terms.term import State

FINE = "{dimensions: 1, length: 3 um, cells: 60}"
HILLS = "sample.energy={all: {gaussian: {peak: -8 meV, fwhm: 1 um}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"
SPACES = {
    "slab": "{dimensions: 1, length: 3 um, cells: 32, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 2.4 um, cells: [20, 18], boundary: reflecting}",
}


@pytest.fixture(scope="module", params=["slab", "plane"])
def everything(request, tmp_path_factory):
    """Hot annihilation with a delay, repulsion, a landscape with rates of several nodes, recombination, light, a pulse."""
    problem = problem_of(tmp_path_factory.mktemp("all"), *EVERYTHING, HILLS, space=SPACES[request.param])
    assert len(problem.offsets.stages) > 1
    yield problem
    problem.free()


def start_of(problem, equation):
    """Half of what the pulse forms, moving, with hot excitons on their way back."""
    fields = fields_of(equation)
    fields[:, : equation.books.first] = 1e-3
    return State(cloud(problem, 1e5, 5e-3), fields)


def differences(found, exact, equation):
    """Largest error of u, of the term's own fields, and of each column of the books that is not zero, each of its own scale."""
    first = equation.books.first
    books = np.abs(exact.fields[:, first:]).max(axis=0)
    columns = np.arange(len(books)) % equation.books.columns
    for kind in (columns < equation.books.columns - 1, columns == equation.books.columns - 1):  # numbers, energies
        books[kind & (books < 1e-8 * books[kind].max())] = np.inf  # what is zero but for rounding
    return np.array([
        np.abs(found.u - exact.u).max() / np.abs(exact.u).max(),
        np.abs(found.fields - exact.fields)[:, :first].max() / np.abs(exact.fields[:, :first]).max(),
        (np.abs(found.fields - exact.fields)[:, first:].max(axis=0) / books).max(),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def fine(everything):
    """The state at 0.4 ps, within the pulse, after 640 steps."""
    equation = everything.equation(MPI.COMM_SELF)
    start = start_of(everything, equation)
    return advanced("etd3", equation, everything.local_generators, start, 0.4, 0.4 / 640, everything.sources)


@pytest.mark.slow
@pytest.mark.parametrize("everything", ["slab"], indirect=True)
@pytest.mark.parametrize(("name", "order"), [("etd2", 2), ("etd3", 3), ("arkimex3", 3)])
def test_orders_with_all_terms(everything, fine, name, order):
    """Of the populations, of what waits to come back and of everything in the books."""
    problem, counts = everything, (16, 32, 64, 128)
    equation = problem.equation(MPI.COMM_SELF)
    start, errors = start_of(problem, equation), []
    for count in counts:
        found = advanced(name, equation, problem.local_generators, start, 0.4, 0.4 / count, problem.sources)
        errors.append(differences(found, fine, equation))
    orders = -np.diff(np.log2(errors), axis=0)
    assert orders[-1] == pytest.approx([order] * 3, abs=0.15)
    equation.free()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["etd2", "etd3", "etd2_dense", "arkimex3", "ars443"])
def test_entries_are_the_change_of_number_and_energy(everything, name):
    """At every step of a run from an empty sample through the pulse, with the energy of the repulsion."""
    problem = everything
    equation = problem.equation(MPI.COMM_SELF)
    weights = SpatialMomentSums(equation.decomposition).weights
    balance, seen = Balance(problem, equation.books, equation.decomposition, weights, {}), []

    def check(number, state):
        balance.update(number, state)
        accounts = {cause: np.array(values) for cause, *values in balance.accounts(state)}
        missing, size = accounts.pop("not accounted for"), np.abs(list(accounts.values())).max(axis=0)
        seen.append(np.abs(missing) / np.maximum(size, 1e-300))
        seen[-1][size == 0] = 0
        return accounts

    empty = State(np.zeros(equation.shape), fields_of(equation))
    end = advanced(name, equation, problem.local_generators, empty, 1.0, 0.02, problem.sources, check)
    accounts = check(51, end)
    assert max(number for number, _ in seen) < 1e-12
    assert max(energy for _, energy in seen) < 1e-10
    formed = accounts["source"][0]
    for cause in ("annihilation", "recombination", "radiation"):
        assert -accounts[cause][0] > 1e-4 * formed, cause
    assert abs(balance.accumulators()["interaction"][0]) > 0  # drift lowers the energy of the repulsion
    equation.free()


@pytest.mark.parametrize("moving", [False, True])
def test_rates_by_entry_are_those_of_the_right_hand_side(everything, moving):
    """Number of each valley and all energy, in a state and in one that flows apart, against terms evaluated one by one."""
    problem, time = everything, 0.25
    equation = problem.equation(MPI.COMM_SELF)
    state = start_of(problem, equation)
    if moving:
        x = problem.space.centers(0) / 400
        towards = np.sin(x)[:, None, None, None] * problem.angles.cosine[:, None]
        u = state.u.reshape(equation.decomposition.local_shape) * (1 + 0.5 * towards)
        state = State(np.ascontiguousarray(u.reshape(equation.shape)), state.fields)
    expected = right_hand_sides(problem, time, equation, state)
    generator = problem.local_generators[0]
    changes = equation.changes(time, state, generator, problem.generators[0].light)
    weights = SpatialMomentSums(equation.decomposition).weights
    balance = Balance(problem, equation.books, equation.decomposition, weights, {})
    density = problem.cells.valley_sum(state.u.sum(axis=1))
    entries = balance.entries(changes, density)
    sums, directions = SpatialMomentSums(equation.decomposition), Directions(problem.angles)
    parts = {term.name: term.part for term in problem.terms}
    height = problem.potential(equation.decomposition) + balance._strength * density.sum(axis=1, keepdims=True)
    here = height[:, problem.cells.valley_of_cell] + problem.equilibrium.kinetic_energy
    powers = {name: problem.space.cell_measure * float((here * change.sum(axis=1)).sum()) for name, change in expected.items()}
    scale = max(map(abs, powers.values()))
    assert set(parts.values()) == set(entries) | {"force"}
    for name in expected:
        same = [other for other in expected if parts[other] == parts[name]]
        together = np.ascontiguousarray(sum(expected[other] for other in same))
        number = problem.cells.valley_sum(sums(directions(together)).values)
        there = sums(directions(np.abs(together)))
        sizes = [there.zeroth.sum(), there.second.sum()]
        sizes += [np.sqrt(sizes[0] * sizes[1])] * problem.space.dimensions + [sizes[1]] * problem.space.dimensions
        assert np.abs((entries[parts[name]].rates - number) / np.array(sizes)[:, None]).max() < 1e-10, name
        power = sum(powers[other] for other in same)
        assert entries[parts[name]].power == pytest.approx(power, abs=1e-10 * scale), name
    total = sum(entry.power for entry in entries.values())
    assert total == pytest.approx(sum(powers.values()), abs=1e-10 * scale)
    equation.free()


def with_steps(problem, integrator, size):
    """The problem with steps of `size` [ps] given by hand."""
    time = dataclasses.replace(problem.config.time, steps=(StepPhase(size),), integrator=integrator, end=10 * size)
    output = dataclasses.replace(problem.config.output, series_every=size, fields_every=size, wigner_at=())
    return dataclasses.replace(problem, config=dataclasses.replace(problem.config, time=time, output=output))


@pytest.mark.parametrize("delay", [None, 0.1])
def test_steps_given_by_hand_may_be_inaccurate_but_not_unstable(tmp_path, delay):
    """Longer than the tolerance allows, yet not longer than the annihilation or the delay lasts; the message says which."""
    block = "rate: 0.6 cm^2/s, hot: 0.5, above: 20 meV" + (f", delay: {delay} ps" if delay else "")
    problem = problem_of(tmp_path, f"interaction.annihilation={{{block}}}", "pump.density=4e12 cm^-2", space=FINE)
    limit = RELAXED / max(1.5 * 60 * problem.peak_density, 1 / delay if delay else 0)
    assert problem.largest_step("etd3") == pytest.approx(limit * RESOLVED * 0.01 ** (1 / 3), rel=1e-9)
    assert len(with_steps(problem, "etd3", 0.98 * limit).choose_steps([]).plan.steps) == 10
    found = rf"time\.steps: found a step of .* ps, expected at most {limit:.3g} ps, the shortest time of annihilation at the peak"
    with pytest.raises(InputError, match=found):
        with_steps(problem, "etd3", 1.02 * limit).choose_steps([])
    problem.free()


def test_steps_given_by_hand_are_stable_at_their_limit(tmp_path):
    """The densest place empties without a density below 0."""
    block = "rate: 0.6 cm^2/s, hot: 0.5, above: 20 meV"
    later = "pump={density: 4e12 cm^-2, center: 90 ps}"
    problem = problem_of(tmp_path, f"interaction.annihilation={{{block}}}", later, space=FINE)
    equation, density = problem.equation(MPI.COMM_SELF), []
    size = RELAXED / (1.5 * 60 * problem.peak_density)

    def watch(_, state):
        density.append(state.u.sum(axis=(1, 2)))

    start = cloud(problem, 1e5, problem.peak_density)
    for name in ("etd2", "etd3", "arkimex3"):
        density.clear()
        advanced(name, equation, problem.local_generators, start, 20 * size, size, problem.sources, watch)
        peaks = [n.max() for n in density]
        assert min(n.min() / n.max() for n in density) > -1e-6, name
        assert (np.diff(peaks) < 0).all(), name
    equation.free()
    problem.free()


def test_the_limit_of_the_drift_is_named_where_it_is_the_shorter(tmp_path):
    hot = "temperature=300 K", "momentum={energy_max: 300 meV, energy_step: 12 meV, angles: 8}"
    problem = problem_of(
        tmp_path,
        "interaction.annihilation=1e-6 cm^2/s",
        *hot,
        space="{dimensions: 1, length: 0.4 um, cells: 40, boundary: periodic}",
    )
    with pytest.raises(InputError, match=r"time\.steps: found a step of 0\.5 ps.*the stability limit of the drift on this grid"):
        with_steps(problem, "etd3", 0.5).choose_steps([])
    problem.free()


BAD = {
    "interaction.annihilation={rate: 1 cm^2/s, hot: 0.5, above: 80 meV}":
        r"interaction\.annihilation\.above: found 80 meV, expected an energy below 47 meV",
    "interaction.repulsion=1e-8 meV cm^2": r"space\.cells: found 24, expected at least \d+: the landscape changes by .* kT",
    "scattering.intervalley={off_at: 3 ps}": r"scattering: found off_at, expected on or off: excitons repel each other",
    "momentum.energy_step=12 meV": r"momentum\.energy_step: found 12 meV, .* in a landscape, such as a repulsion makes",
}  # fmt: skip


@pytest.mark.parametrize("setting", BAD)
def test_what_only_the_rates_or_the_grid_tell_is_refused(tmp_path, setting):
    with pytest.raises(InputError, match=BAD[setting]):
        problem_of(tmp_path, "interaction.repulsion=3e-13 meV cm^2", "time.end=6 ps", setting)
