"""Published statements, each with our numbers and a verdict by a stated criterion; and what a Boltzmann equation must miss."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hpcwigner.studies.spectra.data import ONCE, Runs, SpectraRun

BREM = "S. Brem et al., Nano Lett. 20, 2849 (2020), arXiv:1904.04711"
COOLING = "R. Rosati et al., ACS Photonics 7, 2756 (2020), arXiv:2006.09951"
HOT = "R. Rosati et al., Nanoscale 13, 19966 (2021), arXiv:2105.10232"
WAGNER = "K. Wagner et al., Phys. Rev. Lett. 127, 076801 (2021), arXiv:2107.11168"
"""All known here by their abstracts only."""

LIMIT = "limit"
VANISHED = 0.2  # A transient sideband ends below this part of its height
TENS = (10.0, 100.0)  # Tens of picoseconds


class Statement(NamedTuple):
    """A published statement and its source, our result, the criterion for both to agree, and `yes`, `no` or LIMIT."""

    paper: str
    source: str
    ours: str
    criterion: str
    verdict: str


def statements(runs: Runs, equilibrium: Mapping[float, float], cold: float) -> list[Statement]:
    """Those for which there are runs; `equilibrium` is D in WSe2 [cm²/s] by temperature [K], `cold` the lowest one [K]."""
    return [*_lines(runs, cold), *_cooling(runs, cold), *_transport(runs, equilibrium, cold)]


def _verdict(holds: bool | np.bool_) -> str:
    return "yes" if holds else "no"


def _peaks(run: SpectraRun) -> str:
    peaks = [
        f"{e:.0f} meV ({run.bands_at(e) or 'no sideband'}; {height:.2g} of the direct line)" for e, height in run.maxima()[:3]
    ]
    return ", ".join(peaks) or "no maximum below the direct line"


def _lines(runs: Runs, cold: float) -> Iterator[Statement]:
    for name, run in ((m, r) for (m, t), r in runs.items() if t == cold):
        part = f"sidebands of dark excitons have {100 * run.sideband_part[-1]:.3g} % of the light"
        ours = f"{run.name}, {run.time[-1]:g} ps: {_peaks(run)}; {part}"
        if name.startswith("wse2"):
            highest = run.maxima()[0][0] if run.maxima() else np.nan
            yield Statement("cold WSe2: sidebands about 15 to 60 meV below the bright line", BREM, ours,
                "the highest maximum below the direct line lies 10 to 65 meV below it",
                _verdict(-65 <= highest <= -10))  # fmt: skip
        if name.startswith("w"):
            yield Statement(f"low-temperature PL of {name} clearly shows phonon-assisted recombination of momentum-dark excitons",
                BREM, ours, "a maximum below the direct line, and more than 10 % of the light from sidebands of dark excitons",
                _verdict(bool(run.maxima()) and run.sideband_part[-1] > 0.1))  # fmt: skip
        if name.startswith("mo"):
            seen = [height for energy, height in run.maxima() if -65 <= energy <= -10]
            yield Statement(f"molybdenum-based {name}: no sidebands of dark excitons", BREM, ours,
                "they have less than 1 % of the light", _verdict(run.sideband_part[-1] < 0.01))  # fmt: skip
            yield Statement(f"molybdenum-based {name}: nothing about 15 to 60 meV below the bright line", BREM, ours,
                "no maximum 10 to 65 meV below the direct line above 1 % of it",
                _verdict(max(seen, default=0.0) < 0.01))  # fmt: skip


def _of_wse2(runs: Runs, cold: float) -> SpectraRun | None:
    return next((run for (name, t), run in runs.items() if name.startswith("wse2") and t == cold), None)


def _cooling(runs: Runs, cold: float) -> Iterator[Statement]:
    if (run := _of_wse2(runs, cold)) is None:
        return
    dominated = run.late & (run.sideband_part > 0.5)
    if not dominated.any():
        return
    time, mean = run.time[dominated], run.mean_energy[dominated]
    shift = mean[0] - mean[-1]
    reached = time[mean <= mean[-1] + 0.1 * shift][0] if shift > 0 else np.nan
    ours = (
        f"{run.name}: mean energy of the light below the direct line {mean[0]:.1f} meV at {time[0]:g} ps, from when sidebands "
        f"dominate, {mean[-1]:.1f} meV at {time[-1]:g} ps; 90 % of that by {reached:g} ps"
    )
    yield Statement("WSe2: sidebands shift to the red within tens of picoseconds as hot dark excitons cool", COOLING, ours,
        f"by more than 1 meV, 90 % of it by a time from {TENS[0]:g} to {TENS[1]:g} ps",
        _verdict(shift > 1 and TENS[0] <= reached <= TENS[1]))  # fmt: skip
    energy, when, then, last = run.transient()
    ours = (
        f"{run.name}: {run.bands_at(energy)} at {energy:.1f} meV, {100 * then:.0f} % of the largest light at {when:g} ps, "
        f"{100 * last:.2g} % at {run.time[-1]:g} ps"
    )
    yield Statement("WSe2: a transient sideband, which vanishes in the stationary PL", COOLING, ours,
        f"a maximum where a sideband begins, once above {100 * ONCE:g} % of the largest light, in the end below a fifth of that",
        _verdict(last < VANISHED * then))  # fmt: skip


def _transport(runs: Runs, equilibrium: Mapping[float, float], cold: float) -> Iterator[Statement]:
    if (run := _of_wse2(runs, cold)) is not None:
        when, peak = run.curves.extremum(run.dark, 1)
        last = float(run.curves.diffusion[-1, run.dark])
        yield Statement("WSe2: hot dark excitons diffuse more than ten times as fast as in the steady state", HOT,
            f"{run.name}, {run.valleys[run.dark]}: D {peak:.1f} cm²/s at {when:g} ps, {last:.2f} at {run.time[-1]:g} ps: "
            f"{peak / last:.1f} times",
            "largest D of the most populated valley above ten times the last one",
            _verdict(peak > 10 * last))  # fmt: skip
    if equilibrium:
        values = ", ".join(f"{d:.2f} at {t:g} K" for t, d in equilibrium.items())
        temperatures = sorted(equilibrium)
        ratio = equilibrium[temperatures[0]] / equilibrium[temperatures[-1]]
        yield Statement("WSe2: from 5 K upwards D falls far below the onset of optical phonons, not semiclassically",
            WAGNER, f"D in equilibrium (cm²/s) {values}: changes by a factor of {ratio:.2f}",
            "none: a Boltzmann equation has no interference of paths and must miss it", LIMIT)  # fmt: skip
