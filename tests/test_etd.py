"""The exponential schemes on problems whose answer is known."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.integrators.exponential import ETD2, ETD3, SCHEMES, DenseETD2, DenseETD3
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.integrators.semilinear import apply_blocks
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.reference.moments import MomentSystem
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import State


class OneDrift(MomentSystem):
    """Every row drifts by itself: N(u) = μ u."""

    rate = 0.7

    def explicit(self, time, state, out):
        out.u[...] = self.rate * state.u


@pytest.mark.parametrize("scheme", [DenseETD2, DenseETD3])
def test_amplification_is_that_of_the_step(scheme, generator):
    """On an eigenvector of L_1 the step multiplies by amplification(decay, μh)."""
    block = generator.block(1)
    scale = np.sqrt(generator.equilibrium.population)
    values, vectors = np.linalg.eigh(0.5 * (block * scale / scale[:, None] + (block * scale / scale[:, None]).T))
    system, h = OneDrift(generator.equilibrium.velocity, []), 0.1
    operators = StepOperators(scheme, [generator], [], h, system.orders, MPI.COMM_SELF)
    for k in (0, len(values) // 2, len(values) - 1):
        u = np.zeros(system.shape)
        u[0, 1] = vectors[:, k] * scale
        expected = scheme.amplification(np.array(-values[k] * h), np.array(system.rate * h)) * u[0, 1]
        scheme(system).step(State(u, np.zeros((1, 0))), 0.0, operators, [])
        assert u[0, 1] / scale == pytest.approx(expected / scale, abs=1e-10)  # the norm in which eigenvectors are accurate
    operators.free()


@pytest.mark.parametrize("scheme", [ETD2, ETD3])
def test_without_decay_it_is_a_runge_kutta_method(scheme):
    z = 0.1 * np.exp(1j * np.linspace(0, np.pi, 7))
    taylor = sum(z**k / [1, 1, 2, 6][k] for k in range(scheme.order + 1))
    assert scheme.amplification(np.zeros(1), z) == pytest.approx(taylor, rel=1e-13)


def equation_of(generator, cells=(20, 18), boundary="open"):
    angles, grid = Angles(8, half=cells[1] == 1), SpaceGrid(1 if cells[1] == 1 else 2, 3000.0, cells, boundary)
    decomposition = Decomposition(grid, MPI.COMM_SELF, (angles.count, generator.equilibrium.cells.size))
    terms = [Drift(generator.equilibrium, angles, grid), Scattering(angles, [generator.scattering])]
    return WignerEquation(decomposition, angles, terms)


@pytest.mark.parametrize("cells", [(20, 18), (64, 1), (7, 7)])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_drift_goes_into_harmonics_as_in_two_passes(generator, cells, boundary):
    equation = equation_of(generator, cells, boundary)
    points, rows, width = equation.shape
    rng = np.random.default_rng(5)
    u = rng.standard_normal(equation.shape)
    none = np.zeros((points, 0))
    drift, expected = State(np.empty_like(u), none), np.empty((rows, points, 2, width))
    equation.explicit(0.0, State(u, none), drift)
    equation.to_harmonics(drift.u, expected, 0)
    equation.to_harmonics(u, expected, 1)
    seen = []
    for tile in equation.tiles(Tile(rows, 5, 3, width, 0), 0.0, State(u, none)):
        assert np.abs(tile.slot(N) - expected[:, tile.points, 0]).max() <= 1e-13 * np.abs(drift.u).max()
        assert np.abs(tile.slot(U) - expected[:, tile.points, 1]).max() <= 1e-13 * np.abs(u).max() * rows
        seen += [*tile.points]
    assert sorted(seen) == list(range(points))
    equation.free()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_steps_allocate_nothing_of_the_states_size(generator, scheme):
    """Work arrays are made once; a step may only allocate lists of points, and what one edge of the sample needs."""
    import tracemalloc

    equation = equation_of(generator, (60, 60), "periodic")
    integrator = scheme(equation)
    operators = StepOperators(scheme, [generator], [], 0.01, equation.orders, MPI.COMM_SELF)
    state = State(np.ones(equation.shape), np.zeros((equation.shape[0], 0)))
    integrator.step(state, 0.0, operators, [])
    tracemalloc.start()
    integrator.step(state, 0.01, operators, [])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.05 * state.u.nbytes  # NumPy keeps a buffer of 0.2 MB
    operators.free()


def test_uncoupled_parts_give_the_whole_product(generator):
    """Products by parts against the full ones with the same matrices, for several slots and more points than fit a cache."""
    rng = np.random.default_rng(5)
    cells, slots, points = generator.equilibrium.cells.size, 3, 3000
    parts = ((slice(0, cells),), generator.equilibrium.cells.slices)
    blocks = rng.random((2, slots, cells, cells))
    blocks[1][:, np.not_equal.outer(generator.equilibrium.cells.valley_of_cell, generator.equilibrium.cells.valley_of_cell)] = 0.0
    vectors = rng.random((2, points, slots, cells))
    by_parts, expected = np.empty((2, 2, points, cells))
    apply_blocks(blocks.reshape(2, slots * cells, cells), (0, 1), vectors, by_parts, parts)
    apply_blocks(blocks.reshape(2, slots * cells, cells), (0, 1), vectors, expected)
    assert np.abs(by_parts / expected - 1).max() < 1e-12


def test_propagators_keep_uncoupled_valleys_apart(rates, generator):
    """Exactly: what is cut from L does not come back in its functions, and orders 0 and 1 are never cut."""
    cells, equilibrium = rates.cells, rates.equilibrium
    other = np.not_equal.outer(cells.valley_of_cell, cells.valley_of_cell)
    cut = [m for m, parts in enumerate(generator.parts) if len(parts) > 1]
    assert not {0, 1} & set(cut)
    if equilibrium.temperature < 100:
        assert cut
    operators = StepOperators(DenseETD3, [generator], [], 0.1, range(generator.orders), MPI.COMM_SELF)
    for m in cut:
        assert not generator.block(m)[other].any()
        whole = rates.intervalley[m] * np.sqrt(equilibrium.population / equilibrium.population[:, None])
        assert (np.abs(whole) * other).sum(axis=0).max() < 1e-4 * -generator.block(m).diagonal().min()
        for stage in operators.stages:
            for matrix in stage.classes[0].blocks[stage.number][m].reshape(-1, cells.size, cells.size):
                assert not matrix[other].any()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_order_on_the_grid(generator, scheme):
    """Of the whole step, all harmonics and cells, over four step sizes: against ETD3 with steps eight times shorter still."""
    equation = equation_of(generator, (24, 1), "periodic")
    points, rows, _ = equation.shape
    wave = 1 + 0.5 * np.cos(2 * np.pi * np.arange(points) / points)
    start = wave[:, None, None] * (1 + np.arange(rows))[:, None] * generator.equilibrium.population
    rates = np.abs(np.diagonal(generator.block(1))).max()

    def after(method, count):
        operators = StepOperators(method, [generator], [], 20 / rates / count, equation.orders, MPI.COMM_SELF)
        state, integrator = State(start.copy(), np.zeros((points, 0))), method(equation)
        for number in range(count):
            integrator.step(state, number * operators.size, operators, [])
        operators.free()
        return state.u / generator.equilibrium.population

    exact = after(DenseETD3, 512)
    errors = [np.abs(after(scheme, count) - exact).max() for count in (8, 16, 32, 64)]
    orders = -np.diff(np.log2(errors))
    assert (orders > scheme.order - 0.4).all()
    assert orders[-1] > scheme.order - 0.15
    assert errors[-1] < 2e-4 * np.abs(exact).max()
    equation.free()
