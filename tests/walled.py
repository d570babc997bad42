"""Samples with walls for the tests: rates at 300 K, the equation of drift and scattering, whole steps, and an exact slab."""

import dataclasses

import numpy as np
import scipy.linalg
from mpi4py import MPI

from hpcwigner.integrators.exponential import ETD3
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.stencil import stable_step
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.term import State


def local_generator(couplings, angles=8, step=8.0, top=160.0, **processes):
    """Scattering at 300 K, with `processes` off that are False; its memory is released with `shared.free()` of its scattering."""
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, step, top), 300.0)
    rates = Rates.build(couplings, equilibrium, angles // 2, bright_valley=0, comm=MPI.COMM_SELF)
    stage, none = ScatteringStage.build(rates, **processes), np.zeros(equilibrium.cells.size)
    rates.free()
    return LocalGenerator(stage, none, none)


@dataclasses.dataclass
class Sample:
    """Drift and scattering, and the force where there is a landscape, on a grid."""

    generator: LocalGenerator
    grid: object
    comm: MPI.Intracomm | None = None  # One rank without it
    landscape: object = None
    scheme: type = ETD3
    part: float = 0.9  # Of the longest stable step
    nodes: tuple | None = None  # Of each rank; the real ones without it

    def __post_init__(self):
        self.comm = self.comm or MPI.COMM_SELF
        self.angles = Angles(2 * (self.generator.orders - 1), half=self.grid.dimensions == 1)
        equilibrium = self.equilibrium = self.generator.equilibrium
        self.decomposition = Decomposition(self.grid, self.comm, (self.angles.count, equilibrium.cells.size), self.nodes)
        self.drift = Drift(equilibrium, self.angles, self.grid, self.landscape)
        terms = [self.drift, Scattering(self.angles, [self.generator.scattering])]
        rate = self.drift.courant_rate()
        if self.landscape is not None:
            terms.append(Force(equilibrium, self.angles, self.landscape))
            rate = rate + terms[-1].courant_rate()
        self.equation = WignerEquation(self.decomposition, self.angles, terms)
        self.step = self.part * stable_step(self.scheme.amplification, rate, self.generator.out_rates[1:].min(axis=0))

    def at_rest(self, profile=1.0):
        """The equilibrium with a profile (x, y): (x, y, angle, cell) of this rank."""
        weight = np.ones((self.equilibrium.cells.size, *self.grid.shape)) * profile
        if self.landscape is not None:
            weight = (
                weight * np.exp(-self.landscape.energy / self.landscape.thermal_energy)[self.equilibrium.cells.valley_of_cell]
            )
        u = np.moveaxis(weight, 0, -1)[:, :, None] * self.angles.from_harmonics[:, :1] * self.equilibrium.population
        return np.ascontiguousarray(self.decomposition.local(u))

    def change(self, u):
        """Rate of change by the drift, shape of `u` (x, y, angle, cell)."""
        out = State(np.zeros(self.equation.shape), np.zeros((self.equation.shape[0], 0)))
        self.drift.add(0.0, State(np.ascontiguousarray(u).reshape(self.equation.shape), out.fields), out)
        return out.u.reshape(u.shape)

    def steps(self, u, count):
        """u (x, y, angle, cell) after each of `count` steps, one array that is overwritten."""
        operators = StepOperators(self.scheme, [self.generator], [], self.step, self.equation.orders, self.comm)
        state = State(u.reshape(self.equation.shape).copy(), np.zeros((self.equation.shape[0], 0)))
        integrator = self.scheme(self.equation)
        self.equation.discard_sent()
        for _ in range(count):
            integrator.step(state, 0.0, operators, ())
            yield state.u.reshape(u.shape)
        operators.free()

    def after(self, u, count):
        """u after `count` steps."""
        *_, last = self.steps(u, count)
        return last

    def decay(self, u, time, valley=None, over=20):
        """Decay rate of the population, of one valley or all, in the last steps of a run of length `time` [ps]."""
        cells = slice(None) if valley is None else self.equilibrium.cells.slices[valley]
        numbers = [np.log(v[..., cells].sum()) for v in self.steps(u, round(time / self.step))]
        return (numbers[-1 - over] - numbers[-1]) / (over * self.step)

    def free(self):
        self.equation.free()


def returned(equilibrium, angles, valley, surface, outward):
    """The matrix (angle, cell, angle, cell) of what a surface returns in one valley, direction by direction."""
    cells = equilibrium.cells.slices[valley]
    speed, p, mirror = equilibrium.velocity[cells], equilibrium.population[cells], angles.mirror(0)
    at_rest = angles.from_harmonics[:, :1] * p
    normal = outward[:, None] * speed
    emitted = sum(-normal[k] @ at_rest[k] for k in np.flatnonzero(outward < 0))
    matrix = np.zeros((angles.count, len(p), angles.count, len(p)))
    for k in np.flatnonzero(outward < 0):
        matrix[k, :, mirror[k]] += surface.reflectivity * (1 - surface.diffuse) * np.eye(len(p))
        for other in np.flatnonzero(outward > 0):
            matrix[k, :, other] += surface.reflectivity * surface.diffuse * np.outer(at_rest[k], normal[other]) / emitted
    return matrix


def exact_decay(generator, angles, valley, length, surface, nodes=20):
    """Lowest decay rate [1/ps] in a slab of one valley between two equal surfaces, by Chebyshev collocation in x."""
    cells = generator.equilibrium.cells.slices[valley]
    speed = generator.equilibrium.velocity[cells]
    x = np.cos(np.pi * np.arange(nodes + 1) / nodes)  # from the upper end on
    ends = np.where(np.arange(nodes + 1) % nodes == 0, 2.0, 1.0) * (-1.0) ** np.arange(nodes + 1)
    derivative = np.outer(ends, 1 / ends) / (x[:, None] - x + np.eye(nodes + 1))
    derivative -= np.diag(derivative.sum(axis=1))
    blocks = np.array([generator.block(m)[cells, cells] for m in angles.orders])
    scattering = np.einsum("ah,hij,hb->aibj", angles.from_harmonics, blocks, angles.to_harmonics)
    matrix = np.zeros((nodes + 1, angles.count, len(speed)) * 2)
    for i in range(nodes + 1):
        matrix[i, :, :, i] += scattering
    for k, j in np.ndindex(angles.count, len(speed)):
        matrix[:, k, j, :, k, j] -= angles.cosine[k] * speed[j] * 2 / length * derivative
    numbers = np.arange(matrix[0].size // matrix[0, 0, 0].size * (nodes + 1)).reshape(matrix.shape[:3])
    size = numbers.size
    fill, incoming = np.eye(size), []
    for node, outward in ((0, angles.cosine), (nodes, -angles.cosine)):
        back = returned(generator.equilibrium, angles, valley, surface, outward)
        coming, all_here = numbers[node, outward < 0].ravel(), numbers[node].ravel()
        fill[np.ix_(coming, all_here)] = back[outward < 0].reshape(len(coming), -1)
        incoming.append(coming)
    keep = np.setdiff1d(np.arange(size), np.concatenate(incoming))
    inner = (matrix.reshape(size, size) @ fill[:, keep])[keep]
    factors, y, growth = scipy.linalg.lu_factor(inner), np.ones(len(keep)), 0.0
    for _ in range(100):
        z = scipy.linalg.lu_solve(factors, y)
        growth, y = (y @ z) / (y @ y), z / np.linalg.norm(z)
    return -1 / growth
