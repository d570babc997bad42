"""Our integrators, and Strang splitting with our propagators, on the full system."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
import time
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from comparison.problem import FULL, GOAL, Array, Case, Row
from hpcwigner.integrators import exponential as etd
from hpcwigner.integrators.petsc import Schedule, integrate
from hpcwigner.integrators.propagators import PhiFunctions
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.reference import choice as ladder
from hpcwigner.space.stencil import runge_kutta

OURS = ("etd2", "etd3", "arkimex3", "ars443")


class Strang(etd.ExponentialIntegrator):
    """exp(hL/2) exp(hA) exp(hL/2) with our propagators and drift by RK3; as a scheme, so that the ladder tries its steps."""

    slots, slots_per_stage = 1, (1,)

    @classmethod
    def matrices(cls, phi: PhiFunctions, h: float) -> list[Array]:
        return [phi.half[0]]

    @classmethod
    def amplification(cls, decay: float, drift: Array) -> Array:
        return math.exp(-decay) * runge_kutta(3)(1.0, drift)

    def step(self, u: Array, operators: etd.StepOperators, source: Array | None) -> None:
        half = None if source is None else operators.source(half=True, polynomial=source)
        whole = None if source is None else operators.source(half=False, polynomial=source)
        self.system.to_harmonics(u, self.vectors, 0)
        self._combine(operators, 0, 0, 1, half, u)
        a, drift = u.copy(), np.empty_like(u)
        for part in (3, 2, 1):
            self.system.explicit(a, drift)
            np.multiply(drift, operators.size / part, out=a)
            a += u
        self.system.to_harmonics(a, self.vectors, 0)
        if half is not None:  # the second half forms `whole` less what the first half's has become
            self.system.add_source(self.vectors[:, :, 0], -half)
        self._combine(operators, 0, 0, 1, whole, u)


etd.SCHEMES["strang"] = Strang


def fixed_ladders(case: Case) -> Iterator[tuple[Row, ladder.Choice]]:
    """Our integrators, and Strang splitting, with the cheapest ladder of steps that reaches the goal."""
    p = case.problem
    for name in (*OURS, "strang"):
        chosen = _choice(case, name)
        short = dataclasses.replace(chosen.plan, end=6.0)
        durations, sizes = run_full(case, name, short), [step.size for step in short.steps()]
        cost = statistics.median(durations[-12:])
        making = statistics.mean(max(0.0, durations[sizes.index(size)] - cost) for size in set(sizes))
        setup = making * len({step.size for step in chosen.plan.steps()})
        plans = [dataclasses.replace(chosen.plan, phases=(chosen.plan.phases[0], (case.times[-1], n))) for n in (1, 2, 4, 8)]
        curve = [(len(plan.steps()) * cost + setup, case.error(p.moments.integrated(name, plan))) for plan in plans]
        steps, error = len(chosen.plan.steps()), case.error(p.moments.integrated(name, chosen.plan))
        settings = re.sub(r" to ([\d.]+ ps)", r" (to \1)", chosen.plan.describe())
        label = "Strang splitting" if name == "strang" else f"hpcwigner {name}"
        needs = f"{steps} steps, {setup:.2g} s for operators"
        yield Row(label, settings, error, needs, cost, steps * cost + setup, FULL, curve), chosen


def _choice(case: Case, name: str) -> ladder.Choice:
    moments = case.problem.moments
    try:
        return ladder.choose(moments, {name: case.problem.largest_step(name)}, GOAL, case.reference)
    except ladder.NoLadderError:  # its shortest step is 10 fs
        plans = (moments.plan((case.times[-1], count)) for count in (30, 40, 55, 75, 100, 140, 200))
        good = (plan for plan in plans if case.error(moments.integrated(name, plan)) <= GOAL)
        return ladder.Choice(name, next(good))


def run_full(case: Case, name: str, plan: StepPlan) -> list[float]:
    """Durations [s] of all steps of the full run; the first of each size makes its operators."""
    p = case.problem
    wigner, stamps = case.full.wigner, [0.0]
    vector = wigner.create_vector()
    schedule = Schedule(plan, p.pump, p.amplitude)
    integrate(name, wigner, p.scatterings, schedule, MPI.COMM_SELF, lambda *_: stamps.append(time.perf_counter()), vector)
    vector.destroy()
    return np.diff(stamps[1:]).tolist()
