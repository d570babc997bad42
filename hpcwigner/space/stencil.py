"""The upwind stencil of order 5: its symbol and the largest stable Courant number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime import kernels
from hpcwigner.runtime.kernels import HALO, UPWIND5

Array = NDArray[np.float64]


def symbol(phase: Array) -> Array:
    """Eigenvalue of Δx ∂/∂x on exp(i·phase·index) for motion towards larger index, shape of `phase`."""
    return np.asarray(sum(w * np.exp(1j * k * phase) for w, k in zip(UPWIND5, range(-3, 3), strict=True)))


def stability_limit(amplification: Callable[[float, Array], Array]) -> float:
    """Largest |v|Δt/Δx at which an integrator keeps all plane waves bounded, to 1e-4.

    `amplification(courant, z)` is its factor per step for eigenvalues courant·z (complex) of the drift times Δt.
    """
    z = -symbol(np.linspace(0, np.pi, 361))
    slower = np.linspace(0.05, 1, 20)[:, None]  # slower cells have smaller Courant numbers

    def stable(courant: float) -> bool:
        return bool(np.abs(amplification(courant, slower * z)).max() <= 1 + 1e-12)

    lower, upper = 0.0, 4.0
    while upper - lower > 1e-4:
        middle = 0.5 * (lower + upper)
        lower, upper = (middle, upper) if stable(middle) else (lower, middle)
    return lower


def runge_kutta(order: int) -> Callable[[float, Array], Array]:
    """Amplification of explicit Runge-Kutta methods with as many stages as their order."""
    return lambda courant, z: np.asarray(sum((courant * z) ** k / math.factorial(k) for k in range(order + 1)))


def upwind_derivative(values: Array) -> Array:
    """Δx ∂u/∂x of periodic values (cell,) for motion towards larger index, by the compiled kernel."""
    u = np.ascontiguousarray(values, dtype=float).reshape(-1, 1, 1, 1)
    places = np.arange(len(values))
    points = np.stack((places, np.zeros_like(places)), axis=-1)
    none, out, one = np.zeros((0, 0, 0, 0)), np.empty((len(values), 1, 1)), np.ones(1)
    ghosts = u[-HALO:].copy(), u[:HALO].copy(), none, none
    kernels.upwind(points, places, u, ghosts, np.array([[1.0], [0.0]]), one, out)
    return -out.ravel()
