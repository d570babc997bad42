"""Valley densities with ghost cells, for terms that need the densities around a point."""

from collections.abc import Collection

import numpy as np

from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Face, Halo


class GhostedDensities:
    """N_v(r) [1/nm²; slab 1/nm] on a rank's block and on three layers of ghost cells around it.

    Corners, which no stencil along the axes reads, are NaN.
    """

    def __init__(self, decomposition: Decomposition, cells: EnergyCells) -> None:
        valleys = len(cells.valleys)
        nx, ny = decomposition.local_shape[:2]
        self._cells, self._halo = cells, Halo(decomposition, (valleys,))
        self._in_plane = decomposition.grid.dimensions == 2
        margin = HALO if self._in_plane else 0
        self._block = (slice(HALO, HALO + nx), slice(margin, margin + ny))
        self._values = np.full((nx + 2 * HALO, ny + 2 * margin, valleys), np.nan)
        self._ahead = np.zeros((nx, ny, valleys))

    def exchange(self, u: Array) -> Array:
        """Densities of u (point, angle, cell), shape (x, y, valley) with ghost cells. Valid until the next call. Collective."""
        inner, (x, y) = self._values[self._block], self._block
        inner[...] = self._of(u).reshape(inner.shape)
        self._halo.start(np.ascontiguousarray(inner))
        self._halo.finish()
        self._values[:HALO, y], self._values[x.stop :, y] = self._halo.ghosts[0]
        if self._in_plane:
            self._values[x, :HALO], self._values[x, y.stop :] = self._halo.ghosts[1]
        return self._values

    def send(self, u: Array, faces: Collection[Face]) -> None:
        """Sends the densities of the outermost layers of u (x, y, angle, cell) at some faces, ahead of `exchange`."""
        for axis, side in faces:
            layers = slice(-HALO, None) if side else slice(None, HALO)
            edge = layers if axis == 0 else (slice(None), layers)
            self._ahead[edge] = self._of(u[edge].reshape(-1, *u.shape[2:])).reshape(self._ahead[edge].shape)
        self._halo.send(self._ahead, faces)

    def _of(self, u: Array) -> Array:
        return self._cells.valley_sum(u.sum(axis=1))

    def discard(self) -> None:
        """Forgets what was sent ahead. Collective."""
        self._halo.discard()

    def free(self) -> None:
        """Releases the halo's requests."""
        self._halo.free()
