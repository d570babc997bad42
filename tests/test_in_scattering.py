"""The sparse in-scattering against the product with dense matrices."""

import numpy as np
import pytest

from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.runtime import tile_kernels
from hpcwigner.runtime.arrays import flat
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.terms.generator import SparseBlocks


def blocks(cells, orders=3):
    """Diagonals of several lengths, a full last row and column, an element on its own, and rates out on the diagonal."""
    rng, made = np.random.default_rng(cells), np.zeros((orders, cells, cells))
    for block in made:
        for shift in (-5, -1, 2, cells // 2):
            block += np.diag(rng.standard_normal(cells - abs(shift)), shift)
        block[-1], block[:, -1], block[1, 4] = rng.standard_normal(cells), rng.standard_normal(cells), 0.3
        np.fill_diagonal(block, -5.0)
    return made


@pytest.mark.parametrize("points", [1, 3, 4, 6])
@pytest.mark.parametrize("cells", [8, 16, 21, 47])
def test_it_is_the_dense_product(cells, points):
    """Any number of points and cells; m = 0, slot U and points beyond those of the tile stay as they are."""
    dense, tile = blocks(cells), Tile(4, 7, 3, cells, 0)
    members = np.array([[0, -1], [1, 3], [2, -1]])
    tile.slots[...] = np.random.default_rng(1).standard_normal(tile.slots.shape)
    before, sparse = tile.slots.copy(), SparseBlocks.from_dense(dense)
    x = np.zeros((4, cells + 2 * WIDTH))
    tile_kernels.add_in_scattering(points, 7, 3, members, sparse.diagonals, sparse.rest, np.zeros((0, 0)), x, flat(tile.slots))
    expected = before.copy()
    for h, m in ((1, 1), (2, 2), (3, 1)):
        off_diagonal = dense[m] - np.diag(dense[m].diagonal())
        expected[h, :points, N] += before[h, :points, U] @ off_diagonal.T
    np.testing.assert_allclose(tile.slots, expected, rtol=0, atol=1e-13 * cells)
    assert sparse.nonzeros(1) == np.count_nonzero(dense[1]) - cells
