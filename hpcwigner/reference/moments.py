"""Closed equations of the spatial moments: exact n_v(t), w_v²(t), D_v(t) without a spatial grid.

In a homogeneous sample M0 = ∫u, M1 = ∫r·u, M2 = ∫r²u of each momentum cell obey
dM0 = L_0 M0 + s,  dM1 = L_1 M1 + v M0,  dM2 = L_0 M2 + 2v M1 + s w0²,
with the m = 0 and m = 1 blocks of the local generator. The same system serves twice: advanced with an integrator and its
steps it has exactly the time error of the full run; propagated with exact exponentials it is the reference of both.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.integrators.semilinear import Points
from hpcwigner.momentum.tile import Tile
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.runtime.parallel import readable
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.term import Source, State

Array = NDArray[np.float64]


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
        """Rows are harmonics."""
        slots[:, 0, index] = u[0]

    def from_harmonics(self, harmonics: Array, out: Array, add: bool = False) -> None:
        """Rows are harmonics."""
        out[0] = harmonics[:, 0] + out[0] if add else harmonics[:, 0]

    def explicit(self, time: float, state: State, out: State) -> None:
        """What drift does to the moments."""
        out.u[0, 0] = 0
        out.u[0, 1] = self.velocity * state.u[0, 0]
        out.u[0, 2] = 2 * self.velocity * state.u[0, 1]

    def tiles(self, tile: Tile, time: float, state: State) -> Iterator[Tile]:
        """One tile with one point."""
        change = State(np.empty_like(state.u), state.fields)
        self.explicit(time, state, change)
        tile.points = np.zeros(1, dtype=np.int64)
        tile.slot(0)[:, 0], tile.slot(1)[:, 0] = change.u[0], state.u[0]
        yield tile

    def load(self, tile: Tile, number: int, state: State) -> None:
        """Rows are harmonics."""
        tile.slot(number)[:, 0] = state.u[0]

    def store(self, tile: Tile, state: State) -> None:
        """Rows are harmonics."""
        state.u[0] = tile.result[:, 0]

    def add_source(self, harmonics: Array, number: int, per_cell: Array, points: Points) -> None:
        """A source has a zeroth and a second moment."""
        harmonics[0, 0] += per_cell
        harmonics[2, 0] += self.sources[number].width_squared * per_cell

    def moments(self, vector: Any) -> SpatialMoments:
        """The state as moments."""
        return SpatialMoments(*self.read(vector).u[0].copy())


@dataclasses.dataclass(frozen=True)
class DecayingSources:
    """Sources after their windows: strengths that decay exponentially, each with its spectrum and width."""

    spectra: Array
    """[1/ps], shape (cell, source)"""
    widths_squared: Array
    """w0² [nm²], shape (source,)"""
    decays: Array
    """[1/ps], shape (source,)"""

    @classmethod
    def after_windows(cls, sources: Sequence[Source], stage: int, cells: int) -> DecayingSources:
        """The sources that go on after their windows, in the order of the list."""
        going_on = [source for source in sources if math.isfinite(source.decay)]
        spectra = np.array([source.spectrum(stage) for source in going_on]).reshape(len(going_on), cells).T
        return cls(spectra, np.array([s.width_squared for s in going_on]), np.array([s.decay for s in going_on]))


class ExactMoments:
    """exp(ΔG) of the moment equations' generator G, with sources that decay exponentially.

    G = [[L_0], [v, L_1], [0, 2v, L_0]] is block-triangular; its exponential is made by Taylor series and squaring block
    by block, where every block is dominated by nonnegative ones (no eigenvectors: integrators/propagators.py).
    """

    def __init__(self, generator: LocalGenerator, step: float, sources: DecayingSources) -> None:
        self.step = step
        l0, l1 = generator.block(0), generator.block(1)
        n, v = len(l0), generator.equilibrium.velocity[:, None]
        fastest = max(generator.fastest_rate, sources.decays.max(initial=0.0))
        squarings = max(0, math.ceil(math.log2(step * fastest / 0.25))) if fastest > 0 else 0
        h = step / 2**squarings
        f, widths = sources.spectra, sources.widths_squared
        # Columns: M0, M1 as they act on later rows, and the sources; X_ij maps M_j to M_i.
        eye, zero, none = np.eye(n), np.zeros((n, n)), np.zeros(f.shape)
        term: dict[str, Array] = {"00": eye, "11": eye, "10": zero, "21": zero, "20": zero}
        source = {"0": none, "1": none, "2": none, "s": np.ones(f.shape[1])}
        total, total_source = dict(term), dict(source)
        for j in range(1, 14):
            source = {
                "0": h / j * (l0 @ source["0"] + f * source["s"]),
                "1": h / j * (v * source["0"] + l1 @ source["1"]),
                "2": h / j * (2 * v * source["1"] + l0 @ source["2"] + widths * f * source["s"]),
                "s": h / j * (-sources.decays * source["s"]),
            }
            term = {
                "00": h / j * (l0 @ term["00"]),
                "11": h / j * (l1 @ term["11"]),
                "10": h / j * (v * term["00"] + l1 @ term["10"]),
                "21": h / j * (2 * v * term["11"] + l0 @ term["21"]),
                "20": h / j * (2 * v * term["10"] + l0 @ term["20"]),
            }
            total = {key: total[key] + term[key] for key in total}
            total_source = {key: total_source[key] + source[key] for key in total_source}
        for _ in range(squarings):
            total, total_source = _square(total, total_source)
        self._blocks, self._source = total, total_source

    def advance(self, moments: SpatialMoments, strengths: Array) -> SpatialMoments:
        """Moments one step later; `strengths` (source,) are those of the decaying sources at the step's start."""
        x, s = self._blocks, self._source
        m0, m1, m2 = moments.zeroth, moments.first, moments.second
        return SpatialMoments(
            x["00"] @ m0 + s["0"] @ strengths,
            x["10"] @ m0 + x["11"] @ m1 + s["1"] @ strengths,
            x["20"] @ m0 + x["21"] @ m1 + x["00"] @ m2 + s["2"] @ strengths,
        )


def _square(x: dict[str, Array], s: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    source = {
        "0": x["00"] @ s["0"] + s["0"] * s["s"],
        "1": x["10"] @ s["0"] + x["11"] @ s["1"] + s["1"] * s["s"],
        "2": x["20"] @ s["0"] + x["21"] @ s["1"] + x["00"] @ s["2"] + s["2"] * s["s"],
        "s": s["s"] ** 2,
    }
    blocks = {
        "00": x["00"] @ x["00"],
        "11": x["11"] @ x["11"],
        "10": x["10"] @ x["00"] + x["11"] @ x["10"],
        "21": x["21"] @ x["11"] + x["00"] @ x["21"],
        "20": x["20"] @ x["00"] + x["21"] @ x["10"] + x["00"] @ x["20"],
    }
    return blocks, source
