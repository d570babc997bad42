"""The exponential schemes on problems whose answer is known."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.integrators.exponential import ETD2, ETD3, StepOperators
from hpcwigner.integrators.semilinear import apply_blocks
from hpcwigner.momentum.angles import Angles
from hpcwigner.reference.moments import MomentSystem
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.equation import WignerSystem
from hpcwigner.terms.scattering import Scattering


class OneDrift(MomentSystem):
    """Every row drifts by itself: N(u) = μ u."""

    rate = 0.7

    def explicit(self, state, out):
        out[...] = self.rate * state


@pytest.mark.parametrize("scheme", [ETD2, ETD3])
def test_amplification_is_that_of_the_step(scheme, scattering):
    """On an eigenvector of L_1 the step multiplies by amplification(decay, μh)."""
    block = scattering.blocks[1]
    scale = np.sqrt(scattering.equilibrium.population)
    values, vectors = np.linalg.eigh(0.5 * (block * scale / scale[:, None] + (block * scale / scale[:, None]).T))
    system, h = OneDrift(scattering.equilibrium.velocity, 1.0), 0.1
    operators = StepOperators(scheme, scattering, h, system.orders, MPI.COMM_SELF)
    for k in (0, len(values) // 2, len(values) - 1):
        u = np.zeros(system.shape)
        u[0, 1] = vectors[:, k] * scale
        expected = scheme.amplification(-values[k] * h, np.array(system.rate * h)) * u[0, 1]
        scheme(system).step(u, operators, None)
        assert u[0, 1] / scale == pytest.approx(expected / scale, abs=1e-10)  # the norm in which eigenvectors are accurate
    operators.free()


@pytest.mark.parametrize("scheme", [ETD2, ETD3])
def test_without_decay_it_is_a_runge_kutta_method(scheme):
    z = 0.1 * np.exp(1j * np.linspace(0, np.pi, 7))
    taylor = sum(z**k / [1, 1, 2, 6][k] for k in range(scheme.order + 1))
    assert scheme.amplification(0.0, z) == pytest.approx(taylor, rel=1e-13)


def wigner_system(scattering, cells=(20, 18), boundary="open"):
    angles, grid = Angles(8, half=cells[1] == 1), SpaceGrid(1 if cells[1] == 1 else 2, 3000.0, cells, boundary)
    decomposition = Decomposition(grid, MPI.COMM_SELF, (angles.count, scattering.cells.size))
    return WignerSystem(decomposition, angles, scattering.equilibrium, grid.gaussian(1e5))


@pytest.mark.parametrize("cells", [(20, 18), (64, 1), (7, 7)])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_drift_goes_into_harmonics_as_in_two_passes(scattering, cells, boundary):
    system = wigner_system(scattering, cells, boundary)
    points, rows, width = system.shape
    rng = np.random.default_rng(5)
    u = rng.standard_normal(system.shape)
    slots = rng.standard_normal((rows, points, 3, width))
    expected, drift = slots.copy(), np.empty_like(u)
    system.explicit(u, drift)
    system.to_harmonics(drift, expected, 2, 2.0, 0)
    system.to_harmonics(u, expected, 1)
    system.explicit_to_harmonics(u, slots, 2, 2.0, minus=0, own=1)
    assert slots == pytest.approx(expected, rel=0, abs=1e-13 * np.abs(drift).max())


@pytest.mark.parametrize("scheme", [ETD2, ETD3])
def test_steps_allocate_nothing_of_the_states_size(scattering, scheme):
    """Work arrays are made once; a step may only allocate lists of points, and what one edge of the sample needs."""
    import tracemalloc

    system = wigner_system(scattering, (40, 40), "periodic")
    integrator = scheme(system)
    operators = StepOperators(scheme, scattering, 0.01, system.orders, MPI.COMM_SELF)
    u = np.ones(system.shape)
    integrator.step(u, operators, None)
    tracemalloc.start()
    integrator.step(u, operators, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.05 * u.nbytes  # NumPy keeps a buffer of 0.2 MB
    operators.free()


def test_uncoupled_parts_give_the_whole_product(scattering):
    """Products by parts against the full ones with the same matrices, for several slots and more points than fit a cache."""
    rng = np.random.default_rng(5)
    cells, slots, points = scattering.cells.size, 3, 3000
    parts = ((slice(0, cells),), scattering.cells.slices)
    blocks = rng.random((2, slots, cells, cells))
    blocks[1][:, np.not_equal.outer(scattering.cells.valley_of_cell, scattering.cells.valley_of_cell)] = 0.0
    vectors = rng.random((2, points, slots, cells))
    found, expected = np.empty((2, 2, points, cells))
    apply_blocks(blocks.reshape(2, slots * cells, cells), (0, 1), vectors, found, parts)
    apply_blocks(blocks.reshape(2, slots * cells, cells), (0, 1), vectors, expected)
    assert found == pytest.approx(expected, rel=1e-12)


def test_propagators_keep_uncoupled_valleys_apart(rates, light_cone):
    """Exactly: what is cut from L does not come back in its functions, and orders 0 and 1 are never cut."""
    scattering = Scattering.build(rates, light_cone)
    other = np.not_equal.outer(scattering.cells.valley_of_cell, scattering.cells.valley_of_cell)
    cut = [m for m, parts in enumerate(scattering.parts) if len(parts) > 1]
    assert not {0, 1} & set(cut)
    if scattering.equilibrium.temperature < 100:
        assert cut
    operators = StepOperators(ETD3, scattering, 0.1, range(len(scattering.parts)), MPI.COMM_SELF)
    for m in cut:
        assert not scattering.blocks[m][other].any()
        whole = rates.intervalley[m] * np.sqrt(scattering.equilibrium.population / scattering.equilibrium.population[:, None])
        assert (np.abs(whole) * other).sum(axis=0).max() < 1e-4 * -scattering.blocks[m].diagonal().min()
        for stage in operators.blocks:
            for matrix in stage[m].reshape(-1, scattering.cells.size, scattering.cells.size):
                assert not matrix[other].any()
