"""What people read off D_v(t): its values at some times, its peak, its minimum, and the window in which it is negative."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PEAK_TOLERANCE = 1e-6
"""Values closer than this part of the largest |D| count as equal."""
JUDGED_FROM = 1.0
"""Time from which D_v(t) counts [ps]: before, valleys are still filling."""


@dataclasses.dataclass(frozen=True)
class Curves:
    """D_v(t) of one input."""

    time: Array
    """[ps], shape (time,)"""
    diffusion: Array
    """[cm²/s], shape (time, valley); NaN where it is not defined"""

    def at(self, times: Sequence[float]) -> Array:
        """Values at `times`, linear between outputs, shape (len(times), valley); NaN after the last output."""
        columns = [np.interp(times, self.time, d, right=math.nan) for d in self.diffusion.T]
        return np.stack(columns, axis=-1)

    def window(self, valley: int) -> tuple[float, float]:
        """Start and end of the longest stretch with D < 0; NaN without one. It ends at the last output if it is still open."""
        found = negative_windows(self.time, self.diffusion[:, valley])
        return max(found, key=lambda w: w[1] - w[0]) if found else (math.nan, math.nan)

    def extremum(self, valley: int, sign: int) -> tuple[float, float]:
        """Time and value of the largest (`sign` = 1) or smallest (−1) D at an output; NaN without any.

        A curve that creeps up to its largest value has reached it within PEAK_TOLERANCE, not where rounding puts the maximum.
        """
        late = np.where(self.time >= JUDGED_FROM, sign * self.diffusion[:, valley], math.nan)
        if not np.isfinite(late).any():
            return math.nan, math.nan
        there = late >= np.nanmax(late) - PEAK_TOLERANCE * np.nanmax(np.abs(late))
        return float(self.time[there.argmax()]), sign * float(np.nanmax(late))


def negative_windows(times: Array, diffusion: Array, start: float = JUDGED_FROM) -> list[tuple[float, float]]:
    """Start and end [ps] of each stretch of outputs with D < 0, where the line between outputs crosses zero.

    `diffusion` has shape (time,). Without a positive output beside it (`start`, end of the data), an end is an output time.
    """
    negative = (diffusion < 0) & (times >= start)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], negative.astype(int), [0]))))

    def crossing(inside: int, outside: int) -> float:
        if not (0 <= outside < len(times) and diffusion[outside] >= 0):
            return float(times[inside])
        part = diffusion[outside] / (diffusion[outside] - diffusion[inside])
        return float(times[outside] + part * (times[inside] - times[outside]))

    return [(crossing(a, a - 1), crossing(b - 1, b)) for a, b in edges.reshape(-1, 2)]
