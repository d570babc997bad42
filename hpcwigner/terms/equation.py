"""The Wigner equation on a decomposed spatial grid, as the integrators see it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.harmonics import AngularTransform, flat, scaled, slot_rows
from hpcwigner.runtime import kernels
from hpcwigner.runtime.parallel import readable
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Halo
from hpcwigner.terms.drift import Drift

Array = NDArray[np.float64]


class WignerSystem:
    """u[x, y, angle, cell], excitons per area (slab: per length) in a momentum cell; rows are angles."""

    def __init__(self, decomposition: Decomposition, angles: Angles, equilibrium: Equilibrium, source_profile: Array) -> None:
        """`source_profile` is the normalised |A(r)|² on the whole grid [1/nm or 1/nm²], shape (x, y)."""
        self.decomposition = decomposition
        self.orders = angles.orders
        nx, ny, rows, cells = decomposition.local_shape
        self.shape = (nx * ny, rows, cells)
        self._transform = AngularTransform(angles, cells)
        self.source_profile = np.ascontiguousarray(decomposition.local(source_profile)).reshape(-1)
        axes = range(decomposition.grid.dimensions)
        halo = Halo(
            decomposition,
            (rows, cells),
            mirrors=tuple(angles.mirror(axis) for axis in axes),
            outward=tuple((angles.cosine, angles.sine)[axis] for axis in axes),
        )
        self.drift = Drift(decomposition, halo, equilibrium.velocity, angles.cosine, angles.sine)
        self._drifted = np.zeros((self._transform.few, rows, cells))

    def create_vector(self) -> Any:
        return self.decomposition.create_vector()

    def view(self, vector: Any) -> Array:
        return self.decomposition.view(vector).reshape(self.shape)

    def read(self, vector: Any) -> Array:
        return readable(vector).reshape(self.shape)

    def to_harmonics(self, state: Array, slots: Array, index: int, factor: float = 1.0, minus: int | None = None) -> None:
        self._transform.forward(state, slots, index, factor, minus)

    def from_harmonics(self, harmonics: Array, out: Array, add: bool = False) -> None:
        self._transform.backward(harmonics, out, add)

    def explicit(self, state: Array, out: Array) -> None:
        shape = self.decomposition.local_shape
        self.drift.apply(state.reshape(shape), out.reshape(shape))

    def explicit_to_harmonics(
        self, state: Array, slots: Array, index: int, factor: float = 1.0, minus: int | None = None, own: int | None = None
    ) -> None:
        t = self._transform
        target, shift = slot_rows(slots, index, minus)
        beside = 0 if own is None else own - index
        matrices = *scaled(t.forwards, factor), t.forwards[-1]
        for arguments in self.drift.passes(state.reshape(self.decomposition.local_shape)):
            kernels.upwind_transformed(*arguments, self._drifted, t.fold, matrices, t.work, flat(slots), target, shift, beside)

    def add_source(self, harmonics: Array, per_cell: Array) -> None:
        for point, strength in enumerate(self.source_profile):
            harmonics[0, point] += strength * per_cell

    @property
    def unknowns(self) -> int:
        """Unknowns on all ranks."""
        return math.prod(self.decomposition.grid.shape) * math.prod(self.decomposition.per_point)
