"""Diffusion equations beside which the runs stand: D by Chapman–Enskog from the rates of the run, nothing is fitted."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import erf, erfcx

from hpcwigner.runtime.arrays import Array

CM2_PER_S = 1e4  # Of 1 µm²/ps
FLOOR = 1e-9  # Of the largest density: absolute tolerance


def drift_diffusion(
    x: Array, start: Array, energy: Array, diffusivity: float, thermal_energy: float, times: Array, periodic: bool
) -> Array:
    """n(t, x) of ∂t n = ∂x D[∂x n + n ∂x E/kT] from `start` on, shape (time, x); between walls or on a ring.

    x [µm] are centres of equal cells, `energy` [meV] the landscape there, D [µm²/ps], `thermal_energy` kT [meV], times [ps].
    Finite volumes whose fluxes are exact for a constant flux through a linear E (Scharfetter and Gummel, IEEE Trans. Electron
    Devices 16, 64 (1969)): the Boltzmann distribution stands still.
    """
    spacing = x[1] - x[0]
    rise = (np.roll(energy, -1) - energy) / thermal_energy  # to the next cell

    def bernoulli(u: Array) -> Array:
        small = np.abs(u) < 1e-8
        return np.asarray(np.where(small, 1 - 0.5 * u, u / np.expm1(np.where(small, 1.0, u))))

    forward, back = bernoulli(rise), bernoulli(-rise)

    def change(_: float, n: Array) -> Array:
        flux = diffusivity / spacing * (forward * n - back * np.roll(n, -1))
        if not periodic:
            flux[-1] = 0.0
        return np.asarray((np.roll(flux, 1) - flux) / spacing)

    solved = solve_ivp(change, times[[0, -1]], start, "LSODA", times, rtol=1e-8, atol=FLOOR * start.max())
    return np.asarray(solved.y.T)


def robin_loss(time: Array, diffusivity: float, velocity: float) -> Array:
    """Depth [µm] of what one edge has absorbed of a uniform density: 2√(Dt/π) − (D/S)[1 − e^{h²Dt} erfc(h√(Dt))], h = S/D.

    Diffusion with −D ∂x n = S n at the edge (Carslaw and Jaeger, Conduction of Heat in Solids, §2.7); D [µm²/ps], S [µm/ps].
    """
    inverse, reach = velocity / diffusivity, np.sqrt(diffusivity * time)
    return np.asarray(2 * reach / np.sqrt(np.pi) - (1 - erfcx(inverse * reach)) / inverse)


def robin_profile(depth: Array, time: float, diffusivity: float, velocity: float) -> Array:
    """Density at a depth [µm] behind such an edge over that without it (same source)."""
    inverse, reach = velocity / diffusivity, np.sqrt(diffusivity * time)
    scaled = depth / (2 * reach)
    return np.asarray(erf(scaled) + np.exp(-(scaled**2)) * erfcx(scaled + inverse * reach))


def with_density(
    r: Array, plane: bool, start: Array, diffusivity: float, softness: float, rate: float, loss: float, times: Array, floor: float
) -> Array:
    """n(t, r) of ∂t n = ∇·[D(1 + g n/kT)∇n] − R n² − k n, shape (time, r), in a plane or for a line.

    r [µm] are centres of equal cells from 0 on, D [µm²/ps], `softness` g/kT [µm²], R [µm²/ps], k [1/ps], n [1/µm²]; `floor` is
    the absolute tolerance.
    """
    spacing = r[1] - r[0]
    weight, edge = (r, 0.5 * (r[1:] + r[:-1])) if plane else (np.ones_like(r), np.ones(len(r) - 1))

    def change(_: float, n: Array) -> Array:
        flux = -edge * diffusivity * (1 + 0.5 * softness * (n[1:] + n[:-1])) * np.diff(n) / spacing
        return np.asarray(-np.diff(np.concatenate([[0.0], flux, [0.0]])) / (weight * spacing) - rate * n**2 - loss * n)

    solved = solve_ivp(change, times[[0, -1]], start, "LSODA", times, rtol=1e-7, atol=floor, lband=1, uband=1)
    return np.asarray(solved.y.T)
