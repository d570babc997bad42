"""Form factors of exciton-phonon coupling: overlaps of 1s wave functions at a shifted relative momentum."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from hpcwigner.exciton.wannier import BoundState

Array = NDArray[np.float64]

DEGREE = 48  # Degree of the tables: overlaps to 1e-6 (tests/test_wannier.py)
REACH = 8.0  # Largest κa/2 of the tables, where the form factor is 2e-3; beyond it falls as κ^{−3}


class Wavefunction(Protocol):
    """A 1s state of the relative motion."""

    def overlap(self, other: Wavefunction, shift: Array) -> Array:
        """∫ψ(r) ψ'(r) exp(iκ·r) d²r at the momentum shift κ [1/nm]; dimensionless, same shape as `shift`."""


@dataclasses.dataclass(frozen=True)
class OverlapTable:
    """F(κ) = (1 + x)^{−3/2} g(x/(1 + x)), x = (κa/2)². g is smooth, and constant for ψ ∝ exp(−r/a)."""

    length: float  # a [nm]
    coefficients: tuple[float, ...]  # Chebyshev coefficients of g on [0, x_max/(1 + x_max)]

    @classmethod
    def from_states(cls, first: BoundState, second: BoundState) -> OverlapTable:
        """Overlap of two bound states."""
        length = (first.rms_radius + second.rms_radius) / np.sqrt(6)  # of an exponential state: a = rms radius·√(2/3)
        z = 0.5 * (1 + chebyshev.chebpts1(2 * DEGREE)) * _compressed(REACH**2)
        x = z / (1 - z)
        values = first.overlap(second, 2 / length * np.sqrt(x)) * (1 + x) ** 1.5
        coefficients = chebyshev.chebfit(2 * z / _compressed(REACH**2) - 1, values, DEGREE)
        return cls(float(length), tuple(map(float, coefficients)))

    def __call__(self, shift: Array) -> Array:
        x = (0.5 * self.length * np.asarray(shift)) ** 2
        z = 2 * np.minimum(_compressed(x) / _compressed(REACH**2), 1.0) - 1
        return np.asarray(chebyshev.chebval(z, self.coefficients) * (1 + x) ** -1.5)


def _compressed(x: Array | float) -> Array:
    return np.asarray(x / (1 + np.asarray(x)))


@dataclasses.dataclass(frozen=True)
class TabulatedState:
    """A 1s state given by its overlaps with all 1s states of its material."""

    name: str
    tables: Mapping[str, OverlapTable]  # Overlap with each state, by name

    def overlap(self, other: Wavefunction, shift: Array) -> Array:
        """Interpolated from the table. Raises TypeError for a state of another material."""
        if not isinstance(other, TabulatedState) or other.name not in self.tables:
            raise TypeError("a tabulated state overlaps with the states of its own material only")
        return self.tables[other.name](shift)


def tabulate(states: Mapping[str, BoundState]) -> dict[str, TabulatedState]:
    """States with the overlaps of all pairs, each computed once."""
    tables: dict[tuple[str, str], OverlapTable] = {}
    for a, b in itertools.combinations_with_replacement(states, 2):
        tables[a, b] = tables[b, a] = OverlapTable.from_states(states[a], states[b])
    return {a: TabulatedState(a, {b: tables[a, b] for b in states}) for a in states}
