"""Time courses of a laser pulse: the coherent population |p0(t)|² that it drives, and its intensity.

∂t p0 = −κ p0 + A(t), A(t) ∝ exp(−(t − t_c)²/2σ²), p0(0) = 0, κ = ½(γ + Γ_0), σ² = FWHM²/(8 ln 2), has the solution
p0(t) = σ√(π/2) [exp(κ²σ²/2 − κ(t − t_c)) erfc(−x)]_0^t, x(t) = (t − t_c − κσ²)/√2σ. Where x < 0 the exponential overflows
and erfc underflows; there exp(−(t − t_c)²/2σ²) erfcx(−x) is the same number (erfcx(z) = exp(z²) erfc(z)).
"""

import abc
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from hpcwigner.runtime.arrays import Array

SOURCE_DEGREE = 2  # A source enters each step as the polynomial of this degree with its exact moments
REACH = math.sqrt(16 * math.log(10) / (4 * math.log(2)))
"""The field A(t) is below 1e-16 of its peak this many FWHM away from its centre."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_HILBERT_INVERSE = np.linalg.inv([[1 / (i + k + 1) for i in range(SOURCE_DEGREE + 1)] for k in range(SOURCE_DEGREE + 1)])


@dataclasses.dataclass(frozen=True)
class Pulse(abc.ABC):
    """A Gaussian field A(t), and a course in time that follows from it."""

    center: float  # t_c [ps]
    duration_fwhm: float  # FWHM of the field A(t) [ps]

    @property
    def sigma(self) -> float:
        """σ of the field [ps]."""
        return self.duration_fwhm / math.sqrt(8 * math.log(2))

    @property
    def window(self) -> tuple[float, float]:
        """Times [ps] between which A(t) is above 1e-16 of its peak, from 0 on."""
        reach = self.duration_fwhm * REACH
        return max(0.0, self.center - reach), self.center + reach

    @abc.abstractmethod
    def course(self, time: Array) -> Array:
        """Strength at `time` [ps], same shape; zero for t ≤ 0."""

    @property
    @abc.abstractmethod
    def decay(self) -> float:
        """Rate [1/ps] of the exponential decay after the window; infinite: zero there."""

    def polynomial(self, start: float, size: float) -> Array:
        """Coefficients a_k of Σ a_k s^k, s = (t − start)/size, with the moments ∫course s^k ds of the step, k ≤ 2."""
        moments = [_gauss(0.0, 1.0, lambda s: self.course(start + size * s), k) for k in range(SOURCE_DEGREE + 1)]
        return np.asarray(_HILBERT_INVERSE @ moments)

    def integral(self, time: float) -> float:
        """∫course dt from 0 to `time`: Gauss quadrature within the window, the exponential decay after it."""
        begin, end = self.window
        if time <= begin:
            return 0.0
        panels = np.linspace(begin, min(time, end), 81)
        total = math.fsum(_gauss(a, b, self.course, 0) for a, b in itertools.pairwise(panels))
        if time > end and math.isfinite(self.decay):
            total -= float(self.course(np.array(end))) / self.decay * math.expm1(-self.decay * (time - end))
        return total


@dataclasses.dataclass(frozen=True)
class CoherentPopulation(Pulse):
    """|p0(t)|² of a resonant pulse, normalised so that ∫Γ_0|p0|² dt = 1 over all t ≥ 0."""

    dephasing: float  # κ = ½(γ + Γ_0) [1/ps]
    formation_rate: float  # Γ_0 = Σ Γ_{Q,0} [1/ps]

    @property
    def decay(self) -> float:
        return 2 * self.dephasing

    def _polarisation(self, time: Array) -> Array:
        from scipy.special import erfc, erfcx  # needed where the run is planned only

        sigma, t = self.sigma, np.asarray(time, dtype=float)
        delay = self.dephasing * sigma**2

        def primitive(t: Array) -> Array:
            """exp(κ²σ²/2 − κ(t − t_c)) erfc(−x(t))"""
            x = (t - self.center - delay) / (math.sqrt(2) * sigma)
            gaussian = np.exp(-0.5 * ((t - self.center) / sigma) ** 2)
            late = np.exp(np.minimum(0.5 * (self.dephasing * sigma) ** 2 - self.dephasing * (t - self.center), 0.0))
            return np.where(x < 0, gaussian * erfcx(-np.minimum(x, 0.0)), late * erfc(-np.maximum(x, 0.0)))

        initial = primitive(np.zeros(1))[0] * np.exp(-self.dephasing * t)
        return np.asarray(sigma * math.sqrt(math.pi / 2) * (primitive(t) - initial))

    @functools.cached_property
    def _norm(self) -> float:
        """∫Γ_0|p0|² dt before normalisation."""
        begin, end = self.window
        panels = np.linspace(begin, end, 81)
        total = math.fsum(_gauss(a, b, lambda t: self._polarisation(t) ** 2, 0) for a, b in itertools.pairwise(panels))
        tail = float(self._polarisation(np.array(end))) ** 2 / self.decay
        return self.formation_rate * (total + tail)

    def course(self, time: Array) -> Array:
        """|p0(t)|², population of coherent excitons."""
        t = np.asarray(time, dtype=float)
        return np.where(t > 0, self._polarisation(t) ** 2 / self._norm, 0.0)


@dataclasses.dataclass(frozen=True)
class Intensity(Pulse):
    """A(t)² with ∫A² dt = 1 over all t ≥ 0 [1/ps]: excitons appear while the light is there."""

    @property
    def decay(self) -> float:
        return math.inf

    def course(self, time: Array) -> Array:
        t = np.asarray(time, dtype=float)
        whole = 0.5 * math.sqrt(math.pi) * self.sigma * (1 + math.erf(self.center / self.sigma))
        return np.where((t > 0) & (t <= self.window[1]), np.exp(-(((t - self.center) / self.sigma) ** 2)) / whole, 0.0)


def _gauss(lower: float, upper: float, function: Callable[[Array], Array], power: int) -> float:
    """∫ function(t) t^power dt over [lower, upper]."""
    t = lower + 0.5 * (upper - lower) * (1 + _NODES)
    return float(0.5 * (upper - lower) * (_WEIGHTS @ (function(t) * t**power)))
