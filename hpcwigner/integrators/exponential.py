"""Exponential time differencing of order 2 and 3 (Cox & Matthews, J. Comput. Phys. 176, 430 (2002)).

L is integrated exactly, drift by Runge-Kutta weights that know L, and the source exactly up to its quadratic variation
within the step. φ without an argument is φ(hL).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators.propagators import PhiFunctions, conserve, phi_functions
from hpcwigner.integrators.semilinear import SemilinearSystem, apply_blocks
from hpcwigner.runtime.parallel import NodeShared, huge_zeros
from hpcwigner.terms.pump import SOURCE_DEGREE
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]


class StepOperators:
    """The matrices of one step size: blocks[stage] (m, slot·cell, cell), and the source's part in each stage."""

    def __init__(
        self, scheme: type[ExponentialIntegrator], scattering: Scattering, size: float, orders: Sequence[int], comm: MPI.Intracomm
    ) -> None:
        self.size = size
        cells = scattering.cells.size
        slots = scheme.slots_per_stage
        harmonics = max(orders) + 1
        self._shared = NodeShared(comm, (harmonics, sum(slots) * cells, cells))
        self._source = NodeShared(comm, (2, SOURCE_DEGREE + 1, cells))

        def compute(m: int) -> None:
            phi = phi_functions(scattering.blocks[m], size)  # keeps parts that do not couple apart, to the last bit
            if m == 0:
                phi = conserve(phi, size, scattering.equilibrium.population, scattering.loss)
                self._source.array[...] = _source_vectors(phi, size, scattering.formation)
            row = 0
            for matrix in scheme.matrices(phi, size):
                self._shared.array[m, row : row + cells] = matrix.T
                row += cells

        self._shared.fill(harmonics, compute)
        self._source.fill(0, compute)
        ends = np.cumsum(slots) * cells
        self.blocks = [self._shared.array[:, end - n * cells : end] for n, end in zip(slots, ends, strict=True)]
        self.orders, self.parts = tuple(orders), scattering.parts

    def apply(self, stage: int, vectors: Array, out: Array) -> None:
        """The matrices of a stage applied to its slots, (harmonic, point, slot, cell) → (harmonic, point, cell)."""
        apply_blocks(self.blocks[stage], self.orders, vectors, out, self.parts)

    def source(self, half: bool, polynomial: Array) -> Array:
        """Population per cell that the source brings within the step (its first half)."""
        return np.asarray(polynomial @ self._source.array[int(half)])

    def free(self) -> None:
        """Gives the node's memory back. Collective."""
        self.blocks = []
        self._shared.free()
        self._source.free()


def _source_vectors(phi: PhiFunctions, size: float, formation: Array) -> Array:
    """∫₀^c exp((c − s)hL) s^k h ds F = h k! c^(k+1) φ_{k+1}(chL) F for c = 1, ½; shape (2, k, cell)."""
    return np.array(
        [
            [size * math.factorial(k) * c ** (k + 1) * (functions[k + 1] @ formation) for k in range(SOURCE_DEGREE + 1)]
            for c, functions in ((1.0, phi.full), (0.5, phi.half))
        ]
    )


class ExponentialIntegrator:
    """Common to the schemes: work arrays and the parts of a stage. Nothing is allocated during a step."""

    order: int
    slots: int
    slots_per_stage: tuple[int, ...]

    def __init__(self, system: SemilinearSystem) -> None:
        self.system = system
        points, rows, cells = system.shape
        self.vectors = huge_zeros((rows, points, self.slots, cells))
        self._result = huge_zeros((rows, points, cells))

    @classmethod
    def matrices(cls, phi: PhiFunctions, h: float) -> list[Array]:
        """Matrices of all stages, slot by slot."""
        raise NotImplementedError

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        """Factor per step of u' = −(decay/h) u + (drift/h) u; `drift` complex, any shape. Decides on stability."""
        raise NotImplementedError

    def step(self, u: Array, operators: StepOperators, source: Array | None) -> None:
        """Advances `u` in place by one step; `source` are the polynomial coefficients of |p0|² in it."""
        raise NotImplementedError

    def _load_drift(
        self, index: int, state: Array, factor: float = 1.0, minus: int | None = None, own: int | None = None
    ) -> None:
        """Harmonics of the drift of a state, times `factor` and less what slot `minus` holds, and of the state itself."""
        self.system.explicit_to_harmonics(state, self.vectors, index, factor, minus, own)

    def _combine(
        self, operators: StepOperators, stage: int, first: int, last: int, source: Array | None, out: Array, add: bool = False
    ) -> None:
        """`out` becomes (or grows by) the slots first…last−1 under the matrices of a stage, plus what the source brings."""
        operators.apply(stage, self.vectors[:, :, first:last], self._result)
        if source is not None:
            self.system.add_source(self._result, source)
        self.system.from_harmonics(self._result, out, add)


