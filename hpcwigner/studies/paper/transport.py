"""Numbers that the paper states and that follow from D_v, w_v² and n_v against time: of runs, and of moment equations alike."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import JUDGED_FROM, Curves, negative_windows, phases, settled
from hpcwigner.runtime.arrays import Array

FIRST_PICOSECONDS = (1.0, 5.0)  # "The first few picoseconds" at 77 K
STEADY = 0.05  # A coefficient is stationary within this part of its last value
BALANCE_TIMES = (5.0, 20.0, 50.0, 120.0)  # Times [ps] at which the exchange of two valleys is printed
Windows = tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class ValleySeries:
    """D_v, its intervalley part, w_v² and n_v of one temperature, each of shape (time, valley)."""

    valleys: tuple[str, ...]
    bright: int  # Index of the bright valley
    time: Array  # [ps], shape (time,)
    diffusion: Array  # D_v [cm²/s]
    interv: Array  # D_v^interv [cm²/s]
    width_squared: Array  # w_v² [µm²]
    population: Array  # n_v

    @property
    def dark(self) -> int:
        """Index of the valley with most excitons at the end."""
        return int(self.population[-1].argmax())

    @property
    def late(self) -> NDArray[np.bool_]:
        """Mask of the times from which D_v(t) counts."""
        return self.time >= JUDGED_FROM

    def at(self, values: Array, time: float) -> Array:
        """Row of (time, valley) values at the output nearest to `time` [ps]."""
        return np.asarray(values[np.abs(self.time - time).argmin()])


@dataclasses.dataclass(frozen=True)
class Transport:
    """What the statements on D_v, w_v² and n_v are judged by. D in cm²/s, times in ps, lifetimes in fs."""

    valleys: tuple[str, ...]
    bright: int
    dark: int  # Index of the valley with most excitons at 20 K
    lifetimes: dict[str, float]  # 1/(γ + Γ_0) [fs] by temperature
    phases: dict[str, tuple[float, float]]  # End of phase I, start of III by temperature; NaN: not reached
    warm_level: float  # 300 K: mean of the last D_v
    warm_spread: float  # Largest relative difference of the D_v after 5 ps
    warm_steady_from: float  # Time from which their mean is stationary
    warm_growth: float  # w² of KK at the end over that at 1 ps
    cool_growth: float  # The same at 77 K
    cool_early: float  # 77 K: largest D of KK in the first picoseconds
    cool_at_2: float
    cool_at_20: float
    cool_at_1: tuple[float, ...]  # All D_v at 1 ps
    cool_end: float  # Last time
    widths_apart: float  # Relative differences at the end of w_v² and
    slopes_apart: float  # of D_v
    first: float  # 20 K: D of KK at 1 ps
    peak: float
    peak_time: float
    rise_time: float  # First time from 1 ps on with half of this D
    exceeds_from: float  # First time with w of KK above that of the dark valley; NaN: never
    exceeds_at_20: bool
    window: tuple[float, float]  # Longest one with D_KK < 0
    lowest: float
    windows: dict[str, Windows]  # All windows with D_v < 0
    shares: tuple[float, ...]  # Of the excitons at the end
    dark_part: float  # Largest |D^interv| over largest |D| of the dark valley
    correlation: float  # Of D^interv and D of KK
    peak_part: float  # ∫D^interv dt / ∫D dt of KK from 1 ps until D turns negative
    window_part: float  # and while D < 0 after the peak
    early_part: float  # |D^interv(2 ps)| over its largest value, of KK
    end: float
    end_interv: float
    end_diffusion: float
    second: int  # Index of the second most populated valley
    balance: dict[float, float]  # |D^interv| n of the second over that of the first at BALANCE_TIMES
    balanced: dict[float, float]  # Part of the time for which this ratio is within a factor of 2 and of √10

    @classmethod
    def of(cls, runs: Mapping[str, ValleySeries], lifetimes: Mapping[str, float]) -> "Transport":
        """From series at "300 K", "77 K" and "20 K" and the coherent lifetimes [fs] by temperature."""
        warm, cool = runs["300 K"], runs["77 K"]
        level = warm.diffusion.mean(axis=1)
        after = warm.diffusion[warm.time >= 5]
        early = (cool.time >= FIRST_PICOSECONDS[0]) & (cool.time <= FIRST_PICOSECONDS[1])
        return cls(
            lifetimes=dict(lifetimes),
            phases={name: phases(run.time, run.diffusion) for name, run in runs.items()},
            warm_level=float(level[-1]),
            warm_spread=float((np.ptp(after, axis=1) / after.mean(axis=1)).max()),
            warm_steady_from=settled(warm.time, np.abs(level / level[-1] - 1), STEADY),
            warm_growth=_growth(warm),
            cool_growth=_growth(cool),
            cool_early=float(np.nanmax(cool.diffusion[early, cool.bright])),
            cool_at_2=float(cool.at(cool.diffusion, 2.0)[cool.bright]),
            cool_at_20=float(cool.at(cool.diffusion, 20.0)[cool.bright]),
            cool_at_1=tuple(map(float, cool.at(cool.diffusion, JUDGED_FROM))),
            cool_end=float(cool.time[-1]),
            widths_apart=_apart(cool.width_squared[-1]),
            slopes_apart=_apart(cool.diffusion[-1]),
            **_cold(runs["20 K"]),
        )


def _growth(run: ValleySeries) -> float:
    return float(run.width_squared[-1, run.bright] / run.at(run.width_squared, JUDGED_FROM)[run.bright])


def _apart(values: Array) -> float:
    """Largest difference of values over their mean."""
    return float(np.ptp(values) / values.mean())


def _cold(run: ValleySeries) -> dict[str, Any]:
    """The fields of Transport that describe 20 K."""
    bright, dark, late = run.bright, run.dark, run.late
    curves = Curves(run.time, run.diffusion)
    peak_time, peak = curves.extremum(bright, 1)
    whole, part = run.diffusion[:, bright], run.interv[:, bright]
    wider = run.time[late & (run.width_squared[:, bright] > run.width_squared[:, dark])]
    negative = (run.time > peak_time) & (whole < 0)
    turn = run.time[negative][0] if negative.any() else np.inf
    second = int(np.argsort(run.population[-1])[-2])
    exchange = np.abs(run.population * run.interv)
    with np.errstate(divide="ignore", invalid="ignore"):
        balance = exchange[:, second] / exchange[:, dark]
    return {
        "valleys": run.valleys,
        "bright": bright,
        "dark": dark,
        "first": float(run.at(run.diffusion, JUDGED_FROM)[bright]),
        "peak": peak,
        "peak_time": peak_time,
        "rise_time": _rise(run.time[late], whole[late], 0.5 * peak),
        "exceeds_from": float(wider[0]) if len(wider) else np.nan,
        "exceeds_at_20": bool(run.at(run.width_squared, 20.0)[bright] > run.at(run.width_squared, 20.0)[dark]),
        "window": curves.window(bright),
        "lowest": curves.extremum(bright, -1)[1],
        "windows": {n: tuple(negative_windows(run.time, run.diffusion[:, v])) for v, n in enumerate(run.valleys)},
        "shares": tuple(map(float, run.population[-1] / run.population[-1].sum())),
        "dark_part": float(np.abs(run.interv[late, dark]).max() / np.abs(run.diffusion[late, dark]).max()),
        "correlation": float(np.corrcoef(part[late], whole[late])[0, 1]),
        "peak_part": _part(part, whole, run.time, late & (run.time < turn)),
        "window_part": _part(part, whole, run.time, negative),
        "early_part": float(abs(run.at(run.interv, 2.0)[bright]) / np.abs(part[late]).max()),
        "end": float(run.time[-1]),
        "end_interv": float(part[-1]),
        "end_diffusion": float(whole[-1]),
        "second": second,
        "balance": {t: float(balance[np.abs(run.time - t).argmin()]) for t in BALANCE_TIMES},
        "balanced": {f: float(np.mean((balance[late] > 1 / f) & (balance[late] < f))) for f in (2.0, 10**0.5)},
    }


def _rise(time: Array, values: Array, level: float) -> float:
    """First time with values at `level`, linear between outputs; NaN if they do not get there."""
    if not (values >= level).any():
        return np.nan
    k = int((values >= level).argmax())
    return float(np.interp(level, values[k - 1 : k + 1], time[k - 1 : k + 1])) if k > 0 else float(time[0])


def _part(part: Array, whole: Array, time: Array, chosen: NDArray[np.bool_]) -> float:
    """∫part dt / ∫whole dt over chosen times; NaN without any."""
    if not chosen.any():
        return np.nan
    step = np.gradient(time)
    return float((part * step)[chosen].sum() / (whole * step)[chosen].sum())
