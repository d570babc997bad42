"""The equations that all methods solve: the moment equations of a shipped input, and the full system."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators.imex import BlockOperator
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.problem import builder, loading
from hpcwigner.reference.moment_problem import deviation
from hpcwigner.runtime.kernels import UPWIND5
from hpcwigner.terms.term import State

Array = NDArray[np.float64]
GOAL = 5e-3
"""Error of D_v(t) that every method has to reach."""
SHORT = 16
"""Space cells of the shorter sample."""
ABSOLUTE = 1e-2
"""atol is rtol times this part of the equilibrium population of a valley's average cell: KK holds 1e-13 at 20 K."""
FULL = "measured, full size"
SCALED = f"measured on {SHORT} of the cells, scaled"


@dataclasses.dataclass
class Row:
    """A line of the table."""

    method: str
    settings: str
    error: float
    count: str
    cost: float
    """[s] per step or right-hand side."""
    total: float
    """[s]"""
    how: str
    """Where the cost comes from."""
    curve: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    """(wall time, error) of everything tried, for the plot."""


class Case:
    """A shipped input, its exact D_v(t), and its moment equations as y' = G y + q |p0(t)|²."""

    def __init__(self, path: Path, *settings: str) -> None:
        self.problem = builder.build(loading.load(path, list(settings)), MPI.COMM_SELF)
        self.path = path
        p, (self.pulse,) = self.problem, self.problem.sources
        self.local = p.generators[0]
        self.cells, self.times = p.cells.size, p.moments.times
        l0, l1, v = self.local.block(0), self.local.block(1), np.diag(p.equilibrium.velocity)
        self.implicit = sparse.block_diag((l0, l1, l0), format="csr")
        self.explicit = sparse.csr_matrix(sparse.bmat([[0 * v, None, None], [v, 0 * v, None], [None, 2 * v, 0 * v]]))
        self.generator = sparse.csr_matrix(self.implicit + self.explicit)
        f, w2 = self.pulse.spectrum(0), self.pulse.width_squared
        self.source = np.concatenate([f, 0 * f, w2 * f])
        share = p.cells.valley_sum(p.equilibrium.population) / np.array(p.cells.counts)
        self.scale = self.pulse.amplitude * share[p.cells.valley_of_cell]
        self.moment_scale = np.concatenate([self.scale, self.scale * math.sqrt(w2), self.scale * w2])

    @functools.cached_property
    def reference(self) -> list[Budget]:
        """Exact budgets."""
        return self.problem.moments.reference()

    @functools.cached_property
    def full(self) -> FullSystem:
        """The system itself."""
        return FullSystem(self.problem)

    def rhs(self, t: float, y: Array) -> Array:
        """Right-hand side of the moment equations."""
        return self.generator @ y + self.source * self.pulse.strength(t)

    def error(self, budgets: list[Budget]) -> float:
        """Error of D_v(t), worst valley."""
        judged = self.times >= self.problem.moments.judged_from - 1e-9
        return float(np.nanmax(deviation(budgets, self.reference, judged)))

    def budgets(self, states: Array) -> list[Budget]:
        """Budgets of moment states (time, 3·cell) at the outputs."""
        moments = [(float(t), SpatialMoments(*y.reshape(3, -1))) for t, y in zip(self.times, states, strict=False)]
        return self.problem.moments.budgets(moments)

    @property
    def scale_up(self) -> float:
        """Cells of the sample over those of the shorter one."""
        return self.problem.space.shape[0] / SHORT

    def short(self) -> builder.Problem:
        """The same problem on a shorter, unfolded sample with the same cells."""
        length = self.problem.space.spacing[0] * SHORT
        settings = [f"space.cells={SHORT}", f"space.length={length} nm", "space.symmetry=whole"]
        return builder.build(loading.load(self.path, settings), MPI.COMM_SELF)


