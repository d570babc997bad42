"""A tile: angular harmonics of a few points, the unit in which a step goes through the state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime import kernels, tile_kernels
from hpcwigner.runtime.arrays import Array, flat

Points = NDArray[np.int64]
U, N = 0, 1
"""Slots of a tile: u, and the explicit terms N(u)."""


class Tile:
    """Angular harmonics of some points that are advanced together while they are in the cache.

    Its buffers serve one set of points after the other. Slot U holds u, slot N holds N(u); a scheme may have more.
    """

    def __init__(self, harmonics: int, points: int, slots: int, cells: int, fields: int) -> None:
        """`points` is the largest number of points, `fields` the number of auxiliary fields per point."""
        self.slots = np.zeros((harmonics, points, slots, cells))
        self.result = np.zeros((harmonics, points, cells))
        self.fields = np.zeros((slots, points, fields))
        self.result_fields = np.zeros((points, fields))
        self.points: Points = np.zeros(0, dtype=np.int64)
        """Numbers of its points on this rank."""
        self.class_number = 0
        """The class of points to which all of them belong."""
        self.pending: tuple[int, NDArray[np.int64], Array, int, Array] | None = None
        """A sum that is still to be made for the result's harmonics of order m ≥ 1, with matrices that are diagonal.

        Its first slot, the order of each harmonic, weights (m, slot, cell), a slot that is added to all orders (−1: none), and
        what is subtracted from the first slot at the tile's points (point, harmonic, cell; empty: nothing).
        """

    @property
    def room(self) -> int:
        """Largest number of points."""
        return self.slots.shape[1]

    def slot(self, number: int) -> Array:
        """View (harmonic, point, cell) of one slot."""
        return self.slots[:, : len(self.points), number]

    def sum_arguments(self) -> tuple[Any, ...]:
        """Arguments of kernels.combine from `stride` to `result`, for the pending sum."""
        assert self.pending is not None
        return *self.slots.shape[1:3], *self.pending, flat(self.slots), flat(self.result)

    def complete(self) -> None:
        """Makes the pending sum."""
        if self.pending is not None:
            kernels.combine(self.points, *self.sum_arguments())
            self.pending = None

    def save(self, number: int, u: Array, fields: Array) -> None:
        """Stores a slot in `u` (point, harmonic, cell) and `fields` (point, field)."""
        tile_kernels.save_slot(self.points, self.slots, number, u)
        fields[self.points] = self.fields[number, : len(self.points)]

    def load(self, number: int, u: Array, fields: Array) -> None:
        """Fills a slot from what `save` has stored."""
        tile_kernels.load_slot(self.points, self.slots, number, u)
        self.fields[number, : len(self.points)] = fields[self.points]

    def subtract(self, number: int, u: Array, fields: Array, orders: Sequence[int] | None = None) -> None:
        """Slot −= what `save` has stored; with the harmonics' `orders` in those of order 0 only."""
        if orders is None:
            tile_kernels.subtract_slot(self.points, self.slots, number, u)
        else:
            for h in (h for h, m in enumerate(orders) if m == 0):
                self.slots[h, : len(self.points), number] -= u[self.points, h]
        self.fields[number, : len(self.points)] -= fields[self.points]
