"""The closed equations of the spatial moments: exact n_v(t), w_v²(t), D_v(t) without a spatial grid (DESIGN §6).

In a homogeneous sample M0 = ∫u, M1 = ∫r·u, M2 = ∫r²u of each momentum cell obey
dM0 = L_0 M0 + s,  dM1 = L_1 M1 + v M0,  dM2 = L_0 M2 + 2v M1 + s w0²,
with the m = 0 and m = 1 blocks of scattering. The same system serves twice: integrated with an integrator and its steps
it has exactly the time error of the full run; propagated with exact exponentials it is the reference of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import Budget, SpatialMoments, budget
from hpcwigner.runtime.parallel import readable
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]


class MomentSystem:
    """(M0, M1, M2) as a semilinear problem: rows 0, 1, 2 of one point, harmonics 0, 1, 0."""

    orders: tuple[int, ...] = (0, 1, 0)

    def __init__(self, velocity: Array, source_width_squared: float) -> None:
        """`velocity` [nm/ps] has shape (cell,), `source_width_squared` is w0² [nm²]."""
        self.velocity, self.source_width_squared = velocity, source_width_squared
        self.shape = (1, 3, len(velocity))

    def create_vector(self) -> Any:
        from petsc4py import PETSc

        return PETSc.Vec().createSeq(math.prod(self.shape), comm=PETSc.COMM_SELF)

    def view(self, vector: Any) -> Array:
        return np.asarray(vector.getArray()).reshape(self.shape)

    def read(self, vector: Any) -> Array:
        return readable(vector).reshape(self.shape)

    def to_harmonics(self, state: Array, slots: Array, index: int, factor: float = 1.0, minus: int | None = None) -> None:
        slots[:, 0, index] = factor * state[0] - (0.0 if minus is None else slots[:, 0, minus])

    def from_harmonics(self, harmonics: Array, out: Array, add: bool = False) -> None:
        out[0] = harmonics[:, 0] + out[0] if add else harmonics[:, 0]

    def explicit(self, state: Array, out: Array) -> None:
        out[0, 0] = 0
        out[0, 1] = self.velocity * state[0, 0]
        out[0, 2] = 2 * self.velocity * state[0, 1]

    def explicit_to_harmonics(
        self, state: Array, slots: Array, index: int, factor: float = 1.0, minus: int | None = None, own: int | None = None
    ) -> None:
        moved = np.empty_like(state)
        self.explicit(state, moved)
        self.to_harmonics(moved, slots, index, factor, minus)
        if own is not None:
            self.to_harmonics(state, slots, own)

    def add_source(self, harmonics: Array, per_cell: Array) -> None:
        harmonics[0, 0] += per_cell
        harmonics[2, 0] += self.source_width_squared * per_cell

    def moments(self, vector: Any) -> SpatialMoments:
        """The state as moments."""
        return SpatialMoments(*self.read(vector)[0].copy())


class ExactMoments:
    """exp(ΔG) of the moment equations' generator G, with a source that decays as exp(−2κt).

    G = [[L_0], [v, L_1], [0, 2v, L_0]] is block-triangular; its exponential is made by Taylor series and squaring block
    by block, where every block is dominated by nonnegative ones (no eigenvectors: momentum/propagators.py).
    """

    def __init__(self, scattering: Scattering, step: float, source_decay: float, source_width_squared: float) -> None:
        self.step = step
        n = scattering.cells.size
        l0, l1 = scattering.blocks[0], scattering.blocks[1]
        v = scattering.equilibrium.velocity[:, None]
        fastest = max(scattering.fastest_rate, source_decay)
        squarings = max(0, math.ceil(math.log2(step * fastest / 0.25)))
        h = step / 2**squarings
        f = scattering.formation
        # Columns: M0, M1 as they act on later rows, and the source; E is exp of the part, X_ij maps M_j to M_i.
        eye, zero = np.eye(n), np.zeros((n, n))
        term: dict[str, Array] = {"00": eye, "11": eye, "10": zero, "21": zero, "20": zero}
        source = {"0": np.zeros(n), "1": np.zeros(n), "2": np.zeros(n), "s": np.ones(1)}
        total, total_source = dict(term), dict(source)
        for j in range(1, 14):
            source = {
                "0": h / j * (l0 @ source["0"] + f * source["s"]),
                "1": h / j * (v[:, 0] * source["0"] + l1 @ source["1"]),
                "2": h / j * (2 * v[:, 0] * source["1"] + l0 @ source["2"] + source_width_squared * f * source["s"]),
                "s": h / j * (-source_decay * source["s"]),
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

    def advance(self, moments: SpatialMoments, coherent: float) -> SpatialMoments:
        """Moments one step later; `coherent` is |p0|² at the step's start, after the pulse."""
        x, s = self._blocks, self._source
        m0, m1, m2 = moments.zeroth, moments.first, moments.second
        return SpatialMoments(
            x["00"] @ m0 + s["0"] * coherent,
            x["10"] @ m0 + x["11"] @ m1 + s["1"] * coherent,
            x["20"] @ m0 + x["21"] @ m1 + x["00"] @ m2 + s["2"] * coherent,
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


def budgets(
    states: Iterator[tuple[float, SpatialMoments, Scattering]], coherent: Any, source_width_squared: float
) -> list[Budget]:
    """Budget of each (time, moments, scattering that acts); `coherent(t)` is |p0|²."""
    return [budget(m, scattering, float(coherent(t)), source_width_squared) for t, m, scattering in states]
