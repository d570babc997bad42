"""Widths and effective diffusion coefficients as an experiment extracts them from the whole sample's density or its light.

Of second moments (`width_squared`, `diffusion`) and of a Gaussian fitted to a profile (`Profiles`); and rings. Rates follow from
those of sums and profiles at one time, not from differences between times.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import numpy as np
from mpi4py import MPI

from hpcwigner.observables.fields import central_weights, centre_weights
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition

Kind = Literal["density", "light"]

SLIGHT = 1e-6  # A ring that stands out by less than this part of the density at the origin is none
WIDEST = 10.0  # Fitted widths of more than so many sample lengths are no widths
NEWTON_STEPS = 20


def width_squared(sums: Array) -> float:
    """w² = ⟨r²⟩ − ⟨r⟩² of a density [nm²], in a slab 2⟨(x − ⟨x⟩)²⟩; NaN without excitons.

    `sums` are ∫w f dr for the weights w of SpatialMoments with a grid: 1, r² (slab 2x²), r_a and r_a² of each axis.
    """
    number, second, center, factor = _central(sums)
    return second - factor * float((center**2).sum()) if number > 0 else np.nan


def diffusion(sums: Array, rates: Array) -> float:
    """¼ ∂t of `width_squared` [nm²/ps] for the rates of change ∂t of `sums`."""
    number, second, center, factor = _central(sums)
    if not number > 0:
        return np.nan
    moved = (rates[2 : 2 + len(center)] - center * rates[0]) / number
    return float(0.25 * ((rates[1] - second * rates[0]) / number - 2 * factor * (center * moved).sum()))


def _central(sums: Array) -> tuple[float, float, Array, float]:
    """Number, mean of r² (slab 2x²), mean position, and the factor with which its square counts."""
    axes = (len(sums) - 2) // 2
    number = float(sums[0])
    if not number > 0:
        return 0.0, np.nan, np.zeros(axes), 1.0
    return number, float(sums[1]) / number, sums[2 : 2 + axes] / number, 2.0 if axes == 1 else 1.0


def along_x(decomposition: Decomposition, values: Array) -> Array:
    """Profiles (..., cell) along x of the whole sample, of values (..., x, y) on a rank's block. Collective.

    Of a plane it is the cut y = 0. Values must be even under the mirrors of a folded grid.
    """
    here = values @ centre_weights(decomposition, 1)
    whole = np.zeros((*here.shape[:-1], decomposition.grid.whole.shape[0]))
    for (block, _), (mirrored, below) in decomposition.images():
        if not below:  # `centre_weights` has counted both halves of the plane
            whole[..., block] = here[..., ::-1] if mirrored else here
    decomposition.comm.Allreduce(MPI.IN_PLACE, whole)
    return whole


@dataclasses.dataclass(frozen=True)
class Profiles:
    """Density of all excitons and light along x at one time, with their rates of change, as plain arrays of one rank."""

    x: Array
    """Centres of the cells of the whole sample (a folded one unfolded) [nm], evenly spaced, shape (cell,), as all arrays."""
    density: Array
    """Σ_v N_v of a slab, or on the line y = 0 of a plane, in any unit."""
    density_rate: Array
    """∂t of it."""
    light: Array
    """PL, in any unit."""
    light_rate: Array
    """∂t of it."""
    symmetric: bool = False
    """Whether profiles are their own mirror images (a folded sample): the centre of fits is then x = 0."""

    def fitted_width_squared(self, kind: Kind) -> float:
        """w² = 2σ² [nm²] of the Gaussian A exp[−(x − c)²/w²] that fits best, all cells counting alike; no background.

        NaN where nothing is, or no Gaussian fits best.
        """
        fit = self._fits[kind]
        return np.nan if fit is None else fit.width_squared

    def fitted_diffusion(self, kind: Kind) -> float:
        """¼ ∂t of `fitted_width_squared` [nm²/ps]."""
        fit = self._fits[kind]
        return np.nan if fit is None else 0.25 * fit.rate(self.density_rate if kind == "density" else self.light_rate)

    @functools.cached_property
    def _fits(self) -> dict[Kind, Fit | None]:
        return {"density": fit(self.x, self.density, self.symmetric), "light": fit(self.x, self.light, self.symmetric)}

    @functools.cached_property
    def ring(self) -> tuple[float, float]:
        """Largest density over that at the origin − 1, and its distance from there [nm], by a parabola; 0, 0 without a ring."""
        at_origin = float(central_weights(len(self.x)) @ self.density)
        i = int(self.density.argmax())
        top, place = float(self.density[i]), float(self.x[i])
        if 0 < i < len(self.x) - 1:
            below, here, above = self.density[i - 1 : i + 2]
            slope, curvature = 0.5 * (above - below), above + below - 2 * here
            if curvature < 0:
                top, place = float(here - 0.5 * slope**2 / curvature), place - slope / curvature * (self.x[1] - self.x[0])
        if not at_origin > 0 or top <= (1 + SLIGHT) * at_origin:
            return 0.0, 0.0
        return top / at_origin - 1, abs(float(place))


@dataclasses.dataclass(frozen=True)
class Fit:
    """A exp[−s(x − c)²] that fits a profile best: Σ(m − f)² is stationary in A, s and, unless it is fixed, c."""

    x: Array  # In units of `length`
    parameters: Array  # A, s and, unless it is fixed, c; in these units
    hessian: Array  # Of ½Σ(m − f)²
    length: float  # [nm]

    @property
    def width_squared(self) -> float:
        """w² = 1/s [nm²]."""
        return float(self.length**2 / self.parameters[1])

    def rate(self, change: Array) -> float:
        """∂t w² [nm²/ps] where the profile changes by `change` per ps: H ∂t p = Jᵀ ∂t f keeps the sum stationary."""
        moved = np.linalg.solve(self.hessian, _gaussian(self.x, self.parameters)[1] @ change)
        return float(-(self.length**2) * moved[1] / self.parameters[1] ** 2)


def fit(x: Array, profile: Array, symmetric: bool) -> Fit | None:
    """The Gaussian that fits a profile best, or None."""
    from scipy.optimize import least_squares

    top, spacing = float(profile.max()), float(x[1] - x[0])
    if not (np.isfinite(profile).all() and top > 0):
        return None
    length = float(profile.sum()) * spacing / (np.sqrt(np.pi) * top)  # w of a Gaussian
    if not length > 0:
        return None
    places, centre = x / length, float(x[profile.argmax()]) / length
    start = np.array([top, 1.0] if symmetric else [top, 1.0, centre])
    scales = np.array([top, 1.0, 1.0])[: len(start)]
    solved = least_squares(
        lambda p: _gaussian(places, p)[0] - profile, start, lambda p: _gaussian(places, p)[1].T, method="lm", x_scale=scales
    )
    p = solved.x
    for _ in range(NEWTON_STEPS):  # to rounding, so that the rate is that of the very fit
        model, slopes, curvatures = _gaussian(places, p)
        hessian = slopes @ slopes.T + curvatures @ (model - profile)
        if not (np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian * np.outer(scales, scales))[0] > 0):
            return None
        step = np.linalg.solve(hessian, slopes @ (model - profile))
        p = p - step
        if np.abs(step / scales).max() < 1e-13:
            break
    longest = WIDEST * spacing * len(x) / length
    return Fit(places, p, hessian, length) if p[0] > 0 and p[1] > longest**-2 else None


def _gaussian(x: Array, parameters: Array) -> tuple[Array, Array, Array]:
    """m = A exp[−s(x − c)²], its first derivatives (parameter, cell) and its second ones (parameter, parameter, cell)."""
    a, s, c = (*parameters, 0.0)[:3]
    d = x - c
    e = np.exp(-s * d**2)
    first = np.stack([e, -a * d**2 * e, 2 * a * s * d * e])
    ss, sc, cc = a * d**4 * e, 2 * a * d * (1 - s * d**2) * e, 2 * a * s * (2 * s * d**2 - 1) * e
    second = np.stack([[0 * e, -(d**2) * e, 2 * s * d * e], [-(d**2) * e, ss, sc], [2 * s * d * e, sc, cc]])
    used = len(parameters)
    return a * e, first[:used], second[:used, :used]
