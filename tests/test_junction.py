"""Sharp steps of a landscape: the passage of a face, what it leaves exactly, and its limits."""

import math

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.junction import passage
from hpcwigner.space import faces
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.landscape import Jump, Landscape
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.term import State


def equilibrium_of(couplings, temperature, step, highest):
    low = np.array([valley.energy for valley in couplings.valleys])
    above = max(30.0, 12 * BOLTZMANN * temperature)
    return Equilibrium(EnergyCells.build(couplings.valleys, step, above, (low, low + highest)), temperature)


class Passage:
    """The matrix of a face with what one needs to judge it; arrays (side·angle·cell,)."""

    def __init__(self, equilibrium, angles, heights, axis=0):
        self.equilibrium, self.heights = equilibrium, np.array(heights)
        self.matrix = passage(equilibrium, angles, axis, tuple(heights))
        normal, along = (angles.cosine, angles.sine)[:: 1 if axis == 0 else -1]
        valley, kinetic = equilibrium.cells.valley_of_cell, equilibrium.kinetic_energy
        bottoms = np.array([0 * self.heights, self.heights])[:, None, valley]
        shape = (2, angles.count, len(kinetic))
        self.speed = np.broadcast_to(np.abs(normal)[:, None] * equilibrium.velocity, shape).ravel()
        self.energy = np.broadcast_to(bottoms + kinetic, shape).ravel()
        self.along = np.broadcast_to(along[:, None] * np.sqrt(kinetic), shape).ravel()
        boltzmann = np.exp(-bottoms / equilibrium.thermal_energy) * equilibrium.population
        self.boltzmann = (angles.from_harmonics[:, :1] * boltzmann).ravel()
        stepped = self.heights[valley] != 0
        out = np.array([normal > 0, normal < 0])[:, :, None] & stepped
        self.out, self.into = out.ravel(), out[::-1].ravel()
        self.before = np.broadcast_to(np.arange(2)[:, None, None] == 0, shape).ravel()
        self.flux = self.speed * self.boltzmann

    def through(self, start):
        """Flux in equilibrium from the states `start` of one side to the other, as a sparse matrix (to, from)."""
        crosses = self.matrix.tocoo()
        kept = start[crosses.col] & (self.before[crosses.row] != self.before[crosses.col])
        row, col = crosses.row[kept], crosses.col[kept]
        return row, col, crosses.data[kept] * self.speed[row] * self.boltzmann[col]

    def errors(self, start):
        """Mean and rms over the flux of what a state gains on average: (H in kT, Q_t in √kT)."""
        row, col, flux = self.through(start)
        total, kT = np.bincount(col, flux, len(self.flux)), self.equilibrium.thermal_energy
        for values, unit in ((self.energy, kT), (self.along, math.sqrt(kT))):
            gain = np.bincount(col, flux * (values[row] - values[col]), len(self.flux)) / unit
            square = np.divide(gain**2, total, out=np.zeros_like(gain), where=total > 0)
            yield gain.sum() / total.sum(), math.sqrt(square.sum() / total.sum())


