"""A model of a step on a machine of nodes: computing as measured on one core, halo bytes as counted, a shared network.

The equations, and what they neglect, are in README.md. `python -m hpcwigner check INPUT --nodes …` and tools/scaling use it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.integrate import quad
from scipy.special import log_ndtr

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import DOWNSTREAM, HALO
from hpcwigner.runtime.schema import Quantity
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.studies.placement import Parts

LATENCY = "2 us"  # Of a message between nodes, unless given
COPIES = 3  # Times that a byte of a message within a node crosses the memory bus: read, line fetched, written
STREAMED = {2: 72.0, 3: 160.0}
"""Bytes per unknown that an exponential step of some order moves through memory, beside ghost cells (the sum of tools/bench)."""
COUPLED = {1: 5, 2: 10}
"""Ranks, in a slab and a plane, whose slowest sets the pace: each waits for its neighbours only (test_check_machine.py)."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A cluster of equal nodes; numbers in bytes per second, and seconds."""

    nodes: int
    cores: int  # Ranks of a node, one per core
    network: float  # Bandwidth of a node each way, shared by its ranks
    latency: float
    memory: float = math.inf  # Bandwidth of a node's memory
    jitter: float = 0.0  # Relative standard deviation of a step's computing on a core
    handling: float = 0.0  # Seconds that cores spend on a byte between nodes, sending and receiving; 0 where the network does it

    @property
    def ranks(self) -> int:
        """One per core."""
        return self.nodes * self.cores

    def with_nodes(self, nodes: int) -> "Machine":
        """The same nodes, but another number of them."""
        return dataclasses.replace(self, nodes=nodes)

    @classmethod
    def from_words(
        cls, nodes: str | None, cores: str | None, network: str | None, latency: str | None, memory: str | None,
        jitter: str | None = None,
    ) -> "Machine":  # fmt: skip
        """From the options of `check`; `latency`, `memory` and `jitter` may be None. Raises InputError."""
        given = {"--nodes": nodes, "--cores": cores, "--network": network}
        if missing := [option for option, word in given.items() if word is None]:
            raise InputError(f"{missing[0]}: missing, expected a machine by --nodes N --cores N --network 12GB/s")
        return cls(
            _number("--nodes", str(nodes)),
            _number("--cores", str(cores)),
            _quantity("--network", str(network), "GB/s", "B/s"),
            _quantity("--latency", LATENCY if latency is None else latency, "us", "s"),
            math.inf if memory is None else _quantity("--memory-bandwidth", memory, "GB/s", "B/s"),
            0.0 if jitter is None else 0.01 * _quantity("--jitter", jitter, "percent", "percent", positive=False),
        )

    def describe(self) -> str:
        """For people."""
        memory = "memory bandwidth not given" if math.isinf(self.memory) else f"memory {self.memory / 1e9:.4g} GB/s"
        return (
            f"{count(self.nodes, 'node')} of {count(self.cores, 'rank')}, one per core; of a node: network "
            f"{self.network / 1e9:.4g} GB/s, {1e6 * self.latency:.3g} µs, {memory}; jitter {100 * self.jitter:.3g} %"
        )


def count(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}{'s' if number > 1 else ''}"


def _number(option: str, word: str) -> int:
    if not (word.isascii() and word.isdecimal() and int(word) > 0):
        raise InputError(f"{option}: found '{word}', expected a whole number above 0")
    return int(word)


def _quantity(option: str, word: str, shown: str, unit: str, positive: bool = True) -> float:
    try:
        return float(Quantity(unit, shown=shown, positive=positive, minimum=0.0, maximum=1e300).parse(word))
    except ValueError as error:
        raise InputError(f"{option}: found '{word}', expected {error}") from None


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds per point and step on one core, measured on blocks of some numbers of points, in increasing order."""

    points: Sequence[float]
    seconds: Sequence[float]

    def at(self, points: float) -> float:
        """Interpolated in the logarithm of a block's points; beyond the ends that of the end."""
        return float(np.interp(math.log(points), np.log(self.points), self.seconds))


@dataclasses.dataclass(frozen=True)
class Communication:
    """How ghost cells reach other ranks."""

    squares: bool = False  # The ranks of a node form a rectangle of the plane; else they have consecutive numbers
    windows: bool = False  # Ranks read planes in memory that those of their node share; else they send messages there too
    directed: bool = False  # Through a face go, of each direction of motion, only the planes that its stencil reads
    overlap: float = 0.0  # Share of the computing of points away from other nodes' faces that hides transfers between nodes

    def parts(self, space: SpaceGrid, ranks: int, cores: int) -> Parts:
        """The grid divided among ranks, placed on nodes. Raises DecompositionError."""
        return (Parts.squares if self.squares else Parts.consecutive)(space, ranks, cores)


