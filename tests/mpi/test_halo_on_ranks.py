"""Ghost cells between ranks: messages and shared memory give the same bits, and only what stencils read is moved."""

import itertools
import types

import numpy as np
import pytest
from mpi4py import MPI
from test_walls import hills
from walled import Sample

from hpcwigner.integrators.exponential import ETD2, ETD3
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.runtime import parallel
from hpcwigner.runtime.parallel import NodeWindow, node_numbers
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.terms.term import State

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
PLACES = {
    "one node": (0,) * COMM.size,
    "a node per rank": tuple(range(COMM.size)),
    "pairs": tuple(rank // 2 for rank in range(COMM.size)),
    "in turn": tuple(rank % 2 for rank in range(COMM.size)),
}


PROBLEMS = [
    (ETD2, (29, 1), "open"), (ETD3, (29, 1), "periodic"), (ETD2, (14, 13), "periodic"), (ETD3, (14, 13), "reflecting"),
    (ETD2, (31, 9), "reflecting"), (ETD3, (31, 9), "periodic"), (ETD3, (31, 9), "open"),
]  # fmt: skip
CASES = [(*case, (number + COMM.size // 4) % 2 == 1) for number, case in enumerate(PROBLEMS)]
"""With a landscape or without it: the one on two and three ranks, the other on four."""


if COMM.size > 1:

    @pytest.mark.parametrize(("scheme", "shape", "boundary", "landscape"), CASES)
    def test_places_of_ranks_do_not_change_a_bit(generator, scheme, shape, boundary, landscape):
        """Three whole steps from random numbers, with the ranks on one node and on several."""
        grid = SpaceGrid(1 if shape[1] == 1 else 2, 25.0 * shape[0], shape, boundary)
        energies = hills(grid, generator.equilibrium.thermal_energy) if landscape else None
        u = np.random.default_rng(7).random((*shape, *(Sample(generator, grid).decomposition.per_point)))
        u *= generator.equilibrium.population
        results = []
        for nodes in dict.fromkeys(PLACES.values()):  # on two ranks some are the same
            sample = Sample(generator, grid, COMM, energies, scheme, nodes=nodes)
            mine = np.ascontiguousarray(sample.decomposition.local(u))
            results.append(sample.after(mine, 3).copy())
            halo = sample.drift.halo
            assert halo.bytes_shared == 0 or nodes.count(nodes[COMM.rank]) > 1
            assert (halo.bytes_sent + halo.bytes_shared > 0) == (COMM.size > 1)
            if nodes == PLACES["one node"]:
                assert halo.bytes_sent == 0
            sample.free()
        for other in results[1:]:
            assert np.array_equal(other, results[0])


def test_what_is_sent_is_what_stencils_read(generator):
    """35/16 layers on average of 16 angles instead of 3; all three of directions that move along the axis in a landscape."""
    grid = SpaceGrid(2, 500.0, (4 * COMM.size, 8), "periodic")
    hilly = hills(grid, generator.equilibrium.thermal_energy)
    for landscape, layers in ((None, {1: 3, -1: 2, 0: 0}), (hilly, {1: 3, -1: 3, 0: 0})):
        sample = Sample(generator, grid, COMM, landscape, nodes=PLACES["a node per rank"])
        row = 8 * generator.equilibrium.cells.size
        expected = 0
        for axis, side in sample.drift.halo.remote:
            across = sample.decomposition.local_shape[1 - axis]
            # What leaves on the upper side is upstream of the neighbour's excitons that move up.
            towards = np.sign((sample.angles.cosine, sample.angles.sine)[axis]) * (1 if side else -1)
            expected += across * row * sum(layers[int(sign)] for sign in towards)
        assert sample.drift.halo.bytes_sent == expected
        sample.free()


def test_ghost_cells_travel_ahead(generator):
    """After a step the outermost layers of its result are sent already, and a state that was changed meanwhile is noticed."""
    grid = SpaceGrid(2, 500.0, (4 * COMM.size, 8), "periodic")
    sample = Sample(generator, grid, COMM, scheme=ETD2, nodes=PLACES["in turn"])
    operators = StepOperators(ETD2, [generator], [], 0.005, sample.equation.orders, COMM)
    state = State(np.random.default_rng(COMM.rank).random(sample.equation.shape), np.zeros((sample.equation.shape[0], 0)))
    integrator, halo = ETD2(sample.equation), sample.drift.halo
    sent = []
    integrator.step(state, 0.0, operators, ())
    send, halo.send = halo.send, lambda u, faces: (sent.extend(faces), send(u, faces))
    integrator.step(state, 0.0, operators, ())
    # Both evaluations find what they need under way; each sends ahead for the next one.
    assert sorted(sent) == sorted(2 * list(halo.remote))
    halo.finish()
    for face in halo.remote:
        assert halo.arrived([face])
    if COMM.size > 1:
        state.u[...] *= 0.5
        with pytest.raises(RuntimeError, match="changed after its ghost cells were sent"):
            integrator.step(state, 0.0, operators, ())
        sample.equation.discard_sent()
        integrator.step(state, 0.0, operators, ())
    operators.free()
    sample.free()


def test_faces_to_other_nodes_come_first(generator):
    """The chunks of points are the same wherever ranks are, and those beside other nodes have the first turn."""
    grid = SpaceGrid(2, 500.0, (20 * max(1, COMM.size // 2), 22), "periodic")
    chunks = {}
    for name in ("one node", "in turn"):
        sample = Sample(generator, grid, COMM, nodes=PLACES[name])
        outer, inner = sample.equation._divided(8)
        away = [sample.drift.halo.of_other_nodes(chunk.faces) for chunk in outer]
        assert away == sorted(away, reverse=True)
        chunks[name] = sorted(tuple(chunk.points) for chunk in itertools.chain(outer, inner))
        assert sorted(itertools.chain(*chunks[name])) == list(range(sample.equation.shape[0]))
        assert sorted(face for chunk in outer for face in chunk.completes) == sorted(sample.drift.halo.remote)
        sample.free()
    assert chunks["one node"] == chunks["in turn"]


@pytest.mark.parametrize("reason", ["no room", "not supported"])
def test_messages_where_memory_cannot_be_shared(generator, monkeypatch, reason):
    """The same numbers, by messages."""
    grid = SpaceGrid(2, 500.0, (4 * COMM.size, 8), "periodic")
    whole = np.random.default_rng(1).random((*grid.shape, *Sample(generator, grid).decomposition.per_point))
    results = []
    for available in (True, False):
        if not available and reason == "no room":
            monkeypatch.setattr(parallel.os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=1, f_frsize=4096))
        elif not available:
            monkeypatch.setattr(NodeWindow, "__init__", unavailable)
        sample = Sample(generator, grid, COMM, part=1e-3, nodes=PLACES["one node"])
        monkeypatch.undo()
        if COMM.size > 1:
            assert (sample.drift.halo.bytes_shared > 0) == available
            assert (sample.drift.halo.bytes_sent > 0) == (not available)
        results.append(sample.after(np.ascontiguousarray(sample.decomposition.local(whole)), 3).copy())
        sample.free()
    assert np.array_equal(*results)


def unavailable(self, node, numbers):
    raise MPI.Exception(MPI.ERR_RMA_SHARED)


def test_nodes_are_numbered_by_their_first_ranks():
    nodes = node_numbers(COMM)
    assert len(nodes) == COMM.size
    assert nodes[0] == 0
    assert set(nodes) == set(range(max(nodes) + 1))


if COMM.size % 2 == 0:

    @pytest.mark.slow
    def test_halos_free_their_memory(generator):
        """Twenty halos in turn: neither requests nor windows nor communicators run out; freeing twice is harmless."""
        grid = SpaceGrid(2, 500.0, (4 * COMM.size, 8), "periodic")
        for number in range(20):
            sample = Sample(generator, grid, COMM, nodes=PLACES["pairs" if number % 2 else "a node per rank"])
            sample.drift.halo.start(np.ones(sample.decomposition.local_shape))
            sample.drift.halo.finish()
            halo = sample.drift.halo
            requests = [request for messages in halo._away.values() for request in messages._requests]
            sample.free()
            halo.free()
            assert not halo._away
            assert all(request == MPI.REQUEST_NULL for request in requests)
