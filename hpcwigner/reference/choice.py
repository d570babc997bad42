"""Chooses the steps of a run beforehand, by trying them on the moment equations (DESIGN §5).

Under the linear stencil the discrete spatial moments close, so the time error of D_v(t) in the full run equals the one
of the same integrator on the moment system: it is measured there, against the exact solution, to the tolerance asked for.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators import exponential as etd
from hpcwigner.integrators.petsc import Schedule, integrate
from hpcwigner.integrators.steps import LONGEST_PUMP_STEP, StepPlan
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.observables.series import Snapshot
from hpcwigner.reference.moments import ExactMoments, MomentSystem, budgets
from hpcwigner.terms.pump import Pump
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

REFERENCE_STEP = 0.0025
"""Step of ETD3 during the pulse in the reference [ps]; its error there is below 1e-8."""
PHASES = (2.0, 3.0, 5.0)
"""Steps may change this long after the start and after each switch [ps], and after ten, a hundred, … times that."""
SHARES = (1.0, 0.5, 0.25)
"""Parts of the tolerance that early phases may use up: what they spare allows longer steps later."""


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
        return MomentSystem(self.scatterings[0].equilibrium.velocity, self.pump.width_squared)

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
        return iter(self.advanced(name, plan, cache)[0])

    def advanced(
        self, name: str, plan: StepPlan, cache: etd.OperatorCache | None, first: int = 0, start: Array | None = None
    ) -> tuple[list[tuple[float, SpatialMoments, Scattering]], Array]:
        """Moments at the outputs of a plan, from step number `first` and the state `start` there on, and the last state."""
        system = self.system
        vector = system.create_vector()
        state = system.view(vector)
        state[...] = 0.0 if start is None else start
        outputs = {int(n): i for i, n in enumerate(plan.boundaries())}
        states: list[tuple[float, SpatialMoments, Scattering]] = []

        def monitor(number: int, u: object) -> None:
            if number in outputs:
                time = plan.output_time(outputs[number])
                states.append((time, system.moments(u), self.scatterings[self._stage_at(time)]))

        schedule = Schedule(plan, self.pump, self.amplitude)
        integrate(name, system, self.scatterings, schedule, MPI.COMM_SELF, monitor, vector, first, cache=cache)
        last = system.view(vector).copy()
        vector.destroy()
        return states, last

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
    """Finds the steps of one integrator on the moment equations, one phase after the other."""

    def __init__(self, problem: MomentProblem, name: str, tolerance: float, largest: float, reference: Sequence[Budget]) -> None:
        self.problem, self.name, self.tolerance = problem, name, tolerance
        plan = problem.plan((problem.end, 1))
        self.times = np.array([plan.output_time(i) for i in range(plan.outputs)])
        self.reference = np.array([b.diffusion for b in reference])
        end_of_pulse = _round_up(problem.pump.end_of_pulse, plan.tick)
        self.pump = (end_of_pulse, math.ceil(plan.tick / LONGEST_PUMP_STEP - 1e-9))
        self.counts = [n for n in _counts(plan.tick) if n >= plan.tick / largest - 1e-9]
        self.ends = _ends_of_phases(problem, end_of_pulse)
        self._cache: etd.OperatorCache | None = None
        if name in etd.SCHEMES:
            orders = problem.system.orders
            self._cache = etd.OperatorCache(etd.SCHEMES[name], problem.scatterings, orders, MPI.COMM_SELF)

    def cheapest(self, bound: float) -> Choice | None:
        """The cheapest choice that reaches the tolerance and costs less than `bound`, None if there is none."""
        best = None
        try:
            for share in SHARES:
                found = self._forward(share * self.tolerance, bound)
                if found is not None:
                    best, bound = found, found.cost
        finally:
            if self._cache is not None:
                self._cache.free()
        return best

    def _forward(self, target: float, bound: float) -> Choice | None:
        """In each phase the longest steps with an error below `target`, or else the shortest if within the tolerance."""
        phases: tuple[tuple[float, int], ...] = (self.pump,)
        done, state = 0, None
        for end in self.ends:
            for count in self.counts:
                tried = (*phases, (end, count))
                if Choice(self.name, self.problem.plan(*tried, (self.problem.end, self.counts[0]))).cost >= bound:
                    return None
                plan = self._until(end, tried)
                error, after = self._continued(plan, done, state)
                if error <= target or (count == self.counts[-1] and error <= self.tolerance):
                    break
            else:
                return None
            phases, done, state = tried, len(plan.steps()), after
        return Choice(self.name, self._until(self.problem.end, _merged(phases)))

    def _until(self, end: float, phases: Sequence[tuple[float, int]]) -> StepPlan:
        return dataclasses.replace(self.problem.plan(*phases), end=end)

    def _continued(self, plan: StepPlan, done: int, state: Array | None) -> tuple[float, Array]:
        """Largest error of D_v in the steps of a plan that are not done yet, and the state after them."""
        states, after = self.problem.advanced(self.name, plan, self._cache, done, state)
        found = self.reference.copy()
        for (time, *_), b in zip(
            states, budgets(iter(states), self.problem.coherent, self.problem.pump.width_squared), strict=True
        ):
            found[round(time / self.problem.output_every)] = b.diffusion
        return float(np.nanmax(relative_deviation(found, self.reference, self.times))), after


def _ends_of_phases(problem: MomentProblem, end_of_pulse: float) -> list[float]:
    """Outputs at which steps may change: 2, 5, 20, 50, … ps after the start and after each switch, and the end."""
    every, ends = problem.output_every, {problem.end}
    for begin, stop in itertools.pairwise((0.0, *problem.switches, problem.end)):
        ends.add(stop)
        offsets = (scale * offset for scale in 10.0 ** np.arange(6) for offset in PHASES)
        ends |= {t for t in (_round_up(begin + offset, every) for offset in offsets) if t < stop}
    return sorted(t for t in ends if t > end_of_pulse + 1e-9)


def _merged(phases: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Phases with equal steps made one."""
    follows = [*(count for _, count in phases[1:]), None]
    return [phase for phase, after in zip(phases, follows, strict=True) if phase[1] != after]


def _counts(tick: float) -> list[int]:
    """Candidate numbers of steps per tick, down to steps as small as during the pump."""
    most = math.ceil(tick / LONGEST_PUMP_STEP - 1e-9)
    counts = [n for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50) if n <= most]
    return counts if counts[-1] == most else [*counts, most]


def _round_up(time: float, tick: float) -> float:
    return math.ceil(time / tick - 1e-9) * tick
