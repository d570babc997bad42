"""A homogeneous problem seen through its closed moment equations: exact budgets at the outputs, and trial integrations."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators.operators import OperatorCache
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.observables.series import Snapshot
from hpcwigner.reference.moments import DecayingSources, ExactMoments, MomentSystem
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.term import Source

Array = NDArray[np.float64]
Moments = list[tuple[float, SpatialMoments]]
"""Times [ps] and the moments there."""

REFERENCE_STEP = 0.0025
"""Step of ETD3 within the windows of sources in the reference [ps], at most a fortieth of the pulse; its error is below 1e-8."""
JUDGED_AFTER = JUDGED_FROM
"""D_v(t) counts from this long after the first source or the start on [ps]."""


@dataclasses.dataclass(frozen=True)
class MomentProblem:
    """What the moment equations need, in plain numbers."""

    generators: Sequence[LocalGenerator]
    """By stage: before and after each switch."""
    sources: Sequence[Source]
    budget_at: Callable[[float, SpatialMoments], Budget]
    """Budget of moments at a time [ps]."""
    end: float
    output_every: float
    switches: tuple[float, ...]
    """[ps]"""
    stops: tuple[float, ...] = ()
    """Further times at which a step ends [ps]."""
    start: SpatialMoments | None = None
    """Moments at t = 0; none of anything without it."""

    @property
    def system(self) -> MomentSystem:
        """The moment equations of this problem."""
        return MomentSystem(self.generators[0].equilibrium.velocity, self.sources)

    @property
    def judged_from(self) -> float:
        """Time from which on D_v(t) counts [ps]."""
        return JUDGED_AFTER + (0.0 if self.start is not None else min(source.window[0] for source in self.sources))

    def plan(self, *phases: tuple[float, int]) -> StepPlan:
        """Step plan with (end, steps per tick) phases."""
        return StepPlan(self.output_every, self.end, phases, self.switches, self.stops)

    @functools.cached_property
    def times(self) -> Array:
        """Series outputs [ps], shape (time,)."""
        return self.plan((self.end, 1)).output_times

    def reference(self) -> list[Budget]:
        """Exact budgets at the series outputs."""
        return self.budgets(self.exact_moments())

    def budgets(self, moments: Moments) -> list[Budget]:
        """The budget of each of the moments."""
        return [self.budget_at(time, m) for time, m in moments]

    def exact_moments(self) -> Moments:
        """Moments at the series outputs: fine ETD3 while a source varies fast, exact exponentials otherwise."""
        times = self.times
        fine = [any(a < end and b > begin for begin, end in self._windows) for a, b in itertools.pairwise(times)]
        zero = np.zeros(self.generators[0].equilibrium.cells.size)
        last = self.start if self.start is not None else SpatialMoments(zero, zero, zero)
        moments = [(0.0, last)]
        exact: dict[tuple[int, float], tuple[ExactMoments, list[Source]]] = {}
        i = 0
        while i < len(fine):
            if fine[i]:
                stop = next((j for j in range(i, len(fine)) if not fine[j]), len(fine))
                moments += self._finely(i, stop, last)
                i = stop
            else:
                last = self._exactly(times[i], times[i + 1], last, exact)
                moments.append((float(times[i + 1]), last))
                i += 1
            last = moments[-1][1]
        return moments

    @property
    def _windows(self) -> list[tuple[float, float]]:
        return [source.window for source in self.sources]

    def _finely(self, begin: int, stop: int, moments: SpatialMoments) -> Moments:
        """Moments at the outputs begin + 1 … stop by ETD3, from those at the output `begin`."""
        step = min([REFERENCE_STEP, *(source.shortest_time / 40 for source in self.sources)])
        plan = self.plan((self.end, 1))
        plan = dataclasses.replace(plan, end=float(self.times[stop]), phases=((self.end, int(np.ceil(plan.tick / step))),))
        first = int(plan.steps_until([self.times[begin]])[0])
        start = np.stack((moments.zeroth, moments.first, moments.second))[None]
        states, _ = self.advanced("etd3", plan, None, first, start)
        return [(time, m) for time, m in states if time > self.times[begin]]

    def _exactly(self, begin: float, stop: float, moments: SpatialMoments, cache: dict[Any, Any]) -> SpatialMoments:
        stage = sum(stop > t + 1e-9 for t in self.switches)
        key = stage, round(float(stop - begin), 12)
        if key not in cache:
            generator = self.generators[stage]
            decaying = DecayingSources.after_windows(self.sources, stage, generator.equilibrium.cells.size)
            cache[key] = ExactMoments(generator, key[1], decaying)
        strengths = [source.strength(begin) for source in self.sources if np.isfinite(source.decay)]
        advanced: SpatialMoments = cache[key].advance(moments, np.array(strengths))
        return advanced

    def advanced(
        self, name: str, plan: StepPlan, cache: OperatorCache | None, first: int = 0, start: Array | None = None
    ) -> tuple[Moments, Array]:
        """Moments at the outputs of a plan by an integrator, from step number `first` on, and the last state.

        `start` is the state (1, 3, cell) there; that of t = 0 without it.
        """
        system = self.system
        vector = system.create_vector()
        state = system.view(vector).u
        if start is not None:
            state[...] = start
        elif self.start is not None:
            state[0] = self.start.zeroth, self.start.first, self.start.second
        else:
            state[...] = 0.0
        outputs = {int(n): float(t) for n, t in zip(plan.steps_until(plan.output_times), plan.output_times, strict=True)}
        states: Moments = []

        def monitor(number: int, u: object) -> None:
            if number in outputs:
                states.append((outputs[number], system.moments(u)))

        generators = [[generator] for generator in self.generators]
        integrate(name, system, generators, Schedule(plan, self.sources), MPI.COMM_SELF, monitor, vector, first, cache=cache)
        last = system.view(vector).u.copy()
        vector.destroy()
        return states, last

    def snapshots(self) -> list[Snapshot]:
        """The exact states at the series outputs, with their budgets."""
        moments = self.exact_moments()
        budgets = self.budgets(moments)
        return [
            Snapshot(m, b, self.generators[sum(time > t + 1e-9 for t in self.switches)], budgets[-1].population)
            for (time, m), b in zip(moments, budgets, strict=True)
        ]

    def integrated(self, name: str, plan: StepPlan, cache: OperatorCache | None = None) -> list[Budget]:
        """Budgets at the outputs from an integrator with its steps."""
        return self.budgets(self.advanced(name, plan, cache)[0])


def relative_deviation(values: Array, reference: Array, judged: NDArray[np.bool_]) -> Array:
    """|values − reference| at the `judged` times (time,), relative to the valley's largest |reference| there.

    Arrays (time, valley); zero at other times. `values` may end before the others.
    """
    scale = np.nanmax(np.abs(reference[judged]), axis=0) if judged.any() else np.ones(reference.shape[1])
    difference = np.abs(values - reference[: len(values)]) / scale
    return np.where(judged[: len(values), None], difference, 0.0)


def deviation(
    budgets: Sequence[Budget], reference: Sequence[Budget], judged: NDArray[np.bool_]
) -> tuple[Array, Array]:  # fmt: skip
    """`relative_deviation` of D_v and of w_v²."""

    def of_quantity(quantity: str) -> Array:
        values, exact = (np.array([getattr(b, quantity) for b in row]) for row in (budgets, reference))
        return relative_deviation(values, exact, judged)

    return of_quantity("diffusion"), of_quantity("width_squared")
