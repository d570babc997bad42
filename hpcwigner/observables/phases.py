"""The three phases of spreading, and when energies, directions and valleys have come to equilibrium, by stated criteria."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RISEN = 0.95
"""Phase I ends when every valley's D_v has once reached this part of its largest value."""
COMMON_WITHIN = 0.1
"""Phase III begins when the D_v stay within this of each other, by the mean of their magnitudes."""
THERMAL = 0.05
"""Thermalised: at most this part away from equilibrium from then on."""


def settled(time: Array, distance: Array, tolerance: float = THERMAL) -> float:
    """First time from which `distance` (time,) stays within `tolerance`; NaN when it is above at the end."""
    away = np.flatnonzero(~(distance <= tolerance))
    if len(away) == 0:
        return float(time[0])
    return float(time[away[-1] + 1]) if away[-1] + 1 < len(time) else np.nan


@dataclasses.dataclass(frozen=True)
class Phases:
    """Ends of phases I (fast increase of D_v) and II (the D_v of the valleys approach each other) [ps]; NaN: not reached."""

    rise_end: float
    alike_from: float

    @classmethod
    def from_diffusion(cls, time: Array, diffusion: Array) -> Phases:
        """From D_v(t), shape (time, valley), as in Fig. 3 of Rosati et al.; NaN before the pump is left out."""
        defined = np.isfinite(diffusion).all(axis=1) & (diffusion != 0).any(axis=1)
        if not defined.any():
            return cls(np.nan, np.nan)
        time, diffusion = time[defined], diffusion[defined]
        risen = (diffusion >= RISEN * diffusion.max(axis=0)).argmax(axis=0)
        spread = np.ptp(diffusion, axis=1) / np.abs(diffusion).mean(axis=1)
        rise_end = float(time[risen].max())
        alike = settled(time, spread, COMMON_WITHIN)
        return cls(rise_end, max(rise_end, alike) if np.isfinite(alike) else np.nan)


@dataclasses.dataclass(frozen=True)
class Thermalisation:
    """Times [ps] from which on a quantity stays within THERMAL of equilibrium; NaN: not reached."""

    NEEDS: ClassVar = {
        "time", "population", "energy_distance", "diffusion_drift", "diffusion_adiabatic", "relative_population",
    }  # fmt: skip
    """Series that it is made from."""

    energy: float
    """Energy distributions, by the part of all excitons with a wrong energy in their valley."""
    momentum: float
    """Directions of motion: the drift part of every D_v is what the present densities dictate."""
    valley: float
    """Population of every valley, relative to its share in equilibrium."""

    @classmethod
    def from_series(cls, series: dict[str, Array]) -> Thermalisation:
        """From the series `NEEDS`."""
        population = series["population"]
        away = np.nansum(population * series["energy_distance"], axis=1) / np.maximum(population.sum(axis=1), 1e-300)
        lag = np.abs(series["diffusion_drift"] / series["diffusion_adiabatic"] - 1).max(axis=1)
        uneven = np.abs(series["relative_population"] - 1).max(axis=1)
        formed = np.isfinite(lag)
        energy, momentum, valley = (settled(series["time"][formed], d[formed]) for d in (away, lag, uneven))
        return cls(energy, momentum, valley)
