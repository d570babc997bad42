"""SciPy's solvers, with our operators and with assembled matrices."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import splu

from comparison.ours import run_full
from comparison.problem import ABSOLUTE, FULL, GOAL, SCALED, Array, Case, FullSystem, Row
from hpcwigner.reference.step_choice import Choice

TOLERANCES = [float(f"{digit}e-{k}") for k in range(3, 9) for digit in (3, 1)]
PULSE = 0.75
"""Adaptive solvers take steps of at most 20 fs up to here [ps], or they would step over the pulse."""
CHECK = 8.0
"""Time [s] to spend on running the full system by SciPy itself."""


def solve(
    rhs: Callable[[float, Array], Array], y: Array, method: str, rtol: float, atol: Array, times: Array, jacobian: Any = None
) -> tuple[Array, int, int]:
    """States at `times` from 0 on, number of right-hand sides and of LU factorisations, by solve_ivp."""
    states, evaluations, factorisations = [y[None]], 0, 0
    keywords = {} if jacobian is None else {"jac": (lambda *_: jacobian) if method == "LSODA" else jacobian}
    for start, end, longest in ((0.0, PULSE, 0.02), (PULSE, times[-1], math.inf)):
        due = times[(times > start + 1e-9) & (times <= end + 1e-9)]
        solution = solve_ivp(rhs, (start, end), y, method, due, rtol=rtol, atol=atol, max_step=longest, **keywords)
        if not solution.success:
            raise ArithmeticError(f"{method}: {solution.message}")
        states.append(solution.y.T)
        y = np.ascontiguousarray(solution.y[:, -1])  # the kernels take contiguous arrays only
        evaluations, factorisations = evaluations + solution.nfev, factorisations + solution.nlu
    return np.concatenate(states), evaluations, factorisations


def scan(case: Case, method: str) -> list[tuple[Any, ...]]:
    """(rtol, error, right-hand sides, LU) on the moment equations, from loose to tight: the last one meets the goal."""
    jacobian = None if method.startswith("RK") else case.generator.toarray() if method == "LSODA" else case.generator
    out = []
    for rtol in TOLERANCES:
        atol = rtol * ABSOLUTE * case.moment_scale
        states, *counts = solve(case.rhs, np.zeros(3 * case.cells), method, rtol, atol, case.times, jacobian)
        out.append((rtol, case.error(case.budgets(states)), *counts))
        if out[-1][1] <= GOAL:
            break
    return out


def cost_in_solver(full: FullSystem, case: Case, rhs: Callable[[float, Array], Array], method: str, span: float) -> float:
    """Median time [s] per right-hand side inside the solver, its own vector work included."""
    y, costs = full.resting(), []
    for _ in range(3):
        start = time.perf_counter()
        solution = solve_ivp(rhs, (1.0, 1.0 + span), y, method, rtol=1e-4, atol=full.atol(case, 1e-4))
        costs.append((time.perf_counter() - start) / solution.nfev)
    return statistics.median(costs)


def explicit_scipy(case: Case, full: FullSystem, short: FullSystem, matrix: Any) -> Iterator[Row]:
    """RK23 and RK45 with our operators and with the assembled matrix."""
    span = 30 / case.local.fastest_rate
    for method in ("RK23", "RK45"):
        tried = scan(case, method)
        rtol, error, count, _ = tried[-1]
        own = cost_in_solver(full, case, full.matrix_free, method, span)
        csr = cost_in_solver(short, case, lambda t, y: short.with_source(t, matrix @ y), method, span) * case.scale_up
        for label, cost, how in (("our operators", own, FULL), ("CSR matrix", csr, SCALED)):
            curve = [(n * cost, e) for _, e, n, _ in tried]
            needs = f"{count} evaluations"
            yield Row(f"SciPy {method}, {label}", f"rtol {rtol:g}", error, needs, cost, count * cost, how, curve)


def implicit_scipy(case: Case, path: Path, product: float) -> Iterator[Row]:
    """BDF by sparse LU, extrapolated from a coarse grid in momentum: blocks of b = angles × energies fill completely."""
    p = case.problem
    coarse = Case(path, f"momentum.energy_step={8 * p.config.momentum.energy_step} meV", "momentum.angles=4")
    jacobian = sum(FullSystem(coarse.problem).assembled())
    eye = sparse.eye(jacobian.shape[0])
    start = time.perf_counter()
    factors = splu(sparse.csc_matrix(eye - 0.05 * jacobian))
    factorisation = time.perf_counter() - start
    solution = _median_time(lambda: factors.solve(np.ones(jacobian.shape[0])))
    ratio = p.angles.count * case.cells / (coarse.problem.angles.count * coarse.cells)
    gigabytes = 12e-9 * (factors.L.nnz + factors.U.nnz) * ratio**2
    rtol, error, count, lu = scan(case, "BDF")[-1]
    total = lu * factorisation * ratio**3 + count * (solution * ratio**2 + product)
    settings, needs = f"rtol {rtol:g}; LU fills {gigabytes:.0f} GB", f"{count} evaluations, {lu} LU"
    how = f"extrapolated from blocks {ratio:.0f}× smaller"
    yield Row("SciPy BDF, CSR matrix", settings, error, needs, total / count, total, how)
    rtol, error, count, _ = scan(case, "LSODA")[-1]
    unknowns = p.space.shape[0] * p.angles.count * case.cells
    settings = f"rtol {rtol:g}; dense Jacobian: {8e-9 * unknowns**2:.0f} GB"
    yield Row("SciPy LSODA", settings, error, f"{count} evaluations", math.nan, math.inf, "does not fit")


def _median_time(action: Callable[[], object]) -> float:
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        action()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def verify(case: Case, row: Row, ladders: list[tuple[Row, Choice]]) -> str:
    """The full system run by SciPy itself for about CHECK seconds, and by our fastest integrator, beside the table's numbers."""
    method, loosest = row.method.split()[1].strip(","), float(row.settings.split()[1])
    end = max(2.0, case.times[-1] * min(1.0, CHECK / row.total))
    times, ours = case.times[case.times <= end + 1e-9], min(ladders, key=lambda pair: pair[0].total)
    whole = sum(run_full(case, ours[1].integrator, ours[1].plan))
    text = f"Checks: {ours[0].method}, whole run: {whole:.3g} s with its operators, table {ours[0].total:.3g} s."
    for rtol in (loosest, loosest / 10, loosest / 100):
        states, predicted, _ = solve(case.rhs, np.zeros(3 * case.cells), method, rtol, rtol * ABSOLUTE * case.moment_scale, times)
        start, full = time.perf_counter(), case.full
        computed, needed, _ = solve(full.matrix_free, np.zeros(full.source.size), method, rtol, full.atol(case, rtol), times)
        took = time.perf_counter() - start
        expected, error = (case.error(case.budgets(s)) for s in (states, np.array([full.moments(y) for y in computed])))
        text += (
            f" {row.method}, rtol {rtol:g}, full system to {times[-1]:g} ps: {needed} evaluations, {took:.3g} s, error "
            f"{error:.1e}; predicted {predicted}, {predicted * row.cost:.3g} s, {expected:.1e}."
        )
        if error <= GOAL:
            break
    return text
