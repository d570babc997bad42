"""How large the angular harmonics of a run become: decides beforehand when fewer angles are enough.

With z = x + iy, u_m = ∫u exp(−imθ)dθ and drift −v(∂_z u_{m−1} + ∂_z̄ u_{m+1}) the moments A_m = ∫z^m u_m d²r obey the closed chain
dA_m/dt = m v A_{m−1} + L_m A_m, since ∂_z̄ z^m = 0. To lowest order in gradients u_m = (A_m/m!) (−∂_z)^m of the normalised
density, whose largest value for a Gaussian exp(−r²/w²) is (m/(2e w²))^(m/2) of its peak.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.linalg

from hpcwigner.observables.budget import Budget
from hpcwigner.reference.moment_problem import MomentProblem
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.term import Source

LONGEST_STEP = 0.25  # [ps]
FEWEST = 8  # Angles that stay: with four, profiles are wrong by half a percent
NEGLIGIBLE = 5e-4
"""Largest harmonic that fewer angles cannot hold, relative to the peak of its valley's density (measured: integrators/README)."""


def gradient_moments(problem: MomentProblem, order: int) -> Array:
    """A_m of the order m = `order` at the series outputs [nm^m], shape (time, cell).

    By implicit Euler steps of at most LONGEST_STEP, which keep the signs of the chain. What sources form between two outputs is
    added at the first of them.
    """
    equilibrium, times = problem.generators[0].equilibrium, problem.times
    moments, history = np.zeros((order + 1, equilibrium.cells.size)), []
    formed = [_formed(source, times) for source in problem.sources]
    factors: dict[tuple[int, float], list[object]] = {}
    for number, (begin, end) in enumerate(itertools.pairwise([times[0], *times])):
        stage = sum(end > t + 1e-9 for t in problem.switches)
        count = max(1, math.ceil((end - begin) / LONGEST_STEP - 1e-9))
        step = round((end - begin) / count, 12)
        if (stage, step) not in factors:
            blocks = (problem.generators[stage].block(m) for m in range(order + 1))
            factors[stage, step] = [scipy.linalg.lu_factor(np.eye(len(block)) - step * block) for block in blocks]
        for source, amounts in zip(problem.sources, formed, strict=True):
            moments[0] += amounts[number] * source.spectrum(stage)
        for m, factor in list(enumerate(factors[stage, step])) * count:
            gained = m * step * equilibrium.velocity * moments[m - 1] if m else 0.0
            moments[m] = scipy.linalg.lu_solve(factor, moments[m] + gained)
        history.append(moments[order].copy())
    return np.array(history)


def harmonic_sizes(problem: MomentProblem, reference: Sequence[Budget], order: int) -> Array:
    """Largest harmonic of an order m relative to the peak density, at the series outputs: (time, valley); NaN without excitons.

    `reference` are the budgets there.
    """
    sums = problem.generators[0].equilibrium.cells.valley_sum(np.abs(gradient_moments(problem, order)))
    population, width = (np.array([getattr(b, key) for b in reference]) for key in ("population", "width_squared"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums / population * (order / (2 * math.e * width)) ** (order / 2) / math.factorial(order))


def _formed(source: Source, times: Array) -> Array:
    """What a source forms between outputs, divided by the sum of its spectrum: shape of `times` [ps]."""
    formed: list[float] = []
    for time in times:
        nearly_all = formed and source.amplitude - formed[-1] < 1e-9 * source.amplitude
        formed.append(formed[-1] if nearly_all else source.generated(float(time)))
    return np.diff(formed, prepend=0.0) / float(source.spectrum(0).sum())


def reductions(problem: MomentProblem, reference: Sequence[Budget], angles: int) -> tuple[tuple[float, int], ...]:
    """Times [ps] from which on half as many angles are enough, with their number, one after the other."""
    chosen: list[tuple[float, int]] = []
    while angles % 8 == 0 and angles // 2 >= FEWEST:
        angles //= 2
        large = ~(harmonic_sizes(problem, reference, angles // 2 + 1).max(axis=1) <= NEGLIGIBLE)
        first = int(np.flatnonzero(large).max(initial=-1)) + 1
        if first >= len(problem.times) - 1:
            break
        chosen = [(time, number) for time, number in chosen if time < problem.times[first]]
        chosen.append((float(problem.times[first]), angles))
    return tuple(chosen)
