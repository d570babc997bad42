"""A sharp step of a valley's energy: where excitons go that reach it, from and onto the discrete states.

At the face an exciton keeps its momentum along it, Q_t = (M v/ħ) sin α with α from the normal, and its energy H = E_v + ε. It is
reflected if the energy of its normal motion, ε cos²α, is below the step that it would have to climb; else it passes and is
refracted, ε' = ε − ΔE and √ε' sin α' = √ε sin α. A state that comes down goes onto two energy cells with the mean of H, in
each onto two directions with the mean of Q_t. The way up is that of detailed balance: in equilibrium the flux from a up to b
equals that from b down to a, so that the Boltzmann state of the discrete speeds stays as it is. Since cells of one side do not
match those of the other, fluxes down are balanced first: as much as a state above has arrives below, and no state below gets
more than it has in equilibrium.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array

ROUNDS = 50  # Of balancing, which leaves 1e-4 of the flux of a valley to reflection
TINY = 1e-300


@dataclasses.dataclass(frozen=True, eq=False)
class Directions:
    """The stored angle cells that move towards a face from one side, in the order of the component along it."""

    angles: NDArray[np.int64]  # Their numbers, shape (direction,)
    mirrored: NDArray[np.int64]  # Their mirror images, which move away
    normal: Array  # |cos α|
    along: Array  # sin α, increasing
    weight: Array  # Angle cells that each stands for

    @classmethod
    def towards(cls, angles: Angles, axis: int, side: int) -> Directions:
        """Those that reach a face normal to `axis` from its lower (0) or upper (1) side."""
        normal, along = (angles.cosine, angles.sine) if axis == 0 else (angles.sine, angles.cosine)
        chosen = np.flatnonzero((normal > 0) if side == 0 else (normal < 0))
        chosen = chosen[np.argsort(along[chosen])]
        own = np.abs(normal[chosen]), along[chosen], angles.multiplicity[chosen]
        return cls(chosen, angles.mirror(axis)[chosen], *own)


def passage(equilibrium: Equilibrium, angles: Angles, axis: int, heights: tuple[float, ...]) -> sparse.csr_matrix:
    """The matrix from outgoing to incoming values of a state u beside a face, both of (side, angle, cell) flattened.

    `heights` [meV] of each valley are E_v beyond the face less that before it. Σ speed·|cos α|·u, the flux, is kept to
    rounding, and so is equilibrium, u(beyond)/u(before) = exp(−height/kT). Rows of directions that move towards the face
    and columns of those that move away are empty, and so are valleys without a step.
    """
    cells, rows, columns, values = equilibrium.cells, [], [], []
    for valley, height in enumerate(heights):
        if height == 0.0:
            continue
        own = cells.slices[valley]
        below = int(height < 0)  # The side where the valley is low
        towards = Directions.towards(angles, axis, below)
        speed = np.outer(towards.normal, equilibrium.velocity[own]).ravel()
        flux = np.outer(towards.weight, equilibrium.population[own]).ravel() * speed
        factor = float(np.exp(-abs(height) / equilibrium.thermal_energy))
        down = descent(towards, equilibrium.kinetic_energy[own], flux, factor, abs(height))
        to, start = down.row, down.col
        fall, climb = down.data / flux[start], factor * down.data / flux[to]

        def number(side: int, directions: NDArray[np.int64], own: slice = own) -> NDArray[np.int64]:
            index = (side * angles.count + directions[:, None]) * cells.size + np.arange(own.start, own.stop)
            return np.asarray(index.ravel())

        out_low, in_low = number(below, towards.angles), number(below, towards.mirrored)
        out_high, in_high = number(1 - below, towards.mirrored), number(1 - below, towards.angles)
        rows += [in_low[to], in_high[start], in_high, in_low]
        columns += [out_high[start], out_low[to], out_high, out_low]
        values += [
            fall * speed[start] / speed[to],
            climb * speed[to] / speed[start],
            1.0 - np.bincount(start, fall, len(flux)),
            1.0 - np.bincount(to, climb, len(flux)),
        ]
    size = 2 * angles.count * cells.size
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(size, size))


def descent(towards: Directions, kinetic: Array, flux: Array, factor: float, height: float) -> sparse.coo_matrix:
    """Flux from each state above a step of `height` > 0 to each below, in units of the equilibrium above.

    `flux` (direction·cell,) is what each state has there; below it is 1/`factor` times that. What would arrive above the
    topmost cell stays above.
    """
    exchange = _refraction(towards, kinetic, height) @ sparse.diags(flux)
    most = flux / max(factor, TINY)
    for _ in range(ROUNDS):
        left = np.asarray(exchange.sum(axis=0)).ravel()
        exchange = exchange @ sparse.diags(np.divide(flux, left, out=np.zeros_like(left), where=left > 0))
        arrived = np.asarray(exchange.sum(axis=1)).ravel()
        exchange = sparse.diags(np.divide(most, arrived, out=np.ones_like(most), where=arrived > most)) @ exchange
    return sparse.coo_matrix(exchange)


def _refraction(towards: Directions, kinetic: Array, height: float) -> sparse.csr_matrix:
    """Shares of each state above (column) that arrive in each state below (row), with the means of H and Q_t."""
    along, cells, shape = towards.along, len(kinetic), (len(towards.along), len(kinetic))
    k, c = np.nonzero(np.broadcast_to(kinetic + height <= kinetic[-1], shape))
    lower, upper, share = _between(kinetic, kinetic[c] + height)
    rows, values = [], []
    for cell, part in ((lower, 1 - share), (upper, share)):
        low, high, inner = _between(along, along[k] * np.sqrt(kinetic[c] / kinetic[cell]))
        rows += [low * cells + cell, high * cells + cell]
        values += [part * (1 - inner), part * inner]
    entries = np.concatenate(values), (np.concatenate(rows), np.tile(k * cells + c, 4))
    return sparse.csr_matrix(entries, shape=(shape[0] * cells,) * 2)


def _between(grid: Array, values: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Numbers of the points of an increasing grid below and above each value, and the share of the upper one.

    Values beyond the ends are taken as the ends.
    """
    lower = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, max(len(grid) - 2, 0))
    upper = np.minimum(lower + 1, len(grid) - 1)
    distance = np.where(upper > lower, grid[upper] - grid[lower], 1.0)
    return lower, upper, np.clip((values - grid[lower]) / distance, 0.0, 1.0)
