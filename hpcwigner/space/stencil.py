"""The upwind stencil of order 5 on uniform cells: its symbol, and the largest stable step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime import kernels
from hpcwigner.runtime.kernels import HALO, UPWIND5

Array = NDArray[np.float64]


def symbol(phase: Array) -> Array:
    """Eigenvalue of Δx ∂/∂x on exp(i·phase·index), motion towards larger i."""
    return np.asarray(sum(w * np.exp(1j * k * phase) for w, k in zip(UPWIND5, range(-3, 3), strict=True)))


def stability_limit(amplification: Callable[[float, Array], Array]) -> float:
    """Largest |v|Δt/Δx for which an integrator keeps all plane waves bounded.

    `amplification(courant, z)` is its factor per step for the eigenvalues courant·z (complex) of the drift.
    """
    z = -symbol(np.linspace(0, np.pi, 361))
    slower = np.linspace(0.05, 1, 20)[:, None]  # cells slower than the fastest see smaller Courant numbers

    def stable(courant: float) -> bool:
        return bool(np.abs(amplification(courant, slower * z)).max() <= 1 + 1e-12)

    lower, upper = 0.0, 4.0
    while upper - lower > 1e-4:
        middle = 0.5 * (lower + upper)
        lower, upper = (middle, upper) if stable(middle) else (lower, middle)
    return lower


def runge_kutta(order: int) -> Callable[[float, Array], Array]:
    """Amplification of an explicit Runge-Kutta method with as many stages as its order."""
    return lambda courant, z: np.asarray(sum((courant * z) ** k / math.factorial(k) for k in range(order + 1)))


def upwind_derivative(values: Array) -> Array:
    """Δx ∂u/∂x of periodic values (cell,) by the kernel itself, for motion towards larger i: for checks."""
    u = np.ascontiguousarray(values, dtype=float).reshape(-1, 1, 1, 1)
    places = np.arange(len(values))
    points = np.stack((places, np.zeros_like(places)), axis=-1)
    none, out, one = np.zeros((0, 0, 0, 0)), np.empty((len(values), 1, 1)), np.ones(1)
    ghosts = u[-HALO:].copy(), u[:HALO].copy(), none, none
    kernels.upwind(points, places, u, ghosts, np.array([[1.0], [0.0]]), one, out)
    return -out.ravel()
