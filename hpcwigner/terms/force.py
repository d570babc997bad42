"""The force of a landscape: ∇E_v·∂N/∂(ħQ), on the angular harmonics of each point."""

import numpy as np

from hpcwigner.momentum.acceleration import Acceleration
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.tile import Tile
from hpcwigner.runtime import tile_kernels
from hpcwigner.runtime.arrays import Array, flat
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.landscape import Landscape
from hpcwigner.terms.term import HarmonicTerm

FORCE_LIMIT = 1.5
"""Courant number F v h/w of the force that limits a step as a Courant number 1 of the drift does (tests/test_force.py)."""


class Force(HarmonicTerm):
    """Acceleration by F_v = −∇E_v, which together with a drift in the same landscape keeps its Boltzmann state."""

    name = part = "force"
    why_not_closed = "the sample has a landscape"

    def __init__(self, equilibrium: Equilibrium, angles: Angles, landscape: Landscape) -> None:
        super().__init__(angles, equilibrium.cells)
        self.equilibrium, self.landscape = equilibrium, landscape
        self.operators = Acceleration.from_equilibrium(equilibrium)
        self._bounds = np.array([0, *np.cumsum(equilibrium.cells.counts)])
        self._orders = np.array(angles.orders)
        self._neighbors = _neighbors(angles)
        self._scratch = np.zeros((3, equilibrium.cells.size + 2 * WIDTH))
        if not any(landscape.grid.folded):
            every = [landscape.grid.mirrors(energy) for energy in landscape.energy]
            self.mirrors = frozenset.intersection(*every)

    def distribute(self, decomposition: Decomposition) -> None:
        forces = self.landscape.forces()[:, :, decomposition.x, decomposition.y]
        axes, valleys = forces.shape[:2]
        self._force = np.zeros((forces[0, 0].size, 2, valleys))
        self._force[:, :axes] = np.moveaxis(forces.reshape(axes, valleys, -1), -1, 0)

    def set_force(self, axis: int, force: Array) -> None:
        """Another force along an axis [meV/nm], (valley or 1, x, y) at this rank's points."""
        self._force[:, axis] = force.reshape(len(force), -1).T

    def add_to(self, tile: Tile) -> None:
        kernel, operators = tile_kernels.add_force, self.operators
        matrices = operators.raising, operators.lowering, operators.dissipation, operators.turning
        kernel(
            len(tile.points), tile.points, *tile.slots.shape[1:3], self._orders, self._neighbors, self._force, self._bounds,
            *matrices, self._scratch, flat(tile.slots),
        )  # fmt: skip

    def courant_rate(self) -> Array:
        """|F| v/w of the largest force, times the part that adds to the drift's Courant number [1/ps], shape (cell,)."""
        return self.courant_rate_in(self.landscape)

    def courant_rate_in(self, landscape: Landscape) -> Array:
        """The same in some landscape on the same grid."""
        forces = np.sqrt((landscape.forces() ** 2).sum(axis=0))
        return self.courant_rate_of(forces.reshape(len(forces), -1).max(axis=1))

    def courant_rate_of(self, strongest: Array) -> Array:
        """The same of the largest force on each valley [meV/nm], shape (valley,)."""
        cells = self.equilibrium.cells
        width = cells.per_cell(cells.width(v) for v in range(len(cells.valleys)))
        excess = np.cosh(0.5 * width / self.equilibrium.thermal_energy) ** 2
        return np.asarray(excess * cells.per_cell(strongest) * self.equilibrium.velocity / (FORCE_LIMIT * width))


def _neighbors(angles: Angles) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """For each harmonic the numbers of cos (m−1), sin (m−1), cos (m+1), sin (m+1), −1 for none, and 1 if it is a sine."""
    kinds = angles.kinds
    number = {kind: h for h, kind in enumerate(kinds)}
    table = []
    for m, is_sine in kinds:
        beside = [(m - 1, False), (m - 1, True), (m + 1, False), (m + 1, True)]
        table.append([*(number.get(kind, -1) for kind in beside), int(is_sine)])
    return np.array(table)
