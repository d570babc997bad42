"""The search of a fit: numbers in units of their ranges, all evaluations in one file, least squares, evolution and pruning."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.runtime.arrays import Array
from hpcwigner.simulation.control import Control, Request
from hpcwigner.simulation.progress import LOG
from hpcwigner.studies.fit import readings
from hpcwigner.studies.fit.history import History
from hpcwigner.studies.fit.targets import Task

MOST = 10.0  # Deviations count at most so many tolerances; so does a value that does not exist
INSIDE = 0.1  # The search aims so many tolerances inside the limits of a target
DIFFERENCE = 0.01  # Of a number in units of its range, for the slopes of least squares
REFINED = 1e-3  # Least squares ends when the sum of squares falls by less than this part
ADAPTATIONS = 3  # Iterations of least squares after a number was put back


class Stopped(Exception):
    """The search was stopped on request; its evaluations are in the file."""


class Ranges:
    """The numbers that move, in units of their ranges: 0 and 1 are the ends, on a logarithmic scale where both are above 0."""

    def __init__(self, material: Material, keys: Sequence[str]) -> None:
        self.material, self.keys = material, tuple(keys)
        numbers = dict(materials.numbers(material))
        limits = [numbers[key].range for key in keys]
        self.low, self.high = np.array([r for r in limits if r is not None], dtype=float).T
        self.logarithmic = self.low > 0
        self.home = self.place(material)
        """Places of the material's own numbers."""

    def place(self, material: Material) -> Array:
        """Numbers of a material in units of the ranges, shape (number,)."""
        numbers = dict(materials.numbers(material))
        x = np.array([numbers[key].value for key in self.keys])
        low, high = self.low, self.high
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(self.logarithmic, np.log(x / low) / np.log(high / low), (x - low) / (high - low))
        return np.asarray(part)

    def numbers(self, places: Array) -> Array:
        """The numbers in the program's units; those at home exactly the material's own."""
        low, high = self.low, self.high
        ratio = np.where(self.logarithmic, high / np.where(self.logarithmic, low, 1.0), 1.0)
        x = np.where(self.logarithmic, low * ratio**places, low + (high - low) * places)
        own = dict(materials.numbers(self.material))
        x = np.where(places == self.home, [own[key].value for key in self.keys], x)
        x = np.array([float(f"{value:.12g}") for value in x])  # 0.533, not 0.53299999999999996
        return np.asarray(np.clip(x, low, high))

    def material_at(self, places: Array) -> Material:
        """The material with these numbers."""
        material = self.material
        for key, value, moved in zip(self.keys, self.numbers(places), places != self.home, strict=True):
            material = materials.with_value(material, key, float(value)) if moved else material
        return material


