"""What a rank of `network` measures: the link between nodes, steps with neighbours and steps alone.

Only ranks started by mpirun import this module: it starts MPI.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from namespaces import INTERFACE
from stepping import PIECES, Steps, load_problem

from hpcwigner.space.grid import process_grid
from hpcwigner.studies.machine import COMMUNICATION, slowest
from hpcwigner.studies.placement import HALO

PINGS = 1000
REST = 0.02
"""Seconds before each measurement."""


def measured(cells: list[int], cores: int, steps: int, rounds: int) -> dict[str, Any] | None:
    """On rank 0 the numbers of a run of which `cores` ranks are on each node. Collective."""
    comm = MPI.COMM_WORLD
    available = sorted(os.sched_getaffinity(0))
    if comm.size <= len(available):
        os.sched_setaffinity(0, [available[comm.rank]])  # MPI would bind the ranks of all nodes to the same cores
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    if not comm.allreduce(node.size == cores, MPI.LAND):
        raise RuntimeError(f"{node.size} ranks on a node, expected {cores}: MPI does not see the namespaces as nodes")
    latency, problem = ping(comm, cores), load_problem()
    numbers = {
        "latency": latency,
        "steps": [Rounds(comm, node, problem, edge).fastest(steps, rounds) for edge in cells],
    }
    return numbers if comm.rank == 0 else None


def streamed(comm: MPI.Intracomm, partners: list[int], size: int) -> float:
    """Bytes per second that each rank sends while all send `size` bytes to either partner, and receive as much."""
    out, back = (np.ones((2, size), dtype=np.uint8) for _ in range(2))
    comm.Barrier()
    start = MPI.Wtime()
    requests = [comm.Irecv(back[way], partners[1 - way], tag=way) for way in (0, 1)]
    requests += [comm.Isend(out[way], partners[way], tag=way) for way in (0, 1)]
    MPI.Request.Waitall(requests)
    return 2 * size / float(comm.allreduce(MPI.Wtime() - start, MPI.MAX))


def ping(comm: MPI.Intracomm, other: int, repeats: int = PINGS) -> float:
    """Half of the fastest round trip of 8 bytes [s] between ranks 0 and `other`, on all ranks. Collective."""
    buffer, best = np.zeros(8, dtype=np.uint8), math.inf
    for _ in range(repeats):
        start = MPI.Wtime()
        if comm.rank == 0:
            comm.Send(buffer, other)
            comm.Recv(buffer, other)
        elif comm.rank == other:
            comm.Recv(buffer, 0)
            comm.Send(buffer, 0)
        best = min(best, 0.5 * (MPI.Wtime() - start))
    return float(comm.bcast(best))


class Lost:
    """Processor time that transfers take from a rank that computes and polls, as a step does.

    It includes what the kernel does for other processes on this core, which no process is billed for.
    """

    def __init__(self, edge: int = 256) -> None:
        self.factors = np.random.default_rng(0).random((2, edge, edge))
        self.product = np.empty((edge, edge))

    def piece(self) -> None:
        """About as much work as lies between two polls of a step."""
        np.matmul(*self.factors, out=self.product)

    def per_byte(self, comm: MPI.Intracomm, partners: list[int], size: int) -> float:
        """Seconds lost per byte sent, mean over ranks, while all send `size` bytes to either partner. Collective."""
        out, back = (np.ones((2, size), dtype=np.uint8) for _ in range(2))
        comm.Barrier()
        start, pieces = MPI.Wtime(), 0
        requests = [comm.Irecv(back[way], partners[1 - way], tag=way) for way in (0, 1)]
        requests += [comm.Isend(out[way], partners[way], tag=way) for way in (0, 1)]
        while not MPI.Request.Testall(requests):
            self.piece()
            pieces += 1
        end = MPI.Wtime()
        rest(comm)
        begin = MPI.Wtime()
        for _ in range(pieces):
            self.piece()
        lost = (end - start) - (MPI.Wtime() - begin)
        return float(comm.allreduce(lost)) / comm.size / (2 * size)


def bytes_sent() -> int:
    """By this node's interface so far, with headers and acknowledgements."""
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == INTERFACE:
            return int(numbers.split()[8])
    raise RuntimeError(f"no interface {INTERFACE}")


def rest(comm: MPI.Intracomm) -> None:
    """Sleeps until the same moment on all ranks: a busy machine runs those that wake up before those that have been running."""
    wake = comm.bcast(time.monotonic() + REST)
    time.sleep(max(0.0, wake - time.monotonic()))


class Rounds:
    """Steps of blocks of edge × edge cells: with neighbours, and alone, in turn with messages of their size. Collective."""

    def __init__(self, comm: MPI.Intracomm, node: MPI.Intracomm, problem: Any, edge: int) -> None:
        self.comm, self.cores = comm, node.size
        self.shape = (edge * rank_grid(comm.size)[0], edge * rank_grid(comm.size)[1])
        self.together = Steps(problem, self.shape, comm)
        if self.together.equation.decomposition.local_shape[:2] != (edge, edge):
            raise RuntimeError("the ranks do not have equal blocks")
        self.alone = Steps(problem, (edge, edge), MPI.COMM_SELF, alone=True)
        facts = self.together.facts
        planes = facts["planes"] if COMMUNICATION.directed else HALO
        self.message = round(8 * edge * planes * facts["point"])
        self.away = [(comm.rank + way * node.size) % comm.size for way in (1, -1)]
        members = node.allgather(comm.rank)
        self.near = [members[(node.rank + way) % node.size] for way in (1, -1)]

    def fastest(self, count: int, rounds: int) -> dict[str, Any]:
        """Of the fastest rounds of `count` steps. Frees the steps.

        `bandwidth` and `near` are what a node's ranks send to other nodes and to each other, `pieces` and `alone` steps with and
        without neighbours, `jitter` the spread of a core's steps with which its slowest rank would need what it needed alone.
        """
        comm, apart, met, away, near, lost = self.comm, [], [], [], [], []
        computing = Lost()
        for _ in range(rounds):
            rest(comm)
            _, each = self.alone.timed(count)
            every = np.array(comm.allgather(each))
            apart.append((float(every.mean()), float(every.max(axis=0).mean())))
            rest(comm)
            self.together.settle()
            before = bytes_sent()
            seconds, _ = self.together.timed(count)
            self.together.settle()
            sent = (bytes_sent() - before) / (count + 1)
            met.append(np.mean(comm.allgather([*(seconds[piece] for piece in PIECES), sent]), axis=0))
            rest(comm)
            away.append(self.cores * streamed(comm, self.away, self.message))
            rest(comm)
            near.append(self.cores * streamed(comm, self.near, self.message))
            rest(comm)
            lost.append(computing.per_byte(comm, self.away, self.message))
        mean, longest = min(apart)
        best = min(met, key=lambda numbers: numbers[PIECES.index("total")]).tolist()
        exchanges = self.together.facts["exchanges"]
        entry = self.together.facts | {
            "grid": self.shape, "bandwidth": max(away), "near": max(near) if self.cores > 1 else None, "alone": mean,
            "handling": float(np.median(lost)),
            "pieces": dict(zip(PIECES, best, strict=False)), "sent": best[-1],
            "jitter": (longest / mean - 1) / slowest(comm.size) / math.sqrt(exchanges),
        }  # fmt: skip
        self.together.free()
        self.alone.free()
        return entry


def rank_grid(ranks: int) -> tuple[int, int]:
    """The division of a square plane among ranks."""
    return process_grid((2**12, 2**12), 2, ranks)
