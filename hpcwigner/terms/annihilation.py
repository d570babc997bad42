"""Exciton–exciton annihilation: of two excitons that meet, one transfers its energy to the other and is gone.

    ∂t n = −R n²  for the density n of all excitons, or of each valley by itself.

A part of the partners, `hot`, is taken out as well and comes back high in its valley, at once or after a time: Gaussian in the
kinetic energy, isotropic. The other partners stay as they are. So every annihilation costs one exciton whatever `hot` is. What
else the partner has received, most of an optical gap, goes to phonons that the energy cells do not cover.
"""

import numpy as np

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.runtime import tile_kernels
from hpcwigner.runtime.arrays import Array, flat
from hpcwigner.terms.term import HarmonicTerm


class Annihilation(HarmonicTerm):
    """−(1 + hot) R P_v N_v + hot S_v R P_v N_v with the density P_v of possible partners of valley v and spectra S_v."""

    name = part = "annihilation"
    why_not_closed = "excitons annihilate"

    def __init__(
        self, equilibrium: Equilibrium, angles: Angles, rate: float, *, between_valleys: bool = True, hot: float = 0.0,
        spectra: Array | None = None, delay: float = 0.0,
    ) -> None:  # fmt: skip
        """`rate` R [nm²/ps]; with `hot` > 0 `spectra` (valley, cell), each with the sum 1, after `delay` [ps] (0: at once)."""
        super().__init__(angles, equilibrium.cells)
        self.cells, self.rate, self.between_valleys, self.hot = equilibrium.cells, rate, between_valleys, hot
        self.spectra, self.delay = spectra, delay
        self.field_count = len(self.cells.valleys) if hot > 0 and delay > 0 else 0
        """With a delay: the density of hot excitons that are on their way back to each valley."""

    def relaxation_rate(self, density: float) -> float:
        return max((1 + self.hot) * self.rate * density, 1 / self.delay if self.field_count else 0.0)

    def add_to(self, tile: Tile) -> None:
        count, (room, slots) = len(tile.points), tile.slots.shape[1:3]
        densities = self.cells.valley_sum(tile.slots[0, :count, U])
        partners = densities.sum(axis=1, keepdims=True) if self.between_valleys else densities
        per_exciton = self.rate * np.broadcast_to(partners, densities.shape)
        lost = np.ascontiguousarray((1 + self.hot) * per_exciton[:, self.cells.valley_of_cell])
        tile_kernels.subtract_loss(count, room, slots, lost, flat(tile.slots))
        if self.spectra is None:
            return
        returning = self.hot * per_exciton * densities
        if self.field_count:
            own = slice(self.first_field, self.first_field + self.field_count)
            waiting = tile.fields[U, :count, own] / self.delay
            tile.fields[N, :count, own] += returning - waiting
            returning = waiting
        tile.slots[0, :count, N] += returning @ self.spectra