class FullSystem:
    """The whole 1-D state as y' = f(t, y), with our operators or an assembled matrix. y is (space, angle, energy)."""

    def __init__(self, problem: builder.Problem) -> None:
        self.problem = problem
        self.equation = problem.equation(MPI.COMM_SELF)
        self.shape = self.equation.shape
        self.operator, local = BlockOperator(self.equation), problem.generators[0]
        self.blocks = np.array([local.block(m).T for m in range(local.orders)])
        self.work = np.zeros(self.shape)
        (self.pulse,) = problem.sources
        self.profile = self.pulse.profile().ravel()
        isotropic = problem.angles.from_harmonics[:, 0]
        self.source = np.multiply.outer(self.profile, np.outer(isotropic, self.pulse.spectrum(0))).ravel()

    def drift(self, u: Array) -> Array:
        """−v ∂u/∂x."""
        no_fields = np.zeros((self.shape[0], 0))
        out = State(np.empty(self.shape), no_fields)
        self.equation.explicit(0.0, State(u.reshape(self.shape), no_fields), out)
        return out.u

    def matrix_free(self, t: float, y: Array) -> Array:
        """Right-hand side with the program's own operators."""
        out = self.drift(y)
        self.operator.apply([self.blocks], y.reshape(self.shape), self.work)
        out += self.work
        return self.with_source(t, out.ravel())

    def with_source(self, t: float, out: Array) -> Array:
        """Add the excitons formed per time, during the pulse."""
        strength = self.pulse.strength(t)
        if strength > 1e-30:
            out += strength * self.source
        return out

    def assembled(self) -> tuple[Any, Any]:
        """CSR matrices of scattering and of drift."""
        angles, blocks = self.problem.angles, self.blocks.transpose(0, 2, 1)
        points, rows, cells = self.shape
        pairs = angles.from_harmonics[:, None, :] * angles.to_harmonics.T[None, :, :]
        local = np.tensordot(pairs, blocks[list(angles.orders)], axes=1).transpose(0, 2, 1, 3)
        scattering = sparse.kron(sparse.eye(points), sparse.csr_matrix(local.reshape(rows * cells, -1)), format="csr")
        shifts = [np.roll(np.eye(points), k, axis=1) for k in range(-3, 3)]  # row i holds a one in column i + k
        right = sparse.csr_matrix(sum(w * s for w, s in zip(UPWIND5, shifts, strict=True)))
        velocity = np.outer(angles.cosine, self.problem.equilibrium.velocity).ravel() / self.problem.space.spacing[0]
        drift = -sparse.kron(right, sparse.diags(np.maximum(velocity, 0)))
        drift += sparse.kron(right.T, sparse.diags(np.minimum(velocity, 0)))
        drift = sparse.csr_matrix(drift)
        drift.eliminate_zeros()
        return scattering, drift

    def moments(self, y: Array) -> Array:
        """M0, M1, M2 of a state, as `Case` has them: a slab counts r² as 2x²."""
        p, u = self.problem, y.reshape(self.shape)
        x = p.space.centers(0)
        ones = np.ones(p.angles.count)
        weights = (x**0, ones), (2 * x, p.angles.cosine), (2 * x**2, ones)
        return p.space.cell_measure * np.concatenate([np.einsum("x,k,xkc->c", *w, u) for w in weights])

    def resting(self) -> Array:
        """A cloud in equilibrium: it keeps solvers at their stability limit."""
        isotropic = self.problem.angles.from_harmonics[:, 0]
        state = np.outer(isotropic, self.problem.equilibrium.population)
        return self.pulse.amplitude * np.multiply.outer(self.profile, state).ravel()

    def atol(self, case: Case, rtol: float) -> Array:
        """The absolute tolerance of `Case.scale`, per angle and at the cloud's centre."""
        per_angle = np.outer(self.problem.angles.from_harmonics[:, 0], case.scale) * self.profile.max()
        return rtol * ABSOLUTE * np.tile(per_angle.ravel(), self.shape[0])
