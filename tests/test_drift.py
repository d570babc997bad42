"""The drift on one rank: exact eigenvalues, order, conservation, walls."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.momentum.angles import Angles
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.stencil import runge_kutta, stable_step, symbol, upwind_derivative
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.term import State

SPEED = np.array([0.5, 1.0, 7.0, *np.linspace(0.3, 5.0, 8)])  # no multiple of the length of a vector


class Speeds:
    """Stands for an Equilibrium: cells with given speeds."""

    velocity = SPEED


class DriftOn:
    """A drift distributed over ranks, applied to arrays (x, y, angle, cell)."""

    def __init__(self, grid, angles, comm):
        self.decomposition = Decomposition(grid, comm, (angles.count, len(SPEED)))
        self.drift = Drift(Speeds(), angles, grid)
        self.drift.distribute(self.decomposition)
        self.courant_rate = float(self.drift.courant_rate().max())

    def apply(self, u, out):
        out[...] = 0.0
        flat = u.reshape(-1, *u.shape[2:]), out.reshape(-1, *out.shape[2:])
        self.drift.add(0.0, *(State(array, np.zeros((len(array), 0))) for array in flat))


def drift_on(shape, boundary, comm=MPI.COMM_SELF, angles_number=8):
    dimensions = 1 if shape[1] == 1 else 2
    angles = Angles(angles_number, half=dimensions == 1)
    grid = SpaceGrid(dimensions, 10.0, shape, boundary)
    return DriftOn(grid, angles, comm), angles, grid


@pytest.mark.parametrize("mode", [1, 3, 8, 15])
def test_eigenvalues_are_those_of_the_stencil(mode):
    phase = 2 * np.pi * mode / 32
    index = np.arange(32)
    derivative = upwind_derivative(np.cos(phase * index)) + 1j * upwind_derivative(np.sin(phase * index))
    assert np.abs(derivative - symbol(np.array(phase)) * np.exp(1j * phase * index)).max() < 1e-13


def test_order_is_five_and_damping_has_the_right_sign():
    errors = [abs(symbol(np.array(k)) / (1j * k) - 1) for k in (0.2, 0.1)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.2)
    assert np.all(symbol(np.linspace(0, np.pi, 50)).real >= -1e-15)


def test_polynomials_up_to_degree_five_are_exact():
    """This is why the discrete spatial moments close."""
    x = np.arange(40.0) - 20
    for degree in range(6):
        derivative = upwind_derivative((x / 10) ** degree)[6:-6]
        assert derivative == pytest.approx((degree * (x / 10) ** max(degree - 1, 0) / 10)[6:-6], abs=1e-12)


def test_plane_wave_in_two_dimensions_moves_with_the_velocity_of_its_angle():
    drift, angles, grid = drift_on((48, 40), "periodic")
    kx, ky = 2 * np.pi * 2 / grid.length, 2 * np.pi / grid.length
    x, y = grid.centers(0)[:, None, None, None], grid.centers(1)[None, :, None, None]
    wave = np.sin(kx * x + ky * y) + np.zeros(drift.decomposition.local_shape)
    out = np.empty_like(wave)
    drift.apply(wave, out)
    along = (angles.cosine * kx + angles.sine * ky)[:, None] * SPEED
    assert np.abs(out + along * np.cos(kx * x + ky * y)).max() < 2e-4 * np.abs(along).max()


@pytest.mark.parametrize("shape", [(20, 1), (13, 9)])
@pytest.mark.parametrize("boundary", ["periodic", "reflecting"])
def test_closed_samples_lose_nothing(shape, boundary):
    drift, _, _ = drift_on(shape, boundary)
    u = np.random.default_rng(3).random(drift.decomposition.local_shape)
    out = np.empty_like(u)
    drift.apply(u, out)
    assert np.abs(out.sum(axis=(0, 1, 2))).max() < 1e-12 * np.abs(out).sum()


def advance(drift, u, time, step):
    """Runge-Kutta of order 3 with drift alone."""
    k1, k2, k3 = (np.empty_like(u) for _ in range(3))
    for _ in range(round(time / step)):
        drift.apply(u, k1)
        drift.apply(u + 0.5 * step * k1, k2)
        drift.apply(u + step * (2 * k2 - k1), k3)
        u = u + step / 6 * (k1 + 4 * k2 + k3)
    return u


def packet(drift, grid, center, angle):
    x = grid.centers(0)[:, None]
    u = np.zeros(drift.decomposition.local_shape)
    u[:, :, angle, 1] = np.exp(-((x - center) ** 2) / 0.5)
    return u


def test_reflecting_wall_throws_a_packet_back():
    drift, angles, grid = drift_on((200, 1), "reflecting")
    half_turn = angles.number // 2
    u = advance(drift, packet(drift, grid, 2.0, 0), time=6.0, step=0.02)  # 3 to the wall at 5, 3 back
    expected = packet(drift, grid, 2.0, half_turn)
    assert np.abs(u - expected).max() < 1e-3
    assert u.sum() == pytest.approx(expected.sum(), rel=1e-12)


def test_open_edge_lets_a_packet_go():
    drift, _, grid = drift_on((200, 1), "open")
    u = advance(drift, packet(drift, grid, 2.0, 0), time=8.0, step=0.02)
    assert np.abs(u).max() < 1e-3


def test_stability_limits():
    """Order 3 reaches 1.435 (Wang & Spiteri, SIAM J. Numer. Anal. 45, 1871 (2007)); order 2 is weakly unstable."""
    one, no_decay = np.ones(1), np.zeros(1)
    assert stable_step(runge_kutta(3), one, no_decay) == pytest.approx(1.435, abs=2e-3)
    assert stable_step(runge_kutta(2), one, no_decay) < 0.1


def test_process_grids():
    assert process_grid((128, 1), 1, 4) == (4, 1)
    assert process_grid((64, 64), 2, 4) == (2, 2)
    assert process_grid((64, 64), 2, 2) == (2, 1)
    assert process_grid((12, 600), 2, 8) == (1, 8)
    with pytest.raises(DecompositionError, match="at least 3"):
        process_grid((10, 1), 1, 4)
    with pytest.raises(DecompositionError):
        process_grid((6, 6), 2, 7)
