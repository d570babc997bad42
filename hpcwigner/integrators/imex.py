"""Implicit-explicit Runge-Kutta under PETSc's TSARKIMEX: scattering implicit, drift and source explicit.

PETSc solves (σ − L) x = r in every stage; the preconditioner applies the exact resolvent (σ − L)⁻¹, block by block, and
nothing iterates: a Krylov tolerance in the 2-norm would hide a valley that holds 1e-13 of all excitons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators.propagators import resolvent
from hpcwigner.integrators.semilinear import SemilinearSystem, apply_blocks
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

TYPES = {"arkimex3": "3", "ars443": "ars443"}
"""Input name → PETSc's name of the scheme."""


class BlockOperator:
    """Applies one matrix per harmonic to states."""

    def __init__(self, system: SemilinearSystem) -> None:
        self.system = system
        points, rows, cells = system.shape
        self._in = np.zeros((rows, points, 1, cells))
        self._out = np.zeros((rows, points, cells))

    def apply(self, blocks: Array, state: Array, out: Array) -> None:
        """out = blocks applied to the harmonics of `state`; blocks (m, cell, cell) are transposed."""
        self.system.to_harmonics(state, self._in, 0)
        apply_blocks(blocks, self.system.orders, self._in, self._out)
        self.system.from_harmonics(self._out, out)


class ImplicitScattering:
    """F(u, u̇) = u̇ − L u, its Jacobian and the resolvent that inverts it, as PETSc callbacks."""

    def __init__(self, system: SemilinearSystem, scatterings: Sequence[Scattering], comm: MPI.Intracomm, schedule: Any) -> None:
        self.system, self.scatterings, self.comm, self.schedule = system, scatterings, comm, schedule
        self.operator = BlockOperator(system)
        self.number = 0
        """Step under way."""
        self.shift = 0.0
        self._transposed = [np.ascontiguousarray(s.blocks.transpose(0, 2, 1)) for s in scatterings]
        self._resolvents: dict[tuple[int, float], NodeShared] = {}
        self._work = np.zeros(system.shape)

    @property
    def _stage(self) -> int:
        return int(self.schedule.steps[self.number].stage)

    def function(self, _ts: Any, _t: float, u: Any, u_dot: Any, f: Any) -> None:
        """F = u̇ − L u."""
        self.operator.apply(self._transposed[self._stage], self.system.read(u), self._work)
        u_dot.copy(f)
        view = self.system.view(f)
        view -= self._work
        f.stateIncrease()

    def jacobian(self, _ts: Any, _t: float, _u: Any, _u_dot: Any, shift: float, matrix: Any, preconditioner: Any) -> bool:
        """σ − L; only σ is kept, the matrix is never formed."""
        self.shift = shift
        matrix.assemble()
        if preconditioner != matrix:
            preconditioner.assemble()
        return True

    def explicit(self, _ts: Any, t: float, u: Any, g: Any) -> None:
        """Drift and source."""
        self.system.explicit(self.system.read(u), self.system.view(g))
        source = self.schedule.source(self.number)
        if source is not None:
            step = self.schedule.steps[self.number]
            s = (t - step.start) / step.size
            strength = float(source @ s ** np.arange(len(source)))
            points, rows, cells = self.system.shape
            formed = np.zeros((rows, points, cells))
            self.system.add_source(formed, strength * self.scatterings[step.stage].formation)
            self.system.from_harmonics(formed, self._work)
            view = self.system.view(g)
            view += self._work
        g.stateIncrease()

    def apply(self, _pc: Any, x: Any, y: Any) -> None:
        """Preconditioner: y = (σ − L)⁻¹ x."""
        self.operator.apply(self._resolvent(), self.system.read(x), self.system.view(y))
        y.stateIncrease()

    def _resolvent(self) -> Array:
        key = (self._stage, self.shift)
        if key not in self._resolvents:
            scattering = self.scatterings[self._stage]
            shared = NodeShared(self.comm, scattering.blocks.shape)

            def compute(m: int) -> None:
                loss = scattering.loss if m == 0 else None
                shared.array[m] = resolvent(scattering.blocks[m], self.shift, loss).T

            shared.fill(max(self.system.orders) + 1, compute)
            self._resolvents[key] = shared
        return self._resolvents[key].array

    def free(self) -> None:
        """Gives the node's memory back. Collective."""
        for shared in self._resolvents.values():
            shared.free()
        self._resolvents.clear()
