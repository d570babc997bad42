"""Landscapes: the drift's fitted stencil and the force, against exact statements."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import small_input
from mpi4py import MPI

from hpcwigner.integrators.exponential import ETD2
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.momentum.acceleration import REACH, Acceleration
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.rates import generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import builder, loading
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.landscape import Landscape
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.offsets import LocalOffsets
from hpcwigner.terms.term import State


@pytest.fixture(scope="module")
def equilibrium(tmp_path_factory):
    problem = builder.build(loading.load(small_input(tmp_path_factory.mktemp("force")), []), MPI.COMM_SELF)
    yield problem.equilibrium
    problem.free()


def grid_of(dimensions, cells=20, boundary="periodic", length=1000.0):
    return SpaceGrid(dimensions, length, (cells, cells - 2 if dimensions == 2 else 1), boundary)


def hills(grid, valleys, kT, height=5.0):
    """A smooth landscape over the periodic sample, different in each valley, of `height` kT in all."""
    x, y = (2 * np.pi * grid.centers(axis) / grid.length for axis in (0, 1))
    shapes = [np.sin(x + v)[:, None] * (np.cos(y - v) if grid.dimensions == 2 else 1.0) + 0.0 * y for v in range(valleys)]
    return Landscape(0.5 * height * kT * np.array(shapes), kT, grid)


def boltzmann(equilibrium, landscape):
    """u (x, y, cell) of the equilibrium in a landscape."""
    factor = np.exp(-landscape.energy / equilibrium.thermal_energy)[equilibrium.cells.valley_of_cell]
    return np.moveaxis(factor, 0, -1) * equilibrium.population


def transport(equilibrium, angles, landscape):
    decomposition = Decomposition(landscape.grid, MPI.COMM_SELF, (angles.count, equilibrium.cells.size))
    terms = [Drift(equilibrium, angles, landscape.grid, landscape), Force(equilibrium, angles, landscape)]
    return WignerEquation(decomposition, angles, terms)


def dense(diagonals):
    """The matrix with these diagonals."""
    cells = diagonals.shape[1]
    out = np.zeros((cells, cells))
    for d, values in enumerate(diagonals):
        rows = np.flatnonzero(values)
        out[rows, rows + d - REACH] = values[rows]
    return out


def evaluated(equation, u, terms=None):
    out = State(np.zeros(equation.shape), np.zeros((equation.shape[0], 0)))
    for term in equation.terms if terms is None else terms:
        term.add(0.0, State(np.ascontiguousarray(u).reshape(equation.shape), out.fields), out)
    return out.u.reshape(u.shape)


@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "open"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_boltzmann_state_stands_still(equilibrium, dimensions, boundary):
    angles = Angles(8, half=dimensions == 1)
    landscape = hills(grid_of(dimensions, boundary=boundary), len(equilibrium.cells.valleys), equilibrium.thermal_energy)
    equation = transport(equilibrium, angles, landscape)
    u = boltzmann(equilibrium, landscape)[:, :, None, :] * angles.from_harmonics[:, :1]
    drift, both = evaluated(equation, u, equation.terms[:1]), evaluated(equation, u)
    inside = (slice(3, -3), slice(3, -3) if dimensions == 2 else slice(None)) if boundary == "open" else ...
    assert np.abs(both[inside]).max() < 2e-14 * np.abs(drift).max()
    equation.free()


@pytest.mark.parametrize("boundary", ["periodic", "reflecting"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_number_is_conserved_and_work_is_done(equilibrium, dimensions, boundary):
    """Σ E_v u changes by −F·v, Σ ε u by F·v but for what the dissipation in energy does."""
    angles = Angles(8, half=dimensions == 1)
    landscape = hills(grid_of(dimensions, 40, boundary), len(equilibrium.cells.valleys), equilibrium.thermal_energy)
    equation = transport(equilibrium, angles, landscape)
    cells, rng = equilibrium.cells, np.random.default_rng(2)
    u = boltzmann(equilibrium, landscape)[:, :, None, :] * rng.random((angles.count, len(cells.valleys)))[:, cells.valley_of_cell]
    for s in cells.slices:
        u[..., s.stop - 3 : s.stop] = 0.0
    rates = evaluated(equation, u)
    assert abs(rates.sum()) < 1e-13 * np.abs(rates).sum()
    force = evaluated(equation, u, equation.terms[1:])
    forces = np.moveaxis(landscape.forces()[:, cells.valley_of_cell], 1, -1)  # (axis, x, y, cell)
    velocity = np.array([angles.cosine, angles.sine])[: len(forces), :, None] * equilibrium.velocity
    power = np.einsum("axyc,akc,xykc->", forces, velocity, u)
    strength = np.linalg.norm(forces, axis=0)[:, :, None, :]
    middles = np.concatenate([cells.width(v) * (np.arange(n) + 0.5) for v, n in enumerate(cells.counts)])
    dissipated = (dense(Acceleration.from_equilibrium(equilibrium).dissipation) @ (strength * u).sum(axis=(0, 1, 2))) @ middles
    assert abs(dissipated) < 1e-3 * np.abs(force * middles).sum()
    scale = np.abs(force * middles).sum()
    assert (force * middles).sum() == pytest.approx(power - dissipated, abs=1e-13 * scale)
    drift = evaluated(equation, u, equation.terms[:1])
    potential = np.moveaxis(landscape.energy[cells.valley_of_cell], 0, -1)[:, :, None, :]
    assert (drift * potential).sum() == pytest.approx(-power, abs=1e-3 * np.abs(drift * potential).sum())
    equation.free()


def test_the_plane_is_the_slab_for_a_landscape_of_x(equilibrium):
    """Densities integrated over y, with all angles."""
    cells, kT = equilibrium.cells, equilibrium.thermal_energy
    slab, plane = grid_of(1, 24), grid_of(2, 24)
    lines, planes = hills(slab, 3, kT), None
    planes = Landscape(np.repeat(lines.energy, plane.shape[1], axis=2), kT, plane)
    half, whole = Angles(8, half=True), Angles(8, half=False)
    rng = np.random.default_rng(4)
    u = rng.random((24, 1, half.count, cells.size))
    back = np.array([k if k <= 4 else 8 - k for k in range(8)])
    spread = (u / half.multiplicity[:, None])[:, :, back] * rng.random((1, plane.shape[1], 1, 1))
    along, flat = transport(equilibrium, half, lines), transport(equilibrium, whole, planes)
    summed = evaluated(flat, spread).sum(axis=1, keepdims=True)
    folded = np.zeros_like(u)
    for k, image in enumerate(back):
        folded[:, :, image] += summed[:, :, k]
    start = np.zeros_like(u)
    for k, image in enumerate(back):
        start[:, :, image] += spread.sum(axis=1, keepdims=True)[:, :, k]
    expected = evaluated(along, start)
    assert np.abs(folded - expected).max() < 1e-12 * np.abs(expected).max()
    along.free()
    flat.free()


def test_a_turned_force_gives_the_turned_change(equilibrium):
    """In the plane a force turned by an angle cell changes a turned state as the unturned one."""
    angles, cells, kT = Angles(8, half=False), equilibrium.cells, equilibrium.thermal_energy
    grid = grid_of(2, 8, "open")
    u = np.random.default_rng(5).random((*grid.shape, angles.count, cells.size))
    changes = []
    for turn in range(3):
        force = np.array([np.cos(2 * np.pi * turn / 8), np.sin(2 * np.pi * turn / 8)])
        x, y = grid.centers(0)[:, None], grid.centers(1)
        landscape = Landscape(np.repeat(-2e-2 * (force[0] * x + force[1] * y)[None], 3, axis=0), kT, grid)
        equation = transport(equilibrium, angles, landscape)
        forces = equation.terms[1]._force
        forces[...] = 2e-2 * force[None, :, None]  # the discrete force depends on the axis in the order of Δx⁶
        changes.append(np.roll(evaluated(equation, np.roll(u, turn, axis=2), equation.terms[1:]), -turn, axis=2))
        equation.free()
    for change in changes[1:]:
        assert np.abs(change - changes[0]).max() < 1e-12 * np.abs(changes[0]).max()


def test_acceleration_is_exact_where_it_should_be(equilibrium):
    cells, operators = equilibrium.cells, Acceleration.from_equilibrium(equilibrium)

    high, low, loss = map(dense, (operators.raising, operators.lowering, operators.dissipation))
    b, speed, kT = equilibrium.population, equilibrium.velocity, equilibrium.thermal_energy
    assert np.array_equal(high, -low.T)
    assert high @ b == pytest.approx(-speed * b / kT, rel=1e-12)
    assert np.abs(low.sum(axis=0)).max() < 1e-13 * np.abs(low).max()
    assert np.abs(loss.sum(axis=0)).max() < 1e-13 * np.abs(loss).max()
    for s in cells.slices:
        middles = cells.width(cells.valley_of_cell[s.start]) * (np.arange(s.stop - s.start) + 0.5)
        assert (middles @ low[s, s])[:-3] == pytest.approx(-speed[s][:-3], rel=1e-12)
    assert np.abs(loss @ b / b).max() < 1e-12 * np.abs(loss).max()


@pytest.mark.parametrize("order", [6])
def test_forces_converge(equilibrium, order):
    errors = []
    for cells in (24, 48):
        grid = grid_of(1, cells)
        landscape = hills(grid, 3, equilibrium.thermal_energy)
        k = 2 * np.pi / grid.length
        exact = [-2.5 * equilibrium.thermal_energy * k * np.cos(k * grid.centers(0) + v) for v in range(3)]
        errors.append(np.abs(landscape.forces()[0, :, :, 0] - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.4)


def test_mobility_is_that_of_einstein(equilibrium, rates):
    """A weak force on equilibrium: v_d = ½ Σ v (−L_1⁻¹)(−R b) F = F D/kT with the D of Chapman and Enskog, to rounding."""
    equilibrium = rates.equilibrium
    relaxation = generator(rates.intravalley[:2] + rates.intervalley[:2])[1]
    pushed = -dense(Acceleration.from_equilibrium(equilibrium).raising) @ equilibrium.population
    mobility = 0.5 * equilibrium.velocity @ np.linalg.solve(-relaxation, pushed)
    assert mobility == pytest.approx(chapman_enskog(equilibrium, relaxation) / equilibrium.thermal_energy, rel=1e-11)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_steps_at_the_limit_are_stable(tmp_path, dimensions):
    """Power iteration of whole steps in a steep landscape: no growth at the limit, growth at 1.6 times it."""
    space = {1: "{dimensions: 1, length: 600 nm, cells: 24}", 2: "{dimensions: 2, length: 400 nm, cells: [16, 14]}"}[dimensions]
    length = 600 if dimensions == 1 else 400
    hill = f"{{{{cosine: {{{{amplitude: 24 meV, period: {length} nm, angle: {{}} degree}}}}}}}}"
    field = f"[{hill.format(0)}, {hill.format(90)}]" if dimensions == 2 else hill.format(0)
    path = small_input(tmp_path, space=space, integrator="etd2")
    settings = [f"sample.energy.all={field}", "momentum.energy_max=80 meV", "pump=off", "initial=equilibrium"]
    problem = builder.build(loading.load(path, settings), MPI.COMM_SELF)
    equation, limit = problem.equation(MPI.COMM_SELF), problem.largest_step("etd2") / builder.SAFETY
    weight = np.sqrt(problem.equilibrium.population)

    def growth(step, count=240):
        operators = StepOperators(ETD2, [problem.generators[0]], [], step, equation.orders, MPI.COMM_SELF)
        vector = equation.create_vector()
        state, scheme, norms = equation.view(vector), ETD2(equation), []
        state.u[...] = np.random.default_rng(1).standard_normal(equation.shape) * weight
        for _ in range(count // 20):
            for _ in range(20):
                scheme.step(state, 0.0, operators, [])
            norms.append(np.sqrt(((state.u / weight) ** 2).sum()))
            state.u[...] /= norms[-1]
        operators.free()
        vector.destroy()
        return np.exp(np.mean(np.log(norms[len(norms) // 2 :])) / 20)

    assert growth(limit) < 1.001
    assert growth(1.6 * limit) > 1.05
    equation.free()
    problem.free()


def test_detailed_balance_holds_at_the_local_offsets(equilibrium):
    """s_wv/s_vw = exp(−[(E_w − E_v) − (node_w − node_v)]/kT), also where two valleys are level at a node."""
    kT, grid, names = equilibrium.thermal_energy, grid_of(1, 6), equilibrium.cells.valleys
    nodes = np.array([[0.0, -52.0, -30.0], [0.0, -30.0, -30.0], [0.0, -20.0, -30.0]])
    stages = [
        dataclasses.replace(equilibrium, cells=dataclasses.replace(equilibrium.cells, valleys=tuple(
            dataclasses.replace(valley, given=energy) for valley, energy in zip(names, node, strict=True)
        ))) for node in nodes
    ]  # fmt: skip
    energy = np.random.default_rng(3).uniform(-2, 2, (3, 6, 1))
    classes = np.array([[0], [1], [2], [0], [1], [2]])
    local = LocalOffsets(Landscape(energy, kT, grid), tuple(SimpleNamespace(cells=s.cells) for s in stages), classes, ())
    factors, here = local.factors()[:, 0], (energy[:, :, 0] + nodes[0][:, None]).T
    for point in range(6):
        beyond = here[point] - nodes[classes[point, 0]]
        expected = np.exp(-(beyond[:, None] - beyond) / kT)
        assert factors[point] / factors[point].T == pytest.approx(expected, rel=1e-13)
