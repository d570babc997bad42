"""Numbers read off D_v(t): values at given times, peak, minimum, and the window in which it is negative."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hpcwigner.runtime.arrays import Array

PEAK_TOLERANCE = 1e-6  # An extremum counts as reached within this part of the largest |D|
JUDGED_FROM = 1.0  # Time from which D_v(t) counts [ps]: before, valleys are still filling


@dataclasses.dataclass(frozen=True)
class Curves:
    """D_v(t) of one input."""

    time: Array  # [ps], shape (time,)
    diffusion: Array  # [cm²/s], shape (time, valley); NaN where it is not defined

    def at(self, times: Sequence[float]) -> Array:
        """Values at `times` [ps] by linear interpolation, shape (len(times), valley); NaN after the last output."""
        columns = [np.interp(times, self.time, d, right=math.nan) for d in self.diffusion.T]
        return np.stack(columns, axis=-1)

    def window(self, valley: int) -> tuple[float, float]:
        """Start and end [ps] of the longest window with D < 0, NaN without one; a window open at the last output ends there."""
        windows = negative_windows(self.time, self.diffusion[:, valley])
        return max(windows, key=lambda w: w[1] - w[0], default=(math.nan, math.nan))

    def extremum(self, valley: int, sign: int) -> tuple[float, float]:
        """Time [ps] and value [cm²/s] of the largest (`sign` = 1) or smallest (−1) D at an output; NaN without any.

        The time is the first within PEAK_TOLERANCE of the extremum: on a curve that saturates, rounding would decide otherwise.
        """
        late = np.where(self.time >= JUDGED_FROM, sign * self.diffusion[:, valley], math.nan)
        if not np.isfinite(late).any():
            return math.nan, math.nan
        reached = late >= np.nanmax(late) - PEAK_TOLERANCE * np.nanmax(np.abs(late))
        return float(self.time[reached.argmax()]), sign * float(np.nanmax(late))


def negative_windows(times: Array, diffusion: Array, start: float = JUDGED_FROM) -> list[tuple[float, float]]:
    """Start and end [ps] of each window with D < 0, by linear interpolation between outputs; earlier than `start` is ignored.

    `times` and `diffusion` have shape (time,). Where a window begins at `start` or is open at the last output, that output
    time is its end.
    """
    negative = (diffusion < 0) & (times >= start)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], negative.astype(int), [0]))))

    def crossing(inside: int, outside: int) -> float:
        if not (0 <= outside < len(times) and diffusion[outside] >= 0):
            return float(times[inside])
        part = diffusion[outside] / (diffusion[outside] - diffusion[inside])
        return float(times[outside] + part * (times[inside] - times[outside]))

    return [(crossing(a, a - 1), crossing(b - 1, b)) for a, b in edges.reshape(-1, 2)]
