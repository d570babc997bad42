"""The fixed sequence of time steps of a run: known before it starts, hence the same on any number of ranks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LONGEST_TICK = 0.5
"""Steps divide a tick, and ticks divide the output interval [ps]."""
LONGEST_PUMP_STEP = 0.01
"""While the pulse is on [ps]."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One time step."""

    start: float
    """[ps]"""
    size: float
    """[ps]; equal sizes are equal to the last bit."""
    stage: int
    """Which scattering acts (see StepPlan.switches)."""


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """All steps from 0 to the end. Ladders are (end of phase, steps per tick)."""

    output_every: float
    """Interval of the series output [ps]."""
    end: float
    """[ps], a multiple of `output_every`."""
    phases: tuple[tuple[float, int], ...]
    """(end [ps], steps per tick) of each phase; ends are rounded up to ticks."""
    switches: tuple[float, ...] = ()
    """Times at which scattering changes [ps], multiples of `output_every`."""

    @property
    def ticks_per_output(self) -> int:
        """How many ticks make an output interval."""
        return math.ceil(self.output_every / LONGEST_TICK - 1e-9)

    @property
    def tick(self) -> float:
        """[ps]"""
        return self.output_every / self.ticks_per_output

    @property
    def outputs(self) -> int:
        """Number of series outputs, with the one at t = 0."""
        return round(self.end / self.output_every) + 1

    def output_time(self, index: int) -> float:
        """Time of a series output [ps]."""
        return index * self.output_every

    def steps(self) -> list[Step]:
        """All steps in order."""
        out = []
        per_output = self.ticks_per_output
        for tick in range((self.outputs - 1) * per_output):
            start = self.output_time(tick // per_output) + (tick % per_output) * self.tick
            count = next((n for end, n in self.phases[:-1] if start < end - 1e-9 * self.tick), self.phases[-1][1])
            stage = sum(start > time - 1e-9 * self.tick for time in self.switches)
            size = self.tick / count
            out += [Step(start + i * size, size, stage) for i in range(count)]
        return out

    def describe(self) -> str:
        """Step sizes of the phases, for people."""
        return ", ".join(f"{1000 * self.tick / n:.4g} fs to {end:g} ps" for end, n in self.phases)

    def boundaries(self) -> NDArray[np.int64]:
        """Number of steps done when each series output is due, shape (outputs,)."""
        starts = np.array([step.start for step in self.steps()] + [self.end])
        due = np.array([self.output_time(i) for i in range(self.outputs)])
        return np.searchsorted(starts, due - 1e-9 * self.tick)


def steps_per_tick(tick: float, size: float) -> int:
    """How often a step of at most `size` [ps] fits into a tick."""
    return max(1, math.ceil(tick / size - 1e-9))


def plan(output_every: float, end: float, phases: Sequence[tuple[float, float]], switches: Sequence[float]) -> StepPlan:
    """Plan with steps of at most the given sizes: `phases` are (end, size) [ps]."""
    tick = StepPlan(output_every, end, ()).tick
    ladder = tuple((until, steps_per_tick(tick, size)) for until, size in phases)
    return StepPlan(output_every, end, ladder, tuple(t for t in switches if 0 < t < end))
