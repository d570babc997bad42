"""`check` for a machine: halo bytes and decomposition against the program's own, the model's equations, what is refused."""

import dataclasses
import itertools
import math
import types

import numpy as np
import pytest
from helpers import SLAB, hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import HALO
from hpcwigner.simulation import estimate
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.halo import Halo
from hpcwigner.studies.machine import (
    BLOCKING,
    BOUNDARY_FIRST,
    COUPLED,
    STREAMED,
    Costs,
    Load,
    Machine,
    directed_planes,
    slowest,
    step_times,
)
from hpcwigner.studies.placement import Parts, held, most_ranks
from hpcwigner.studies.scaling import LoneBlock, best, measured_legs, predictions, spread, timed_shapes
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.term import State

MACHINE = Machine(nodes=16, cores=4, network=12e9, latency=2e-6, memory=300e9)
LOAD = Load(Costs([16.0, 256.0], [1e-4, 8e-5]), exchanges=2, halo_bytes=8.0 * 16 * 287, state_bytes=8.0 * 16 * 287, order=2)


class Recorder:
    """Stands in for the communicator of one of many ranks and notes what a Halo would send."""

    def __init__(self, size, rank):
        self.size, self.rank, self.messages = size, rank, []

    def Send_init(self, message, neighbor, tag):
        self.messages.append((neighbor, message[2].Get_size()))

    def Recv_init(self, ghost, neighbor, tag):
        pass


GRIDS = {
    "periodic": SpaceGrid(2, 1.0, (37, 22), "periodic"),
    "reflecting": SpaceGrid(2, 1.0, (24, 40), "reflecting"),
    "folded": SpaceGrid(2, 1.0, (48, 48), "periodic", (True, True)),
    "folded along y": SpaceGrid(2, 1.0, (30, 18), "periodic", (False, True)),
    "slab": SpaceGrid(1, 1.0, (100, 1), "periodic"),
    "open slab": SpaceGrid(1, 1.0, (64, 1), "open"),
}


