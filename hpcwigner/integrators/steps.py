"""The fixed sequence of time steps of a run: known before it starts, hence the same on any number of ranks."""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array

LONGEST_TICK = 0.5  # Steps divide a tick, and ticks divide the intervals between outputs [ps]


@dataclasses.dataclass(frozen=True)
class Step:
    """One time step."""

    start: float  # [ps]
    size: float  # [ps]; equal sizes are equal to the last bit
    stage: int  # Which scattering acts (see StepPlan.switches)


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """All steps from 0 to the end."""

    output_every: float  # Interval of the series output [ps]
    end: float  # [ps]
    phases: tuple[tuple[float, int], ...]  # (end [ps], steps per tick) of each phase; ends are rounded up to ticks
    switches: tuple[float, ...] = ()  # Times at which scattering changes [ps]
    stops: tuple[float, ...] = ()  # Further times at which a step must end [ps]: outputs beside those of the series
    reductions: tuple[tuple[float, int], ...] = ()  # Times of outputs [ps] from which on there are fewer angles, and their number

    @property
    def tick(self) -> float:
        """Longest step [ps]: the output interval or a whole part of it."""
        return self.output_every / math.ceil(self.output_every / LONGEST_TICK - 1e-9)

    @functools.cached_property
    def output_times(self) -> Array:
        """Times of the series outputs [ps]: the multiples of `output_every`, and the end."""
        return np.array(multiples(self.output_every, self.end))

    @functools.cached_property
    def marks(self) -> list[float]:
        """All times from 0 on at which a step must end [ps]."""
        marks = self.output_times.tolist()
        for time in (*self.switches, *self.stops):
            place = bisect.bisect(marks, time)
            if time < self.end and min(abs(time - mark) for mark in marks[max(0, place - 1) : place + 1]) > 1e-9 * self.tick:
                marks.insert(place, time)
        return marks

    @functools.cached_property
    def steps(self) -> Sequence[Step]:
        """All steps in order."""
        steps = []
        for start, stop in itertools.pairwise(self.marks):
            length = stop - start
            length = self.output_every if abs(length - self.output_every) < 1e-9 * self.tick else round(length, 12)
            ticks = math.ceil(length / LONGEST_TICK - 1e-9)
            for number in range(ticks):
                begin = start + number * (length / ticks)
                per_tick = next((n for end, n in self.phases[:-1] if begin < end - 1e-9 * self.tick), self.phases[-1][1])
                count = steps_per_tick(length / ticks, self.tick / per_tick)
                size = length / ticks / count
                stage = sum(begin > time - 1e-9 * self.tick for time in self.switches)
                steps += [Step(begin + i * size, size, stage) for i in range(count)]
        return steps

    def legs(self, angles: int) -> list[tuple[int, int, int]]:
        """Parts of the run with the same number of angles, which are `angles` at first: (first step, last step + 1, angles)."""
        changes = self.steps_until([time for time, _ in self.reductions]).tolist()
        ends, numbers = [*changes, len(self.steps)], [angles, *(number for _, number in self.reductions)]
        return [(first, end, n) for first, end, n in zip([0, *changes], ends, numbers, strict=True) if end > first]

    def describe(self) -> str:
        """Step sizes of the phases and changes of the angles, for people."""
        steps = [f"{1000 * self.tick / n:.4g} fs to {end:g} ps" for end, n in self.phases]
        return ", ".join([*steps, *(f"{number} angles from {time:g} ps" for time, number in self.reductions)])

    def steps_until(self, times: Iterable[float]) -> NDArray[np.int64]:
        """Number of steps done at some of the marks, same shape as `times` [ps]."""
        starts = np.array([step.start for step in self.steps] + [self.end])
        return np.searchsorted(starts, np.asarray(list(times)) - 1e-9 * self.tick)


def multiples(every: float, end: float) -> list[float]:
    """0, every, 2·every, … and `end` [ps]."""
    count = math.ceil(end / every * (1 - 1e-12) - 1e-9)
    return [*(i * every for i in range(count)), end]


def steps_per_tick(tick: float, size: float) -> int:
    """How often a step of at most `size` [ps] fits into a tick."""
    return max(1, math.ceil(tick / size - 1e-9))


def plan(
    output_every: float, end: float, phases: Sequence[tuple[float, float]], switches: Sequence[float], stops: Sequence[float] = ()
) -> StepPlan:
    """Plan with steps of at most the given sizes: `phases` are (end, size) [ps]."""
    tick = StepPlan(output_every, end, ()).tick
    counts = tuple((until, steps_per_tick(tick, size)) for until, size in phases)
    return StepPlan(output_every, end, counts, tuple(t for t in switches if 0 < t < end), tuple(t for t in stops if 0 < t < end))
