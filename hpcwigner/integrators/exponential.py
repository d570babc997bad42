"""Exponential time differencing of order 2 and 3 (Cox & Matthews, J. Comput. Phys. 176, 430 (2002)).

L is integrated exactly, the other terms N by Runge-Kutta weights that know L, and sources exactly up to their quadratic
variation within the step. φ_k without an argument is φ_k(hL), φ_0 the exponential; ψ_k is φ_k(hL/2). The `_dense` schemes
take all local linear terms for L; the others leave the in-scattering of the harmonics m ≥ 1, which is sparse, to N.

A stage goes through the points tile by tile: N(u), the matrices and the way back to angles, while a tile is in the cache.
"""

import abc
from collections.abc import Iterator, Sequence

import numpy as np

from hpcwigner.integrators.operators import UNCOUPLED, Formula, Stage, StepOperators
from hpcwigner.integrators.propagators import PhiFunctions, diagonal_phi
from hpcwigner.integrators.semilinear import SemilinearSystem
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import huge_zeros
from hpcwigner.terms.term import State

Polynomials = Sequence[Array | None]  # Of each source's strength in a step, (k,) or (point, k); None: nothing is formed
EVALUATION, IN_SCATTERING, DIAGONAL = 0.8, 0.5, 0.2
"""Work of evaluating drift and angles, of Γ_m u, and of a product whose m ≥ 1 are diagonal, for all harmonics, relative to a
dense product of all (measured at 287 cells on Zen 4)."""
TILE = 512  # Rows (harmonics of points) of a tile, which then stays in the core's own caches
DENSE_TILE = 2048  # More where each harmonic has a matrix of its own, read once per tile


