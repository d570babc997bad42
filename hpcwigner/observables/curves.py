"""Numbers read off curves against time: of D_v(t) values, extrema, negative windows and phases; when equilibrium is reached."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hpcwigner.runtime.arrays import Array

PEAK_TOLERANCE = 1e-6  # An extremum is reached within this part of the largest |D|: rounding must not decide where D saturates
JUDGED_FROM = 1.0  # Time from which D_v(t) counts [ps]: before, valleys are still filling
RISEN = 0.95  # Phase I ends when the D_v of every valley has reached this part of its largest value
COMMON_WITHIN = 0.1  # Phase III begins when the D_v differ by less than this part of the mean |D_v| from then on
THERMAL = 0.05  # A quantity is thermalised when it differs from equilibrium by less than this part from then on


@dataclasses.dataclass(frozen=True)
class Curves:
    """D_v(t) of one input."""

    time: Array  # [ps], shape (time,)
    diffusion: Array  # [cm²/s], shape (time, valley); NaN where it is not defined

    def at(self, times: Sequence[float]) -> Array:
        """Values at `times` [ps] by linear interpolation, shape (len(times), valley); NaN after the last output."""
        return np.stack([np.interp(times, self.time, d, right=math.nan) for d in self.diffusion.T], axis=-1)

    def window(self, valley: int) -> tuple[float, float]:
        """Start and end [ps] of the longest window with D < 0, NaN without one; a window open at the last output ends there."""
        windows = negative_windows(self.time, self.diffusion[:, valley])
        return max(windows, key=lambda w: w[1] - w[0], default=(math.nan, math.nan))

    def extremum(self, valley: int, sign: int) -> tuple[float, float]:
        """Time [ps] and value [cm²/s] of the largest (`sign` = 1) or smallest (−1) D at an output; NaN without any."""
        late = np.where(self.time >= JUDGED_FROM, sign * self.diffusion[:, valley], math.nan)
        if not np.isfinite(late).any():
            return math.nan, math.nan
        reached = late >= np.nanmax(late) - PEAK_TOLERANCE * np.nanmax(np.abs(late))
        return float(self.time[reached.argmax()]), sign * float(np.nanmax(late))


def negative_windows(times: Array, diffusion: Array, start: float = JUDGED_FROM) -> list[tuple[float, float]]:
    """Start and end [ps] of each window with D < 0 from `start` on, linear between outputs; `times`, `diffusion`: shape (time,).

    Where a window begins at `start` or is open at the last output, that output time is its end.
    """
    negative = (diffusion < 0) & (times >= start)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], negative.astype(int), [0]))))

    def crossing(inside: int, outside: int) -> float:
        if not (0 <= outside < len(times) and diffusion[outside] >= 0):
            return float(times[inside])
        part = diffusion[outside] / (diffusion[outside] - diffusion[inside])
        return float(times[outside] + part * (times[inside] - times[outside]))

    return [(crossing(a, a - 1), crossing(b - 1, b)) for a, b in edges.reshape(-1, 2)]


def settled(time: Array, distance: Array, tolerance: float = THERMAL) -> float:
    """First time from which `distance` (time,) stays within `tolerance`; NaN when it is above at the end."""
    away = np.flatnonzero(~(distance <= tolerance))
    first = away[-1] + 1 if len(away) else 0
    return float(time[first]) if first < len(time) else np.nan


def phases(time: Array, diffusion: Array) -> tuple[float, float]:
    """End of phase I and start of phase III of the D_v [ps] as in Fig. 3 of Rosati et al., Nanoscale 12, 356 (2020).

    In phase I every D_v increases, in II they approach each other, in III they are alike. `time` [ps] is (time,), D_v(t)
    (time, valley); times with an undefined D_v are ignored. NaN: not reached.
    """
    defined = np.isfinite(diffusion).all(axis=1) & (diffusion != 0).any(axis=1)
    if not defined.any():
        return np.nan, np.nan
    time, diffusion = time[defined], diffusion[defined]
    risen = (diffusion >= RISEN * diffusion.max(axis=0)).argmax(axis=0)
    spread = np.ptp(diffusion, axis=1) / np.abs(diffusion).mean(axis=1)
    rise_end, alike = float(time[risen].max()), settled(time, spread, COMMON_WITHIN)
    return rise_end, max(rise_end, alike) if np.isfinite(alike) else np.nan


THERMALISATION_NEEDS = {"population", "energy_distance", "diffusion_drift", "diffusion_adiabatic", "relative_population"}


def thermalisation(series: dict[str, Array]) -> tuple[float, ...]:
    """Times [ps] from which on energies, directions and valleys are thermalised; NaN: not reached.

    From the series variables `time` and THERMALISATION_NEEDS. Energies: part of all excitons that would have to change energy
    for a Boltzmann distribution in each valley. Directions: relative difference of the drift part of each D_v from its
    adiabatic value. Valleys: relative difference of each share of the excitons from its share in equilibrium.
    """
    population = series["population"]
    away = np.nansum(population * series["energy_distance"], axis=1) / np.maximum(population.sum(axis=1), 1e-300)
    lag = np.abs(series["diffusion_drift"] / series["diffusion_adiabatic"] - 1).max(axis=1)
    uneven = np.abs(series["relative_population"] - 1).max(axis=1)
    formed = np.isfinite(lag)
    return tuple(settled(series["time"][formed], d[formed]) for d in (away, lag, uneven))


def time_or_not(time: float) -> str:
    """A time [ps] in words; NaN is one that was not reached."""
    return f"{time:g} ps" if np.isfinite(time) else "not reached"
