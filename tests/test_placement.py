"""Ranks on nodes: squares of blocks, whatever the order in which a queue hands out the nodes."""

import itertools
import math

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.space.grid import SpaceGrid, process_grid
from hpcwigner.space.placement import blocks_of_ranks, nodes_of_blocks, placed, rectangle


def cells_between_nodes(shape, node):
    """Cells at faces to blocks of other nodes, in a periodic plane, block by block."""
    px, py = node.shape
    total = 0
    for i, j in np.ndindex(px, py):
        total += (node[i, j] != node[(i + 1) % px, j]) * shape[1] / py + (node[i, j] != node[i, (j + 1) % py]) * shape[0] / px
    return total


@pytest.mark.parametrize(
    ("shape", "ranks", "cores", "expected"),
    [
        ((128, 128), 1024, 64, (8, 8)), ((1024, 1024), 4096, 64, (8, 8)), ((512, 512), 1024, 128, (16, 8)),
        ((96, 96), 36, 6, (3, 2)), ((96, 96), 64, 4, (2, 2)), ((256, 1), 8, 4, (4, 1)), ((64, 64), 64, 64, (8, 8)),
    ],
)  # fmt: skip
def test_ranks_of_a_node_hold_squares(shape, ranks, cores, expected):
    processes = process_grid(shape, 1 if shape[1] == 1 else 2, ranks)
    found = rectangle(shape, processes, cores)
    assert sorted(found) == sorted(expected)
    node = nodes_of_blocks(shape, processes, cores)
    assert (np.bincount(node.reshape(-1)) == cores).all()
    if shape[1] > 1:
        others = []
        for x in range(1, cores + 1):  # no other rectangle has fewer
            if cores % x == 0 and processes[0] % x == 0 and processes[1] % (cores // x) == 0:
                i, j = np.indices(processes)
                others.append(cells_between_nodes(shape, (i // x) * 10000 + j // (cores // x)))
        assert cells_between_nodes(shape, node) == pytest.approx(min(others))


def test_squares_send_a_quarter_of_rows():
    """256 ranks of four nodes: 8×8 blocks of 8×8 cells against 4 rows of 16."""
    squares = nodes_of_blocks((128, 128), (16, 16), 64)
    rows = (np.arange(256) // 64).reshape(16, 16)
    assert cells_between_nodes((128, 128), squares) == 4 * 128
    assert cells_between_nodes((128, 128), rows) == 4 * 128
    many = nodes_of_blocks((1024, 1024), (64, 64), 64)
    assert cells_between_nodes((1024, 1024), many) == 16 * 1024
    assert cells_between_nodes((1024, 1024), np.arange(64 * 64).reshape(64, 64) // 64) == 64 * 1024


def test_no_rectangle_divides_the_grid():
    """Five ranks of a node in 3 × 10 blocks stand 1 × 5; in 6 × 4 they are consecutive."""
    assert rectangle((30, 100), (3, 10), 5) == (1, 5)
    assert rectangle((60, 40), (6, 4), 8) == (2, 4)
    assert rectangle((60, 44), (6, 11), 4) is None
    assert nodes_of_blocks((60, 44), (6, 11), 4).reshape(-1).tolist() == [n // 4 for n in range(66)]


@pytest.mark.parametrize("order", ["blocks", "in turn", "shuffled"])
def test_every_rank_gets_a_block_of_its_node(order):
    ranks = 64
    nodes = {"blocks": np.arange(ranks) // 16, "in turn": np.arange(ranks) % 4, "shuffled": np.arange(ranks) // 16}[order]
    if order == "shuffled":
        nodes = np.concatenate(([nodes[0]], np.random.default_rng(3).permutation(nodes[1:])))
    blocks = blocks_of_ranks((64, 96), (8, 8), nodes.tolist())
    assert sorted(blocks) == list(range(ranks))
    assert blocks[0] == 0  # the first rank writes logs and the first block
    held = np.empty(ranks, dtype=int)
    held[blocks] = nodes
    x, y = rectangle((64, 96), (8, 8), 16)
    for i, j in itertools.product(range(0, 8, x), range(0, 8, y)):
        assert len(set(held.reshape(8, 8)[i : i + x, j : j + y].reshape(-1))) == 1


@pytest.mark.parametrize("nodes", [[0] * 6, list(range(6)), [0, 0, 0, 0, 1, 1]])
def test_ranks_keep_their_blocks(nodes):
    """On one node, one rank a node, and nodes that differ."""
    assert blocks_of_ranks((36, 36), (3, 2), nodes) == list(range(6))


def test_one_rank():
    comm = placed(MPI.COMM_SELF, SpaceGrid(2, 1.0, (8, 8), "periodic"))
    assert (comm.size, comm.rank) == (1, 0)
    comm.Free()
    assert math.prod(process_grid((8, 8), 2, 1)) == 1
