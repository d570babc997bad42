"""`check` for a machine: a step is timed here on a block of the input's own problem, and the model says the rest."""

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.config import Config
from hpcwigner.problem.kinetics import whole_grid
from hpcwigner.reference.step_choice import Choice
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import DOWNSTREAM, HALO
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation import estimate
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.studies.machine import (
    COMMUNICATION,
    Communication,
    Costs,
    Load,
    Machine,
    StepTimes,
    count,
    directed_planes,
    step_times,
)
from hpcwigner.studies.placement import Parts, held, most_ranks
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import DensityTerm

EDGE, LENGTH = 16, 256  # Cells of the block that is timed, along each axis of a plane, and of a slab
ROUNDS, STEPS, SECONDS = 2, 20, 0.25  # In each block so many steps at most are timed in a round, for about so long
EFFICIENT = 0.8  # Parallel efficiency above which the fastest number of ranks is called the best


class LoneBlock(Decomposition):
    """A block from the middle of a grid (where folded, at the axes), on this process alone; its neighbours are itself.

    It sends and reads layers as a rank does whose neighbours are on its node, in the same order of points.
    """

    def __init__(self, grid: SpaceGrid, per_point: tuple[int, int], shape: tuple[int, int]) -> None:
        """`shape` is the number of cells, `per_point` the number of angles and of energy cells."""
        self.grid, self.comm, self.per_point = grid, MPI.COMM_SELF, per_point
        self.processes, self.position, self.nodes = (1, 1), (0, 0), (0,)
        starts = [0 if fold else (n - m) // 2 for n, m, fold in zip(grid.shape, shape, grid.folded, strict=True)]
        self.x, self.y = (slice(start, start + m) for start, m in zip(starts, shape, strict=True))

    def neighbor(self, axis: int, direction: int) -> int | None:
        """Itself."""
        return self.comm.rank

    def beyond(self, axis: int, direction: int) -> int | None:
        """Itself: it is sent to like another rank."""
        return self.comm.rank


class _CountingEquation(WignerEquation):
    """Counts how often it is evaluated, which is how often ghost cells are exchanged."""

    evaluations = 0

    def _prepare(self, u: Array) -> None:
        self.evaluations += 1
        super()._prepare(u)


@dataclasses.dataclass(frozen=True)
class Leg:
    """Steps with the same number of angles."""

    steps: int
    angles: int
    load: Load
    spread: float  # Of the steps that were timed, relative


def predict_scaling(config: Config, comm: MPI.Intracomm, machine: Machine) -> str:
    """Report of `check` for a machine: the usual lines for its ranks, then hours, efficiency and memory per node.

    Computed on rank 0 alone. Raises InputError. Collective.
    """
    return on_first_rank(comm, lambda: _predict(config, machine))


def _predict(config: Config, machine: Machine) -> str:
    _require_cells(whole_grid(config), machine)  # before anything that takes seconds
    problem, reference, choice = estimate.planned(config, MPI.COMM_SELF)
    one_rank = problem.space
    try:
        space = held(one_rank, config.space.symmetry, machine.ranks)
    except DecompositionError as error:
        raise InputError(f"--nodes, --cores: found {error}") from None
    if space != one_rank:  # too small for the ranks when folded
        problem.free()
        whole = dataclasses.replace(config, space=dataclasses.replace(config.space, symmetry="whole"))
        problem, reference, choice = estimate.planned(whole, MPI.COMM_SELF)
    memory = estimate.predict_elsewhere(problem, choice, machine.ranks, machine.cores).describe()
    text = estimate.report(problem, choice, memory, machine.ranks, reference)
    if not math.isinf(machine.memory) and choice.integrator not in SCHEMES:
        raise InputError(f"--memory-bandwidth: found integrator {choice.integrator}, expected one of {', '.join(SCHEMES)}")
    legs = measured_legs(problem, choice, machine.ranks)

    def memory_of_node(machine: Machine, space: SpaceGrid) -> float:
        return estimate.predict_elsewhere(dataclasses.replace(problem, space=space), choice, machine.ranks, machine.cores).node

    lines = _lines(machine, predictions(machine, one_rank, config.space.symmetry, legs, memory_of_node))
    problem.free()
    return "\n".join([text, *lines])


def _require_cells(space: SpaceGrid, machine: Machine) -> None:
    """Raises InputError when the ranks are more than a grid can have at all."""
    if machine.ranks > (most := most_ranks(space)):
        cells = "×".join(map(str, space.shape[: space.dimensions]))
        raise InputError(f"--nodes, --cores: found {machine.ranks} ranks for {cells} cells, expected at most {most} ranks")


def timed_shapes(space: SpaceGrid, ranks: int) -> list[tuple[int, int]]:
    """Blocks that are timed, the smaller first: the largest rank's if it is small, and EDGE × EDGE (slab: LENGTH) cells."""
    edges = (EDGE, EDGE) if space.dimensions == 2 else (LENGTH, 1)
    large = min(space.shape[0], edges[0]), min(space.shape[1], edges[1])
    processes = process_grid(space.shape, space.dimensions, ranks)
    rank_x, rank_y = (math.ceil(n / p) for n, p in zip(space.shape, processes, strict=True))
    small = min(rank_x, large[0]), min(rank_y, large[1])
    return [small, large] if math.prod(small) < math.prod(large) else [large]


def measured_legs(problem: Problem, choice: Choice, ranks: int) -> list[Leg]:
    """The parts of a run with the same number of angles, their steps timed on one core."""
    shapes, legs = timed_shapes(problem.space, ranks), []
    scheme = SCHEMES.get(choice.integrator)
    dense = any(isinstance(term, DensityTerm) for term in problem.terms)
    hilly = any(isinstance(term, Drift) and term.landscape is not None for term in problem.terms)
    downstream = HALO if hilly else DOWNSTREAM
    for begin, end, number in choice.plan.legs(problem.angles.number):
        own = problem if number == problem.angles.number else problem.with_angles(number)
        # Blocks take turns, so that other load slows all of them.
        rounds = [[time_steps(own, choice, shape, begin, end) for shape in shapes] for _ in range(ROUNDS)]
        fastest = [min(float(seconds.min()) for seconds, _ in timed) for timed in zip(*rounds, strict=True)]
        scatter = float(np.median([spread(seconds) for timed in rounds for seconds, _ in timed]))
        costs = Costs([float(math.prod(shape)) for shape in shapes], fastest)
        state = 8.0 * own.angles.count * own.cells.size
        halo = state + 8.0 * len(own.cells.valleys) * dense
        order = scheme.order if scheme else None
        planes = directed_planes(own.angles.cosine, downstream)
        load = Load(costs, rounds[0][0][1], halo, 1 + dense, state, order, planes)
        legs.append(Leg(end - begin, own.angles.count, load, scatter))
    return legs


def time_steps(problem: Problem, choice: Choice, shape: tuple[int, int], begin: int, end: int) -> tuple[Array, float]:
    """Seconds per point of each of the last steps before step `end`, not before `begin`, and exchanges in a step.

    The steps are the run's own, on a LoneBlock of the problem in a random state with the densities of the run.
    """
    per_point = problem.angles.count, problem.cells.size
    decomposition = LoneBlock(problem.space, per_point, shape)
    classes = None if problem.offsets is None or len(problem.offsets.stages) == 1 else problem.offsets.class_of_point
    equation = _CountingEquation(decomposition, problem.angles, problem.terms, classes, problem.books)
    vector = equation.create_vector()
    u = equation.view(vector).u
    u[...] = np.random.default_rng(1).random(u.shape) * problem.equilibrium.population
    u *= problem.peak_density / u.sum(axis=(1, 2)).mean()
    moments: list[float] = []
    started = time.perf_counter()

    def note(_done: int, _vector: object) -> None:
        moments.append(time.perf_counter())

    def enough(_done: int, _vector: object) -> bool:
        return len(moments) > 3 and time.perf_counter() - started > SECONDS

    schedule, first = Schedule(choice.plan, problem.sources), max(begin, end - STEPS)
    generators = problem.local_generators
    integrate(choice.integrator, equation, generators, schedule, MPI.COMM_SELF, note, vector, first, None, enough, end)
    equation.free()
    vector.destroy()
    steps = np.diff(moments)
    return steps / math.prod(shape), equation.evaluations / len(steps)


def spread(seconds: Array) -> float:
    """Relative standard deviation of steps, from the faster half: interruptions by other programs only make steps slower.

    Of a normal distribution it is the median less the quantile below which 16 % lie.
    """
    low, median = np.quantile(seconds, [0.1587, 0.5])
    return float((median - low) / median)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A run on some number of nodes."""

    machine: Machine
    space: SpaceGrid
    parts: Parts
    steps: tuple[tuple[Leg, StepTimes], ...]
    memory: float  # Of a node [bytes]

    @classmethod
    def of(
        cls, machine: Machine, space: SpaceGrid, legs: list[Leg], memory: float, communication: Communication = COMMUNICATION
    ) -> "Forecast":
        """Raises DecompositionError."""
        parts = communication.parts(space, machine.ranks, machine.cores)
        times = tuple((leg, step_times(machine, space.dimensions, parts, leg.load, communication)) for leg in legs)
        return cls(machine, space, parts, times, memory)

    def _sum(self, name: str) -> float:
        return sum(leg.steps * float(getattr(times, name)) for leg, times in self.steps)

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self._sum("total")

    @property
    def efficiency(self) -> float:
        """Parallel, of all steps."""
        return self._sum("alone") / self.seconds

    @property
    def text(self) -> str:
        """Ranks, time, efficiency and memory, for people."""
        ranks, nodes = count(self.machine.ranks, "rank"), count(self.machine.nodes, "node")
        return (
            f"{ranks} on {nodes}: {_duration(self.seconds)}, {self.machine.nodes * self.seconds / 3600:.3g} node-hours, "
            f"{self.efficiency:.0%} efficient, {self.memory / 2**30:.3g} GiB per node"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 36 else f"{seconds:.2g} s"


def predictions(
    machine: Machine, one_rank: SpaceGrid, symmetry: str, legs: list[Leg], memory: Callable[[Machine, SpaceGrid], float]
) -> list[Forecast]:
    """Of 1, 2, 4, … nodes and of the whole machine, where the grid can be divided among their ranks.

    `memory` gives that of a node [bytes] when a grid is held on a machine.
    """
    made = []
    for nodes in sorted({machine.nodes, *(2**n for n in range(machine.nodes.bit_length()))}):
        part = machine.with_nodes(nodes)
        try:
            space = held(one_rank, symmetry, part.ranks)
        except DecompositionError:
            continue
        made.append(Forecast.of(part, space, legs, memory(part, space)))
    return made


def best(made: list[Forecast]) -> Forecast:
    """The fastest of those that are at least EFFICIENT efficient, or the most efficient one if none is."""
    good = [f for f in made if f.efficiency >= EFFICIENT]
    return min(good, key=lambda f: f.seconds) if good else max(made, key=lambda f: f.efficiency)


def _lines(machine: Machine, made: list[Forecast]) -> list[str]:
    """The machine's part of the report; a step and its halo are those with the number of angles that takes longest."""
    asked, chosen, fastest = made[-1], best(made), min(made, key=lambda f: f.seconds)
    leg, times = max(asked.steps, key=lambda step: step[0].steps * step[1].total)
    load, parts = leg.load, asked.parts
    unknowns = load.state_bytes / 8
    exchanged = load.exchanges * load.halo_bytes * load.sent_share(COMMUNICATION)
    measured = ", ".join(
        f"{1e9 * seconds / unknowns:.3g} ns on {points:g} points"
        for points, seconds in zip(load.costs.points, load.costs.seconds, strict=True)
    )
    why = (
        f"the fastest of those at least {EFFICIENT:.0%} efficient" if chosen.efficiency >= EFFICIENT else "the most efficient one"
    )
    return [
        f"machine       {machine.describe()}",
        f"computing     per unknown and step, timed now on one core here: {measured}; spread {100 * leg.spread:.2g} %",
        f"halo          {load.exchanges:g} exchanges of {HALO} layers per step: a rank sends up to "
        f"{exchanged * parts.sent / 1e6:.3g} MB, a node up to {exchanged * parts.away / 1e6:.4g} MB to other nodes",
        f"step          {1e3 * times.total:.3g} ms on {'×'.join(map(str, parts.block))} cells per rank, {leg.angles} angles: "
        f"computing {1e3 * times.compute:.3g}, jitter {1e3 * times.jitter:.2g}, copies within nodes {1e3 * times.near:.2g}, "
        f"waiting {1e3 * times.wait:.3g} for the network (transfers {1e3 * times.away:.3g}, latency {1e3 * times.latency:.2g}, "
        f"hidden behind {1e3 * times.window:.3g})",
        *(f"prediction    {f.text}" for f in made),
        f"best          {count(chosen.machine.ranks, 'rank')}, {why}; fastest {fastest.machine.ranks}",
        "model         not measured on that machine: its cores as fast as the one here, no output, no other load",
    ]