class Evaluator:
    """Values of the targets at places, all ranks together; what was evaluated before comes from the history."""

    def __init__(self, task: Task, ranges: Ranges, history: History, comm: MPI.Intracomm, control: Control) -> None:
        self.task, self.ranges, self.history, self.comm, self.control = task, ranges, history, comm, control
        self.told: Callable[[int], object] = lambda count: None  # Called with the number of new evaluations
        used = {reading.run for reading in readings.all_readings(task)}
        self._runs = [run for run in (*task.configs, None) if run in used]

    def __call__(self, places: Array) -> Array:
        """Values of the targets, shape (set, number) → (set, target). Raises Stopped. Collective."""
        places = self.comm.bcast(places)  # else ranks on different processors might differ in the last digit
        new = list({row.tobytes(): row for row in places if row not in self.history}.values())
        if new:
            if self.control.poll(at_once=True) is Request.STOP:
                self.control.done(0.0)
                raise Stopped
            jobs = list(itertools.product(range(len(new)), self._runs))
            mine = [(number, self._solve(new[number], run)) for number, run in jobs[self.comm.rank :: self.comm.size]]
            whole = np.full((len(new), len(readings.all_readings(self.task))), np.nan)
            for number, row in itertools.chain.from_iterable(self.comm.allgather(mine)):
                whole[number] = np.where(np.isnan(row), whole[number], row)
            self.history.add(np.array(new), whole)
            self.told(len(new))
        return readings.values(self.task, np.array([self.history[row] for row in places]))

    def _solve(self, place: Array, run: str | None) -> Array:
        return readings.solve(self.task, self.ranges.material_at(place), run)


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a set of numbers is."""

    place: Array
    values: Array  # Of the targets
    residuals: Array  # Of the targets [tolerances], then of the distance
    met: frozenset[int]  # Numbers of the targets that are met

    @property
    def sum(self) -> float:
        """Sum of squares: what the search makes small."""
        return float(self.residuals @ self.residuals)


class Search:
    """The search for one task. All ranks take the same steps with the same numbers."""

    def __init__(self, task: Task, ranges: Ranges, evaluator: Evaluator) -> None:
        self.task, self.ranges, self.evaluate = task, ranges, evaluator
        self.targets = list(task.fit.targets.values())
        self.goals = np.array([target.bounds for target in self.targets]).T
        self.tolerances = np.array([target.tolerance for target in self.targets])
        self.centred = np.array([target.value is not None for target in self.targets])

    def score(self, place: Array) -> Score:
        """Of one set of numbers. Raises Stopped. Collective."""
        return self.scores(place[None])[0]

    def scores(self, places: Array) -> list[Score]:
        """Of several sets, shape (set, number). Raises Stopped. Collective."""
        values = self.evaluate(places)
        low, high = self.goals
        margin = INSIDE * self.tolerances
        below, above = (low + margin - values) / self.tolerances, (values - high + margin) / self.tolerances
        outside = np.where(below > 0, -below, np.maximum(above, 0.0))
        deviations = np.where(self.centred, (values - 0.5 * (low + high)) / self.tolerances, outside)
        deviations = np.clip(np.where(np.isnan(values), MOST, deviations), -MOST, MOST)
        distances = np.sqrt(self.task.fit.penalty) * (places - self.ranges.home)
        met = (values >= low) & (values <= high)
        return [
            Score(place, value, np.concatenate((deviation, distance)), frozenset(np.flatnonzero(good).tolist()))
            for place, value, deviation, distance, good in zip(places, values, deviations, distances, met, strict=True)
        ]

    def run(self) -> Score:
        """The best set of numbers. Raises Stopped. Collective."""
        wanted = self.task.fit.search
        best = self.score(self.ranges.place(self.task.start))
        self._log("start", best)
        everything = np.ones(len(best.place), dtype=bool)
        if wanted.method == "evolution":
            best = self._evolve(best)
        best = self._least_squares(best, everything, wanted.iterations)
        self._log("least squares", best)
        return self._prune(best) if wanted.prune else best

    def _log(self, words: str, score: Score) -> None:
        text = "%s: sum of squares %.4g, %d of %d targets met, %d numbers moved"
        LOG.info(text, words, score.sum, len(score.met), len(self.targets), np.count_nonzero(score.place != self.ranges.home))

    def _evolve(self, best: Score) -> Score:
        """Differential evolution over the whole ranges, `best` among the first generation."""
        from scipy.optimize import differential_evolution

        wanted = self.task.fit.search
        generator = np.random.default_rng(wanted.seed)
        first = generator.random((wanted.population, len(best.place)))
        first[0] = best.place
        kept = best

        def sums(columns: Array) -> Array:
            nonlocal kept
            scores = self.scores(np.ascontiguousarray(np.atleast_2d(columns.T)))
            kept = min([kept, *scores], key=lambda score: score.sum)
            self._log("generation", kept)
            return np.array([score.sum for score in scores])

        bounds = [(0.0, 1.0)] * len(best.place)
        differential_evolution(
            sums, bounds, init=first, maxiter=wanted.generations, seed=wanted.seed, polish=False, vectorized=True,
            updating="deferred", tol=REFINED,
        )  # fmt: skip
        return kept

    def _least_squares(self, best: Score, free: Array, iterations: int) -> Score:
        """Trust-region least squares over the `free` numbers from `best`; never worse than it."""
        from scipy.optimize import least_squares

        chosen, kept = np.flatnonzero(free), best

        def whole(part: Array) -> Array:
            place = best.place.copy()
            place[chosen] = np.clip(part, 0.0, 1.0)
            return place

        def residuals(part: Array) -> Array:
            nonlocal kept
            score = self.score(whole(part))
            kept = min(kept, score, key=lambda s: s.sum)
            return score.residuals

        def slopes(part: Array) -> Array:
            steps = np.where(part > 0.5, -DIFFERENCE, DIFFERENCE)
            rows = self.scores(np.array([whole(part), *(whole(part + row) for row in np.diag(steps))]))
            return np.array([(row.residuals - rows[0].residuals) / h for row, h in zip(rows[1:], steps, strict=True)]).T

        if len(chosen):
            start = np.clip(best.place[chosen], 1e-6, 1 - 1e-6)
            least_squares(residuals, start, slopes, bounds=(0.0, 1.0), max_nfev=iterations, ftol=REFINED, xtol=1e-4)
        return kept

    def _prune(self, best: Score) -> Score:
        """Puts numbers back, the least moved ones first, where the targets that are met stay met; the others adapt."""
        moved = best.place != self.ranges.home
        for number in sorted(np.flatnonzero(moved), key=lambda i: abs(best.place[i] - self.ranges.home[i])):
            place = best.place.copy()
            place[number] = self.ranges.home[number]
            free = (place != self.ranges.home) & moved
            trial = self.score(place)
            if not trial.met >= best.met:
                trial = self._least_squares(trial, free, ADAPTATIONS)
            if trial.met >= best.met:
                best = trial
                self._log(f"put back {self.ranges.keys[number]}", best)
        trial = self._least_squares(best, best.place != self.ranges.home, self.task.fit.search.iterations)
        return trial if trial.met >= best.met else best


def rounded(search: Search, best: Score) -> Score:
    """The numbers with as few digits, 4 or more, as keep all targets met that are. Raises Stopped. Collective."""
    ranges = search.ranges
    for digits in range(4, 10):
        material = ranges.material_at(best.place)
        for key in np.array(ranges.keys)[best.place != ranges.home]:
            value, _ = materials.shown(material, key)
            exact = dict(materials.numbers(material))[key].value
            material = materials.with_value(material, key, exact * float(f"{value:.{digits}g}") / value if value else exact)
        trial = search.score(np.clip(ranges.place(material), 0.0, 1.0))
        if trial.met >= best.met:
            return trial
    return best
