"""The upwind stencil of order 5: its symbol and the largest stable Courant number."""

import math
from collections.abc import Callable

import numpy as np

from hpcwigner.runtime import kernels
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO, UPWIND5
from hpcwigner.runtime.vectors import WIDTH


def symbol(phase: Array) -> Array:
    """Eigenvalue of Δx ∂/∂x on exp(i·phase·index) for motion towards larger index, shape of `phase`."""
    return np.asarray(sum(w * np.exp(1j * k * phase) for w, k in zip(UPWIND5, range(-3, 3), strict=True)))


def stable_step(amplification: Callable[[Array, Array], Array], rates: Array, decays: Array) -> float:
    """Longest step [ps] at which an integrator keeps the plane waves of all cells bounded, to a thousandth; at most 1 ns.

    `rates` are the largest |v_x|/Δx + |v_y|/Δy of each cell and `decays` its out-rates [1/ps], both (cell,).
    `amplification(decay, drift)` is the integrator's factor per step for u' = (−decay + drift) u with complex `drift`, both
    times the step. In-scattering, which ties the cells together, is left out: with it waves grow less.
    """
    z = -symbol(np.linspace(0, np.pi, 121))
    courant = np.linspace(0.1, 1, 10)[:, None] * z  # cells move slower along other directions
    rates, decays = rates[rates > 0, None, None], decays[rates > 0, None, None]

    def stable(step: float) -> bool:
        return bool(np.abs(amplification(step * decays, step * rates * courant)).max() <= 1 + 1e-12)

    lower, upper = 0.0, 4.0 / float(rates.max())
    while stable(upper) and upper < 1e3:  # where fast cells decay fast
        lower, upper = upper, 2 * upper
    while upper - lower > 1e-3 * upper:
        middle = 0.5 * (lower + upper)
        lower, upper = (middle, upper) if stable(middle) else (lower, middle)
    return lower


def runge_kutta(order: int) -> Callable[[Array, Array], Array]:
    """Amplification of explicit Runge-Kutta methods with as many stages as their order, which let no decay help."""
    return lambda decay, z: np.asarray(sum(z**k / math.factorial(k) for k in range(order + 1)))


def upwind_derivative(values: Array) -> Array:
    """Δx ∂u/∂x of periodic values (cell,) for motion towards larger index, by the compiled kernel."""
    u = np.repeat(np.asarray(values, dtype=float), WIDTH).reshape(-1, 1, 1, WIDTH)
    places = np.arange(len(values))
    points = np.stack((places, np.zeros_like(places)), axis=-1)
    none, out = np.zeros((0, 0, 0, 0)), np.empty((len(values), 1, WIDTH))
    ghosts = u[-HALO:].copy(), u[:HALO].copy(), none, none
    plain = np.zeros((0,) * 5), np.zeros(1, dtype=np.int64)
    kernels.upwind(points, places, u, ghosts, np.array([[1.0], [0.0]]), np.ones(WIDTH), *plain, out)
    return -out[:, 0, 0]
