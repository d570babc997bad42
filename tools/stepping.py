"""Steps of inputs/ws2_20K_2d.yaml on few spatial cells, timed from outside the package: `scaling` and `network` use it.

Only ranks started by mpirun import this module: it starts MPI.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import petsc4py

petsc4py.init([])

from mpi4py import MPI
from project import ROOT

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.operators import OperatorCache
from hpcwigner.problem import builder, loading
from hpcwigner.problem.builder import Problem
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.studies.machine import directed_planes
from hpcwigner.studies.scaling import LoneBlock
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import State

INPUT = ROOT / "inputs/ws2_20K_2d.yaml"
INTEGRATOR = "etd2"
"""What `auto` takes for this input."""
STEP = 0.0625
"""Step size [ps] of the input from 0.75 to 5 ps; what a step costs does not depend on it."""
PIECES = ("drift", "send", "wait", "total")


class Clock:
    """Adds up the seconds spent in calls that it stands in for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seconds, self.calls = dict.fromkeys(PIECES, 0.0), dict.fromkeys(PIECES, 0)

    def watched(self, inner: Callable[..., Any], piece: str) -> Callable[..., Any]:
        """`inner`, its time counted as `piece`."""

        def timed(*arguments: Any) -> Any:
            start = MPI.Wtime()
            result = inner(*arguments)
            self.seconds[piece] += MPI.Wtime() - start
            self.calls[piece] += 1
            return result

        return timed


def load_problem() -> Problem:
    """The input's problem, for all ranks. Collective."""
    return builder.build(loading.load(INPUT), MPI.COMM_WORLD)


class Steps:
    """Steps of drift and scattering on a grid, from a random state. Collective over `comm` throughout.

    With `alone` each rank steps a block of that grid by itself: its own edges, copied, stand in for the neighbours'.
    """

    def __init__(self, problem: Problem, cells: tuple[int, int], comm: MPI.Intracomm, alone: bool = False) -> None:
        """`cells` along x and y, of the grid or of the block."""
        # The input's length on other cells: they only get wider, so that the step stays stable.
        self.grid = SpaceGrid(2, problem.space.whole.length, cells, "periodic")
        self.comm, self.clock = comm, Clock()
        drift = Drift(problem.equilibrium, problem.angles, self.grid)
        terms = drift, *(copy.copy(term) for term in problem.terms if term.name == "scattering")
        per_point = problem.angles.count, problem.cells.size
        here: Decomposition = LoneBlock(self.grid, per_point, cells) if alone else Decomposition(self.grid, comm, per_point)
        self.equation = WignerEquation(here, problem.angles, terms)
        self.cache = OperatorCache(SCHEMES[INTEGRATOR], [[problem.generators[0]]], self.equation, comm)
        self.halo: Any = drift.halo
        watched: Any = drift
        watched.to_harmonics = self.clock.watched(drift.to_harmonics, "drift")
        self.halo.start = self.clock.watched(self.halo.start, "send")  # Walls and periodic ends of the own block
        self.halo.send = self.clock.watched(self.halo.send, "send")
        self.halo.wait = self.clock.watched(self.halo.wait, "wait")
        self._integrator: Any = SCHEMES[INTEGRATOR](self.equation)
        shape, scheme = self.equation.shape, SCHEMES[INTEGRATOR]
        self.facts = {
            "exchanges": scheme.evaluations, "point": int(np.prod(shape[1:])), "order": scheme.order,
            "planes": directed_planes(problem.angles.cosine),
        }  # fmt: skip
        """Exchanges of ghost cells in a step, unknowns of a point, order, planes that directions of motion need."""
        self._state = State(np.random.default_rng(comm.rank).random(shape), np.zeros((shape[0], 0)))
        self._take(2)  # compiles kernels and touches memory

    def _take(self, count: int) -> list[float]:
        moments = [MPI.Wtime()]
        for _ in range(count):
            self._integrator.step(self._state, 0.0, self.cache.get(0, STEP), ())
            moments.append(MPI.Wtime())
        return np.diff(moments).tolist()

    def timed(self, count: int) -> tuple[dict[str, float], list[float]]:
        """Seconds of PIECES per step, the mean of `count` steps of this rank, and those of each step.

        Ranks begin together. A step before these is not counted: its first ghost cells have arrived when it begins.
        """
        self.settle()
        self._take(1)
        self.clock.reset()
        each = self._take(count)
        self.clock.seconds["total"] = sum(each)
        return {piece: seconds / count for piece, seconds in self.clock.seconds.items()}, each

    def settle(self) -> None:
        """Until no message is under way."""
        self.halo.finish()
        self.comm.Barrier()

    def free(self) -> None:
        """Releases operators and requests."""
        self.cache.free()
        self.equation.free()


def fastest_round(steps: Steps, count: int, rounds: int) -> dict[str, Any]:
    """Mean over ranks of the time of a step and of its pieces, in the fastest of some rounds of `count` steps."""
    means = []
    for _ in range(rounds):
        seconds, _ = steps.timed(count)
        means.append(np.mean(steps.comm.allgather([seconds[piece] for piece in PIECES]), axis=0))
    pieces = dict(zip(PIECES, min(means, key=lambda mean: mean[-1]), strict=True))
    sent = steps.comm.allreduce(steps.halo.bytes_sent + steps.halo.bytes_shared, MPI.MAX)
    return steps.facts | {"pieces": pieces, "bytes": sent * steps.facts["exchanges"]}
