"""Chooses the steps of a run beforehand, by trying them on the moment equations (DESIGN §5).

Under the linear stencil the discrete spatial moments close, so the time error of D_v(t) in the full run equals the one
of the same integrator on the moment system: it is measured there, against the exact solution, to the tolerance asked for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.dynamics import etd
from hpcwigner.dynamics.integrators import Schedule, integrate
from hpcwigner.dynamics.pump import Pump
from hpcwigner.dynamics.steps import LONGEST_PUMP_STEP, StepPlan
from hpcwigner.momentum.scattering import Scattering
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.observables.moments import ExactMoments, MomentSystem, budgets
from hpcwigner.observables.series import Snapshot

Array = NDArray[np.float64]

JUDGED_FROM = 1.0
"""D_v(t) counts from here on [ps]."""
REFERENCE_STEP = 0.0025
"""Step of ETD3 during the pulse in the reference [ps]; its error there is below 1e-8."""
EARLY_PHASE = 5.0
"""The early phase ends here [ps]."""


class NoLadderError(ValueError):
    """No step size reaches the tolerance."""


@dataclasses.dataclass(frozen=True)
class MomentProblem:
    """A homogeneous problem in plain numbers: what the moment equations need."""

    scatterings: Sequence[Scattering]
    """By stage: before and after each switch."""
    pump: Pump
    amplitude: float
    """Total generated population."""
    end: float
    output_every: float
    switches: tuple[float, ...]
    """[ps]"""

    @property
    def system(self) -> MomentSystem:
        """The moment equations of this problem."""
        return MomentSystem(self.scatterings[0].grid.velocity, self.pump.width_squared)

    def coherent(self, time: float) -> float:
        """|p0(t)|² times the generated population."""
        return self.amplitude * float(self.pump.coherent(np.array(time)))

    def _stage_at(self, time: float) -> int:
        return sum(time > t + 1e-9 for t in self.switches)

    def plan(self, *phases: tuple[float, int]) -> StepPlan:
        """Step plan with (end, steps per tick) phases."""
        return StepPlan(self.output_every, self.end, phases, self.switches)

    def reference(self) -> list[Budget]:
        """Exact budgets at the outputs."""
        return budgets(self._exact_states(), self.coherent, self.pump.width_squared)

    def snapshots(self) -> list[Snapshot]:
        """The exact states at the outputs, with their budgets."""
        states = list(self._exact_states())
        found = budgets(iter(states), self.coherent, self.pump.width_squared)
        final = found[-1].population
        return [Snapshot(m, b, scattering, final) for (_, m, scattering), b in zip(states, found, strict=True)]

    def _exact_states(self) -> Iterator[tuple[float, SpatialMoments, Scattering]]:
        """Fine ETD3 until the pulse is over, exact exponentials afterwards."""
        plan = self.plan((self.end, 1))
        start = min(plan.outputs - 1, math.ceil(self.pump.end_of_pulse / self.output_every))
        fine = math.ceil(plan.tick / REFERENCE_STEP)
        pulse = dataclasses.replace(plan, end=start * self.output_every, phases=((self.end, fine),))
        last = None
        for time, moments, scattering in self._integrated("etd3", pulse, None):
            last = moments
            yield time, moments, scattering
        assert last is not None
        exact: dict[int, ExactMoments] = {}
        for i in range(start, plan.outputs - 1):
            time, after = plan.output_time(i), plan.output_time(i + 1)
            stage = self._stage_at(after)
            if stage not in exact:
                exact[stage] = ExactMoments(
                    self.scatterings[stage], self.output_every, 2 * self.pump.dephasing, self.pump.width_squared
                )
            last = exact[stage].advance(last, self.coherent(time))
            yield after, last, self.scatterings[stage]

    def _integrated(
        self, name: str, plan: StepPlan, cache: etd.OperatorCache | None
    ) -> Iterator[tuple[float, SpatialMoments, Scattering]]:
        system = self.system
        vector = system.create_vector()
        outputs = {int(n): i for i, n in enumerate(plan.boundaries())}
        states: list[tuple[float, SpatialMoments, Scattering]] = []

        def monitor(number: int, u: object) -> None:
            if number in outputs:
                time = plan.output_time(outputs[number])
                states.append((time, system.moments(u), self.scatterings[self._stage_at(time)]))

        schedule = Schedule(plan, self.pump, self.amplitude)
        integrate(name, system, self.scatterings, schedule, MPI.COMM_SELF, monitor, vector, cache=cache)
        vector.destroy()
        return iter(states)

    def integrated(self, name: str, plan: StepPlan, cache: etd.OperatorCache | None = None) -> list[Budget]:
        """Budgets at the outputs from an integrator with its steps."""
        return budgets(self._integrated(name, plan, cache), self.coherent, self.pump.width_squared)


def relative_deviation(found: Array, reference: Array, times: Array) -> Array:
    """|found − reference| at each time from JUDGED_FROM on, relative to the valley's largest |reference| there.

    Arrays (time, valley), zero before JUDGED_FROM; `found` may end before the others.
    """
    judged = times >= JUDGED_FROM - 1e-9
    scale = np.nanmax(np.abs(reference[judged]), axis=0) if judged.any() else np.ones(reference.shape[1])
    difference = np.abs(found - reference[: len(found)]) / scale
    return np.where(judged[: len(found), None], difference, 0.0)


def deviation(found: Sequence[Budget], reference: Sequence[Budget], times: Array) -> tuple[Array, Array]:
    """`relative_deviation` of D_v and of w_v²."""
    diffusion, width = (
        relative_deviation(
            np.array([getattr(b, quantity) for b in found]), np.array([getattr(b, quantity) for b in reference]), times
        )
        for quantity in ("diffusion", "width_squared")
    )
    return diffusion, width


@dataclasses.dataclass(frozen=True)
class Choice:
    """An integrator and its steps."""

    integrator: str
    plan: StepPlan

    @property
    def cost(self) -> int:
        """Block products of the whole run, which is what exponential integrators spend their time on."""
        return len(self.plan.steps()) * cost_per_step(self.integrator)


def cost_per_step(name: str) -> int:
    """Block products in a step; an implicit stage takes two (residual and resolvent), of ARK3(2)4L[2]SA and ARS(4,4,3)."""
    return sum(etd.SCHEMES[name].slots_per_stage) if name in etd.SCHEMES else 8


def choose(problem: MomentProblem, largest_steps: Mapping[str, float], tolerance: float, reference: Sequence[Budget]) -> Choice:
    """The cheapest of the integrators whose error of D_v(t) stays below `tolerance`. Raises NoLadderError.

    `largest_steps` [ps] are what the drift's stability allows each of them.
    """
    best: Choice | None = None
    for name, largest in largest_steps.items():
        trial = _Trial(problem, name, tolerance, largest, reference)
        best = trial.cheapest(math.inf if best is None else best.cost) or best
    if best is None:
        raise NoLadderError(f"{' and '.join(largest_steps)} do not reach {tolerance:g} with steps as long as during the pulse")
    return best


class _Trial:
    """Tries steps of one integrator on the moment equations."""

    def __init__(self, problem: MomentProblem, name: str, tolerance: float, largest: float, reference: Sequence[Budget]) -> None:
        self.problem, self.name, self.tolerance, self.reference = problem, name, tolerance, reference
        plan = problem.plan((problem.end, 1))
        tick = plan.tick
        self.times = np.array([plan.output_time(i) for i in range(plan.outputs)])
        self.pump = (_round_up(problem.pump.end_of_pulse, tick), math.ceil(tick / LONGEST_PUMP_STEP - 1e-9))
        self.early_end = _round_up(EARLY_PHASE, tick)
        self.counts = [n for n in _counts(tick) if n >= tick / largest - 1e-9]
        self._cache: etd.OperatorCache | None = None
        if name in etd.SCHEMES:
            orders = problem.system.orders
            self._cache = etd.OperatorCache(etd.SCHEMES[name], problem.scatterings, orders, MPI.COMM_SELF)

    def cheapest(self, bound: float) -> Choice | None:
        """The cheapest choice that reaches the tolerance and costs less than `bound`, None if there is none."""
        try:
            return self._search(bound)
        finally:
            if self._cache is not None:
                self._cache.free()

    def _search(self, bound: float) -> Choice | None:
        early_is_over = _round_up(self.early_end, self.problem.output_every)
        fine_enough_early = False
        for early in self.counts:
            if self._choice(early, self.counts[0]).cost >= bound:
                return None
            fine_enough_early = fine_enough_early or self._error(self._choice(early, early), early_is_over) <= self.tolerance
            if not fine_enough_early:
                continue
            for late in (n for n in self.counts if n <= early):
                choice = self._choice(early, late)
                if choice.cost < bound and self._error(choice, self.problem.end) <= self.tolerance:
                    return choice
        return None

    def _choice(self, early: int, late: int) -> Choice:
        return Choice(self.name, self.problem.plan(self.pump, (self.early_end, early), (self.problem.end, late)))

    def _error(self, choice: Choice, until: float) -> float:
        short = dataclasses.replace(choice.plan, end=min(until, self.problem.end))
        found = self.problem.integrated(self.name, short, self._cache)
        return float(np.nanmax(deviation(found, self.reference, self.times)[0]))


def _counts(tick: float) -> list[int]:
    """Candidate numbers of steps per tick, down to steps as small as during the pump."""
    most = math.ceil(tick / LONGEST_PUMP_STEP - 1e-9)
    counts = [n for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50) if n <= most]
    return counts if counts[-1] == most else [*counts, most]


def _round_up(time: float, tick: float) -> float:
    return math.ceil(time / tick - 1e-9) * tick
