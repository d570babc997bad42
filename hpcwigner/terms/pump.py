"""The coherent polarisation p0(t) driven by the laser pulse, and the formation of incoherent excitons from it.

∂t p0 = −½(γ + Γ_0) p0 + A(t),  A(t) ∝ exp(−4 ln2 (t − t_c)²/FWHM²),  p0(0) = 0  (DESIGN §4).
With κ = ½(γ + Γ_0) and σ² = FWHM²/(8 ln 2) the solution is in closed form,
p0(t) = σ√(π/2) exp(κ²σ²/2 − κ(t − t_c)) [erf((t − t_c − κσ²)/√2σ) − erf((−t_c − κσ²)/√2σ)],
and |p0|² is normalised so that ∫Γ_0|p0|² dt = 1 over all t ≥ 0.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SOURCE_DEGREE = 2
"""The source enters each step as the polynomial of this degree with its exact moments."""


@dataclasses.dataclass(frozen=True)
class Pump:
    """A pulse and the coherent population |p0(t)|² that it leaves."""

    center: float
    """t_c [ps]"""
    duration_fwhm: float
    """FWHM of the field A(t) [ps]."""
    spot_fwhm: float
    """FWHM of the field A(r) [nm]."""
    dephasing: float
    """κ = ½(γ + Γ_0) [1/ps]"""
    formation_rate: float
    """Γ_0 = Σ Γ_{Q,0} [1/ps]"""

    @property
    def width_squared(self) -> float:
        """w0² of the density |A(r)|² ∝ exp(−r²/w0²) [nm²]: FWHM²/(8 ln 2)."""
        return self.spot_fwhm**2 / (8 * math.log(2))

    @property
    def end_of_pulse(self) -> float:
        """Time after which A(t) is below 1e-16 of its peak [ps]."""
        return self.center + self.duration_fwhm * math.sqrt(16 * math.log(10) / (4 * math.log(2)))

    def _polarisation(self, time: Array) -> Array:
        sigma = self.duration_fwhm / math.sqrt(8 * math.log(2))
        scale, delay = math.sqrt(2) * sigma, self.dephasing * sigma**2
        start = math.erf((-self.center - delay) / scale)
        erf = np.array([math.erf((t - self.center - delay) / scale) for t in np.ravel(time)]).reshape(np.shape(time))
        growth = 0.5 * (self.dephasing * sigma) ** 2 - self.dephasing * (np.asarray(time) - self.center)
        return np.asarray(sigma * math.sqrt(math.pi / 2) * np.exp(growth) * (erf - start))

    @functools.cached_property
    def _norm(self) -> float:
        """∫Γ_0|p0|²dt before normalisation: Gauss quadrature up to the end of the pulse, then an exponential."""
        if self.formation_rate == 0:
            return 1.0
        panels = np.linspace(0, self.end_of_pulse, 81)
        total = math.fsum(_gauss(a, b, lambda t: self._polarisation(t) ** 2, 0) for a, b in itertools.pairwise(panels))
        tail = float(self._polarisation(np.array(self.end_of_pulse))) ** 2 / (2 * self.dephasing)
        return self.formation_rate * (total + tail)

    def coherent(self, time: Array) -> Array:
        """|p0(t)|², population of coherent excitons; without any formation (no scattering) |p0|² of unit norm of A."""
        t = np.asarray(time, dtype=float)
        return np.where(t > 0, self._polarisation(t) ** 2 / self._norm, 0.0)

    def polynomial(self, start: float, step: float) -> Array:
        """Coefficients a_k of Σ a_k s^k, s = (t − start)/step, with the moments ∫|p0|² s^k ds of the step, k ≤ 2."""
        moments = [_gauss(0.0, 1.0, lambda s: self.coherent(start + step * s), k) for k in range(SOURCE_DEGREE + 1)]
        return np.asarray(_HILBERT_INVERSE @ moments)

    def generated(self, time: float) -> float:
        """Population formed until `time`, ∫Γ_0|p0|²dt."""
        panels = np.linspace(0, min(time, self.end_of_pulse), 81)
        total = math.fsum(_gauss(a, b, self.coherent, 0) for a, b in itertools.pairwise(panels))
        if time > self.end_of_pulse:
            tail = float(self.coherent(np.array(self.end_of_pulse))) / (2 * self.dephasing)
            total -= tail * math.expm1(-2 * self.dephasing * (time - self.end_of_pulse))
        return self.formation_rate * total


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_HILBERT_INVERSE = np.linalg.inv([[1 / (i + k + 1) for i in range(SOURCE_DEGREE + 1)] for k in range(SOURCE_DEGREE + 1)])


def _gauss(lower: float, upper: float, function, power: int) -> float:  # type: ignore[no-untyped-def]
    """∫ function(t) t^power dt over [lower, upper]."""
    t = lower + 0.5 * (upper - lower) * (1 + _NODES)
    return float(0.5 * (upper - lower) * (_WEIGHTS @ (function(t) * t**power)))