class ExponentialIntegrator(abc.ABC):
    """Common to the schemes. No state-sized array is allocated during a step."""

    order: int
    evaluations: int  # Of N in a step
    dense = False  # Whether L holds all local linear terms
    slot_count = 2
    stored_count: int  # State-sized arrays beside the state

    def __init__(self, system: SemilinearSystem) -> None:
        self.system = system
        points, rows, cells = system.shape
        room = max(1, min(points, (DENSE_TILE if self.dense else TILE) // rows))
        self._tile = Tile(rows, room, self.slot_count, cells, system.field_count)
        self._stored = [State(huge_zeros(system.shape), np.zeros((points, system.field_count))) for _ in range(self.stored_count)]

    @classmethod
    @abc.abstractmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        """The stages of a step of size h [ps]."""

    @classmethod
    @abc.abstractmethod
    def amplification(cls, decay: Array, drift: Array) -> Array:
        """Factor per step of u' = −(decay/h) u + (drift/h) u; `drift` complex, shapes broadcast. Decides on stability."""

    @abc.abstractmethod
    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        """Advances `state` in place from t [ps] by one step. Collective."""

    @classmethod
    def cost(cls) -> float:
        """Work of a step relative to one product of dense matrices with all harmonics."""
        products = sum(len(formula.weights) for formula in cls.formulas(1.0, UNCOUPLED))
        one_evaluation, one_combination = (EVALUATION, 1.0) if cls.dense else (EVALUATION + IN_SCATTERING, DIAGONAL)
        return cls.evaluations * one_evaluation + products * one_combination

    def _evaluate(self, state: State, t: float, operators: StepOperators, out: State) -> Iterator[Tile]:
        """Tiles with slots N = N(u, t) and U = u, until all points had their turn; `out` is what N is asked of next."""
        for tile in self.system.tiles(self._tile, t, state, out):
            operators.add_rest(tile)
            yield tile

    def _assign(
        self, out: State, stage: Stage, tile: Tile, sources: Polynomials, onto: int | None = None, minus: State | None = None
    ) -> None:
        """`out` at the tile's points becomes what a stage gives with `minus` subtracted from its first slot, plus slot `onto`."""
        stage.apply(self.system, tile, sources, onto, minus)
        self.system.store(tile, out)


class ETD2(ExponentialIntegrator):
    """a = φ_0 u + h φ_1 N(u);  u₊ = a + h φ_2 [N(a) − N(u)]."""

    order, evaluations, stored_count = 2, 2, 2

    @classmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        f = phi.full
        a = Formula({U: f[0], N: h * f[1]}, source=1.0)
        correction = Formula({N: h * f[2]})
        return a, correction

    @classmethod
    def amplification(cls, decay: Array, drift: Array) -> Array:
        phi = diagonal_phi(-decay).full
        a = phi[0] + phi[1] * drift
        return np.asarray(a + phi[2] * drift * (a - 1))

    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        stage_a, correction = operators.stages
        a, n_u = self._stored
        for tile in self._evaluate(state, t, operators, a):
            tile.save(N, n_u.u, n_u.fields)
            self._assign(a, stage_a, tile, sources)
        for tile in self._evaluate(a, t + operators.size, operators, state):
            self._assign(state, correction, tile, sources, onto=U, minus=n_u)


class ETD3(ExponentialIntegrator):
    """a = ψ_0 u + ½h ψ_1 N(u);  b = φ_0 u + h φ_1 w with w = 2N(a) − N(u);

    u₊ = φ_0 u + h[(φ_1 − 3φ_2 + 4φ_3) N(u) + (4φ_2 − 8φ_3) N(a) + (4φ_3 − φ_2) N(b)]
       = b + h[(φ_1 − φ_2) N(u) + (4φ_3 − φ_2) N(b) + (2φ_2 − 4φ_3 − φ_1) w].
    """

    order, evaluations, stored_count = 3, 3, 3
    slot_count = 4
    N_U, W = 2, 3

    @classmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        f, g = phi.full, phi.half
        a = Formula({U: g[0], N: 0.5 * h * g[1]}, source=0.5)
        b = Formula({U: f[0], N: h * f[1]}, source=1.0)
        correction = Formula({N: h * (4 * f[3] - f[2]), cls.N_U: h * (f[1] - f[2]), cls.W: h * (2 * f[2] - 4 * f[3] - f[1])})
        return a, b, correction

    @classmethod
    def amplification(cls, decay: Array, drift: Array) -> Array:
        functions = diagonal_phi(-decay)
        phi, half = functions.full, functions.half
        a = half[0] + 0.5 * half[1] * drift
        w = drift * (2 * a - 1)
        b = phi[0] + phi[1] * w
        last = (phi[1] - phi[2]) * drift + (4 * phi[3] - phi[2]) * drift * b
        return np.asarray(b + last + (2 * phi[2] - 4 * phi[3] - phi[1]) * w)

    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        h, (stage_a, stage_b, correction) = operators.size, operators.stages
        a, n_u, w = self._stored
        for tile in self._evaluate(state, t, operators, a):
            tile.save(N, n_u.u, n_u.fields)
            self._assign(a, stage_a, tile, sources)
        for tile in self._evaluate(a, t + h / 2, operators, state):
            tile.slot(N)[...] *= 2
            tile.fields[N] *= 2
            tile.subtract(N, n_u.u, n_u.fields)
            tile.save(N, w.u, w.fields)
            self.system.load(tile, U, state)
            self._assign(state, stage_b, tile, sources)  # b takes the place of u, which only its own point still needs
        for tile in self._evaluate(state, t + h, operators, a):
            tile.load(self.N_U, n_u.u, n_u.fields)
            tile.load(self.W, w.u, w.fields)
            self._assign(a, correction, tile, sources, onto=U)
        np.copyto(state.u, a.u)
        np.copyto(state.fields, a.fields)


class DenseETD2(ETD2):
    """ETD2 with all local linear terms in L."""

    dense = True


class DenseETD3(ETD3):
    """ETD3 with all local linear terms in L."""

    dense = True


SCHEMES: dict[str, type[ExponentialIntegrator]] = {
    "etd2": ETD2, "etd3": ETD3, "etd2_dense": DenseETD2, "etd3_dense": DenseETD3,
}  # fmt: skip
