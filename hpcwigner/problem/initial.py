"""The state at t = 0: thermal equilibrium in the whole sample, or the state of a checkpoint."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.problem.sample import held
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.landscape import Landscape
from hpcwigner.storage.files import access


@dataclasses.dataclass(frozen=True)
class InitialState:
    """Excitons that are there when a run starts."""

    cell_populations: Array  # Population of each energy cell in the whole sample, shape (cell,)
    angular_share: Array  # Share of an isotropic population in each angle cell, shape (angle,)
    mirrors: frozenset[int]  # Axes under which it is its own mirror image, as far as that is known
    density: Array
    """Density of each valley with one exciton in it [1/nm²; slab 1/nm], on the whole grid, shape (valley, x, y)."""
    valley_of_cell: NDArray[np.int64]  # Shape (cell,)
    peak: float = 0.0  # Largest density of all excitons [1/nm²; slab 1/nm]
    folded: tuple[bool, bool] | None = None  # Axes along which the checkpoint is folded
    file: Path | None = None  # A checkpoint's state; without it the sample is in equilibrium, with one exciton in all

    @property
    def population(self) -> float:
        """Of the whole sample."""
        return float(self.cell_populations.sum())

    @classmethod
    def from_input(
        cls, initial: str, equilibrium: Equilibrium, angles: Angles, whole: SpaceGrid, landscape: Landscape | None = None
    ) -> InitialState | None:
        """The input's `initial`: none, equilibrium, or a checkpoint (its directory or its state.h5). Raises InputError.

        `whole` is the grid of the whole sample; a checkpoint may hold it folded. The equilibrium is that of the `landscape`.
        """
        if initial == "none":
            return None
        share = angles.from_harmonics[:, 0]
        cells = equilibrium.cells
        energy = np.zeros((len(cells.valleys), *whole.shape)) if landscape is None else landscape.energy
        weight = np.exp((energy.min() - energy) / equilibrium.thermal_energy) * whole.cell_measure
        by_valley = np.array([math.fsum(part.ravel()) for part in weight])
        density = weight / (by_valley[:, None, None] * whole.cell_measure)
        if initial == "equilibrium":
            populations = equilibrium.population * by_valley[cells.valley_of_cell]
            mirrors = frozenset.intersection(*(whole.mirrors(part) for part in energy))
            shares = populations / math.fsum(populations)
            peak = float(np.einsum("v,vxy->xy", cells.valley_sum(shares), density).max())
            return cls(shares, share, mirrors, density, cells.valley_of_cell, peak)
        path = Path(initial, "state.h5") if Path(initial).is_dir() else Path(initial)
        try:
            with h5py.File(path, "r") as file:
                u = file["u"]
                foldings = [whole.folded_along(axes) for axes in ((0,), (1,), (0, 1)) if whole.axes_with_middle.issuperset(axes)]
                grid = next((folded for folded in foldings if u.shape[:2] == folded.shape), whole)
                expected = (*grid.shape, angles.count, equilibrium.cells.size)
                if u.shape != expected:
                    there, here = (" × ".join(map(str, shape)) for shape in (u.shape, expected))
                    raise InputError(
                        f"initial: found '{path}' with {there} cells, angles and energies, expected {here} as in this input"
                    )
                lines = [plane.sum(axis=1) for plane in u]  # (y, cell)
                populations = np.sum([line.sum(axis=0) for line in lines], axis=0) * grid.cell_measure
                peak = max(float(line.sum(axis=1).max()) for line in lines)
        except (OSError, KeyError) as error:
            raise InputError(f"initial: found '{path}', expected a checkpoint or its state.h5 ({error})") from None
        mirrors = frozenset(axis for axis in (0, 1) if axis >= whole.dimensions or grid.folded[axis])
        return cls(populations, share, mirrors, density, cells.valley_of_cell, peak, grid.folded, path)

    def moments(self) -> SpatialMoments:
        """All its excitons at one point and without a direction."""
        zero = np.zeros_like(self.cell_populations)
        return SpatialMoments(self.cell_populations, zero, zero)

    def fill(self, decomposition: Decomposition, u: Array) -> None:
        """Writes it into u (point, angle, cell) of this rank. Collective."""
        if self.file is None:
            densities = self._equilibrium(decomposition)[:, self.valley_of_cell] * self.cell_populations
            u[...] = self.angular_share[:, None] * densities[:, None, :]
            return
        with h5py.File(self.file, "r", **access(decomposition.comm)) as file:
            u[...] = file["u"][decomposition.x, decomposition.y].reshape(u.shape)

    def _equilibrium(self, decomposition: Decomposition) -> Array:
        """`density` at this rank's points, shape (point, valley)."""
        here = held(self.density, decomposition.grid)[:, decomposition.x, decomposition.y]
        return np.moveaxis(here.reshape(len(here), -1), 0, 1)

    def densities(self, decomposition: Decomposition, cells: EnergyCells) -> Array:
        """N_v of it at this rank's points, shape (point, valley). Collective."""
        if self.file is None:
            return np.asarray(self._equilibrium(decomposition) * cells.valley_sum(self.cell_populations))
        with h5py.File(self.file, "r", driver="mpio", comm=decomposition.comm) as file:
            by_angle = file["u"][decomposition.x, decomposition.y].sum(axis=2)
        return cells.valley_sum(by_angle.reshape(-1, cells.size))
