"""A model of a step on a machine of nodes: computing as measured on one core, halo bytes as counted, a shared network.

The equations, and what they neglect, are in README.md. `python -m hpcwigner check INPUT --nodes …` and tools/scaling use it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import HALO
from hpcwigner.runtime.schema import Quantity
from hpcwigner.space.grid import DecompositionError, SpaceGrid, block, process_grid

LATENCY = "2 us"  # Of a message between nodes, unless given
COPIES = 3  # Times that a byte of a message within a node crosses the memory bus: read, line fetched, written
STREAMED = {2: 72.0, 3: 160.0}
"""Bytes per unknown that an exponential step of some order moves through memory, beside ghost cells (the sum of tools/bench)."""
Nodes = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A cluster of equal nodes; numbers in bytes per second, and seconds."""

    nodes: int
    cores: int  # Ranks of a node, one per core
    network: float  # Bandwidth of a node each way, shared by its ranks
    latency: float
    memory: float = math.inf  # Bandwidth of a node's memory

    @property
    def ranks(self) -> int:
        """One per core."""
        return self.nodes * self.cores

    def with_nodes(self, nodes: int) -> "Machine":
        """The same nodes, but another number of them."""
        return dataclasses.replace(self, nodes=nodes)

    @classmethod
    def from_words(
        cls, nodes: str | None, cores: str | None, network: str | None, latency: str | None, memory: str | None
    ) -> "Machine":
        """From the options of `check`, `latency` and `memory` may be None. Raises InputError."""
        given = {"--nodes": nodes, "--cores": cores, "--network": network}
        if missing := [option for option, word in given.items() if word is None]:
            raise InputError(f"{missing[0]}: missing, expected a machine by --nodes N --cores N --network 12GB/s")
        return cls(
            _number("--nodes", str(nodes)),
            _number("--cores", str(cores)),
            _quantity("--network", str(network), "GB/s", "B/s"),
            _quantity("--latency", LATENCY if latency is None else latency, "us", "s"),
            math.inf if memory is None else _quantity("--memory-bandwidth", memory, "GB/s", "B/s"),
        )

    def describe(self) -> str:
        """For people."""
        memory = "memory bandwidth not given" if math.isinf(self.memory) else f"memory {self.memory / 1e9:.4g} GB/s"
        return (
            f"{count(self.nodes, 'node')} of {count(self.cores, 'rank')}, one per core; of a node: network "
            f"{self.network / 1e9:.4g} GB/s, {1e6 * self.latency:.3g} µs, {memory}"
        )


def count(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}{'s' if number > 1 else ''}"


def _number(option: str, word: str) -> int:
    if not (word.isascii() and word.isdecimal() and int(word) > 0):
        raise InputError(f"{option}: found '{word}', expected a whole number above 0")
    return int(word)


def _quantity(option: str, word: str, shown: str, unit: str) -> float:
    try:
        return float(Quantity(unit, shown=shown, positive=True, maximum=1e300).parse(word))
    except ValueError as error:
        raise InputError(f"{option}: found '{word}', expected {error}") from None


