"""Numbers that the paper states and that follow from light, densities and Wigner functions in space, hence from runs only."""

import dataclasses
from typing import Any

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.observables.curves import JUDGED_FROM, thermalisation
from hpcwigner.runtime.arrays import Array
from hpcwigner.studies.paper.data import PaperData, PaperRun
from hpcwigner.studies.paper.drawings import SHAPE_TIMES, WIGNER_TIMES

COMPARED_AT = 20.0  # Time [ps] up to which broadening is compared: the end of the shortest run
CENTRE, WIDER_TAIL, TAIL = (0.0, 0.3), (1.5, 3.0), (2.0, 3.0)  # |x|/w; the paper has "x ≳ 2 w" for the tail


@dataclasses.dataclass(frozen=True)
class Profiles:
    """What the statements on profiles are judged by; times in ps, squared widths in µm², momenta in 1/nm, η/N(0) in 1/ps."""

    pl_turn: float  # 20 K: time of the largest w² of the PL from 1 ps on
    pl_largest: float
    pl_smallest_at: float  # afterwards
    pl_smallest: float
    pl_growth: dict[str, float]  # w² of the PL at COMPARED_AT over that at 1 ps, by temperature
    pl_halves: tuple[float, float]  # 300 K: growth of w² of the PL in the first and second half of this time
    thermalised: dict[str, tuple[float, ...]]  # Energies, directions, valleys; by temperature
    switched: tuple[float, ...]  # Last D_v without intervalley scattering [cm²/s]
    exact: tuple[float, ...]  # and by Chapman–Enskog
    masses: tuple[float, ...]  # M_v [m0]
    centre: dict[float, float]  # Mean η/N(0) of KK at |x|/w in CENTRE by time,
    wider_tail: dict[float, float]  # WIDER_TAIL and
    tail: dict[float, float]  # TAIL
    threshold: float  # Momentum of the dark valley from which acoustic phonons lead to KK
    reach: tuple[float, float]  # 5 ps: rms |x| on y = 0 of dark excitons above and below it
    outside: float  # Part of those above it that lie further out than the rms |x| of those below
    momentum: tuple[float, float]  # |k| of the largest occupation of the dark valley at 5 and 50 ps
    excess: tuple[float, float]  # Dark excitons with k > 0 over those with k < 0 at x > 0, at 5 and 50 ps
    energy_distance: float  # 50 ps: part that would have to change energy for a Boltzmann distribution

    @classmethod
    def of(cls, data: PaperData) -> "Profiles":
        """From the runs. Raises InputError when one lacks what is needed."""
        cold, switched = data.cold, data.switched
        return cls(
            **_light(data),
            thermalised={name: thermalisation(run.series.data) for name, run in data.by_temperature.items()},
            switched=tuple(map(float, switched.at("diffusion", switched.time[-1]))),
            exact=tuple(map(float, CM2_PER_S * data.intrinsic["exact"])),
            masses=data.masses,
            centre={t: _mean_shape(cold, t, CENTRE) for t in SHAPE_TIMES},
            wider_tail={t: _mean_shape(cold, t, WIDER_TAIL) for t in SHAPE_TIMES},
            tail={t: _mean_shape(cold, t, TAIL) for t in SHAPE_TIMES},
            **_momentum(cold),
        )


def _light(data: PaperData) -> dict[str, Any]:
    """The fields on the PL."""
    cold = data.cold
    width = cold.series.need("pl_width_squared")
    largest = int(np.nanargmax(np.where(cold.time >= JUDGED_FROM, width, np.nan)))
    smallest = largest + int(width[largest:].argmin())
    middle = 0.5 * (JUDGED_FROM + COMPARED_AT)

    def squared(run: PaperRun, time: float) -> float:
        return float(run.at("pl_width_squared", time))

    warm = [squared(data.by_temperature["300 K"], t) for t in (JUDGED_FROM, middle, COMPARED_AT)]
    ends = {name: data.by_temperature[name] for name in ("300 K", "77 K")}
    return {
        "pl_turn": float(cold.time[largest]),
        "pl_largest": float(width[largest]),
        "pl_smallest_at": float(cold.time[smallest]),
        "pl_smallest": float(width[smallest]),
        "pl_growth": {name: squared(run, COMPARED_AT) / squared(run, JUDGED_FROM) for name, run in ends.items()},
        "pl_halves": (warm[1] - warm[0], warm[2] - warm[1]),
    }


def _mean_shape(run: PaperRun, time: float, between: tuple[float, float]) -> float:
    """Mean η/N(0) of KK [1/ps] at |x|/w between two values."""
    u, values = run.shape_at_width(time)
    return float(values[(np.abs(u) >= between[0]) & (np.abs(u) < between[1])].mean())


def _momentum(run: PaperRun) -> dict[str, Any]:
    """The fields on the dark valley's Wigner function on y = 0 at 20 K."""
    threshold = float(run.wigner.need("threshold")[run.dark])
    maps = [(k, np.nan_to_num(values)) for k, values in (run.wigner_line(run.dark, t) for t in WIGNER_TIMES)]
    k, early = maps[0]
    above, below = (early[:, chosen].sum(axis=1) for chosen in (np.abs(k) > threshold, np.abs(k) < threshold))
    reach = _rms(above, run.x), _rms(below, run.x)
    return {
        "threshold": threshold,
        "reach": reach,
        "outside": float(above[np.abs(run.x) > reach[1]].sum() / above.sum()),
        "momentum": tuple(_largest_at(k, values.sum(axis=0)) for k, values in maps),
        "excess": tuple(_excess(k, values[run.x > 0].sum(axis=0)) for k, values in maps),
        "energy_distance": float(run.at("energy_distance", WIGNER_TIMES[1])[run.dark]),
    }


def _rms(profile: Array, x: Array) -> float:
    return float(np.sqrt((profile * x**2).sum() / profile.sum()))


def _largest_at(k: Array, spectrum: Array) -> float:
    """Smallest |k| with the largest occupation: momenta of one energy cell have the same."""
    return float(np.abs(k[spectrum > 0.99 * spectrum.max()]).min())


def _excess(k: Array, right: Array) -> float:
    return float(right[k > 0].sum() / right[k < 0].sum())
