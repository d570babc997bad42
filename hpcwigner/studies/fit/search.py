"""The search of a fit, in units of the ranges; every evaluation is kept in a file."""

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
MISSED = 10.0  # How many ranges of distance a tolerance counts where the nearest set is sought
SMALL = 0.1  # Distance [ranges] from which on a number counts less in the second pass
BOX = 0.2  # First size of its steps, in ranges


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
            jobs = list(itertools.product(self._runs, range(len(new))))  # dealt out run by run, which take alike long
            mine = [(number, self._solve(new[number], run)) for run, number in jobs[self.comm.rank :: self.comm.size]]
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
        self.weights = np.ones(len(ranges.keys))
        """Of the distances where the nearest set is sought."""
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
        if wanted.method == "evolution":
            best = self._evolve(best)
        if wanted.method != "nearest":
            best = self._least_squares(best, wanted.iterations)
        if wanted.method == "nearest" or wanted.nearest:
            best = self._nearest(best, wanted.iterations)
            self.weights = SMALL / (SMALL + np.abs(best.place - self.ranges.home))
            best = self._nearest(best, wanted.iterations)
        return best

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

    def _around(self, best: Array) -> tuple[list[Score], Array]:
        """Scores at a place and with each number changed a little, and by how much: (1 + number), (number,)."""
        steps = np.where(best > 0.5, -DIFFERENCE, DIFFERENCE)
        return self.scores(np.array([best, *(best + row for row in np.diag(steps))])), steps

    def _least_squares(self, best: Score, iterations: int) -> Score:
        """Trust-region least squares from `best`; never worse than it."""
        from scipy.optimize import least_squares

        kept = best

        def residuals(place: Array) -> Array:
            nonlocal kept
            score = self.score(place)
            kept = min(kept, score, key=lambda s: s.sum)
            return score.residuals

        def slopes(place: Array) -> Array:
            self._log("least squares", kept)
            (here, *others), steps = self._around(place)
            return np.array([(other.residuals - here.residuals) / h for other, h in zip(others, steps, strict=True)]).T

        start = np.clip(best.place, 1e-6, 1 - 1e-6)
        least_squares(residuals, start, slopes, bounds=(0.0, 1.0), max_nfev=iterations, ftol=REFINED, xtol=1e-4)
        self._log("least squares", kept)
        return kept

    def _merit(self, score: Score) -> float:
        """Sum of the distances from home, and of what targets miss, which counts more than any distance."""
        missed = np.abs(score.residuals[: len(self.targets)])
        missed = np.where(self.centred, np.maximum(missed - 1 + INSIDE, 0.0), missed)
        return float(self.weights @ np.abs(score.place - self.ranges.home) + MISSED * missed.sum())

    def _nearest(self, best: Score, iterations: int) -> Score:
        """Sequential linear programming: the smallest sum of distances from home with which the targets are met.

        This sum, unlike that of squares, leaves numbers at home; with the `weights` of a second pass, which are smaller for
        those that are far away already, the others go home if they can. Steps stay within a box that shrinks where
        the targets are not linear enough; slopes are corrected on the way, and measured anew when no step helps any more.
        """
        for _ in range(iterations):
            self._log("nearest", best)
            (_, *others), steps = self._around(best.place)
            slopes = np.array([(other.values - best.values) / h for other, h in zip(others, steps, strict=True)]).T
            began, box = best, BOX
            while box >= DIFFERENCE:
                trial = self.score(self._linear_step(best, slopes, box))
                improved = self._merit(trial) < self._merit(best) * (1 - REFINED)
                slopes = _corrected(slopes, trial.place - best.place, trial.values - best.values)
                best, box = (trial, 2 * box) if improved else (best, 0.5 * box)
            if best is began:
                break
        self._log("nearest", best)
        return best

    def _linear_step(self, best: Score, slopes: Array, box: float) -> Array:
        """Solves the linear programme around `best`; `slopes` of the targets, shape (target, number).

        Unknowns: how far numbers lie above home, how far below, and by how many tolerances each target is missed.
        """
        from scipy.optimize import linprog

        home, count, unit = self.ranges.home, len(best.place), np.eye(len(self.targets))
        low, high = self.goals
        margin = INSIDE * self.tolerances
        at_home = best.values + slopes @ (home - best.place)
        rows = np.concatenate(
            (np.hstack((slopes, -slopes, -unit * self.tolerances)), np.hstack((-slopes, slopes, -unit * self.tolerances)))
        )
        limits = np.concatenate((high - margin - at_home, at_home - low - margin))
        used = np.isfinite(limits) & np.isfinite(rows).all(axis=1)  # targets without a limit there, or without a value
        apart = np.hstack((np.eye(count), -np.eye(count), np.zeros((count, len(unit)))))
        upper, lower = np.minimum(1.0, best.place + box), np.maximum(0.0, best.place - box)
        solved = linprog(
            np.concatenate((self.weights, self.weights, np.full(len(unit), MISSED))),
            A_ub=np.concatenate((rows[used], apart, -apart)),
            b_ub=np.concatenate((limits[used], upper - home, home - lower)),
        )  # fmt: skip
        if solved.x is None:
            return best.place
        above, below = solved.x[:count], solved.x[count : 2 * count]
        moved = np.where(np.abs(above - below) < 1e-9, 0.0, above - below)
        return np.asarray(np.clip(home + moved, 0.0, 1.0))


def needed_for(search: Search, best: Score) -> dict[str, list[str]]:
    """For each number that moved, by key: the targets that are missed when it alone goes home. Raises Stopped. Collective."""
    home, names = search.ranges.home, list(search.task.fit.targets)
    moved = np.flatnonzero(best.place != home)
    if not len(moved):
        return {}
    places = np.repeat(best.place[None], len(moved), axis=0)
    places[np.arange(len(moved)), moved] = home[moved]
    trials = search.scores(places)
    return {
        search.ranges.keys[i]: [names[n] for n in sorted(best.met - trial.met)] for i, trial in zip(moved, trials, strict=True)
    }


def _corrected(slopes: Array, step: Array, change: Array) -> Array:
    """Slopes (target, number) that give the `change` of the values with a step, by Broyden's formula; where both are finite."""
    if not step.any():
        return slopes
    missing = change - slopes @ step
    correction = np.outer(np.where(np.isfinite(missing), missing, 0.0), step) / (step @ step)
    return np.asarray(slopes + correction)


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
