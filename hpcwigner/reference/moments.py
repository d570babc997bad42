"""Closed equations of the spatial moments: exact n_v(t), w_v²(t), D_v(t) without a spatial grid.

In a homogeneous sample M0 = ∫u, M1 = ∫r·u, M2 = ∫r²u of each momentum cell obey
dM0 = L_0 M0 + s,  dM1 = L_1 M1 + v M0,  dM2 = L_0 M2 + 2v M1 + s w0²,
with the m = 0 and m = 1 blocks of the local generator. The same system serves twice: advanced with an integrator and its
steps it has exactly the time error of the full run; propagated with exact exponentials it is the reference of both.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hpcwigner.integrators.semilinear import Points
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import readable
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.pulse import SOURCE_DEGREE
from hpcwigner.terms.term import Source, State


class MomentSystem:
    """(M0, M1, M2) as a semilinear system: rows 0, 1, 2 of one point, harmonics 0, 1, 0."""

    orders: tuple[int, ...] = (0, 1, 0)
    field_count = 0

    def __init__(self, velocity: Array, sources: Sequence[Source]) -> None:
        """`velocity` [nm/ps] has shape (cell,)."""
        self.velocity, self.sources = velocity, sources
        self.shape = (1, 3, len(velocity))
        self.classes: Sequence[Points] = [np.zeros(1, dtype=np.int64)]

    def create_vector(self) -> Any:
        """A sequential PETSc vector."""
        from petsc4py import PETSc

        return PETSc.Vec().createSeq(math.prod(self.shape), comm=PETSc.COMM_SELF)

    def view(self, vector: Any) -> State:
        """A vector's moments, without a copy."""
        return State(np.asarray(vector.getArray()).reshape(self.shape), np.zeros((1, 0)))

    def read(self, vector: Any) -> State:
        """The same for reading only."""
        return State(readable(vector).reshape(self.shape), np.zeros((1, 0)))

    def to_harmonics(self, u: Array, slots: Array, index: int) -> None:
        """Rows are harmonics already."""
        slots[:, 0, index] = u[0]

    def from_harmonics(self, harmonics: Array, out: Array) -> None:
        """Harmonics are rows already."""
        out[0] = harmonics[:, 0]

    def explicit(self, time: float, state: State, out: State) -> None:
        """What drift does to the moments."""
        out.u[0, 0] = 0
        out.u[0, 1] = self.velocity * state.u[0, 0]
        out.u[0, 2] = 2 * self.velocity * state.u[0, 1]

    def tiles(self, tile: Tile, time: float, state: State, out: State | None = None) -> Iterator[Tile]:
        """One tile with one point."""
        change = State(np.empty_like(state.u), state.fields)
        self.explicit(time, state, change)
        tile.points = np.zeros(1, dtype=np.int64)
        tile.slot(N)[:, 0], tile.slot(U)[:, 0] = change.u[0], state.u[0]
        yield tile

    def load(self, tile: Tile, number: int, state: State) -> None:
        """Rows are harmonics."""
        tile.slot(number)[:, 0] = state.u[0]

    def store(self, tile: Tile, state: State) -> None:
        """Rows are harmonics."""
        tile.complete()
        state.u[0] = tile.result[:, 0]

    def local_polynomials(self, polynomials: Sequence[Array | None], start: float, size: float) -> Sequence[Array | None]:
        """Those of the whole sample."""
        return polynomials

    def add_source(self, harmonics: Array, number: int, per_cell: Array, points: Points) -> None:
        """A source has a zeroth and a second moment."""
        harmonics[0, 0] += per_cell
        harmonics[2, 0] += self.sources[number].width_squared * per_cell

    def moments(self, vector: Any) -> SpatialMoments:
        """A copy of the state."""
        return SpatialMoments(*self.read(vector).u[0].copy())


Blocks = dict[tuple[int, int], Array]  # Blocks [i, j] of a block-triangular matrix, j ≤ i


class ExactMoments:
    """exp(ΔG) of the moment equations' generator G, with sources that decay exponentially after their windows.

    For (strengths, M0, M1, M2) the generator G = [[−d], [f, L_0], [0, v, L_1], [w0² f, 0, 2v, L_0]] is block-triangular; its
    exponential is made by Taylor series and squaring block by block, where every block is dominated by nonnegative ones (no
    eigenvectors: integrators/propagators.py). Where sources vary, a nilpotent block in place of −d advances their polynomials.
    """

    def __init__(
        self, generator: LocalGenerator, step: float, sources: Sequence[Source], stage: int, varying: bool = False
    ) -> None:
        """`step` [ps]; `stage` of the scattering, for the sources' spectra.

        With `varying`, sources are polynomials of each step with its exact moments, otherwise exponentials.
        """
        self._step, self._varying = step, varying
        self._sources = [source for source in sources if varying or math.isfinite(source.decay)]
        l0, l1, velocity = generator.block(0), generator.block(1), np.diag(generator.equilibrium.velocity)
        decays, widths = (np.array([getattr(s, key) for s in self._sources]) for key in ("decay", "width_squared"))
        f = np.array([source.spectrum(stage) for source in self._sources]).reshape(-1, len(l0)).T
        drive, fastest = np.diag(-decays), max(generator.fastest_rate, decays.max(initial=0.0))
        if varying:
            derivatives = np.arange(1, SOURCE_DEGREE + 1) / step
            drive, f = np.kron(np.eye(len(widths)), np.diag(derivatives, 1)), np.kron(f, np.eye(1, SOURCE_DEGREE + 1))
            widths, fastest = np.repeat(widths, SOURCE_DEGREE + 1), max(generator.fastest_rate, SOURCE_DEGREE / step)
        g = {
            (0, 0): drive, (1, 0): f, (1, 1): l0, (2, 1): velocity, (2, 2): l1,
            (3, 0): widths * f, (3, 2): 2 * velocity, (3, 3): l0,
        }  # fmt: skip
        squarings = max(0, math.ceil(math.log2(step * fastest / 0.25))) if fastest > 0 else 0
        g = {key: step / 2**squarings * block for key, block in g.items()}
        term: Blocks = {(i, i): np.eye(len(g[i, i])) for i in range(4)}
        total = term
        for j in range(1, 14):
            term = {key: block / j for key, block in _product(g, term).items()}
            total = {key: total.get(key, 0.0) + block for key, block in term.items()}
        for _ in range(squarings):
            total = _product(total, total)
        self._blocks = total

    def advance(self, moments: SpatialMoments, time: float) -> SpatialMoments:
        """Moments one step after `time` [ps]."""
        if self._varying:
            strengths = [a for source in self._sources for a in source.polynomial(time, self._step)]
        else:
            strengths = [source.strength(time) for source in self._sources]
        now = [np.array(strengths), moments.zeroth, moments.first, moments.second]
        return SpatialMoments(*(sum(self._blocks[i, j] @ now[j] for j in range(i + 1)) for i in (1, 2, 3)))


def _product(a: Blocks, b: Blocks) -> Blocks:
    product: Blocks = {}
    for (i, k), left in a.items():
        for j in range(k + 1):
            if (k, j) in b:
                product[i, j] = product.get((i, j), 0.0) + left @ b[k, j]
    return product
