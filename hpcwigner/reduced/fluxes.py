"""Fluxes of Scharfetter and Gummel between neighbouring cells, and what leaves through walls.

Between two cells at a distance h, of which the far one lies δ_w = (E_w' − E_w)/kT higher, the near one changes by

    ∂t n_v = −Σ_w (D_vw/h²) [B(δ_w) n_w − B(−δ_w) n_w'],        B(x) = x/(eˣ − 1),

the exact stationary flux in a constant force (IEEE Trans. Electron Devices 16, 64 (1969)). It vanishes in equilibrium,
n_w'/n_w = exp(−δ_w), whatever D_vw is, and what one cell loses the other one gains, to the last bit.
"""

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Halo
from hpcwigner.space.walls import Surface, Wall

SMALL = 1e-4  # Below it the series of B' is more accurate than its formula


def bernoulli(x: Array) -> Array:
    """B(x) = x/(eˣ − 1)."""
    safe = np.where(x == 0.0, 1.0, x)
    return np.where(x == 0.0, 1.0, safe / np.expm1(safe))


def bernoulli_slope(x: Array) -> Array:
    """B'(x) = B(x) [1 − B(−x)]/x."""
    safe = np.where(np.abs(x) < SMALL, 1.0, x)
    return np.where(np.abs(x) < SMALL, x / 6 - 0.5, bernoulli(safe) * (1 - bernoulli(-safe)) / safe)


class Neighbours:
    """Values in the cells next to a rank's own ones; beside a wall those of the own cell, so that no flux goes through it."""

    def __init__(self, decomposition: Decomposition, columns: int) -> None:
        """Of arrays (x, y, column)."""
        self._halo = Halo(decomposition, (columns,))
        self.sides = [(axis, side) for axis in range(decomposition.grid.dimensions) for side in (0, 1)]
        """Axis, and 0 for the neighbour at the smaller coordinate, 1 at the larger one."""
        self.closed = [decomposition.neighbor(axis, 2 * side - 1) is None for axis, side in self.sides]
        """By side: whether there is a wall beside the rank's outermost cells."""

    def __call__(self, values: Array) -> list[Array]:
        """By side, shape (x, y, column) each. Collective."""
        self._halo.start(np.ascontiguousarray(values))
        self._halo.finish()
        shifted = []
        for axis, side in self.sides:
            nearest = self._halo.ghosts[axis][side].take([HALO - 1 if side == 0 else 0], axis)
            count = values.shape[axis]
            inside = values.take(range(count - 1) if side == 0 else range(1, count), axis)
            shifted.append(np.concatenate((nearest, inside) if side == 0 else (inside, nearest), axis))
        return shifted

    def edge(self, number: int) -> tuple[slice, ...]:
        """Index of the rank's outermost cells on side `number`."""
        axis, side = self.sides[number]
        outermost = slice(0, 1) if side == 0 else slice(-1, None)
        return (outermost, slice(None)) if axis == 0 else (slice(None), outermost)

    def free(self) -> None:
        """Frees the halo's requests."""
        self._halo.free()


def surface_velocity(wall: Wall, mean_speed: Array) -> Array:
    """S of a wall, which absorbs S n of the density n at its face [nm/ps], for the mean speeds ⟨|v|⟩ of the valleys (valley,).

    Of a flux n⟨|v|⟩/π + ½j that hits the wall a part R comes back, mirrored or diffuse, and j is the difference:
    S = (2/π) ⟨|v|⟩ (1 − R)/(1 + R), for thermal excitons √(2kT/πM) (1 − R)/(1 + R). This is the leading order in 1 − R; the flux
    into a wall that returns nothing is 4 % off the kinetic one.
    """
    if isinstance(wall, Surface):
        return mean_speed * (2 / np.pi) * (1 - wall.reflectivity) / (1 + wall.reflectivity)
    return mean_speed * (2 / np.pi if wall == "open" else 0.0)