def most_ranks(space: SpaceGrid) -> int:
    """Largest number of ranks that leaves each rank HALO cells along each axis."""
    return math.prod(cells // HALO for cells in space.shape[: space.dimensions])


def held(space: SpaceGrid, symmetry: str, ranks: int) -> SpaceGrid:
    """What the program holds on that many ranks of what it holds on one: `auto` takes the whole where folds get too small.

    Raises DecompositionError.
    """
    grids = [space] if symmetry != "auto" or space == space.whole else [space, space.whole]
    for number, grid in enumerate(grids, start=1):
        try:
            process_grid(grid.shape, grid.dimensions, ranks)
            return grid
        except DecompositionError:
            if number == len(grids):
                raise
    raise AssertionError


@dataclasses.dataclass(frozen=True)
class Parts:
    """A grid divided among the ranks of nodes. Halo layers are counted in points, for one exchange."""

    processes: tuple[int, int]
    block: tuple[int, int]  # Cells of the largest rank
    points: int  # Of the grid
    sent: int  # Points that the busiest rank sends
    away: int  # Points that the busiest node sends to others
    near: int  # Points that pass between ranks of a node, on the node where most do
    messages: int  # Messages to other nodes of the rank that sends most

    @property
    def largest(self) -> int:
        """Points of the largest rank."""
        return math.prod(self.block)

    @classmethod
    def of(cls, space: SpaceGrid, processes: tuple[int, int], node: Nodes) -> "Parts":
        """`node` is the number of each rank's node, shape `processes`."""
        extents = [[len(range(n)[block(n, p, i)]) for i in range(p)] for n, p in zip(space.shape, processes, strict=True)]
        sent, messages = np.zeros(processes, dtype=np.int64), np.zeros(processes, dtype=np.int64)
        away, near = (np.zeros(node.max() + 1, dtype=np.int64) for _ in range(2))
        for axis in range(space.dimensions):
            if processes[axis] == 1:
                continue
            layer = HALO * np.array(extents[1 - axis])
            face = np.broadcast_to(layer if axis == 0 else layer[:, None], processes)
            for way in (1, -1):
                exists = np.ones(processes, dtype=bool)
                if space.wall(axis, int(way > 0)) != "periodic":
                    edge = -1 if way > 0 else 0
                    exists[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
                other = np.roll(node, -way, axis) != node
                points = face * exists
                sent += points
                messages += exists & other
                np.add.at(away, node, points * other)
                np.add.at(near, node, points * ~other)
        largest = max(extents[0]), max(extents[1])
        counts = (int(a.max()) for a in (sent, away, near, messages))
        return cls(processes, largest, math.prod(space.shape), *counts)

    @classmethod
    def consecutive(cls, space: SpaceGrid, ranks: int, cores: int) -> "Parts":
        """As the program divides the grid, with ranks in the order of their numbers on nodes. Raises DecompositionError."""
        processes = process_grid(space.shape, space.dimensions, ranks)
        return cls.of(space, processes, (np.arange(ranks) // cores).reshape(processes))


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds per point and step on one core, measured on blocks of some numbers of points, in increasing order."""

    points: Sequence[float]
    seconds: Sequence[float]

    def at(self, points: float) -> float:
        """Interpolated in the logarithm of a block's points; beyond the ends that of the end."""
        return float(np.interp(math.log(points), np.log(self.points), self.seconds))


@dataclasses.dataclass(frozen=True)
class Load:
    """What a step asks of a machine."""

    costs: Costs
    exchanges: float  # Of ghost cells in a step
    halo_bytes: float  # Of a point of the halo in an exchange
    messages: int = 1  # To each neighbour in an exchange
    state_bytes: float = 0.0  # Of a point of the state
    order: int | None = None  # Of an exponential scheme, whose traffic through memory is known

    def streamed(self, parts: Parts, dimensions: int) -> float:
        """Bytes of memory traffic of a point in a step: state, stages, and ghost cells, filled and read. 0 where unknown."""
        if self.order is None:
            return 0.0
        surface = sum(2 * HALO / n for n in parts.block[:dimensions])
        return self.state_bytes * (STREAMED[self.order] / 8 + 4 * self.exchanges * surface)


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """Seconds of a step of the slowest rank."""

    compute: float
    near: float  # Transfers within a node
    away: float  # Transfers between nodes
    latency: float
    hideable: float  # Computing of points that need no ghost cells
    alone: float  # Computing of an equal share of the points at the fastest speed measured on one core

    @property
    def total(self) -> float:
        """Nothing overlaps."""
        return self.compute + self.near + self.away + self.latency

    @property
    def efficiency(self) -> float:
        """Parallel efficiency: speed-up over one core at its fastest, over the number of ranks.

        Where all ranks hold equally many points, in blocks of the fastest size, that is compute / (compute + wait).
        """
        return self.alone / self.total

    @property
    def overlapped(self) -> float:
        """The total if transfers hid behind all points that need no ghost cells."""
        return self.total - min(self.hideable, self.near + self.away)


def step_times(machine: Machine, dimensions: int, parts: Parts, load: Load) -> StepTimes:
    """Model of a step (README.md)."""
    busy = min(machine.cores, math.prod(parts.processes))
    per_point = max(load.costs.at(parts.largest), busy * load.streamed(parts, dimensions) / machine.memory)
    bytes_of = load.exchanges * load.halo_bytes
    inner: Array = np.maximum(0, np.array(parts.block[:dimensions]) - 2 * HALO)
    return StepTimes(
        compute=parts.largest * per_point,
        near=COPIES * parts.near * bytes_of / machine.memory,
        away=parts.away * bytes_of / machine.network,
        latency=load.exchanges * load.messages * parts.messages * machine.latency,
        hideable=math.prod(inner.tolist()) * per_point,
        alone=parts.points / math.prod(parts.processes) * min(load.costs.seconds),
    )
