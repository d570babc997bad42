"""What the verbs `info` and `moments` print."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S, UM
from hpcwigner.integrators.steps import multiples
from hpcwigner.observables.curves import THERMALISATION_NEEDS, negative_windows, phases, thermalisation, time_or_not
from hpcwigner.plotting.spectra import Look
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Quantity
from hpcwigner.storage.provenance import KEPT, describe_history
from hpcwigner.storage.reading import read


def description_of_run(directory: Path) -> str:
    """Where a run directory comes from, and its last numbers. Raises InputError."""
    series = read(directory / "series.h5")
    times = series.data["time"]
    lines = [f"{key:<14}{series.attributes.get(key, '?')}" for key in KEPT]
    lines += [f"{'model':<14}{series.attributes['model']}"] if "model" in series.attributes else []
    lines += [f"{'slab':<14}{series.attributes['slab']}"] if "slab" in series.attributes else []
    lines += [f"{'start':<14}{line}" for line in describe_history(json.loads(series.attributes.get("history", "[]")))]
    if not len(times):
        return "\n".join([*lines, "nothing written yet"])
    lines.append(f"{'time':<14}0 … {times[-1]:g} ps in {len(times)} outputs")
    for i, valley in enumerate(series.valleys):
        n, w, d = (series.need(name)[-1, i] for name in ("population", "width_squared", "diffusion"))
        unit = " /µm" * (series.units["population"] == "um-1")
        lines.append(f"{valley:<14}n = {n:.6g}{unit}, w² = {w:.6g} µm², D = {d:.6g} cm²/s")
        windows = ", ".join(f"{a:.4g}…{b:.4g} ps" for a, b in negative_windows(times, series.data["diffusion"][:, i]))
        lines.append(f"{'':<14}D < 0: {windows or 'never'} (from 1 ps on)")
    rise_end, alike_from = map(time_or_not, phases(times, series.data["diffusion"]))
    lines.append(f"{'phases':<14}D_v rise until {rise_end}; within 10 % of each other from: {alike_from}")
    if set(series.data) >= THERMALISATION_NEEDS:
        energy, momentum, valley = map(time_or_not, thermalisation(series.data))
        lines.append(f"{'thermalised':<14}within 5 % from: energies {energy}, directions {momentum}, valleys {valley}")
    return "\n".join(lines)


def table_of_moments(problem: Problem) -> str:
    """A line for each multiple of output.fields_every: populations, squared widths and diffusion coefficients."""
    reference, times = problem.moments.reference(), problem.moments.times
    shown = np.searchsorted(times, np.array(multiples(problem.config.output.fields_every, times[-1])) * (1 - 1e-12))
    names = [valley.name for valley in problem.cells.valleys]
    unit, scale = problem.config.number_unit
    header = [
        "t [ps]",
        *(f"n {n}{' [1/µm]' * (unit == 'um-1')}" for n in names),
        *(f"w² {n} [µm²]" for n in names),
        *(f"D {n} [cm²/s]" for n in names),
    ]
    lines = ["  ".join(f"{title:>14}" for title in header)]
    for i in np.unique(shown):
        b = reference[i]
        numbers = [times[i], *(b.population * scale), *(b.width_squared * UM**2), *(b.diffusion * CM2_PER_S)]
        lines.append("  ".join(f"{x:14.6g}" for x in numbers))
    return "\n".join(lines)


def look_of(psf: str | None, time_response: str | None, windows: Sequence[str], at: Sequence[float]) -> Look:
    """How spectra are to be looked at, from the options of `plot`. Raises InputError."""

    def number(option: str, text: str, quantity: Quantity) -> float:
        try:
            return float(quantity.parse(text.strip()))
        except ValueError as error:
            raise InputError(f"--{option}: found '{text.strip()}', expected {error}") from None

    width, time, energy = Quantity("um", positive=True), Quantity("ps", positive=True), Quantity("meV")
    ranges = []
    for text in windows:
        ends = [number("window", end, energy) for end in text.split(",")]
        if len(ends) != 2 or ends[0] >= ends[1]:
            raise InputError(f"--window: found '{text}', expected two increasing energies, such as '-80 meV, -40 meV'")
        ranges.append((ends[0], ends[1]))
    return Look(
        number("psf", psf, width) if psf else None, number("time-response", time_response, time) if time_response else None,
        tuple(ranges), tuple(at),
    )  # fmt: skip
