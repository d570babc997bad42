"""The three phases of spreading, and the times at which energies, directions and valleys reach equilibrium."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from hpcwigner.runtime.arrays import Array

RISEN = 0.95  # Phase I ends when the D_v of every valley has reached this part of its largest value
COMMON_WITHIN = 0.1  # Phase III begins when the D_v differ by less than this part of the mean |D_v| from then on
THERMAL = 0.05  # A quantity is thermalised when it differs from equilibrium by less than this part from then on


def settled(time: Array, distance: Array, tolerance: float = THERMAL) -> float:
    """First time from which `distance` (time,) stays within `tolerance`; NaN when it is above at the end."""
    away = np.flatnonzero(~(distance <= tolerance))
    if len(away) == 0:
        return float(time[0])
    return float(time[away[-1] + 1]) if away[-1] + 1 < len(time) else np.nan


@dataclasses.dataclass(frozen=True)
class Phases:
    """Phases of the D_v as in Fig. 3 of Rosati et al., Nanoscale 12, 356 (2020); NaN: not reached."""

    rise_end: float  # End of phase I, the increase of every D_v [ps]
    alike_from: float  # End of phase II, in which the D_v approach each other: start of phase III, a common D [ps]

    @classmethod
    def from_diffusion(cls, time: Array, diffusion: Array) -> Phases:
        """From `time` [ps], shape (time,), and D_v(t), shape (time, valley); times with an undefined D_v are ignored."""
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
    """Times [ps] from which on a quantity is thermalised; NaN: not reached."""

    NEEDS: ClassVar = {
        "time", "population", "energy_distance", "diffusion_drift", "diffusion_adiabatic", "relative_population",
    }  # fmt: skip
    """Series variables that `from_series` reads."""

    energy: float  # Energies: part of all excitons that would have to change energy for a Boltzmann distribution in each valley
    momentum: float  # Directions: relative difference of the drift part of each D_v from its adiabatic value
    valley: float  # Valleys: relative difference of each share of the excitons from its share in equilibrium

    @classmethod
    def from_series(cls, series: dict[str, Array]) -> Thermalisation:
        """From the series variables `NEEDS`."""
        population = series["population"]
        away = np.nansum(population * series["energy_distance"], axis=1) / np.maximum(population.sum(axis=1), 1e-300)
        lag = np.abs(series["diffusion_drift"] / series["diffusion_adiabatic"] - 1).max(axis=1)
        uneven = np.abs(series["relative_population"] - 1).max(axis=1)
        formed = np.isfinite(lag)
        energy, momentum, valley = (settled(series["time"][formed], d[formed]) for d in (away, lag, uneven))
        return cls(energy, momentum, valley)
