"""Angular transforms against the full matrices."""

import numpy as np
import pytest

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.harmonics import CACHE, AngularSums, AngularTransform
from hpcwigner.momentum.tile import Tile

ANGLES = [Angles(number, half) for number in (4, 8, 16, 20, 36) for half in (True, False)]


def problem(angles, points=5, cells=37):
    """A transform, a random state and random slots."""
    rng = np.random.default_rng(angles.number)
    state = rng.standard_normal((points, angles.count, cells))
    return AngularTransform(angles, cells), state, rng.standard_normal((angles.count, points, 3, cells))


@pytest.mark.parametrize("angles", ANGLES)
def test_forward_is_the_full_matrix(angles):
    transform, state, slots = problem(angles)
    before = slots.copy()
    expected = np.einsum("mk,pkc->mpc", angles.to_harmonics, state)
    transform.forward(state, slots, 1)
    assert slots[:, :, 1] == pytest.approx(expected, rel=0, abs=1e-13)
    assert np.array_equal(slots[:, :, ::2], before[:, :, ::2])


@pytest.mark.parametrize("angles", ANGLES)
def test_backward_is_its_inverse(angles):
    transform, state, _ = problem(angles)
    harmonics = np.einsum("mk,pkc->mpc", angles.to_harmonics, state)
    out = np.full_like(state, np.nan)
    transform.backward(harmonics, out)
    assert out == pytest.approx(state, rel=0, abs=1e-13)


@pytest.mark.parametrize("angles", ANGLES)
def test_chosen_points_fill_the_first_places_of_a_tile(angles):
    """Both ways, and nothing else is touched."""
    transform, state, slots = problem(angles)
    before, points = slots.copy(), np.array([3, 0])
    transform.forward(state, slots, 2, points)
    expected = np.einsum("mk,pkc->mpc", angles.to_harmonics, state[points])
    assert slots[:, :2, 2] == pytest.approx(expected, rel=0, abs=1e-13)
    assert np.array_equal(slots[:, 2:], before[:, 2:])
    out = np.full_like(state, np.nan)
    transform.backward(np.ascontiguousarray(slots[:, :, 2]), out, points)
    assert out[points] == pytest.approx(state[points], rel=0, abs=1e-13)
    assert np.isnan(out[[1, 2, 4]]).all()


@pytest.mark.parametrize("half", [True, False])
def test_points_are_transformed_alike_in_any_company(half):
    """Bitwise: results may not depend on how points are dealt to ranks."""
    angles, cells = Angles(16, half), 101
    points = 2 * CACHE // (8 * angles.count * cells) + 3  # three blocks, the last not full
    transform, state, slots = problem(angles, points, cells)
    transform.forward(state, slots, 0)
    out = np.empty_like(state)
    transform.backward(np.ascontiguousarray(slots[:, :, 0]), out)
    for some in (slice(0, 1), slice(1, points - 1), slice(points - 4, points)):
        part = np.zeros((angles.count, some.stop - some.start, 1, cells))
        transform.forward(state[some], part, 0)
        assert np.array_equal(part[:, :, 0], slots[:, some, 0])
        back = np.empty_like(state[some])
        transform.backward(part[:, :, 0], back)
        assert np.array_equal(back, out[some])


@pytest.mark.parametrize("half", [True, False])
def test_a_small_cell_is_not_lost_beside_large_ones(half):
    """Columns do not mix: a valley that holds 1e-13 of all excitons keeps its digits."""
    angles = Angles(16, half)
    transform, state, slots = problem(angles)
    state[:, :, 7] *= 1e-13
    transform.forward(state, slots, 0)
    expected = np.einsum("mk,pkc->mpc", angles.to_harmonics, state)
    assert slots[:, :, 0, 7] == pytest.approx(expected[:, :, 7], rel=0, abs=1e-26)


@pytest.mark.parametrize("angles", ANGLES)
def test_sums_over_angles(angles):
    _, state, _ = problem(angles)
    weights = np.stack((np.ones(angles.count), angles.cosine, angles.sine))
    expected = np.einsum("sk,pkc->spc", weights, state)
    out = np.full_like(expected, np.nan)
    assert AngularSums(weights)(state, out) is out
    assert out == pytest.approx(expected, rel=0, abs=1e-13)
    assert np.array_equal(AngularSums(weights)(state[2:4]), out[:, 2:4])
    assert AngularSums(weights[:1])(state) == pytest.approx(expected[:1], rel=0, abs=1e-13)


@pytest.mark.parametrize("subtracted", [False, True])
@pytest.mark.parametrize("onto", [-1, 0])
@pytest.mark.parametrize("angles", ANGLES)
def test_a_pending_sum_is_stored_as_if_it_had_been_made(angles, onto, subtracted):
    """Diagonal weights for m ≥ 1, the order 0 of the result as it stands."""
    rng, cells, points = np.random.default_rng(3), 21, np.array([4, 0, 3])
    transform, state, _ = problem(angles, cells=cells)
    tile = Tile(angles.count, 4, 3, cells, 0)
    tile.slots[...], tile.result[...] = rng.standard_normal(tile.slots.shape), rng.standard_normal(tile.result.shape)
    tile.points, weights = points, rng.standard_normal((max(angles.orders) + 1, 2, cells))
    orders = np.array(angles.orders)
    minus = rng.standard_normal((6, angles.count, cells)) if subtracted else np.zeros((0, 0, 0))
    given = tile.slots[:, :3, 1:].copy()
    given[:, :, 0] -= np.moveaxis(minus[points], 0, 1) if subtracted else 0
    expected = np.einsum("hsc,hpsc->hpc", weights[orders], given)
    expected[orders == 0] = tile.result[orders == 0, :3]
    expected += tile.slots[:, :3, onto] if onto >= 0 else 0
    tile.pending = 1, orders, weights, onto, minus
    before = state.copy()
    transform.store(tile, state)
    assert state[points] == pytest.approx(np.einsum("km,mpc->pkc", angles.from_harmonics, expected), rel=0, abs=1e-13)
    assert np.array_equal(state[[1, 2]], before[[1, 2]])
    tile.complete()
    assert tile.result[:, :3] == pytest.approx(expected, rel=0, abs=1e-13)