CASES = [(300.0, 8.0), (77.0, 0.9)]
HEIGHTS = (30.0, -20.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("number", [4, 8, 16])
@pytest.mark.parametrize(("temperature", "step"), CASES)
def test_passage_keeps_number_equilibrium_and_detailed_balance(couplings, temperature, step, number, axis):
    equilibrium, angles = equilibrium_of(couplings, temperature, step, 30.0), Angles(number, half=axis == 0)
    face = Passage(equilibrium, angles, HEIGHTS, axis)
    matrix = face.matrix
    assert matrix.data.min() >= -1e-15
    assert not matrix[~face.into].nnz
    assert not matrix[:, ~face.out].nnz
    assert (face.speed @ matrix)[face.out] == pytest.approx(face.speed[face.out], rel=1e-13)
    arrived = matrix @ np.where(face.out, face.boltzmann, 0.0)
    assert np.abs(arrived - face.boltzmann)[face.into].max() < 1e-15 * face.boltzmann.max()
    assert arrived[face.into] == pytest.approx(face.boltzmann[face.into], rel=1e-12)
    image = angles.mirror(axis)  # of motion reversed, since both signs along the face are alike
    states = np.arange(face.out.size).reshape(2, angles.count, -1)
    reversed_state = states[:, image].ravel()
    flux = (matrix.multiply(face.speed[:, None]).multiply(face.boltzmann[None])).tocsr()
    assert abs(flux - flux[reversed_state][:, reversed_state].T).max() < 1e-14 * flux.max()


def test_the_plane_is_the_slab(couplings):
    """Both signs along the face together."""
    equilibrium, half, whole = equilibrium_of(couplings, 77.0, 2.0, 30.0), Angles(8, half=True), Angles(8, half=False)
    cells = equilibrium.cells.size
    u = np.random.default_rng(1).random((2, half.count, cells))
    back = np.array([k if k <= 4 else 8 - k for k in range(8)])
    spread = (u / half.multiplicity[:, None])[:, back]
    along = (passage(equilibrium, half, 0, HEIGHTS) @ u.ravel()).reshape(u.shape)
    flat = (passage(equilibrium, whole, 0, HEIGHTS) @ spread.ravel()).reshape(spread.shape)
    folded = np.zeros_like(u)
    for k, image in enumerate(back):
        folded[:, image] += flat[:, k]
    assert folded == pytest.approx(along, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vanishing_step_is_free_passage(couplings, sign):
    equilibrium, angles = equilibrium_of(couplings, 77.0, 2.0, 0.0), Angles(16, half=True)
    face = Passage(equilibrium, angles, (sign * 1e-12,) * 3)
    free = np.array(np.roll(np.arange(face.out.size), face.out.size // 2))  # the same state on the other side
    top = np.isin(np.arange(equilibrium.cells.size), [s.stop - 1 for s in equilibrium.cells.slices])
    tested = face.into & ~np.broadcast_to(top, (2, angles.count, top.size)).ravel()  # what would fall out of the top stays
    u = np.random.default_rng(1).random(face.out.size)
    assert (face.matrix @ u)[tested] == pytest.approx(u[free][tested], rel=1e-8)


ERRORS = {  # (temperature, cell, angles): flux; then rms of H and Q_t falling, of H and Q_t climbing: measured, rounded up
    (300.0, 8.0, 16): (0.006, 0.003, 0.023, 0.045, 0.21),
    (300.0, 8.0, 32): (0.006, 0.003, 0.012, 0.046, 0.08),
    (77.0, 0.9, 16): (0.011, 0.001, 0.022, 0.011, 0.21),
    (77.0, 0.9, 32): (0.001, 0.001, 0.012, 0.012, 0.08),
    (77.0, 0.25, 64): (0.001, 0.0002, 0.006, 0.002, 0.03),
}


@pytest.mark.parametrize("height", [1.0, 3.0])
@pytest.mark.parametrize(("case", "limits"), ERRORS.items(), ids=str)
def test_errors_of_the_balance(couplings, case, limits, height):
    """H and Q_t by state, and the flux n √(kT/2πM) exp(−ΔE/kT) over the step (Richardson), within 1 % on fine cells."""
    temperature, step, number = case
    kT = BOLTZMANN * temperature
    equilibrium = equilibrium_of(couplings, temperature, step, height * kT)
    face, own = Passage(equilibrium, Angles(number, half=True), (height * kT, 0.0, 0.0)), equilibrium.cells.slices[0]
    population, speed = equilibrium.population[own], equilibrium.velocity[own]
    exact = math.sqrt(population.sum() * (population @ speed**2) / 2 / (2 * math.pi)) * math.exp(-height)
    climbing, falling = face.out & face.before, face.out & ~face.before
    flux, *rms = limits
    assert face.through(climbing)[2].sum() == pytest.approx(exact, rel=flux)
    assert face.through(falling)[2].sum() == pytest.approx(face.flux[falling].sum(), rel=2e-4)  # what falls is not reflected
    measured = [error for start in (falling, climbing) for error in face.errors(start)]
    assert all(abs(mean) < 0.012 and spread < limit for (mean, spread), limit in zip(measured, rms, strict=True))


# ---- ghost cells and the term


def test_ghost_cells_continue_a_parabola_or_a_line():
    """Cell means of 1, s and s² at the distance s inside and, beyond the face, outside."""
    means = [lambda low, p=p: ((low + 1) ** (p + 1) - low ** (p + 1)) / (p + 1) for p in range(3)]
    inside, beyond = ([[mean(low) for mean in means] for low in lows] for lows in ((0, 1, 2), (-1, -2, -3)))
    assert faces.leaving(np.array(inside, dtype=float)) == pytest.approx(np.array(beyond), abs=1e-12)
    at_face = np.array([1.0, 0.0, 0.0])
    assert faces.arriving(at_face, np.array(inside, dtype=float))[:, :2] == pytest.approx(np.array(beyond)[:, :2], abs=1e-12)


def sample_with_jumps(couplings, dimensions, axis, flat=False, temperature=77.0, boundary="reflecting", jumps=(8,)):
    """(equilibrium, angles, landscape): hills of a few kT that differ by valley, and sharp steps."""
    equilibrium = equilibrium_of(couplings, temperature, 4.0, 40.0)
    grid = SpaceGrid(dimensions, 1000.0, (20, 18 if dimensions == 2 else 1), boundary)
    x, y = (2 * np.pi * grid.centers(a) / grid.length for a in (0, 1))
    smooth = [3 * np.sin(x + v)[:, None] + (2 * np.cos(y - v) if dimensions == 2 else 0.0) + 0 * y for v in range(3)]
    energy = (0.0 if flat else 1.0) * np.array(smooth)
    steps = tuple(Jump(axis, face, tuple((-1) ** i * np.array(HEIGHTS))) for i, face in enumerate(jumps))
    for jump in steps:
        np.moveaxis(energy, 1 + axis, 1)[:, jump.face :] += np.array(jump.heights)[:, None, None]
    return equilibrium, Angles(8, half=dimensions == 1), Landscape(energy, equilibrium.thermal_energy, grid, steps)


def equation_of(equilibrium, angles, landscape, comm=MPI.COMM_SELF):
    decomposition = Decomposition(landscape.grid, comm, (angles.count, equilibrium.cells.size))
    drift, force = Drift(equilibrium, angles, landscape.grid, landscape), Force(equilibrium, angles, landscape)
    return WignerEquation(decomposition, angles, [drift, Junction(equilibrium, angles, landscape), force])


def evaluated(equation, u, terms=None):
    out = State(np.zeros(equation.shape), np.zeros((equation.shape[0], 0)))
    for term in equation.terms if terms is None else terms:
        term.add(0.0, State(np.ascontiguousarray(u).reshape(equation.shape), out.fields), out)
    return out.u.reshape(u.shape)


def boltzmann(equilibrium, angles, landscape):
    factor = np.exp(-landscape.energy / equilibrium.thermal_energy)[equilibrium.cells.valley_of_cell]
    return (np.moveaxis(factor, 0, -1) * equilibrium.population)[:, :, None, :] * angles.from_harmonics[:, :1]


@pytest.mark.parametrize("jumps", [(8,), (8, 11)])
@pytest.mark.parametrize(("dimensions", "axis"), [(1, 0), (2, 0), (2, 1)])
def test_equilibrium_stands_still_and_number_is_kept(couplings, dimensions, axis, jumps):
    """Beside the face too, relative to what is there; in each valley by itself."""
    parts = sample_with_jumps(couplings, dimensions, axis, jumps=jumps)
    equation, rest = equation_of(*parts), boltzmann(*parts)
    drift = evaluated(equation, rest, equation.terms[:1])
    assert np.abs(evaluated(equation, rest) / rest).max() < 1e-13 * np.abs(drift / rest).max()
    u = rest * np.random.default_rng(1).random(rest.shape)
    change = evaluated(equation, u)
    for own in parts[0].cells.slices:
        assert abs(change[..., own].sum()) < 1e-14 * np.abs(change[..., own]).sum()
    junction = evaluated(equation, u, equation.terms[1:2])
    assert not junction[..., parts[0].cells.slices[2]].any()  # the valley without a step
    beside = np.zeros(parts[2].grid.shape, dtype=bool)
    for face in jumps:
        np.moveaxis(beside, axis, 0)[face - 3 : face + 3] = True
    assert junction[beside].any()
    assert not junction[~beside].any()
    equation.free()


def test_a_valley_without_a_step_drifts_freely(couplings):
    """Bit by bit as without the jump."""
    equilibrium, angles, landscape = sample_with_jumps(couplings, 1, 0)
    free = Landscape(landscape.smooth, landscape.thermal_energy, landscape.grid)
    u, own = np.random.default_rng(1).random((20, 1, angles.count, equilibrium.cells.size)), equilibrium.cells.slices[2]
    changes = []
    for here in (landscape, free):
        equation = equation_of(equilibrium, angles, here) if here.jumps else None
        drift = Drift(equilibrium, angles, here.grid, here) if equation is None else equation.terms[0]
        if equation is None:
            equation = WignerEquation(
                Decomposition(here.grid, MPI.COMM_SELF, (angles.count, equilibrium.cells.size)), angles, [drift]
            )
        changes.append(evaluated(equation, u, [t for t in equation.terms if not isinstance(t, Force)])[..., own])
        equation.free()
    assert np.abs(changes[0] - changes[1]).max() <= 1e-12 * np.abs(changes[1]).max()


def advanced(equation, u, time, step):
    """Runge-Kutta of order 3 with drift and junction."""
    terms = equation.terms[:2]
    for _ in range(round(time / step)):
        k1 = evaluated(equation, u, terms)
        k2 = evaluated(equation, u + 0.5 * step * k1, terms)
        u = u + step / 6 * (k1 + 4 * k2 + evaluated(equation, u + step * (2 * k2 - k1), terms))
    return u


@pytest.mark.slow
def test_packets_are_refracted_or_reflected(couplings):
    """Head on, down a step of 30 meV: all pass, faster, H as before. Up with 20 meV: all come back as they were."""
    equilibrium = equilibrium_of(couplings, 77.0, 4.0, 40.0)
    angles, grid = Angles(16, half=True), SpaceGrid(1, 2000.0, (160, 1), "open")
    x, cells = grid.centers(0), equilibrium.cells
    energy = np.zeros((3, *grid.shape))
    energy[0, 80:] = -30.0
    landscape = Landscape(energy, equilibrium.thermal_energy, grid, (Jump(0, 80, (-30.0, 0.0, 0.0)),))
    equation = equation_of(equilibrium, angles, landscape)
    cell = int(np.abs(equilibrium.kinetic_energy[cells.slices[0]] - 20).argmin())
    kinetic, speed = equilibrium.kinetic_energy[cell], equilibrium.velocity[cell]
    time, step = 600 / speed, 0.4 * grid.spacing[0] / equilibrium.velocity.max()
    step = time / math.ceil(time / step)

    def packet(center, direction, at):
        u = np.zeros((160, 1, angles.count, cells.size))
        u[:, 0, direction, at] = np.exp(-(((x - center) / 80) ** 2))
        return u

    start = packet(-300.0, 0, cell)
    end = advanced(equation, start, time, step)
    assert end.sum() == pytest.approx(start.sum(), rel=1e-6)  # but for what leaves through the open edges
    beyond = end[80:].sum(axis=(1, 2))
    assert beyond.sum() == pytest.approx(start.sum(), rel=1e-4)
    assert beyond.sum(axis=0) @ equilibrium.kinetic_energy / beyond.sum() == pytest.approx(kinetic + 30.0, abs=0.1)
    expected = 300.0 * math.sqrt((kinetic + 30) / kinetic)  # after half of the time
    assert x[80:] @ beyond.sum(axis=1) / beyond.sum() == pytest.approx(expected, rel=5e-3)
    back = advanced(equation, packet(300.0, angles.count - 1, cell), time, step)
    assert np.abs(back - packet(300.0, 0, cell)).max() < 5e-3
    equation.free()


def test_two_mixed_reservoirs_relax_at_the_rate_of_richardson(couplings):
    """Mixed and in equilibrium inside at all times: n √(kT/2πM) (1/L_high + exp(−ΔE/kT)/L_low) within 1 %, n_2/n_1 as it must."""
    kT, length = BOLTZMANN * 77.0, 600.0
    equilibrium = equilibrium_of(couplings, 77.0, 0.9, 2 * kT)
    angles, grid, height = Angles(32, half=True), SpaceGrid(1, length, (12, 1), "reflecting"), 2 * kT
    energy = np.zeros((3, *grid.shape))
    energy[0, 8:] = height
    landscape = Landscape(energy, kT, grid, (Jump(0, 8, (height, 0.0, 0.0)),))
    equation, own = equation_of(equilibrium, angles, landscape), equilibrium.cells.slices[0]
    shares = np.zeros((angles.count, equilibrium.cells.size))
    shares[:, own] = angles.from_harmonics[:, :1] * equilibrium.population[own] / equilibrium.population[own].sum()
    matrix = np.zeros((2, 2))
    for side, (cells, here) in enumerate(((8, slice(0, 8)), (4, slice(8, 12)))):
        u = np.zeros((12, 1, *shares.shape))
        u[here] = shares / cells
        change = evaluated(equation, u, equation.terms[:2]).sum(axis=(1, 2, 3))
        matrix[:, side] = change[:8].sum(), change[8:].sum()
    values, vectors = np.linalg.eig(matrix)
    population, speed = equilibrium.population[own], equilibrium.velocity[own]
    thermal = math.sqrt((population @ speed**2) / population.sum() / 2 / (2 * math.pi))
    assert -values.min() == pytest.approx(thermal / length * (12 / 4 + 12 / 8 * math.exp(-2)), rel=0.01)
    assert abs(values.max()) < 1e-13 * abs(values.min())
    rest = vectors[:, values.argmax()]
    assert rest[1] / rest[0] == pytest.approx(0.5 * math.exp(-2), rel=1e-12)
    equation.free()
