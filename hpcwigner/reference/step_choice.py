"""Chooses the steps of a run beforehand, by trying them on the moment equations.

Under the linear stencil the discrete spatial moments close, so the time error of D_v(t) in the full run equals the one
of the same integrator on the moment system: it is measured there, against the exact solution, to the tolerance asked for.
"""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.operators import OperatorCache
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import Budget, SpatialMoments
from hpcwigner.reference.moment_problem import MomentProblem, relative_deviation

SHORTEST_STEP = 0.01  # The shortest steps to try [ps]; while a source varies fast, at most a tenth of the pulse's FWHM
LONGEST_PULSE_STEP = 0.25  # The longest while a source varies fast, in parts of the pulse's FWHM
PHASES = (2.0, 2.5, 3.0, 5.0)
"""Steps may change this long after the start, a source or a switch [ps], and after ten, a hundred, … times that."""
SHARES = (1.0, 0.5, 0.25)  # Parts of the tolerance that early phases may use up: what they spare allows longer steps later


class NoStepsError(ValueError):
    """No step size reaches the tolerance."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """An integrator and its steps."""

    integrator: str
    plan: StepPlan

    @property
    def cost(self) -> float:
        """Work of the whole run in dense matrix products with all harmonics.

        An implicit stage of ARK3(2)4L[2]SA and ARS(4,4,3) takes two: residual and resolvent.
        """
        per_step = SCHEMES[self.integrator].cost() if self.integrator in SCHEMES else 8.0
        return len(self.plan.steps) * per_step


def choose(
    problem: MomentProblem, largest_steps: Mapping[str, float], tolerance: float, reference: Sequence[Budget],
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Choice:  # fmt: skip
    """The cheapest of the integrators whose error of D_v(t) stays below `tolerance`. Raises NoStepsError on all ranks.

    `largest_steps` [ps] are what the stability of the explicit terms allows each of them. Ranks share the searches; the choice
    does not depend on their number. Collective.
    """
    searches = list(itertools.product(largest_steps, SHARES))
    own = [(number, *searches[number]) for number in range(comm.rank, len(searches), comm.size)]
    bound = math.inf
    best: tuple[float, int, Choice | None] = (bound, len(searches), None)
    for name, of_name in itertools.groupby(own, key=lambda search: search[1]):
        with contextlib.closing(_Trial(problem, name, tolerance, largest_steps[name], reference)) as trial:
            for number, _, share in of_name:
                if choice := trial.longest(share * tolerance, bound):
                    bound, best = choice.cost, (choice.cost, number, choice)
    _, _, cheapest = min(comm.allgather(best), key=lambda result: result[:2])
    if cheapest is None:
        raise NoStepsError(f"{' and '.join(largest_steps)} do not reach {tolerance:g} with steps as long as during the pulse")
    return cheapest


class _Trial:
    """Looks for the steps of one integrator on the moment equations, one phase after the other."""

    def __init__(self, problem: MomentProblem, name: str, tolerance: float, largest: float, reference: Sequence[Budget]) -> None:
        self.problem, self.name, self.tolerance = problem, name, tolerance
        self.tick = problem.plan((problem.end, 1)).tick
        self.judged = problem.times >= problem.judged_from - 1e-9
        self.reference = np.array([b.diffusion for b in reference])
        self.windows = pulse_windows(problem, self.tick, largest)
        fewest = math.ceil(self.tick / largest - 1e-9)
        self.counts = _counts(fewest, max(math.ceil(self.tick / SHORTEST_STEP - 1e-9), 2 * fewest))
        self.ends = _ends_of_phases(problem, self.windows)
        self._cache: OperatorCache | None = None
        if name in SCHEMES:
            generators = [[generator] for generator in problem.generators]
            self._cache = OperatorCache(SCHEMES[name], generators, problem.system, MPI.COMM_SELF)

    def close(self) -> None:
        """Releases the operators."""
        if self._cache is not None:
            self._cache.free()

    def longest(self, target: float, bound: float) -> Choice | None:
        """In each phase the longest steps with an error below `target`, or else the shortest if within the tolerance.

        While a source varies fast the error is the difference of D_v at the end of its window from that with the shortest steps.
        None if that costs `bound` or more, or does not exist.
        """
        phases: tuple[tuple[float, int], ...] = ()
        done, state = 0, None
        for end in self.ends:
            window = next((window for window in self.windows if window.begin < end <= window.end), None)
            counts = self.counts if window is None else window.counts
            shortest = None
            for count in counts:
                tried = (*phases, (end, count))
                if Choice(self.name, self.problem.plan(*tried, (self.problem.end, self.counts[0]))).cost >= bound:
                    return None
                plan = self._until(end, *tried)
                error, after = self._continued(plan, done, state)
                if window is not None and count != counts[-1]:
                    if shortest is None:
                        _, shortest = self._continued(self._until(end, *phases, (end, counts[-1])), done, state)
                    error = max(error, self._difference(end, after, shortest))
                if error <= target or (count == counts[-1] and (window is not None or error <= self.tolerance)):
                    done, state = len(plan.steps), after
                    break
            else:
                return None
            phases = tried
        merged = [list(same)[-1] for _, same in itertools.groupby(phases, key=lambda phase: phase[1])]
        return Choice(self.name, self.problem.plan(*merged))

    def _until(self, end: float, *phases: tuple[float, int]) -> StepPlan:
        return dataclasses.replace(self.problem.plan(*phases), end=end)

    def _difference(self, time: float, moments: SpatialMoments, others: SpatialMoments) -> float:
        """Largest difference of D_v between two states, relative to the valley's largest |D_v| that counts."""
        one, other = (self.problem.budget_at(time, m).diffusion for m in (moments, others))
        scale = np.nanmax(np.abs(self.reference[self.judged]), axis=0, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing that counts: infinite, unless equal
            return float(np.nanmax(np.abs(one - other) / scale, initial=0.0))

    def _continued(self, plan: StepPlan, done: int, state: SpatialMoments | None) -> tuple[float, SpatialMoments]:
        """Largest error of D_v in the steps of a plan that are not done yet, and the state after them."""
        moments, after = self.problem.advanced(self.name, plan, self._cache, done, state)
        values = self.reference.copy()
        for (time, _), b in zip(moments, self.problem.budgets(moments), strict=True):
            values[np.abs(self.problem.times - time).argmin()] = b.diffusion
        return float(np.nanmax(relative_deviation(values, self.reference, self.judged))), after


@dataclasses.dataclass(frozen=True)
class PulseWindow:
    """A stretch of time with short steps, because sources vary fast there."""

    begin: float
    end: float  # [ps], multiples of a tick
    fewest: int  # Steps per tick
    most: int

    @property
    def counts(self) -> list[int]:
        """Candidate numbers of steps per tick."""
        return _counts(self.fewest, self.most)


def pulse_windows(problem: MomentProblem, tick: float, largest: float) -> list[PulseWindow]:
    """The union of the sources' windows, in order; overlapping ones take the shorter steps, of at most `largest` [ps]."""
    windows: list[PulseWindow] = []
    for source in sorted(problem.sources, key=lambda source: source.window[0]):
        begin, end = math.floor(source.window[0] / tick + 1e-9) * tick, _round_up(source.window[1], tick)
        fewest = math.ceil(tick / min(LONGEST_PULSE_STEP * source.shortest_time, largest) - 1e-9)
        most = math.ceil(tick / min(SHORTEST_STEP, source.shortest_time / 10, largest) - 1e-9)
        if windows and begin <= windows[-1].end:
            last = windows.pop()
            begin, end, fewest, most = last.begin, max(last.end, end), max(last.fewest, fewest), max(last.most, most)
        windows.append(PulseWindow(begin, end, fewest, most))
    return [window for window in windows if window.begin < problem.end]


def _ends_of_phases(problem: MomentProblem, windows: Sequence[PulseWindow]) -> list[float]:
    """Times at which steps may change: 2, 2.5, 3, 5, 20, … ps after the start, each source and each switch, and the end."""
    every = problem.output_every
    begins = sorted({0.0, *problem.switches, *(window.begin for window in windows)})
    ends = {problem.end}
    for begin, stop in itertools.pairwise((*begins, problem.end)):
        offsets = (scale * offset for scale in 10.0 ** np.arange(6) for offset in PHASES)
        ends |= {stop, *(t for t in (_round_up(begin + offset, every) for offset in offsets) if t < stop)}
    ends = {t for t in ends if not any(window.begin < t <= window.end + 1e-9 for window in windows)}
    ends |= {min(window.end, problem.end) for window in windows} | {window.begin for window in windows}
    return sorted(t for t in ends | {problem.end} if t > 1e-9)


def _counts(fewest: int, most: int) -> list[int]:
    """Candidate numbers of steps per tick between two, which belong to them."""
    counts = {n for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128) if fewest <= n <= most}
    return sorted(counts | {fewest, most})


def _round_up(time: float, tick: float) -> float:
    return math.ceil(time / tick - 1e-9) * tick