@pytest.mark.parametrize(("ranks", "cores"), [(1, 1), (2, 1), (6, 2), (6, 4), (12, 5), (16, 16), (16, 4)])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_halos_are_those_that_the_program_sends(grid, ranks, cores):
    trailing, sent, away, near, messages, blocks = (4, 5), [], {}, {}, [], []
    for rank in range(ranks):
        comm = Recorder(ranks, rank)
        decomposition = Decomposition(grid, comm, trailing, nodes=tuple(range(ranks)))
        assert Halo(decomposition, trailing).bytes_sent == sum(size for _, size in comm.messages)
        sent.append(sum(size for _, size in comm.messages))
        messages.append(sum(other // cores != rank // cores for other, _ in comm.messages))
        for other, size in comm.messages:
            kind = away if other // cores != rank // cores else near
            kind[rank // cores] = kind.get(rank // cores, 0) + size
        blocks.append(decomposition.local_shape[:2])
    parts, point = Parts.consecutive(grid, ranks, cores), 8 * math.prod(trailing)
    assert parts.processes == process_grid(grid.shape, grid.dimensions, ranks)
    assert parts.block == tuple(max(n) for n in zip(*blocks, strict=True))
    assert parts.sent * point == max(sent)
    assert parts.away * point == max(away.values(), default=0)
    assert parts.near * point == max(near.values(), default=0)
    assert parts.messages == max(messages)


@pytest.mark.parametrize("symmetry", ["auto", "folded", "whole"])
@pytest.mark.parametrize("space", [SLAB, "{dimensions: 2, length: 4 um, cells: 16}"], ids=["slab", "plane"])
def test_the_grid_held_is_the_programs(tmp_path, space, symmetry):
    config = loading.load(small_input(tmp_path, space=space), [f"space.symmetry={symmetry}"])
    one = builder.space_grid(config, 1)
    for ranks in range(1, 30):
        try:
            expected = builder.space_grid(config, ranks)
        except InputError:
            with pytest.raises(DecompositionError):
                held(one, symmetry, ranks)
        else:
            assert held(one, symmetry, ranks) == expected
            assert ranks <= most_ranks(expected)


def test_a_step_by_hand():
    """64×64 cells on 16 nodes of 4 ranks: 8×8 ranks of 8×8 cells; a node is half a row of ranks along y."""
    times = step_times(MACHINE, 2, Parts.consecutive(GRID, 64, 4), LOAD, BLOCKING)
    halo = 2 * 8 * 16 * 287
    assert times.away == pytest.approx((2 * 4 + 2) * HALO * 8 * halo / 12e9)  # along x all four ranks, along y the outer two
    assert times.near == pytest.approx(3 * 6 * HALO * 8 * halo / 300e9)
    assert times.latency == pytest.approx(2 * 3 * 2e-6)
    assert times.compute == pytest.approx(64 * 9e-5)  # half-way between the blocks in the logarithm
    assert times.alone == pytest.approx(64 * 8e-5)
    assert times.efficiency == pytest.approx(64 * 8e-5 / (64 * 9e-5 + times.away + times.near + times.latency))
    assert times.wait == pytest.approx(times.away + times.latency)


def test_a_step_with_boundary_first_by_hand():
    """The same on nodes of 2×2 ranks, 16×16 cells: each rank has two faces at other nodes and 5×5 cells away from them."""
    parts = BOUNDARY_FIRST.parts(GRID, 64, 4)
    assert (parts.away, parts.near, parts.messages, parts.free) == (4 * 16 * HALO, 8 * 8 * HALO, 2, 25)
    load = dataclasses.replace(LOAD, planes=35 / 16, messages=2)
    for network, waits in ((12e9, False), (1e9, True)):
        machine = dataclasses.replace(MACHINE, network=network, jitter=0.01)
        times = step_times(machine, 2, parts, load, BOUNDARY_FIRST)
        assert times.away == pytest.approx(4 * 16 * 35 / 16 * 2 * 8 * 16 * 287 / network)
        assert times.near == 0
        assert times.latency == times.densities == pytest.approx(2 * 2 * 2e-6)
        assert times.compute == pytest.approx(64 * 9e-5)
        assert times.window == pytest.approx(25 * 9e-5)
        hidden = times.away + times.latency - times.window
        assert (hidden > 0) == waits
        assert times.wait == pytest.approx(times.densities + max(0, hidden))
        assert times.jitter == pytest.approx(times.compute * 0.01 * math.sqrt(2) * 1.538753)  # tables: the largest of ten
        assert times.total == pytest.approx(times.compute + times.jitter + times.wait)


def test_processors_that_handle_transfers():
    """Bytes of the busiest rank take its processor, which hides transfers meanwhile."""
    parts = BOUNDARY_FIRST.parts(GRID, 64, 4)
    load = dataclasses.replace(LOAD, planes=35 / 16)
    free, busy = (step_times(dataclasses.replace(MACHINE, handling=h), 2, parts, load, BOUNDARY_FIRST) for h in (0.0, 1e-9))
    assert parts.sent_away == 2 * 8 * HALO  # of the corner of a square of 2×2 blocks of 8×8 cells
    assert busy.handling == pytest.approx(2 * 8 * 35 / 16 * 2 * 8 * 16 * 287 * 1e-9)
    assert busy.window == pytest.approx(free.window + busy.handling)
    assert busy.total == pytest.approx(free.total + busy.handling - (free.wait - busy.wait))


def test_memory_traffic_of_windows():
    """Half of the faces are packed and read in place; the others are packed, filled and read."""
    load = dataclasses.replace(LOAD, costs=Costs([1.0], [1e-9]), planes=2.0)
    parts = BOUNDARY_FIRST.parts(GRID, 64, 4)
    assert parts.away == parts.near
    per_unknown = STREAMED[2] + 8 * 2 * 3.5 * (4 / 8 + 4 / 8)
    assert step_times(MACHINE, 2, parts, load, BOUNDARY_FIRST).compute == pytest.approx(64 * 16 * 287 * 4 * per_unknown / 300e9)


@pytest.mark.parametrize(
    ("cells", "ranks", "cores", "away"),
    [
        (128, 256, 64, 4 * 64),  # 8×8 ranks of 8×8 cells
        (1024, 4096, 64, 4 * 128),
        (512, 1024, 32, 2 * 128 + 2 * 64),  # 4×8 ranks of 16×16 cells
        (96, 64, 16, 4 * 48),
        (64, 36, 12, 2 * 64),  # 2×6 ranks of 11 or 10 cells: a node reaches across the plane
        (64, 16, 5, None),  # 4×4 ranks are no whole number of fives
    ],
)
def test_squares_of_ranks(cells, ranks, cores, away):
    grid = SpaceGrid(2, 1.0, (cells, cells), "periodic")
    square, line = Parts.squares(grid, ranks, cores), Parts.consecutive(grid, ranks, cores)
    assert square.away <= line.away
    if away is None:
        assert square == line
    else:
        assert square.away == HALO * away
        assert square.sent == line.sent


def test_points_away_from_other_nodes():
    line = Parts.consecutive(GRID, 64, 4)  # the outer two of four ranks in a row have three faces at other nodes
    assert line.free == 2 * 5
    assert Parts.consecutive(GRID, 64, 64).free == 64


def test_planes_that_the_stencil_reads(planned):
    """Counted on the drift itself, plane by plane and direction by direction."""
    problem, _ = planned
    grid = SpaceGrid(2, 1.0, (8, 8), "periodic")
    drift = Drift(problem.equilibrium, problem.angles.__class__(16, half=False), grid)
    block = LoneBlock(grid, (drift.angles.count, problem.cells.size), (8, 8))
    drift.distribute(block)
    assert drift.halo.bytes_shared == 8 * 4 * 8 * 35 * problem.cells.size  # 35 rows at 4 × 8 cells
    drift.halo.start = lambda _u: None  # keeps the ghost cells below
    u = np.zeros((64, *block.local_shape[2:]))
    for axis, component in enumerate((drift.angles.cosine, drift.angles.sine)):
        for side in (0, 1):
            read = 0
            for plane in range(HALO):
                ghost = drift.halo.ghosts[axis][side]
                np.moveaxis(ghost, axis, 0)[plane] = 1.0
                out = State(np.zeros_like(u), np.zeros((64, 0)))
                drift.add(0.0, State(u, np.zeros((64, 0))), out)
                read += np.count_nonzero(np.abs(out.u).max(axis=(0, 2)))
                ghost[...] = 0.0
            assert read / drift.angles.count == directed_planes(component) == 35 / 16
    drift.free()


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_slowest_of_coupled_ranks(dimensions):
    """Ranks that wait for their neighbours in each exchange, with independent delays: simulated, to 6 %."""
    random, shape, exchanges = np.random.default_rng(3), {1: (64, 1), 2: (16, 16)}[dimensions], 2000
    ready = np.zeros(shape)
    for _ in range(exchanges):
        last = ready
        for axis, way in itertools.product(range(dimensions), (1, -1)):
            last = np.maximum(last, np.roll(ready, way, axis))
        ready = last + random.standard_normal(shape)
    assert ready.mean() / exchanges == pytest.approx(slowest(COUPLED[dimensions]), rel=0.06)


@pytest.mark.parametrize(
    ("ranks", "expected"), [(1, 0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (100, 2.507594)]
)
def test_expected_largest_of_normal_numbers(ranks, expected):
    assert slowest(ranks) == pytest.approx(expected, abs=1e-6)


def test_spread_ignores_interruptions():
    steps = np.random.default_rng(1).normal(1.0, 0.02, 20000)
    assert spread(steps) == pytest.approx(0.02, rel=0.05)
    steps[:2000] += 5.0
    assert spread(steps) == pytest.approx(0.02, rel=0.2)


GRID = SpaceGrid(2, 1.0, (64, 64), "periodic")


def test_uneven_blocks_cost_efficiency():
    machine = dataclasses.replace(MACHINE, nodes=1, memory=math.inf)
    parts = Parts.consecutive(SpaceGrid(1, 1.0, (13, 1), "open"), 4, 4)
    assert step_times(machine, 1, parts, LOAD).efficiency == pytest.approx(13 / 4 / 4 * 8e-5 / 1e-4)


def test_memory_bandwidth_limits_a_busy_node():
    load = dataclasses.replace(LOAD, costs=Costs([1.0], [1e-9]))
    times = step_times(MACHINE, 2, Parts.consecutive(GRID, 64, 4), load, BLOCKING)
    per_unknown = STREAMED[2] + 2 * (24 + 8) * (6 / 8 + 6 / 8)  # tools/bench: ghost cells packed and copied, and read
    assert times.compute == pytest.approx(64 * 16 * 287 * 4 * per_unknown / 300e9)


@pytest.mark.parametrize("field", ["network", "memory", "latency"])
def test_a_better_machine_is_never_slower(field):
    for nodes, scale in itertools.product((1, 2, 16, 64), (1.5, 10.0, 1e6)):
        machine = MACHINE.with_nodes(nodes)
        factor = 1 / scale if field == "latency" else scale
        better = dataclasses.replace(machine, **{field: factor * getattr(machine, field)})
        parts = Parts.consecutive(GRID, machine.ranks, machine.cores)
        slow, fast = (step_times(m, 2, parts, LOAD, BLOCKING) for m in (machine, better))
        assert fast.total <= slow.total
        assert fast.efficiency >= slow.efficiency
        assert 0 < slow.efficiency <= 1
        assert step_times(machine, 2, BOUNDARY_FIRST.parts(GRID, machine.ranks, 4), LOAD, BOUNDARY_FIRST).total <= slow.total


def test_the_best_number_of_ranks():
    """The fastest that is at least 80 % efficient: all nodes with a fast network, fewer with a slow one."""
    leg = types.SimpleNamespace(steps=10, load=dataclasses.replace(LOAD, costs=Costs([1.0], [1e-4])))
    numbers = []
    for network in (1e15, 12e9, 1e6):
        machine = Machine(24, 4, network, 1e-9)
        made = predictions(machine, GRID, "whole", [leg], lambda part, space: 1.0 / part.nodes)
        assert [f.machine.nodes for f in made] == [1, 2, 4, 8, 16, 24]
        chosen = best(made)
        numbers.append(chosen.machine.nodes)
        assert all(f.seconds >= chosen.seconds or f.efficiency < 0.8 for f in made)
        assert chosen.seconds == pytest.approx(10 * step_times(chosen.machine, 2, chosen.parts, leg.load).total)
    assert numbers == sorted(numbers, reverse=True)
    assert (numbers[0], numbers[-1]) == (24, 1)


def test_numbers_that_leave_too_few_cells_are_left_out():
    made = predictions(Machine(11, 4, 1e9, 1e-6), SpaceGrid(1, 1.0, (100, 1), "open"), "whole", [], lambda *_: 0.0)
    assert [f.machine.nodes for f in made] == [1, 2, 4, 8]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    path = small_input(tmp_path_factory.mktemp("planned"), integrator="etd2")
    problem, _, choice = estimate.planned(loading.load(path), MPI.COMM_SELF)
    yield problem, choice
    problem.free()


def test_the_steps_timed_are_the_runs_own(planned):
    problem, choice = planned
    (leg,) = measured_legs(problem, choice, 4)
    assert timed_shapes(problem.space, 4) == [(6, 1), (24, 1)]
    assert list(leg.load.costs.points) == [6, 24]
    assert min(leg.load.costs.seconds) > 0
    assert leg.steps == len(choice.plan.steps)
    assert leg.load.exchanges == SCHEMES["etd2"].evaluations
    assert leg.load.halo_bytes == leg.load.state_bytes == 8 * problem.angles.count * problem.cells.size


def test_implicit_steps_are_timed_too(planned):
    problem, choice = planned
    short = dataclasses.replace(choice, integrator="ars443", plan=dataclasses.replace(choice.plan, end=0.5))
    (leg,) = measured_legs(problem, short, 8)
    assert leg.load.exchanges >= 4  # explicit stages of a scheme of order 3
    assert leg.load.order is None


def test_a_block_of_the_middle_copies_its_own_edges():
    folded, whole = GRIDS["folded"], GRIDS["reflecting"]
    corner, middle = LoneBlock(folded, (2, 3), (8, 6)), LoneBlock(whole, (2, 3), (8, 6))
    assert (corner.x, corner.y) == (slice(0, 8), slice(0, 6))
    assert (middle.x, middle.y) == (slice(8, 16), slice(17, 23))
    halo, u = Halo(middle, (2, 3)), np.random.default_rng(1).random((8, 6, 2, 3))
    halo.start(u)
    halo.finish()
    assert halo.bytes_sent == 0
    assert np.array_equal(halo.ghosts[1][0], u[:, -HALO:])


def test_memory_of_a_node_elsewhere(planned):
    """State and buffers are those of the largest rank there; memory that ranks share counts once in a node."""
    problem, choice = planned
    here, one = estimate.predict(problem, choice, MPI.COMM_SELF), estimate.predict_elsewhere(problem, choice, 1, 1)
    assert (one.state, one.buffers, one.operators) == (here.state, here.buffers, here.operators)
    eight = estimate.predict_elsewhere(problem, choice, 8, 4)
    assert eight.state == here.state / 8
    assert eight.operators == here.operators
    assert eight.node < 4 * (eight.program + eight.state + eight.buffers) + eight.operators
    assert eight.node > 4 * (eight.state + eight.buffers + estimate.LATER) + eight.operators


def machine_words(nodes="2", cores="4", network="12GB/s", **more):
    options = {"nodes": nodes, "cores": cores, "network": network, **more}
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


@pytest.mark.parametrize("ranks", [8, 16])
def test_check_predicts_scaling(tmp_path, ranks):
    """24 cells, folded, on 8 ranks; 16 ranks hold the whole sample."""
    words = machine_words(
        cores=str(ranks // 2), network="'100 Gbit/s'".strip("'"), latency="1.5us", memory_bandwidth="300GB/s", jitter="1percent"
    )
    ran = hpcwigner("check", small_input(tmp_path), *words)
    assert ran.returncode == 0, ran.stderr
    lines = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines() if not line.startswith("prediction"))
    assert f"on {ranks} ranks ({ranks}×1)" in lines["unknowns"]
    assert ("folded" in lines["unknowns"]) == (ranks == 8)
    assert f"on a node with {ranks // 2} ranks" in lines["memory"]
    assert "network 12.5 GB/s, 1.5 µs, memory 300 GB/s; jitter 1 %" in lines["machine"]
    assert lines["halo"].startswith("3 exchanges of 3 layers")
    assert "3×1 cells per rank" in lines["step"]
    assert "not measured on that machine" in lines["model"]
    assert "rank" in lines["best"]
    assert [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("prediction")] == [str(ranks // 2), str(ranks)]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (machine_words(nodes="0"), "--nodes: found '0', expected a whole number above 0"),
        (machine_words(cores="2.5"), "--cores: found '2.5', expected a whole number above 0"),
        (machine_words(nodes=""), "--nodes: found ''"),
        (machine_words(network=None), "--network: missing"),
        (["--latency=2us"], "--nodes: missing"),
        (machine_words(network="12"), "--network: found '12', expected a unit, such as '12 GB/s'"),
        (machine_words(network="12 GB"), "(GB does not convert to GB/s)"),
        (machine_words(network="12 parsnips/s"), "--network: found '12 parsnips/s', expected a number with a unit"),
        (machine_words(network="0 GB/s"), "--network: found '0 GB/s', expected a value above 0"),
        (machine_words(latency="2 nm"), "--latency: found '2 nm'"),
        (machine_words(memory_bandwidth="nan GB/s"), "--memory-bandwidth: found 'nan GB/s'"),
        (machine_words(jitter="-1 percent"), "--jitter: found '-1 percent'"),
        (machine_words(jitter="0.01"), "--jitter: found '0.01', expected a unit, such as '0.01 percent'"),
        (machine_words(nodes="5"), "--nodes, --cores: found 20 ranks for 48 cells, expected at most 16 ranks"),
        (machine_words(nodes="9" * 30), "expected at most 16 ranks"),
        ([*machine_words(), "--set", "sweep={vary: {temperature: [20 K, 40 K]}}"], "sweep: found an input with a sweep"),
    ],
)
def test_wrong_machines_are_refused_in_one_line(tmp_path, words, expected):
    ran = hpcwigner("check", small_input(tmp_path), *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert expected in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_number_without_factors_that_fit_is_refused(tmp_path):
    """23 ranks could only stand in a row, of 16 cells."""
    path = small_input(tmp_path, space="{dimensions: 2, length: 4 um, cells: 16, symmetry: whole}")
    ran = hpcwigner("check", path, *machine_words(nodes="23", cores="1"))
    assert ran.returncode == 2
    assert "--nodes, --cores: found 16×16 cells on 23 ranks, expected at least 3 cells per rank" in ran.stderr


def test_memory_traffic_of_implicit_schemes_is_not_guessed(tmp_path):
    ran = hpcwigner("check", small_input(tmp_path, integrator="ars443"), *machine_words(memory_bandwidth="300 GB/s"))
    assert ran.returncode == 2
    assert "--memory-bandwidth: found integrator ars443, expected one of etd2, etd3, etd2_dense, etd3_dense" in ran.stderr
