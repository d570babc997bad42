"""Which rank holds which block: the ranks of a node hold a rectangle of blocks that is as square as possible.

Two of three messages of a rank then stay on the node. How many ranks there are along each axis does not depend on this.
"""

from collections import Counter
from collections.abc import Sequence
from typing import cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.runtime.parallel import node_numbers
from hpcwigner.space.grid import SpaceGrid, process_grid


def rectangle(shape: tuple[int, int], processes: tuple[int, int], ranks_on_node: int) -> tuple[int, int] | None:
    """Ranks of a node along x and y that leave the fewest cells at faces to other nodes; None if no rectangle divides the grid.

    `shape` is the number of cells and `processes` that of ranks along x and y.
    """
    choices = [(x, ranks_on_node // x) for x in range(ranks_on_node, 0, -1) if ranks_on_node % x == 0]
    dividing = [c for c in choices if processes[0] % c[0] == 0 and processes[1] % c[1] == 0]

    def between(choice: tuple[int, int]) -> tuple[int, bool]:
        """Cells at faces to other nodes, and whether a rank may have such faces along both axes."""
        x, y = processes[0] // choice[0], processes[1] // choice[1]
        return (x - (x == 1)) * shape[1] + (y - (y == 1)) * shape[0], x > 1 and y > 1

    return min(dividing, key=between, default=None)


def nodes_of_blocks(shape: tuple[int, int], processes: tuple[int, int], ranks_on_node: int) -> NDArray[np.int64]:
    """The node of each block, shape `processes`, where nodes hold equally many: rectangles, or else consecutive blocks."""
    size = rectangle(shape, processes, ranks_on_node)
    if size is None:
        return (np.arange(processes[0] * processes[1]) // ranks_on_node).reshape(processes)
    x, y = np.indices(processes)
    return np.asarray((x // size[0]) * (processes[1] // size[1]) + y // size[1])


def blocks_of_ranks(shape: tuple[int, int], processes: tuple[int, int], nodes: Sequence[int]) -> list[int]:
    """The block of each rank, counted along y first; `nodes` are the ranks' nodes.

    Ranks keep the block of their own number where nodes differ in their ranks.
    """
    counts = set(Counter(nodes).values())
    if len(counts) > 1 or counts == {1} or len(set(nodes)) == 1:
        return list(range(len(nodes)))
    of_blocks = nodes_of_blocks(shape, processes, counts.pop()).reshape(-1)
    free = {node: iter(np.flatnonzero(of_blocks == number)) for number, node in enumerate(dict.fromkeys(nodes))}
    return [int(next(free[node])) for node in nodes]


def placed(comm: MPI.Intracomm, grid: SpaceGrid) -> MPI.Intracomm:
    """The same ranks, numbered by the blocks that they are to hold; rank 0 stays rank 0. To be freed. Collective."""
    processes = process_grid(grid.shape, grid.dimensions, comm.size)
    return cast(MPI.Intracomm, comm.Split(0, blocks_of_ranks(grid.shape, processes, node_numbers(comm))[comm.rank]))
