"""Time courses of a laser pulse: the coherent population |p0(t)|² that it drives, and its intensity.

∂t p0 = −κ p0 + A(t), A(t) ∝ exp(−(t − t_c)²/2σ²), p0(0) = 0, κ = ½(γ + Γ_0) + iδ/ħ, σ² = FWHM²/(8 ln 2), has the solution
p0(t) = σ√(π/2) [exp(κ²σ²/2 − κ(t − t_c)) erfc(−x)]_0^t, x(t) = (t − t_c − κσ²)/√2σ. The detuning δ = E − ħω_L is that of the
bright exciton from the light. Where Re x < 0 the exponential overflows and erfc underflows; there exp(−(t − t_c)²/2σ²) erfcx(−x)
is the same number (erfcx(z) = exp(z²) erfc(z) = w(iz), w the Faddeeva function).
"""

import abc
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from hpcwigner.exciton.constants import HBAR
from hpcwigner.runtime.arrays import Array

SOURCE_DEGREE = 2  # A source enters each step as the polynomial of this degree with its exact moments
REACH = math.sqrt(16 * math.log(10) / (4 * math.log(2)))
"""The field A(t) is below 1e-16 of its peak this many FWHM away from its centre."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_HILBERT_INVERSE = np.linalg.inv([[1 / (i + k + 1) for i in range(SOURCE_DEGREE + 1)] for k in range(SOURCE_DEGREE + 1)])


PANELS = 80  # Of the quadrature over the window
_COARSE_DECAY = 8.0  # Decay per step up to which 16 Gauss nodes integrate an exponential to the last digits


@dataclasses.dataclass(frozen=True)
class GaussianField:
    """The field A(t) = exp(−(t − t_c)²/2σ²) of a pulse."""

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

    def polarisation(self, time: Array, dephasing: complex | Array) -> Array:
        """p0 at `time` [ps] for κ = `dephasing` [1/ps]; both broadcast. Complex where κ is."""
        from scipy.special import erfc, erfcx, wofz  # needed where the run is planned, and for pulses detuned by place

        sigma, t, detuned = self.sigma, np.asarray(time, dtype=float), np.iscomplexobj(dephasing)
        delay = dephasing * sigma**2

        def primitive(t: Array) -> Array:
            """exp(κ²σ²/2 − κ(t − t_c)) erfc(−x(t))"""
            x = (t - self.center - delay) / (math.sqrt(2) * sigma)
            gaussian = np.exp(-0.5 * ((t - self.center) / sigma) ** 2)
            exponent = 0.5 * (dephasing * sigma) ** 2 - dephasing * (t - self.center)
            if detuned:  # erfc(−x) = 2 − erfc(x): w in its upper half-plane, where it is bounded
                early = x.real < 0
                follows = gaussian * wofz(1j * np.where(early, -x, x))
                return np.where(early, follows, 2 * np.exp(np.where(early, 0.0, exponent)) - follows)
            late = np.exp(np.minimum(exponent, 0.0))
            return np.where(x < 0, gaussian * erfcx(-np.minimum(x, 0.0)), late * erfc(-np.maximum(x, 0.0)))

        initial = primitive(np.zeros(())) * np.exp(-dephasing * t)
        return np.asarray(sigma * math.sqrt(math.pi / 2) * (primitive(t) - initial))


@dataclasses.dataclass(frozen=True)
class Pulse(GaussianField, abc.ABC):
    """A Gaussian field A(t), and a course in time that follows from it."""

    @abc.abstractmethod
    def course(self, time: Array) -> Array:
        """Strength at `time` [ps], same shape; zero for t ≤ 0."""

    @property
    @abc.abstractmethod
    def decay(self) -> float:
        """Rate [1/ps] of the exponential decay after the window; infinite: zero there."""

    def polynomial(self, start: float, size: float) -> Array:
        """Coefficients a_k of Σ a_k s^k, s = (t − start)/size, with the moments ∫course s^k ds of the step, k ≤ 2."""
        s = 0.5 * (1 + _NODES)
        values = self.course(start + size * s)
        return np.asarray(_HILBERT_INVERSE @ [0.5 * (_WEIGHTS @ (values * s**k)) for k in range(SOURCE_DEGREE + 1)])

    def integral(self, time: float) -> float:
        """∫course dt from 0 to `time`: Gauss quadrature within the window, the exponential decay after it."""
        begin, end = self.window
        if time <= begin:
            return 0.0
        total = _quadrature(begin, min(time, end), self.course)
        if time > end and math.isfinite(self.decay):
            total -= float(self.course(np.array(end))) / self.decay * math.expm1(-self.decay * (time - end))
        return total


@dataclasses.dataclass(frozen=True)
class CoherentPopulation(Pulse):
    """|p0(t)|² of a resonant pulse, normalised so that ∫Γ_0|p0|² dt = 1 over all t ≥ 0."""

    dephasing: float  # Re κ = ½(γ + Γ_0) [1/ps]
    formation_rate: float  # Γ_0 = Σ Γ_{Q,0} [1/ps]
    detuning: float = 0.0  # δ = ħ Im κ [meV]; its sign does not matter

    @property
    def decay(self) -> float:
        return 2 * self.dephasing

    def _population(self, time: Array) -> Array:
        """|p0(t)|² before normalisation."""
        if self.detuning == 0:
            return self.polarisation(time, self.dephasing) ** 2
        return _squared(self.polarisation(time, complex(self.dephasing, self.detuning / HBAR)))

    @functools.cached_property
    def _norm(self) -> float:
        """∫Γ_0|p0|² dt before normalisation."""
        begin, end = self.window
        tail = float(self._population(np.array(end))) / self.decay
        return self.formation_rate * (_quadrature(begin, end, self._population) + tail)

    def course(self, time: Array) -> Array:
        """|p0(t)|², population of coherent excitons."""
        t = np.asarray(time, dtype=float)
        return np.where(t > 0, self._population(t) / self._norm, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class LocalPopulations(GaussianField):
    """|p0(t)|² at places that differ in κ, for one field with the peak 1: not normalised.

    No result of a place depends on the others, to the last bit.
    """

    dephasing: Array  # Re κ = ½(γ + Γ_0) [1/ps], shape (place,)
    detuning: Array  # δ = ħ Im κ [meV], shape (place,)

    def course(self, time: float | Array) -> Array:
        """|p0|² at `time` [ps], shape (place, *time)."""
        t = np.asarray(time, dtype=float)
        kappa = (self.dephasing + 1j / HBAR * self.detuning).reshape(-1, *np.ones(t.ndim, dtype=int))
        return np.where(t > 0, _squared(self.polarisation(t, kappa)), 0.0)

    def polynomial(self, start: float, size: float) -> Array:
        """Coefficients a_k as of `Pulse.polynomial`, shape (place, k). After the window the decay is known, and cheap."""
        end, powers = self.window[1], range(SOURCE_DEGREE + 1)
        if start < end:
            s, weights = 0.5 * (1 + _NODES), 0.5 * _WEIGHTS
            values = self.course(start + size * s) * weights
            moments = np.stack([(values * s**k).sum(axis=-1) for k in powers], axis=-1)
        else:
            rate = 2 * self.dephasing
            left = self._at_end * np.exp(-rate * (start - end))
            moments = left[:, None] * _decay_moments(rate * size)
        return np.asarray((moments[:, None, :] * _HILBERT_INVERSE).sum(axis=-1))

    def integral(self, time: float) -> Array:
        """∫|p0|² dt from 0 to `time` [ps], which may be infinite; shape (place,)."""
        begin, end = self.window
        total = np.zeros(len(self.dephasing))
        if time <= begin:
            return total
        for a, b in itertools.pairwise(np.linspace(begin, min(time, end), PANELS + 1)):
            total += 0.5 * (b - a) * (self.course(a + 0.5 * (b - a) * (1 + _NODES)) * _WEIGHTS).sum(axis=-1)
        if time > end:
            rate = 2 * self.dephasing
            total -= self._at_end / rate * np.expm1(-rate * (time - end))
        return total

    @functools.cached_property
    def _at_end(self) -> Array:
        """|p0|² at the end of the window, shape (place,)."""
        return self.course(self.window[1])


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


def _squared(p: Array) -> Array:
    """|p|² of complex numbers."""
    return np.asarray(p.real**2 + p.imag**2)


def _decay_moments(decay: Array) -> Array:
    """∫₀¹ exp(−decay·s) s^k ds, k ≤ SOURCE_DEGREE, shape (place, k)."""
    s, weights = 0.5 * (1 + _NODES), 0.5 * _WEIGHTS
    values = np.exp(-decay[:, None] * s) * weights
    slow = [(values * s**k).sum(axis=-1) for k in range(SOURCE_DEGREE + 1)]
    fast = [-np.expm1(-decay) / decay]
    for k in range(1, SOURCE_DEGREE + 1):
        fast.append((k * fast[-1] - np.exp(-decay)) / decay)
    return np.where(decay[:, None] < _COARSE_DECAY, np.stack(slow, axis=-1), np.stack(fast, axis=-1))


def _quadrature(lower: float, upper: float, function: Callable[[Array], Array]) -> float:
    """∫ function(t) dt over [lower, upper], by Gauss quadrature on each of the panels."""
    edges = np.linspace(lower, upper, PANELS + 1)
    half = 0.5 * np.diff(edges)[:, None]
    return math.fsum((half * function(edges[:-1, None] + half * (1 + _NODES)) * _WEIGHTS).ravel())
