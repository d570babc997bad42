"""Exponential time differencing of order 2 and 3 (Cox & Matthews, J. Comput. Phys. 176, 430 (2002)).

L is integrated exactly, the other terms N by Runge-Kutta weights that know L, and sources exactly up to their quadratic
variation within the step. φ_k without an argument is φ_k(hL), φ_0 the exponential; ψ_k is φ_k(hL/2).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.integrators.operators import UNCOUPLED, Formula, Stage, StepOperators
from hpcwigner.integrators.propagators import PhiFunctions, phi_functions
from hpcwigner.integrators.semilinear import SemilinearSystem
from hpcwigner.runtime.parallel import huge_zeros
from hpcwigner.terms.term import State

Array = NDArray[np.float64]
Polynomials = Sequence[Array | None]
"""Coefficients of each source's strength in a step; None: nothing is formed."""


class ExponentialIntegrator(abc.ABC):
    """Common to the schemes: slots for harmonics of states and of N. No state-sized array is allocated during a step."""

    order: int
    slot_count: int

    def __init__(self, system: SemilinearSystem) -> None:
        self.system = system
        points, rows, cells = system.shape
        self._slots = huge_zeros((rows, points, self.slot_count, cells))
        self._fields = np.zeros((self.slot_count, points, system.field_count))
        self._result = huge_zeros((rows, points, cells))

    @classmethod
    @abc.abstractmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        """The stages of a step of size h [ps]."""

    @classmethod
    @abc.abstractmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        """Factor per step of u' = −(decay/h) u + (drift/h) u; `drift` complex, any shape. Decides on stability."""

    @abc.abstractmethod
    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        """Advances `state` in place from t [ps] by one step. Collective."""

    @classmethod
    def products(cls) -> int:
        """Block products in a step, which is what it spends its time on."""
        return sum(len(formula.weights) for formula in cls.formulas(1.0, UNCOUPLED))

    def _evaluate(
        self, state: State, t: float, *, into: int, minus: int | None = None, factor: float = 1.0, state_into: int | None = None
    ) -> None:
        """Slot `into` = factor · N(u, t) − slot `minus`; slot `state_into` = u."""
        self.system.explicit_to_harmonics(t, state, self._slots, self._fields, into, minus, state_into, factor)

    def _assign(self, state: State, stage: Stage, sources: Polynomials, add: bool = False) -> None:
        """The state becomes what a stage gives, or grows by it."""
        stage.apply(self.system, self._slots, self._result, sources)
        self.system.from_harmonics(self._result, state.u, add)
        change = sum(weight * self._fields[slot] for slot, weight in stage.formula.weights.items())
        state.fields[...] = state.fields + change if add else change


class ETD2(ExponentialIntegrator):
    """a = φ_0 u + h φ_1 N(u);  u₊ = a + h φ_2 [N(a) − N(u)]."""

    order = 2
    slot_count = 2
    N_U, U = 0, 1
    CHANGE = U  # N(a) − N(u) takes the place of u, which is not needed any more then

    @classmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        f = phi.full
        a = Formula({cls.N_U: h * f[1], cls.U: f[0]}, source=1.0)
        correction = Formula({cls.CHANGE: h * f[2]})
        return a, correction

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        phi, _ = _scalar_phi(decay)
        a = phi[0] + phi[1] * drift
        return np.asarray(a + phi[2] * drift * (a - 1))

    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        a, correction = operators.stages
        self._evaluate(state, t, into=self.N_U, state_into=self.U)
        self._assign(state, a, sources)
        self._evaluate(state, t + operators.size, into=self.CHANGE, minus=self.N_U)
        self._assign(state, correction, sources, add=True)


class ETD3(ExponentialIntegrator):
    """a = ψ_0 u + ½h ψ_1 N(u);  b = φ_0 u + h φ_1 w with w = 2N(a) − N(u);

    u₊ = φ_0 u + h[(φ_1 − 3φ_2 + 4φ_3) N(u) + (4φ_2 − 8φ_3) N(a) + (4φ_3 − φ_2) N(b)]
       = b + h[(φ_1 − φ_2) N(u) + (4φ_3 − φ_2) N(b) + (2φ_2 − 4φ_3 − φ_1) w].
    """

    order = 3
    slot_count = 3
    N_U, U, W = 0, 1, 2
    N_B = U  # N(b) takes the place of u, which is not needed any more then

    @classmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        f, g = phi.full, phi.half
        a = Formula({cls.N_U: 0.5 * h * g[1], cls.U: g[0]}, source=0.5)
        b = Formula({cls.U: f[0], cls.W: h * f[1]}, source=1.0)
        correction = Formula(
            {cls.N_U: h * (f[1] - f[2]), cls.N_B: h * (4 * f[3] - f[2]), cls.W: h * (2 * f[2] - 4 * f[3] - f[1])}
        )
        return a, b, correction

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        phi, half = _scalar_phi(decay)
        a = half[0] + 0.5 * half[1] * drift
        w = drift * (2 * a - 1)
        b = phi[0] + phi[1] * w
        last = (phi[1] - phi[2]) * drift + (4 * phi[3] - phi[2]) * drift * b
        return np.asarray(b + last + (2 * phi[2] - 4 * phi[3] - phi[1]) * w)

    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        h, (a, b, correction) = operators.size, operators.stages
        self._evaluate(state, t, into=self.N_U, state_into=self.U)
        self._assign(state, a, sources)
        self._evaluate(state, t + h / 2, into=self.W, factor=2, minus=self.N_U)
        self._assign(state, b, sources)
        self._evaluate(state, t + h, into=self.N_B)
        self._assign(state, correction, sources, add=True)


def _scalar_phi(decay: float) -> tuple[list[float], list[float]]:
    """φ_0…φ_3 of −decay and of −decay/2."""
    functions = phi_functions(np.array([[-max(decay, 1e-300)]]), 1.0)
    return [float(f[0, 0]) for f in functions.full], [float(f[0, 0]) for f in functions.half]


SCHEMES: dict[str, type[ExponentialIntegrator]] = {"etd2": ETD2, "etd3": ETD3}
