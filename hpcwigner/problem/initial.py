"""The state at t = 0: thermal equilibrium in the whole sample, or the state of a checkpoint."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import Decomposition, SpaceGrid


@dataclasses.dataclass(frozen=True)
class InitialState:
    """Excitons that are there when a run starts."""

    cell_populations: Array  # Population of each energy cell in the whole sample, shape (cell,)
    angular_share: Array  # Share of an isotropic population in each angle cell, shape (angle,)
    mirrors: frozenset[int]  # Axes under which it is its own mirror image, as far as that is known
    file: Path | None = None  # A checkpoint's state; without it the sample is in equilibrium, with one exciton in all

    @property
    def population(self) -> float:
        """Of the whole sample."""
        return float(self.cell_populations.sum())

    @classmethod
    def from_input(cls, initial: str, equilibrium: Equilibrium, angles: Angles, whole: SpaceGrid) -> InitialState | None:
        """The input's `initial`: none, equilibrium, or a checkpoint (its directory or its state.h5). Raises InputError.

        `whole` is the grid of the whole sample; a checkpoint may hold it folded.
        """
        if initial == "none":
            return None
        share = angles.from_harmonics[:, 0]
        if initial == "equilibrium":
            return cls(equilibrium.population, share, frozenset((0, 1)))
        path = Path(initial, "state.h5") if Path(initial).is_dir() else Path(initial)
        try:
            with h5py.File(path, "r") as file:
                u = file["u"]
                grid = whole.halved if whole.halved is not None and u.shape[:2] == whole.halved.shape else whole
                expected = (*grid.shape, angles.count, equilibrium.cells.size)
                if u.shape != expected:
                    there, here = (" × ".join(map(str, shape)) for shape in (u.shape, expected))
                    raise InputError(
                        f"initial: found '{path}' with {there} cells, angles and energies, expected {here} as in this input"
                    )
                populations = np.sum([plane.sum(axis=(0, 1)) for plane in u], axis=0) * grid.cell_measure
        except (OSError, KeyError) as error:
            raise InputError(f"initial: found '{path}', expected a checkpoint or its state.h5 ({error})") from None
        return cls(populations, share, frozenset((0, 1)) if grid.folded else frozenset(), path)

    def moments(self) -> SpatialMoments:
        """All its excitons at one point and without a direction."""
        zero = np.zeros_like(self.cell_populations)
        return SpatialMoments(self.cell_populations, zero, zero)

    def fill(self, decomposition: Decomposition, u: Array) -> None:
        """Writes it into u (point, angle, cell) of this rank. Collective."""
        if self.file is None:
            measure = decomposition.grid.cell_measure * math.prod(decomposition.grid.shape)
            u[...] = self.angular_share[:, None] * self.cell_populations / measure
            return
        with h5py.File(self.file, "r", driver="mpio", comm=decomposition.comm) as file:
            u[...] = file["u"][decomposition.x, decomposition.y].reshape(u.shape)
