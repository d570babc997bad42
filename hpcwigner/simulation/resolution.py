"""How well a spatial grid resolves the cloud: the stencil keeps n_v, w_v² and D_v exact, but not the profile's shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.budget import Budget
from hpcwigner.problem.builder import Problem
from hpcwigner.space.stencil import symbol

Array = NDArray[np.float64]

NOTICEABLE = 0.02
"""Profiles that are flattened by more than this deserve a warning."""


def flattening(problem: Problem, reference: Sequence[Budget]) -> Array:
    """Part by which each valley's profile will be too low in its middle at the end, about; shape (valley,).

    The upwind stencil damps a wave k at ⟨|v_x|⟩ Re(symbol(kΔx))/Δx ≈ ⟨|v_x|⟩ Δx⁵k⁶/60, with the thermal speed along an axis
    √(2kT/πM). Followed is the wave of the cloud's own size, k = 2/w_v(t). `reference` are the budgets at the series outputs.
    """
    spacing = problem.space.spacing[0]
    width_squared = np.array([b.width_squared for b in reference[1:]])
    phase = np.minimum(2 * spacing / np.sqrt(width_squared), math.pi)
    speed = np.sqrt(problem.equilibrium.mean_square_speed / math.pi)
    rate = speed * np.real(symbol(phase)) / spacing
    return np.asarray(-np.expm1(-np.nansum(rate, axis=0) * problem.config.output.series_every))


def describe(flattened: Array) -> str:
    """One line for people."""
    return f"profiles will be up to {100 * flattened.max():.2g} % too low in the middle at the end (D_v and w_v² stay exact)"
