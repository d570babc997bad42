"""The Wigner function on the line y = 0 with momentum along x, and of a slab in every direction of motion."""

import numpy as np

from hpcwigner.exciton.constants import HBAR2_OVER_M0
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.observables.fields import centre_weights
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition


class WignerCut:
    """Occupations per state on a momentum grid that all valleys share; NaN above a valley's cutoff."""

    POINTS = 401

    def __init__(self, decomposition: Decomposition, angles: Angles, cells: EnergyCells) -> None:
        self.decomposition = decomposition
        mass, tops = np.array([v.mass for v in cells.valleys]), np.array(cells.tops)
        largest = float(np.sqrt(2 * mass * tops / HBAR2_OVER_M0).max())
        half = np.linspace(0.0, largest, self.POINTS // 2 + 1)
        self.k = np.concatenate((-half[:0:-1], half))  # symmetric to the last bit, so that ±k fall into the same cell
        """[1/nm]"""
        kinetic = HBAR2_OVER_M0 * self.k**2 / (2 * mass[:, None])
        self._inside = kinetic <= tops[:, None]
        self._cells = np.stack([cells.cell_at(v, row) for v, row in enumerate(kinetic)])
        self._states_per_angle, self._angles = cells.states / angles.number, angles
        self._row_weights = centre_weights(decomposition, 1)
        self._column = decomposition.comm.Split(*decomposition.position)

    def free(self) -> None:
        """Frees the communicator. Collective."""
        self._column.Free()

    @property
    def writes(self) -> bool:
        """Whether this rank holds the results of `along_x` for its column of ranks."""
        return bool(self._column.rank == 0)

    def along_x(self, u: Array) -> Array:
        """N_k^v(x) on y = 0, k along x: (valley, x, k) of u (point, angle, cell), on the first rank of each column of ranks.

        Collective.
        """
        nx, ny = self.decomposition.local_shape[:2]
        cut = np.tensordot(u.reshape(nx, ny, *u.shape[1:]), self._row_weights, axes=(1, 0))
        occupation = np.ascontiguousarray(cut[:, [0, self._angles.number // 2]] / self._states_per_angle)
        total = np.empty_like(occupation)
        self._column.Reduce(occupation, total)
        picked = total[:, (self.k < 0).astype(int)[None, :], self._cells]  # (x, valley, k)
        at_rest = self.POINTS // 2  # k = 0 belongs to both directions
        picked[:, :, at_rest] = total[:, :, self._cells[:, at_rest]].mean(axis=1)
        return np.ascontiguousarray(np.where(self._inside, picked, np.nan).transpose(1, 0, 2))

    def by_angle(self, u: Array) -> Array:
        """∫N_Q^v(x, y)dy of a slab in every direction: (valley, x, angle, q) of u (point, angle, cell), q = |Q|."""
        at_rest = self.POINTS // 2
        states = self._states_per_angle * self._angles.multiplicity[:, None]
        picked = (u / states)[:, :, self._cells[:, at_rest:]]  # (x, angle, valley, q)
        return np.ascontiguousarray(np.where(self._inside[:, at_rest:], picked, np.nan).transpose(2, 0, 1, 3))

    @property
    def q(self) -> Array:
        """|Q| [1/nm] of `by_angle`: the part k ≥ 0."""
        return self.k[self.POINTS // 2 :]
