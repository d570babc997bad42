"""What a microscope and a detector make of light: Gaussian blur in space and time, windows of energy, widths of profiles.

In space the Gaussian on a grid of spacing h is that of diffusion from cell to cell, K(n) = exp(−t) I_n(t) with t = σ²/h²: it is
nonnegative, sums to 1 and has the variance σ² at every t, so that variances add exactly (Lindeberg, IEEE Trans. Pattern Anal.
Mach. Intell. 12, 234 (1990)). In time intensities are linear between rows and 0 before the first one, and the convolution with
the Gaussian is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from hpcwigner.observables.profiles import fit
from hpcwigner.runtime.arrays import Array

NEGLIGIBLE = 1e-17  # Tail of the Gaussian that is left out
UNKNOWN = 0.01  # Part of the response after the last row from which on a measured intensity is not known


def standard_deviation(fwhm: float) -> float:
    """σ of a Gaussian from its full width at half maximum, in the same unit."""
    return fwhm / float(np.sqrt(8 * np.log(2)))


def space_response(count: int, spacing: float, fwhm: float, periodic: bool) -> Array:
    """Light in each pixel from each of `count` cells, shape (pixel, cell); `fwhm` of the point spread in units of `spacing`'s.

    What is blurred beyond the ends of a sample that is not periodic is not in the picture; else columns sum to 1.
    """
    from scipy.special import ive

    squared = (standard_deviation(fwhm) / spacing) ** 2
    reach = int(10 * np.sqrt(squared)) + 20
    weights = ive(np.abs(np.arange(-reach, reach + 1)), squared)
    weights[weights < NEGLIGIBLE] = 0.0
    weights /= weights.sum()
    response, cells = np.zeros((count, count)), np.arange(count)
    for shift, weight in zip(range(-reach, reach + 1), weights, strict=True):
        pixel = cells + shift
        if periodic:
            pixel = pixel % count
        inside = (pixel >= 0) & (pixel < count)
        np.add.at(response, (pixel[inside], cells[inside]), weight)
    return response


def time_response(times: Array, fwhm: float) -> Array:
    """Weights of the intensities at `times` [ps] in those that a detector measures at the same times, shape (time, time).

    NaN in the rows of the last times, for which more than UNKNOWN of the response asks for light after the last row; for the rest
    of it the last intensity is held.
    """
    from scipy.special import ndtr

    sigma = standard_deviation(fwhm)
    away = (times[:, None] - times) / sigma
    ramp = sigma * (away * ndtr(away) + np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi))  # second antiderivative of the Gaussian
    weights = np.zeros((len(times), len(times)))
    weights[:, 0] = ndtr(away[:, 0])  # a step from 0 at the first row
    kinks = -np.diff(ramp, axis=1) / np.diff(times)  # a ramp from 0 to 1 between two rows that stays at 1
    weights[:, 1:] += kinks
    weights[:, :-1] -= kinks
    weights[ndtr(away[:, -1]) > UNKNOWN] = np.nan
    return weights


def along(response: Array, values: Array, axis: int) -> Array:
    """A response (to, from) applied along an axis of values."""
    return np.moveaxis(np.tensordot(response, values, axes=(1, axis)), 0, axis)


def window_weights(edges: Array, windows: Sequence[tuple[float, float]]) -> Array:
    """Part of each bin of energy that lies in each window, shape (bin, window)."""
    low, high = np.array(windows, dtype=float).reshape(-1, 2).T
    overlap = np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low)
    return np.asarray(np.maximum(overlap, 0.0) / np.diff(edges)[:, None])


@dataclasses.dataclass(frozen=True)
class Widths:
    """Squared widths w² = 2σ² of light and its effective diffusion coefficients ¼ ∂t w², at each time.

    ∂t are differences between rows, as a measurement has them; NaN where there is no light, or no Gaussian fits.
    """

    width_squared: Array  # By second moments, ⟨r²⟩ − ⟨r⟩², in a slab 2⟨(x − ⟨x⟩)²⟩
    fitted_width_squared: Array  # Of a Gaussian along x, in a plane on y = 0
    diffusion: Array
    fitted_diffusion: Array

    @classmethod
    def of(cls, times: Array, positions: Sequence[Array], light: Array, line: Array) -> Widths:
        """`positions` are the cells' along each axis, `light` (time, x[, y]), `line` (time, x) the same on y = 0."""
        second = np.array([_second_moment(positions, values) for values in light])
        fits = [fit(positions[0], values, symmetric=False) if np.isfinite(values).all() else None for values in line]
        fitted = np.array([np.nan if one is None else one.width_squared for one in fits])
        return cls(second, fitted, 0.25 * slope(times, second), 0.25 * slope(times, fitted))


def _second_moment(positions: Sequence[Array], light: Array) -> float:
    total = float(light.sum())
    if not total > 0:  # NaN as well
        return float("nan")
    squared = 0.0
    for axis, places in enumerate(positions):
        profile = light.sum(axis=tuple(a for a in range(light.ndim) if a != axis)) / total
        squared += float(profile @ (places - profile @ places) ** 2)
    return squared * (2 if len(positions) == 1 else 1)


def slope(times: Array, values: Array) -> Array:
    """Differences between neighbouring rows, of second order inside; NaN without two neighbouring values."""
    return np.gradient(values, times) if len(times) > 1 else np.full(len(values), np.nan)


def decay_time(times: Array, light: Array) -> float:
    """Time constant [ps] of an exponential through the last quarter of the rows since the largest light; NaN if it grows."""
    late = np.flatnonzero(light > 0)
    late = late[late >= int(np.argmax(light))] if len(late) else late
    late = late[-max(2, len(late) // 4) :]
    if len(late) < 2:
        return float("nan")
    rate = -float(np.polyfit(times[late], np.log(light[late]), 1)[0])
    return 1 / rate if rate > 0 else float("nan")
