"""From what varies in a sample to its landscape, and to classes of points that share scattering rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.valley import ValleyState
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_step
from hpcwigner.problem import landscape
from hpcwigner.problem.config import Config
from hpcwigner.problem.landscape import SharpStep
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import Jump, Landscape

Number = TypeVar("Number", np.float64, np.int64)

FEW = 8  # So many different offsets are nodes as they are


@dataclasses.dataclass(frozen=True, eq=False)
class Variation:
    """E_v(r) of the whole sample, and the nodes: sets of valley offsets for which there are rates."""

    energy: Array  # E_v(r) from the bright valley without strain [meV], shape (valley, x, y)
    nodes: Array  # E_v from the bright valley at the same place [meV], shape (class, valley); class 0 is that of the centre
    class_of_point: NDArray[np.int64]  # Shape (x, y)
    distance: float  # Largest distance of nodes [meV]; 0 where every point is at its node
    steps: tuple[SharpStep, ...] = ()  # Of the input
    jumps: tuple[Jump, ...] = ()  # The same by face, part of `energy`

    @classmethod
    def from_input(cls, config: Config, material: Material, valleys: Sequence[ValleyState], grid: SpaceGrid) -> Variation:
        """The sample of an input on the grid of the whole sample. Raises InputError."""
        shifts = landscape.energies(config.sample, material, valleys, grid)
        energy = shifts + np.array([valley.energy for valley in valleys])[:, None, None]
        bright = [valley.name for valley in valleys].index(material.radiation.bright_valley)
        offsets = (energy - energy[bright]).reshape(len(valleys), -1).T
        distance, (_, places, members) = 0.0, np.unique(np.round(offsets, 9), axis=0, return_index=True, return_inverse=True)
        nodes = offsets[places]
        if len(nodes) > FEW:
            distance = node_distance(config)
            nodes, members = np.unique(np.round(offsets / distance) * distance, axis=0, return_inverse=True)
        members = members.reshape(grid.shape)
        first = members[grid.shape[0] // 2, grid.shape[1] // 2]
        order = np.array([first, *(number for number in range(len(nodes)) if number != first)])
        sharp = landscape.sharp_steps(config.sample, material, valleys, grid)
        return cls(energy, nodes[order], np.argsort(order)[members], distance, *sharp)

    def valleys_at(self, number: int, valleys: Sequence[ValleyState]) -> tuple[ValleyState, ...]:
        """Valleys with the offsets of a node."""
        return tuple(dataclasses.replace(v, given=float(e)) for v, e in zip(valleys, self.nodes[number], strict=True))

    def couplings_at(self, number: int, material: Material, valleys: Sequence[ValleyState]) -> Couplings:
        """Valleys and phonons of a material at a node."""
        return Couplings.from_material(material, self.valleys_at(number, valleys))

    def equilibrium_at(self, number: int, couplings: Couplings, equilibrium: Equilibrium) -> Equilibrium:
        """Boltzmann state at a node on the given cells of kinetic energy; `couplings` are those of the node."""
        cells = equilibrium.cells
        return Equilibrium(EnergyCells(couplings.valleys, cells.counts, cells.tops), equilibrium.temperature)

    @property
    def spread(self) -> tuple[Array, Array]:
        """Lowest and highest E_v(r) of each valley [meV], shape (valley,)."""
        return self.energy.min(axis=(1, 2)), self.energy.max(axis=(1, 2))

    @property
    def uniform(self) -> bool:
        """Whether nothing varies after all."""
        return bool(np.ptp(self.energy.reshape(len(self.energy), -1), axis=1).max() == 0)

    def landscape(self, equilibrium: Equilibrium, grid: SpaceGrid) -> Landscape:
        """Landscape on the cells held of a grid, from the bottoms of `equilibrium` (those of node 0) [meV]."""
        energy = held(self.energy - self.nodes[0][:, None, None], grid)
        return Landscape(energy, equilibrium.thermal_energy, grid, self.jumps)


def held(values: NDArray[Number], grid: SpaceGrid) -> NDArray[Number]:
    """The part of values (..., x, y) of the whole sample that a grid holds, contiguous."""
    (nx, ny), (copies_x, copies_y) = grid.shape, grid.copies
    return np.ascontiguousarray(values[..., nx * (copies_x - 1) :, ny * (copies_y - 1) :])


def node_distance(config: Config) -> float:
    """Distance of nodes [meV]: half an energy cell at the default tolerance (problem/README.md), more or less at others.

    Rates are averages over cells, so that they change smoothly with an offset over the width of a cell.
    """
    step = config.momentum.energy_step
    width = auto_energy_step(config.temperature) if isinstance(step, str) else step
    return width * min(4.0, max(0.25, 0.5 * math.sqrt(config.time.tolerance / 1e-3)))
