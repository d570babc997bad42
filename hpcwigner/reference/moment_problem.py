"""A homogeneous problem seen through its closed moment equations: exact budgets at the outputs, and trial integrations."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

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
from hpcwigner.reference.moments import ExactMoments, MomentSystem
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.term import Source

Moments = list[tuple[float, SpatialMoments]]  # Times [ps] and the moments there

REFERENCE_STEP = 0.005
"""Step within the windows of sources in the reference [ps], at most a twentieth of the pulse; D_v(t) errs by less than 1e-9."""

MOST_STEPS = 500_000
"""Within the windows of sources in the reference, some minutes; more are refused."""


@dataclasses.dataclass(frozen=True)
class MomentProblem:
    """What the moment equations need, in plain numbers."""

    generators: Sequence[LocalGenerator]  # By stage: before and after each switch
    sources: Sequence[Source]
    budget_at: Callable[[float, SpatialMoments], Budget]  # Budget of moments at a time [ps]
    end: float
    output_every: float
    switches: tuple[float, ...]  # [ps]
    stops: tuple[float, ...] = ()  # Further times at which a step ends [ps]
    start: SpatialMoments | None = None  # Moments at t = 0; none of anything without it

    @property
    def system(self) -> MomentSystem:
        """The moment equations of this problem."""
        return MomentSystem(self.generators[0].equilibrium.velocity, self.sources)

    @property
    def initial(self) -> SpatialMoments:
        """Moments at t = 0."""
        return self.start or SpatialMoments(*np.zeros((3, self.generators[0].equilibrium.cells.size)))

    @property
    def judged_from(self) -> float:
        """Time from which on D_v(t) counts [ps]: so long after the first source or the start."""
        return JUDGED_FROM + (0.0 if self.start is not None else min(source.window[0] for source in self.sources))

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
        """Moments at the series outputs by exact exponentials: in short steps while a source varies fast."""
        moments = [(0.0, self.initial)]
        propagators: dict[tuple[int, float], ExactMoments] = {}
        for fine, intervals in itertools.groupby(itertools.pairwise(self.times.tolist()), self._varies_fast):
            if fine:
                begin, *_, stop = itertools.chain.from_iterable(intervals)
                moments += self._finely(begin, stop, moments[-1][1])
                continue
            for begin, stop in intervals:
                key = stage, step = sum(stop > t + 1e-9 for t in self.switches), round(stop - begin, 12)
                if key not in propagators:
                    propagators[key] = ExactMoments(self.generators[stage], step, self.sources, stage)
                moments.append((stop, propagators[key].advance(moments[-1][1], begin)))
        return moments

    def _varies_fast(self, interval: tuple[float, float]) -> bool:
        return any(interval[0] < end and interval[1] > begin for begin, end in (source.window for source in self.sources))

    def _finely(self, begin: float, stop: float, moments: SpatialMoments) -> Moments:
        """Moments at the outputs after `begin` until `stop` [ps] in short steps, from those at `begin`. Raises InputError."""
        step = min([REFERENCE_STEP, *(source.shortest_time / 20 for source in self.sources)])
        if (stop - begin) / step > MOST_STEPS:
            raise InputError(
                f"pump.duration_fwhm: found a pulse that the exact moments resolve in {(stop - begin) / step:.3g} steps of "
                f"{1000 * step:.3g} fs (all outputs that it touches), expected at most {MOST_STEPS}: use a smaller "
                f"output.series_every, or another duration"
            )
        plan = self.plan((self.end, 1))
        plan = dataclasses.replace(plan, end=stop, phases=((self.end, math.ceil(plan.tick / step)),))
        first, times = int(plan.steps_until([begin])[0]), plan.output_times
        outputs = dict(zip(plan.steps_until(times).tolist(), times.tolist(), strict=True))
        propagators: dict[tuple[int, float], ExactMoments] = {}
        states: Moments = []
        for number, planned in enumerate(plan.steps[first:], first + 1):
            key = stage, size = planned.stage, planned.size
            if key not in propagators:
                propagators[key] = ExactMoments(self.generators[stage], size, self.sources, stage, varying=True)
            moments = propagators[key].advance(moments, planned.start)
            if number in outputs:
                states.append((outputs[number], moments))
        return states

    def advanced(
        self, name: str, plan: StepPlan, cache: OperatorCache | None, first: int = 0, start: SpatialMoments | None = None
    ) -> tuple[Moments, SpatialMoments]:
        """Moments at the outputs of a plan by an integrator, from step number `first` on, and the last state.

        `start` is the state there; that of t = 0 without it.
        """
        system = self.system
        vector = system.create_vector()
        start = start or self.initial
        system.view(vector).u[0] = start.zeroth, start.first, start.second
        outputs = dict(zip(plan.steps_until(plan.output_times).tolist(), plan.output_times.tolist(), strict=True))
        states: Moments = []

        def monitor(number: int, u: object) -> None:
            if number in outputs:
                states.append((outputs[number], system.moments(u)))

        generators = [[generator] for generator in self.generators]
        schedule = Schedule(plan, self.sources, first)
        integrate(name, system, generators, schedule, MPI.COMM_SELF, monitor, vector, first, cache=cache)
        last = system.moments(vector)
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


def deviation(budgets: Sequence[Budget], reference: Sequence[Budget], judged: NDArray[np.bool_]) -> Array:
    """`relative_deviation` of D_v."""
    return relative_deviation(np.array([b.diffusion for b in budgets]), np.array([b.diffusion for b in reference]), judged)
