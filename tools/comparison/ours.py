"""Our integrators, and Strang splitting with our propagators, on the full system."""

from __future__ import annotations

import dataclasses
import re
import statistics
import time
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from comparison.problem import FULL, GOAL, Array, Case, Row
from hpcwigner.integrators.exponential import SCHEMES, ExponentialIntegrator, Polynomials
from hpcwigner.integrators.operators import Formula, StepOperators
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.propagators import PhiFunctions
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.momentum.tile import Tile
from hpcwigner.reference.step_choice import Choice, NoStepsError, choose
from hpcwigner.space.stencil import runge_kutta
from hpcwigner.terms.term import State

OURS = ("etd2", "etd3", "etd2_dense", "etd3_dense", "arkimex3", "ars443")


class Strang(ExponentialIntegrator):
    """exp(hL/2) exp(hA) exp(hL/2) with our propagators and drift by RK3; as a scheme, so that its steps are chosen like ours."""

    order, evaluations, stored_count = 2, 3, 2
    dense = True
    slot_count = 1

    @classmethod
    def formulas(cls, h: float, phi: PhiFunctions) -> tuple[Formula, ...]:
        return Formula({0: phi.half[0]}, source=0.5), Formula({0: phi.half[0]}, source=1.0)

    @classmethod
    def amplification(cls, decay: Array, drift: Array) -> Array:
        return np.asarray(np.exp(-decay) * runge_kutta(3)(decay, drift))

    def step(self, state: State, t: float, operators: StepOperators, sources: Polynomials) -> None:
        first, second = operators.stages
        a, drift = self._stored
        for tile in self._filled(state):
            self._assign(state, first, tile, sources)
        np.copyto(a.u, state.u)
        np.copyto(a.fields, state.fields)
        for part in (3, 2, 1):
            self.system.explicit(t, a, drift)
            for to, start, rate in ((a.u, state.u, drift.u), (a.fields, state.fields, drift.fields)):
                np.multiply(rate, operators.size / part, out=to)
                to += start
        for tile in self._filled(a):
            for k, polynomial in enumerate(sources):
                if polynomial is not None:  # the second stage brings the whole step's source: take the first half's away
                    half = polynomial @ second.classes[tile.class_number].source_vectors[0.5][k]
                    self.system.add_source(tile.slot(0), k, -half, tile.points)
            self._assign(state, second, tile, sources)

    def _filled(self, state: State) -> Iterator[Tile]:
        """Tiles with the harmonics of `state`, until all points had their turn; unlike system.tiles without N."""
        tile = self._tile
        for tile.class_number, points in enumerate(self.system.classes):
            for begin in range(0, len(points), tile.room):
                tile.points = points[begin : begin + tile.room]
                self.system.load(tile, 0, state)
                yield tile


SCHEMES["strang"] = Strang


def fixed_ladders(case: Case) -> Iterator[tuple[Row, Choice]]:
    """Our integrators, and Strang splitting, with the cheapest ladder of steps that reaches the goal."""
    p = case.problem
    for name in (*OURS, "strang"):
        chosen = _choice(case, name)
        short = dataclasses.replace(chosen.plan, end=6.0)
        run_full(case, name, dataclasses.replace(short, end=short.output_every))  # compiles kernels
        durations, sizes = run_full(case, name, short), [step.size for step in short.steps]
        cost = statistics.median(durations[-12:])
        making = statistics.mean(max(0.0, durations[sizes.index(size)] - cost) for size in set(sizes))
        setup = making * len({step.size for step in chosen.plan.steps})
        plans = [dataclasses.replace(chosen.plan, phases=(chosen.plan.phases[0], (case.times[-1], n))) for n in (1, 2, 4, 8)]
        curve = [(len(plan.steps) * cost + setup, case.error(p.moments.integrated(name, plan))) for plan in plans]
        steps, error = len(chosen.plan.steps), case.error(p.moments.integrated(name, chosen.plan))
        settings = re.sub(r" to ([\d.]+ ps)", r" (to \1)", chosen.plan.describe())
        label = "Strang splitting" if name == "strang" else f"hpcwigner {name}"
        needs = f"{steps} steps, {setup:.2g} s for operators"
        yield Row(label, settings, error, needs, cost, steps * cost + setup, FULL, curve), chosen


def _choice(case: Case, name: str) -> Choice:
    moments = case.problem.moments
    try:
        return choose(moments, {name: case.problem.largest_step(name)}, GOAL, case.reference)
    except NoStepsError:  # its shortest step is 10 fs
        plans = (moments.plan((case.times[-1], count)) for count in (30, 40, 55, 75, 100, 140, 200))
        good = (plan for plan in plans if case.error(moments.integrated(name, plan)) <= GOAL)
        return Choice(name, next(good))


def run_full(case: Case, name: str, plan: StepPlan) -> list[float]:
    """Durations [s] of all steps of the full run; the first of each size makes its operators."""
    p, equation, stamps = case.problem, case.full.equation, [0.0]
    vector = equation.create_vector()
    schedule, generators = Schedule(plan, p.sources), [[generator] for generator in p.generators]
    integrate(name, equation, generators, schedule, MPI.COMM_SELF, lambda *_: stamps.append(time.perf_counter()), vector)
    vector.destroy()
    return np.diff(stamps[1:]).tolist()
