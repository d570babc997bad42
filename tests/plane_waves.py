"""The Wigner equation for plane waves exp(i k·r) on an endless grid: drift is a number for each angle and cell."""

from collections.abc import Sequence

import numpy as np

from hpcwigner.momentum.harmonics import AngularTransform
from hpcwigner.momentum.tile import N, U
from hpcwigner.space.stencil import symbol
from hpcwigner.terms.term import State


class PlaneWaves:
    """A semilinear system whose points 2w and 2w + 1 are the real and the imaginary part of the amplitude of wave w."""

    field_count = 0
    sources: Sequence = ()

    def __init__(self, velocity, angles, spacing, phases):
        """`phases` (wave, axis) are k·Δx; spacing [nm], velocity [nm/ps] (cell,)."""
        self.orders, self.transform = angles.orders, AngularTransform(angles, len(velocity))
        self.shape = 2 * len(phases), angles.count, len(velocity)
        self.classes = [np.arange(2 * len(phases))]
        rates = 0.0
        for axis, direction in zip(phases.T, (angles.cosine, angles.sine), strict=False):
            upwind = np.where(direction >= 0, symbol(axis)[:, None], -symbol(-axis)[:, None])
            rates = rates - direction * upwind / spacing
        self.rates = rates[:, :, None] * velocity

    def explicit(self, time, state, out):
        waves = (state.u[0::2] + 1j * state.u[1::2]) * self.rates
        out.u[0::2], out.u[1::2] = waves.real, waves.imag

    def tiles(self, tile, time, state, out=None):
        change = State(np.empty_like(state.u), state.fields)
        self.explicit(time, state, change)
        for first in range(0, self.shape[0], tile.room):
            tile.points = self.classes[0][first : first + tile.room]
            self.transform.forward(change.u, tile.slots, N, tile.points)
            self.transform.forward(state.u, tile.slots, U, tile.points)
            yield tile

    def load(self, tile, number, state):
        self.transform.forward(state.u, tile.slots, number, tile.points)

    def store(self, tile, state):
        self.transform.store(tile, state.u)


def growth(scheme, system, operators, scale, steps=200):
    """Largest factor per step among the waves, by power iteration in units of `scale` (cell,)."""
    rng = np.random.default_rng(0)
    state = State(rng.standard_normal(system.shape) * scale, np.zeros((system.shape[0], 0)))
    integrator, history = scheme(system), []
    for _ in range(steps):
        integrator.step(state, 0.0, operators, ())
        squares = ((state.u / scale) ** 2).sum(axis=(1, 2))
        norms = np.sqrt(squares[0::2] + squares[1::2]).repeat(2)
        state.u[...] /= norms[:, None, None]
        history.append(np.log(norms[0::2]))
    return float(np.exp(np.mean(history[-steps // 3 :], axis=0)).max())