class ETD2(ExponentialIntegrator):
    """a = e^{hL}u + hφ1 N(u);  u₊ = a + hφ2 [N(a) − N(u)]."""

    order = 2
    slots = 2
    slots_per_stage = (2, 1)

    @classmethod
    def matrices(cls, phi: PhiFunctions, h: float) -> list[Array]:
        f = phi.full
        return [h * f[1], f[0], h * f[2]]

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        phi, _ = _scalar_phi(decay)
        a = phi[0] + phi[1] * drift
        return np.asarray(a + phi[2] * drift * (a - 1))

    def step(self, u: Array, operators: StepOperators, source: Array | None) -> None:
        self._load_drift(0, u, own=1)  # from here on u is known by its harmonics, and its place is taken by a
        formed = None if source is None else operators.source(half=False, polynomial=source)
        self._combine(operators, 0, 0, 2, formed, u)
        self._load_drift(1, u, minus=0)
        self._combine(operators, 1, 1, 2, None, u, add=True)


class ETD3(ExponentialIntegrator):
    """a = e^{hL/2}u + ½hφ1(hL/2) N(u);  b = e^{hL}u + hφ1 w with w = 2N(a) − N(u);

    u₊ = e^{hL}u + h[(φ1 − 3φ2 + 4φ3) N(u) + (4φ2 − 8φ3) N(a) + (4φ3 − φ2) N(b)]
       = b + h[(φ1 − φ2) N(u) + (4φ3 − φ2) N(b) + (2φ2 − 4φ3 − φ1) w].
    """

    order = 3
    slots = 3
    slots_per_stage = (2, 2, 3)

    @classmethod
    def matrices(cls, phi: PhiFunctions, h: float) -> list[Array]:
        f, g = phi.full, phi.half
        first = [0.5 * h * g[1], g[0]]
        second = [f[0], h * f[1]]
        last = [h * (f[1] - f[2]), h * (4 * f[3] - f[2]), h * (2 * f[2] - 4 * f[3] - f[1])]
        return [*first, *second, *last]

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        phi, half = _scalar_phi(decay)
        a = half[0] + 0.5 * half[1] * drift
        w = drift * (2 * a - 1)
        b = phi[0] + phi[1] * w
        last = (phi[1] - phi[2]) * drift + (4 * phi[3] - phi[2]) * drift * b
        return np.asarray(b + last + (2 * phi[2] - 4 * phi[3] - phi[1]) * w)

    def step(self, u: Array, operators: StepOperators, source: Array | None) -> None:
        self._load_drift(0, u, own=1)  # from here on u is known by its harmonics, and its place is taken by a, then b
        formed = None if source is None else operators.source(half=True, polynomial=source)
        self._combine(operators, 0, 0, 2, formed, u)
        self._load_drift(2, u, factor=2, minus=0)
        formed = None if source is None else operators.source(half=False, polynomial=source)
        self._combine(operators, 1, 1, 3, formed, u)
        self._load_drift(1, u)
        self._combine(operators, 2, 0, 3, None, u, add=True)


def _scalar_phi(decay: float) -> tuple[list[float], list[float]]:
    """φ_0…φ_3 of −decay and of −decay/2."""
    functions = phi_functions(np.array([[-max(decay, 1e-300)]]), 1.0)
    return [float(f[0, 0]) for f in functions.full], [float(f[0, 0]) for f in functions.half]


SCHEMES: dict[str, type[ExponentialIntegrator]] = {"etd2": ETD2, "etd3": ETD3}


class OperatorCache:
    """Step operators by (stage, size): made when first needed, collectively, and kept."""

    def __init__(
        self, scheme: type[ExponentialIntegrator], scatterings: Sequence[Scattering], orders: Sequence[int], comm: MPI.Intracomm
    ) -> None:
        self.scheme, self.scatterings, self.orders, self.comm = scheme, scatterings, orders, comm
        self._made: dict[tuple[int, float], StepOperators] = {}

    def get(self, stage: int, size: float) -> StepOperators:
        """Operators of one step size. Collective when they are new."""
        key = (stage, size)
        if key not in self._made:
            self._made[key] = StepOperators(self.scheme, self.scatterings[stage], size, self.orders, self.comm)
        return self._made[key]

    def free(self) -> None:
        """Gives everything back. Collective."""
        for operators in self._made.values():
            operators.free()
        self._made.clear()


def python_context(integrator: ExponentialIntegrator, cache: OperatorCache, schedule: Any) -> Any:
    """The object that PETSc's TSPYTHON drives: one exponential step per call, on the planned steps."""

    class Context:
        def create(self, ts: Any) -> None: ...

        def step(self, ts: Any) -> None:
            number = ts.getStepNumber()
            step = schedule.steps[number]
            vector = ts.getSolution()
            operators = cache.get(step.stage, step.size)
            integrator.step(integrator.system.view(vector), operators, schedule.source(number))
            vector.stateIncrease()
            ts.setTime(schedule.time_after(number))
            ts.setTimeStep(schedule.size_after(number))

    return Context()