BLOCKING = Communication()
BOUNDARY_FIRST = Communication(squares=True, windows=True, directed=True, overlap=1.0)
COMMUNICATION = BOUNDARY_FIRST
"""What the program does."""


def directed_planes(component: Array, downstream: int = DOWNSTREAM) -> float:
    """Planes that the upwind stencil reads through a face, averaged over directions with these velocities normal to it.

    It reads three upstream and `downstream` ones on the other side, without motion none.
    """
    return float(np.mean(np.where(component > 0, HALO, np.where(component < 0, downstream, 0))))


@dataclasses.dataclass(frozen=True)
class Load:
    """What a step asks of a machine."""

    costs: Costs
    exchanges: float  # Of ghost cells in a step
    halo_bytes: float  # Of a point of the halo in an exchange
    messages: int = 1  # To each neighbour in an exchange
    state_bytes: float = 0.0  # Of a point of the state
    order: int | None = None  # Of an exponential scheme, whose traffic through memory is known
    planes: float = HALO  # That directions of motion need through a face, on average

    def streamed(self, parts: Parts, dimensions: int, communication: Communication) -> float:
        """Bytes of memory traffic of a point in a step: state, stages, and ghost cells. 0 where unknown.

        Ghost cells are read, packed, filled and read again; those in a window are packed, with the line fetched, and read.
        """
        if self.order is None:
            return 0.0
        surface = sum(2 * HALO / n for n in parts.block[:dimensions]) * self.sent_share(communication)
        copied = parts.away / max(1, parts.away + parts.near) if communication.windows else 1.0
        return self.state_bytes * (STREAMED[self.order] / 8 + (3 + copied) * self.exchanges * surface)

    def sent_share(self, communication: Communication) -> float:
        """Of HALO planes."""
        return self.planes / HALO if communication.directed else 1.0


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """Seconds of a step of the slowest rank."""

    compute: float
    jitter: float  # For ranks that are slower in some steps
    near: float  # Copies within a node
    handling: float  # What cores have to do for transfers between nodes
    away: float  # Transfers between nodes
    latency: float
    densities: float  # Latency of exchanges of densities, which nothing hides
    window: float  # Computing that hides transfers between nodes and their latency, and handling
    alone: float  # Computing of an equal share of the points at the fastest speed measured on one core

    @property
    def wait(self) -> float:
        """For other nodes' ghost cells."""
        return self.densities + max(0.0, self.away + self.latency - self.window)

    @property
    def total(self) -> float:
        """The whole step."""
        return self.compute + self.jitter + self.near + self.handling + self.wait

    @property
    def efficiency(self) -> float:
        """Parallel efficiency: speed-up over one core at its fastest, over the number of ranks.

        Where all ranks hold equally many points, in blocks of the fastest size, that is compute / step.
        """
        return self.alone / self.total


def slowest(ranks: int) -> float:
    """Expected largest of independent standard normal numbers, one of each rank: ∫₀^∞ 1 − Φ(x)ⁿ − Φ(−x)ⁿ dx."""

    def integrand(x: float) -> float:
        return float(-np.expm1(ranks * log_ndtr(x)) - np.exp(ranks * log_ndtr(-x)))

    return float(quad(integrand, 0, np.inf)[0])


def step_times(
    machine: Machine, dimensions: int, parts: Parts, load: Load, communication: Communication = COMMUNICATION
) -> StepTimes:
    """Model of a step (README.md)."""
    ranks = math.prod(parts.processes)
    streamed = min(machine.cores, ranks) * load.streamed(parts, dimensions, communication)
    compute = parts.largest * max(load.costs.at(parts.largest), streamed / machine.memory)
    bytes_of = load.exchanges * load.halo_bytes * load.sent_share(communication)
    latency = load.exchanges * parts.messages * machine.latency
    handling = parts.sent_away * bytes_of * machine.handling
    return StepTimes(
        compute=compute,
        jitter=compute * machine.jitter * math.sqrt(load.exchanges) * slowest(min(ranks, COUPLED[dimensions])),
        near=0.0 if communication.windows else COPIES * parts.near * bytes_of / machine.memory,
        handling=handling,
        away=parts.away * bytes_of / machine.network,
        latency=latency,
        densities=(load.messages - 1) * latency,
        window=communication.overlap * (compute * parts.free / parts.largest + handling),
        alone=parts.points / ranks * min(load.costs.seconds),
    )
