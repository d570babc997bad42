"""TSARKIMEX as a user of PETSc sets it up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from petsc4py import PETSc

from comparison.problem import GOAL, SCALED, Array, Case, FullSystem, Row
from hpcwigner.reference.step_choice import Choice

KRYLOV = ("1e-5", "1e-7", "1e-9", "1e-11")
"""Relative tolerances of GMRES: PETSc's default and tighter ones."""


class GenericArkimex:
    """TSARKIMEX as a user sets it up: AIJ matrices, scattering implicit, GMRES + ILU(0), fixed steps."""

    def __init__(self, implicit: Any, explicit: Any, source: Array, case: Case) -> None:
        self.matrix, self.drift = (
            PETSc.Mat().createAIJ(m.shape, csr=(m.indptr, m.indices, m.data), comm=PETSc.COMM_SELF)
            for m in (implicit.sorted_indices(), explicit.sorted_indices())
        )
        self.jacobian = self.matrix.duplicate(copy=True)
        self.source = PETSc.Vec().createWithArray(source, comm=PETSc.COMM_SELF)
        self.case, self.shift = case, 0.0

    def run(self, y: Array, steps: list[tuple[float, float]], rtol: str, monitor: Callable[[int, Any], None]) -> int:
        """Advances `y` in place through (start, size). Returns the number of GMRES iterations. Raises ArithmeticError."""
        ts, vector = PETSc.TS().create(PETSc.COMM_SELF), PETSc.Vec().createWithArray(y, comm=PETSc.COMM_SELF)
        options = {"ts_type": "arkimex", "ts_arkimex_type": "3", "ts_adapt_type": "none", "snes_type": "ksponly",
                   "ksp_type": "gmres", "ksp_rtol": rtol, "ksp_max_it": "300", "pc_type": "ilu"}  # fmt: skip
        for key, value in options.items():
            PETSc.Options().setValue(f"generic_{key}", value)
        ts.setOptionsPrefix("generic_")
        ts.setIFunction(self._function, vector.duplicate())
        ts.setRHSFunction(self._explicit, vector.duplicate())
        ts.setIJacobian(self._jacobian, self.jacobian, self.jacobian)
        ts.setSolution(vector)
        ts.setTime(steps[0][0])
        ts.setTimeStep(steps[0][1])
        ts.setMaxSteps(len(steps))
        ts.setMaxTime(1e300)
        ts.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
        ts.setPreStep(lambda ts: ts.setTimeStep(steps[ts.getStepNumber()][1]))
        ts.setMonitor(lambda _ts, number, _t, u: monitor(number, u))
        ts.setFromOptions()
        ts.solve(vector)
        iterations, reason = ts.getKSPIterations(), ts.getConvergedReason()
        ts.destroy()
        if reason < 0:
            raise ArithmeticError("GMRES does not converge")
        return iterations

    def _function(self, _ts: Any, _t: float, u: Any, u_dot: Any, f: Any) -> None:
        self.matrix.mult(u, f)
        f.aypx(-1.0, u_dot)

    def _explicit(self, _ts: Any, t: float, u: Any, g: Any) -> None:
        self.drift.mult(u, g)
        g.axpy(self.case.pulse.strength(t), self.source)

    def _jacobian(self, _ts: Any, _t: float, _u: Any, _u_dot: Any, shift: float, matrix: Any, _pc: Any) -> bool:
        if shift != self.shift:  # else ILU is kept: only a new step size makes a new one
            self.matrix.copy(matrix)
            matrix.scale(-1.0)
            matrix.shift(shift)
            self.shift = shift
        return True


def generic_petsc(case: Case, short: FullSystem, matrices: tuple[Any, Any], steps: Choice) -> Row:
    """With the ladder of our arkimex3 and the loosest GMRES that the moment equations need; cost on the shorter sample."""
    small = GenericArkimex(case.implicit, case.explicit, case.source, case)
    planned, due = [(s.start, s.size) for s in steps.plan.steps], set(steps.plan.steps_until(steps.plan.output_times).tolist())
    for rtol in KRYLOV:
        states: list[Array] = []

        def keep(number: int, u: Any, states: list[Array] = states) -> None:
            if number in due:
                states.append(u.getArray().copy())

        small.run(np.zeros(3 * case.cells), planned, rtol, keep)
        error = case.error(case.budgets(np.array(states)))
        if error <= GOAL:
            break
    stamps: list[float] = []
    generic = GenericArkimex(*matrices, short.source, case)
    uniform = [(1 + i * planned[-1][1], planned[-1][1]) for i in range(6)]
    iterations = generic.run(short.resting(), uniform, rtol, lambda *_: stamps.append(time.perf_counter()))
    cost = statistics.median(np.diff(stamps)[2:]) * case.scale_up
    settings = f"ladder of arkimex3, GMRES {rtol}, ILU(0), {iterations / len(uniform):.1f} iterations per step"
    setup = max(0.0, np.diff(stamps)[0] * case.scale_up - cost) * len({size for _, size in planned})
    needs = f"{len(planned)} steps, {setup:.2g} s for ILU"
    return Row("PETSc ARKIMEX3, AIJ", settings, error, needs, cost, len(planned) * cost + setup, SCALED)
