"""Intervalley scattering where valley offsets vary in space: classes of points with rates of a node, and the rest.

The rates of a point are those of the nearest node, a set of valley offsets, and of each pair of valleys the upward one is
multiplied by s = exp(−δ/kT), where the local offset exceeds that of the node by δ. Detailed balance at the local offset is
then exact, and so is number. Downward rates, which follow the local offset slowly, are those of the node.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.tile import Tile
from hpcwigner.runtime import tile_kernels
from hpcwigner.runtime.arrays import Array, flat
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.landscape import Landscape
from hpcwigner.terms.generator import SparseBlocks, harmonics_by_order
from hpcwigner.terms.scattering import ScatteringStage
from hpcwigner.terms.term import HarmonicTerm

NEAR = 0.8  # Part of a node's rate that may be explicit without a limit of the step; at 1 long exponential steps begin to grow


@dataclasses.dataclass(frozen=True, eq=False)
class LocalOffsets:
    """The classes of points of a landscape."""

    landscape: Landscape
    stages: tuple[ScatteringStage, ...]  # Scattering at the node of each class
    class_of_point: NDArray[np.int64]  # Shape (x, y)
    formation: tuple[Array, ...]  # Γ_{Q,0} from coherent excitons at each class's node [1/ps], shape (cell,)

    @property
    def nodes(self) -> Array:
        """E_v at the nodes [meV], shape (class, valley)."""
        return np.array([[valley.energy for valley in stage.cells.valleys] for stage in self.stages])

    def factors(self) -> Array:
        """s of scattering into valley w from valley v at each point, shape (x, y, w, v)."""
        here = np.moveaxis(self.landscape.energy, 0, -1) + self.nodes[0]
        node = self.nodes[self.class_of_point]
        beyond = (here - node) / self.landscape.thermal_energy
        number = np.arange(node.shape[-1])
        level = (node[..., :, None] == node[..., None, :]) & (number[:, None] > number)  # one of the two directions as well
        upward = (node[..., :, None] > node[..., None, :]) | level
        return np.where(upward, np.exp(beyond[..., None, :] - beyond[..., :, None]), 1.0)

    def members(self, decomposition: Decomposition) -> list[NDArray[np.int64]]:
        """Points of a rank that belong to each class."""
        classes = self.class_of_point[decomposition.x, decomposition.y].reshape(-1)
        return [np.flatnonzero(classes == number) for number in range(len(self.stages))]

    @property
    def at_nodes(self) -> bool:
        """Whether all points have the offsets of their node."""
        return bool(np.abs(self.factors() - 1).max() < 1e-14)


class OffsetScattering(HarmonicTerm):
    """(L_local − L_node) u: what intervalley scattering at the local offsets differs from that of the nodes by."""

    name, part = "scattering", "interv"
    why_not_closed = "rates vary in space"

    def __init__(self, angles: Angles, local: LocalOffsets) -> None:
        super().__init__(angles, local.stages[0].cells)
        self.local, self._cells = local, local.stages[0].cells
        other = np.not_equal.outer(self._cells.valley_of_cell, self._cells.valley_of_cell)
        last = max(m for m in {0, *angles.orders} if m == 0 or any((s.blocks[m] * other).any() for s in local.stages))
        members = harmonics_by_order(angles.orders, last)
        self._members = np.concatenate((np.full_like(members[:1], -1), members))  # Kernels leave the first matrix out
        self._last = last
        self._blocks: dict[int, list[SparseBlocks]] = {}  # By class, as its points come
        self._x = np.zeros((4, self._cells.size + 2 * WIDTH))

    def longest_step(self) -> float:
        """Where upward rates exceed the nodes' by more than NEAR, steps must resolve the difference [ps]."""
        beyond, fastest = self.local.factors() - 1.0, 0.0
        number, valleys = self.local.class_of_point, len(self._cells.valleys)
        for class_number, stage in enumerate(self.local.stages):
            here = beyond[number == class_number]
            if here.size and here.max() > NEAR:
                lost = np.maximum(here, 0.0).max(axis=0)[:, self._cells.valley_of_cell] * stage.valley_transfer
                lost[self._cells.valley_of_cell == np.arange(valleys)[:, None]] = 0.0
                fastest = max(fastest, float(lost.sum(axis=0).max()))
        return 1 / fastest if fastest > 0 else math.inf

    def distribute(self, decomposition: Decomposition) -> None:
        factors = decomposition.local(self.local.factors())
        self._change = factors.reshape(-1, *factors.shape[2:]) - 1.0
        self.members = self.local.members(decomposition)

    def add_to(self, tile: Tile) -> None:
        stage, change = self.local.stages[tile.class_number], self._change[tile.points]
        valley, transfer = self._cells.valley_of_cell, stage.valley_transfer
        count, (room, slots) = len(tile.points), tile.slots.shape[1:3]
        lost = np.zeros((count, self._cells.size))
        for w, blocks in enumerate(self._blocks_of(tile.class_number)):
            scale = np.ascontiguousarray(change[:, w][:, valley])  # of each cell's transfer into valley w
            lost += scale * np.where(valley == w, 0.0, transfer[w])
            tile_kernels.add_in_scattering(
                count, room, slots, self._members, blocks.diagonals, blocks.rest, scale, self._x, flat(tile.slots)
            )
        tile_kernels.subtract_loss(count, room, slots, lost, flat(tile.slots))

    def _blocks_of(self, number: int) -> list[SparseBlocks]:
        """Rates into each valley from the others at the node of a class."""
        if number not in self._blocks:
            stage = self.local.stages[number]
            self._blocks[number] = [_arriving(stage, w, self._last) for w in range(len(self._cells.valleys))]
        return self._blocks[number]


def _arriving(stage: ScatteringStage, valley: int, last: int) -> SparseBlocks:
    """Γ_m, m ≤ `last`, from the other valleys into one; behind an empty matrix."""
    blocks, own = np.zeros((last + 2, stage.cells.size, stage.cells.size)), stage.cells.slices[valley]
    blocks[1:, own] = stage.blocks[: last + 1, own]
    blocks[1:, own, own] = 0.0
    return SparseBlocks.from_dense(blocks, negligible=0.0)
