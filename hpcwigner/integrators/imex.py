"""Implicit-explicit Runge-Kutta under PETSc's TSARKIMEX: local linear terms implicit, all others explicit.

PETSc solves (σ − L) x = r in every stage; the preconditioner applies the exact resolvent (σ − L)⁻¹, block by block, and
nothing iterates: a Krylov tolerance in the 2-norm would hide a valley that holds 1e-13 of all excitons.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.operators import Generators, spectra_of
from hpcwigner.integrators.propagators import resolvent
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.semilinear import SemilinearSystem, apply_blocks
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.pulse import SOURCE_DEGREE

TYPES = {"arkimex3": "3", "ars443": "ars443"}  # Input name → PETSc's name of the scheme


class BlockOperator:
    """Applies one matrix per harmonic and class of points to states."""

    def __init__(self, system: SemilinearSystem) -> None:
        self.system = system
        points, rows, cells = system.shape
        self._in = np.zeros((rows, points, 1, cells))
        self._out = np.zeros((rows, points, cells))

    def apply(self, blocks: Sequence[Array], u: Array, out: Array) -> None:
        """out = blocks applied to the harmonics of u; blocks[class] (m, cell, cell) are transposed."""
        self.system.to_harmonics(u, self._in, 0)
        for matrices, points in zip(blocks, self.system.classes, strict=True):
            if len(blocks) == 1:
                apply_blocks(matrices, self.system.orders, self._in, self._out)
                continue
            result = np.empty((len(self._out), len(points), self._out.shape[2]))
            apply_blocks(matrices, self.system.orders, self._in[:, points], result)
            self._out[:, points] = result
        self.system.from_harmonics(self._out, out)


class ImplicitLocalTerms:
    """F(u, u̇) = u̇ − L u, its Jacobian and the resolvent that inverts it, as PETSc callbacks."""

    def __init__(self, system: SemilinearSystem, generators: Generators, comm: MPI.Intracomm, schedule: Schedule) -> None:
        """`generators` by stage, then by class of points. Collective."""
        self.system, self.generators, self.comm, self.schedule = system, generators, comm, schedule
        self.operator = BlockOperator(system)
        self.number = 0
        """Step under way."""
        self.shift = 0.0
        self._shared: dict[tuple[int, float | None], list[NodeShared]] = {}
        points, rows, cells = system.shape
        self._work = np.zeros(system.shape)
        self._formed, self._every = np.zeros((rows, points, cells)), np.arange(points)

    def function(self, _ts: Any, _t: float, u: Any, u_dot: Any, f: Any) -> None:
        """F = u̇ − L u, with what L drives the auxiliary fields by."""
        given = self.system.read(u).u
        self.operator.apply(self._blocks(None), given, self._work)
        u_dot.copy(f)
        view = self.system.view(f)
        view.u[...] -= self._work
        view.fields[...] -= self._driven(given)
        f.stateIncrease()

    def jacobian(self, _ts: Any, _t: float, _u: Any, _u_dot: Any, shift: float, matrix: Any, preconditioner: Any) -> bool:
        """σ − L; only σ is kept, the matrix is never formed."""
        self.shift = shift
        matrix.assemble()
        if preconditioner != matrix:
            preconditioner.assemble()
        return True

    def explicit(self, _ts: Any, t: float, u: Any, g: Any) -> None:
        """All terms that are not in L."""
        right = self.system.view(g)
        self.system.explicit(t, self.system.read(u), right)
        polynomials = self.schedule.sources(self.number)
        if any(polynomial is not None for polynomial in polynomials):
            self._formed[...] = 0.0
            self._form(t, polynomials, right.fields)
            self.system.from_harmonics(self._formed, self._work)
            right.u[...] += self._work
        g.stateIncrease()

    def _form(self, t: float, polynomials: Sequence[Array | None], fields: Array) -> None:
        """Adds what the sources form at time `t` to the harmonics `_formed`, and to the auxiliary `fields`."""
        step, classes = self.schedule.steps[self.number], self.system.classes
        powers = ((t - step.start) / step.size) ** np.arange(SOURCE_DEGREE + 1)
        local = self.system.local_polynomials(polynomials, step.start, step.size)
        for k, (source, polynomial) in enumerate(zip(self.system.sources, local, strict=True)):
            if polynomial is None:
                continue
            spectra = spectra_of(source, step.stage, len(classes))
            strength = (polynomial * powers).sum(axis=1, keepdims=True) if polynomial.ndim == 2 else polynomial @ powers
            for generator, points in zip(self.generators[step.stage], classes, strict=True):
                if generator.drive is not None:
                    part = np.zeros((1, len(points), self.system.field_count))
                    here = strength[points] if polynomial.ndim == 2 else strength
                    self.system.add_source(part, k, here * generator.drive.sources[k], points)
                    fields[points] += part[0]
            if len(classes) == 1:
                self.system.add_source(self._formed, k, strength * spectra[0], self._every)
                continue
            for spectrum, points in zip(spectra, classes, strict=True):
                part = np.zeros((1, len(points), len(spectrum)))  # a source is isotropic
                here = strength[points] if polynomial.ndim == 2 else strength
                self.system.add_source(part, k, here * spectrum, points)
                self._formed[0, points] += part[0]

    def apply(self, _pc: Any, x: Any, y: Any) -> None:
        """Preconditioner: y = (σ − L)⁻¹ x."""
        given, result = self.system.read(x), self.system.view(y)
        self.operator.apply(self._blocks(self.shift), given.u, result.u)
        np.divide(given.fields + self._driven(result.u), self.shift, out=result.fields)
        y.stateIncrease()

    def _driven(self, u: Array) -> Array:
        """∂t of the auxiliary fields by the populations u (point, angle, cell), shape (point, field)."""
        change, stage = np.zeros((len(u), self.system.field_count)), self.schedule.steps[self.number].stage
        for generator, points in zip(self.generators[stage], self.system.classes, strict=True):
            if generator.drive is not None:
                change[points] = u[points].sum(axis=1) @ generator.drive.linear.T
        return change

    def _blocks(self, shift: float | None) -> list[Array]:
        """Transposed blocks by class of points, once per node: of L without a shift, of (σ − L)⁻¹ with it."""
        stage = self.schedule.steps[self.number].stage
        if (stage, shift) not in self._shared:
            make: Callable[[LocalGenerator, int], Array] = _block if shift is None else lambda g, m: _resolvent(g, m, shift)
            self._shared[stage, shift] = [self._filled(generator, make) for generator in self.generators[stage]]
        return [shared.array for shared in self._shared[stage, shift]]

    def _filled(self, generator: LocalGenerator, make: Callable[[LocalGenerator, int], Array]) -> NodeShared:
        harmonics, cells = max(self.system.orders) + 1, generator.equilibrium.cells.size
        shared = NodeShared(self.comm, (harmonics, cells, cells))

        def compute(m: int) -> None:
            shared.array[m] = make(generator, m).T

        shared.fill(harmonics, compute)
        return shared

    def free(self) -> None:
        """Releases the node's memory. Collective."""
        for blocks in self._shared.values():
            for shared in blocks:
                shared.free()
        self._shared.clear()


def _block(generator: LocalGenerator, m: int) -> Array:
    return generator.block(m)


def _resolvent(generator: LocalGenerator, m: int, shift: float) -> Array:
    return resolvent(generator.block(m), shift, generator.loss if m == 0 else None)
