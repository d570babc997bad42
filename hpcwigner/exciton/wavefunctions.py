"""Overlaps of 1s wave functions at a shifted relative momentum: the form factors of exciton-phonon coupling.

A `Wavefunction` needs only `overlap`. The exponential state is the closed-form one; states of the Wannier equation take
the same place.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Wavefunction(Protocol):
    """A 1s state of the relative motion."""

    def overlap(self, other: Wavefunction, shift: Array) -> Array:
        """∫ψ(r) ψ'(r) exp(iκ·r) d²r at the momentum shift κ [1/nm]; dimensionless, same shape as `shift`."""


@dataclasses.dataclass(frozen=True)
class ExponentialState:
    """ψ(r) = √(2/πa²) exp(−r/a)."""

    radius: float
    """a [nm]"""

    def overlap(self, other: Wavefunction, shift: Array) -> Array:
        """(b²/aa') [1 + (κb/2)²]^(−3/2) with 2/b = 1/a + 1/a'; for a = a' the form factor of DESIGN §3."""
        if not isinstance(other, ExponentialState):
            raise TypeError("an exponential state overlaps with exponential states only")
        mean = 2 / (1 / self.radius + 1 / other.radius)
        amplitude = mean**2 / (self.radius * other.radius)
        return amplitude * (1 + (0.5 * mean * np.asarray(shift)) ** 2) ** -1.5
