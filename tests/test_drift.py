"""The drift on one rank: exact eigenvalues, order, conservation, walls."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.exciton.phonons import ValleyState
from hpcwigner.exciton.wavefunctions import ExponentialState
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.stencil import runge_kutta, stability_limit, symbol, upwind_derivative
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.term import State

SPEED = np.array([0.5, 1.0, 7.0])


def drift_on(shape, boundary, comm=MPI.COMM_SELF):
    """Drift of three cells with the speeds SPEED, and its decomposition."""
    dimensions = 1 if shape[1] == 1 else 2
    valley = ValleyState("K", 0.0, 1, 0.5, 0.5, 0.5, ExponentialState(1.0))
    ones = np.ones(len(SPEED))
    equilibrium = Equilibrium(EnergyCells((valley,), SPEED.shape, (3.0,)), 300.0).with_values(ones, SPEED, ones)
    drift = Drift(equilibrium, Angles(8, half=dimensions == 1), SpaceGrid(dimensions, 10.0, shape, boundary))
    decomposition = Decomposition(drift.grid, comm, (drift.angles.count, len(SPEED)))
    drift.distribute(decomposition)
    return drift, decomposition


def rate(drift, u):
    """−v·∇u of u (x, y, angle, cell)."""
    points = u.reshape(-1, *u.shape[2:])
    none = np.zeros((len(points), 0))
    out = State(np.zeros_like(points), none)
    drift.add(0.0, State(points, none), out)
    return out.u.reshape(u.shape)


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
    drift, decomposition = drift_on((48, 40), "periodic")
    angles, grid = drift.angles, drift.grid
    kx, ky = 2 * np.pi * 2 / grid.length, 2 * np.pi / grid.length
    x, y = grid.centers(0)[:, None, None, None], grid.centers(1)[None, :, None, None]
    wave = np.sin(kx * x + ky * y) + np.zeros(decomposition.local_shape)
    along = (angles.cosine * kx + angles.sine * ky)[:, None] * SPEED
    assert np.abs(rate(drift, wave) + along * np.cos(kx * x + ky * y)).max() < 2e-4 * np.abs(along).max()


@pytest.mark.parametrize("shape", [(20, 1), (13, 9)])
@pytest.mark.parametrize("boundary", ["periodic", "reflecting"])
def test_closed_samples_lose_nothing(shape, boundary):
    drift, decomposition = drift_on(shape, boundary)
    out = rate(drift, np.random.default_rng(3).random(decomposition.local_shape))
    assert np.abs(out.sum(axis=(0, 1, 2))).max() < 1e-12 * np.abs(out).sum()


def advance(drift, u, time, step):
    """Runge-Kutta of order 3 with drift alone."""
    for _ in range(round(time / step)):
        k1 = rate(drift, u)
        k2 = rate(drift, u + 0.5 * step * k1)
        k3 = rate(drift, u + step * (2 * k2 - k1))
        u = u + step / 6 * (k1 + 4 * k2 + k3)
    return u


def packet(decomposition, center, angle):
    x = decomposition.grid.centers(0)[:, None]
    u = np.zeros(decomposition.local_shape)
    u[:, :, angle, 1] = np.exp(-((x - center) ** 2) / 0.5)
    return u


def test_reflecting_wall_throws_a_packet_back():
    drift, decomposition = drift_on((200, 1), "reflecting")
    half_turn = drift.angles.number // 2
    u = advance(drift, packet(decomposition, 2.0, 0), time=6.0, step=0.02)  # 3 to the wall at 5, 3 back
    expected = packet(decomposition, 2.0, half_turn)
    assert np.abs(u - expected).max() < 1e-3
    assert u.sum() == pytest.approx(expected.sum(), rel=1e-12)


def test_open_edge_lets_a_packet_go():
    drift, decomposition = drift_on((200, 1), "open")
    u = advance(drift, packet(decomposition, 2.0, 0), time=8.0, step=0.02)
    assert np.abs(u).max() < 1e-3


def test_stability_limits():
    """Order 3 reaches 1.435 (Wang & Spiteri, SIAM J. Numer. Anal. 45, 1871 (2007)); order 2 is weakly unstable."""
    assert stability_limit(runge_kutta(3)) == pytest.approx(1.435, abs=2e-3)
    assert stability_limit(runge_kutta(2)) < 0.1


def test_process_grids():
    assert process_grid((128, 1), 1, 4) == (4, 1)
    assert process_grid((64, 64), 2, 4) == (2, 2)
    assert process_grid((64, 64), 2, 2) == (2, 1)
    assert process_grid((12, 600), 2, 8) == (1, 8)
    with pytest.raises(DecompositionError, match="at least 3"):
        process_grid((10, 1), 1, 4)
    with pytest.raises(DecompositionError):
        process_grid((6, 6), 2, 7)
