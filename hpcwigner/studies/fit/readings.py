"""What a material gives for the readings of a fit: solves moment equations and rates, and reads numbers off curves."""

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI
from scipy.integrate import trapezoid

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.observables.curves import JUDGED_FROM, negative_windows, settled
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.config import Config
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.studies.fit.quantities import RATES, series_values
from hpcwigner.studies.fit.targets import Reading, Task

FINER = 20  # Points per output interval where a part of the time is measured


def all_readings(task: Task) -> list[Reading]:
    """The readings of all targets, then those that divide them."""
    targets = list(task.fit.targets.values())
    return [*targets, *(t.relative_to for t in targets if t.relative_to is not None)]


def values(task: Task, readings: Array) -> Array:
    """Values of the targets from those of `all_readings`, shape (..., reading) → (..., target)."""
    targets = list(task.fit.targets.values())
    result = readings[..., : len(targets)].copy()
    dividing = [number for number, target in enumerate(targets) if target.relative_to is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        result[..., dividing] /= readings[..., len(targets) :]
    return result


def solve(task: Task, material: Material, run: str | None) -> Array:
    """Values of the readings of one run, or of the rates without one; NaN for the others. Shape (reading,).

    What a material does not have, such as a bound state or a negative window, is NaN too.
    """
    readings = all_readings(task)
    result = np.full(len(readings), np.nan)
    names = list(material.valleys)
    mine = [(number, reading) for number, reading in enumerate(readings) if reading.run == run]
    try:
        couplings = Couplings.from_material(material)
        if run is None:
            for number, reading in mine:
                valley = None if reading.valley is None else names.index(reading.valley)
                result[number] = RATES[reading.quantity].compute(material, couplings, reading.temperature or 0.0, valley)
            return result
        series = _series(task.configs[run], material, couplings, {reading.quantity for _, reading in mine})
    except InputError:
        return result
    for number, reading in mine:
        result[number] = read(reading, *series, names)
    return result


def _series(
    config: Config, material: Material, couplings: Couplings, quantities: set[str]
) -> tuple[Array, dict[str, Array], float]:
    """Times [ps], quantities with a time axis, and the time from which on they count [ps]. Raises InputError."""
    point = kinetics.for_material(config, material, couplings, MPI.COMM_SELF)
    problem = builder.assemble(point, SpaceGrid(1, config.space.length, (6, 1), config.space.boundary))
    point.rates.free()
    try:
        if problem.not_closed:
            raise InputError(f"runs: found a problem without closed moment equations, since {problem.not_closed}")
        snapshots = problem.moments.snapshots()
        curves = {quantity: series_values(quantity, snapshots) for quantity in quantities}
        return problem.moments.times, curves, problem.moments.judged_from
    finally:
        problem.free()


def read(reading: Reading, times: Array, series: dict[str, Array], judged_from: float, names: Sequence[str]) -> float:
    """A number off series at `times` [ps]; `names` are those of the valleys. NaN where there is none."""
    curve = _curve(reading, series[reading.quantity], names)
    if reading.at is not None:
        return float(np.interp(reading.at, times, curve))
    begin, end = reading.window or (max(judged_from, JUDGED_FROM), times[-1])
    inside = (times >= begin - 1e-9) & (times <= end + 1e-9) & np.isfinite(curve)
    times, curve = times[inside], curve[inside]
    if len(times) < 2:
        return np.nan
    return _taken(reading, times, curve)


def _curve(reading: Reading, whole: Array, names: Sequence[str]) -> Array:
    """Values of a valley, of all valleys together, or of the sample: shape (time,)."""
    if reading.valleys is not None:
        if reading.valleys == "spread":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.ptp(whole, axis=1) / np.abs(whole.mean(axis=1))
        reduce: dict[str, Callable[..., Array]] = {"mean": np.mean, "largest": np.max, "smallest": np.min}
        return np.asarray(reduce[reading.valleys](whole, axis=1))
    if reading.valley is None:
        return whole
    curve = whole[:, names.index(reading.valley)]
    if reading.per_valley is None:
        return curve
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(curve / whole[:, names.index(reading.per_valley)])


def _taken(reading: Reading, times: Array, curve: Array) -> float:
    """What `take` names, from a curve of at least two points."""
    match reading.take:
        case "mean":
            return float(trapezoid(curve, times) / (times[-1] - times[0]))
        case "largest" | "time_of_largest":
            return _extremum(times, curve)[reading.take == "largest"]
        case "smallest":
            return -_extremum(times, -curve)[1]
        case "time_of_smallest":
            return _extremum(times, -curve)[0]
        case "largest_size":
            return float(np.abs(curve).max())
        case "fall":
            top = int(curve.argmax())
            return float(1 - curve[top:].min() / curve[top])
        case "share_within" | "settled":
            assert reading.limits is not None
            low, high = reading.limits
            if reading.take == "settled":
                return settled(times, np.abs(curve - 0.5 * (low + high)), 0.5 * (high - low))
            fine = np.linspace(times[0], times[-1], FINER * (len(times) - 1) + 1)
            curve = np.interp(fine, times, curve)
            return float(np.mean((curve > low) & (curve < high)))
    first, last = max(negative_windows(times, curve, times[0]), key=lambda w: w[1] - w[0], default=(np.nan, np.nan))
    if reading.overlap_with is None:
        return first if reading.take == "negative_from" else last
    low, high = reading.overlap_with
    return (min(last, high) - max(first, low)) / (max(last, high) - min(first, low))


def _extremum(times: Array, curve: Array) -> tuple[float, float]:
    """Time and height of the largest value, by a parabola through it and its neighbours where it lies inside."""
    top = int(curve.argmax())
    if not 0 < top < len(curve) - 1:
        return float(times[top]), float(curve[top])
    t, y = times[top - 1 : top + 2] - times[top], curve[top - 1 : top + 2]
    a, b, c = np.polyfit(t, y, 2)
    if a >= 0:
        return float(times[top]), float(y[1])
    return float(times[top] - b / (2 * a)), float(c - b**2 / (4 * a))
