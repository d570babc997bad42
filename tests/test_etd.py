"""The exponential schemes on problems whose answer is known."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.dynamics.etd import ETD2, ETD3, StepOperators
from hpcwigner.observables.moments import MomentSystem


class OneDrift(MomentSystem):
    """Every row drifts by itself: N(u) = μ u."""

    rate = 0.7

    def explicit(self, state, out):
        out[...] = self.rate * state


@pytest.mark.parametrize("scheme", [ETD2, ETD3])
def test_amplification_is_that_of_the_step(scheme, scattering):
    """On an eigenvector of L_1 the step multiplies by amplification(decay, μh)."""
    block = scattering.blocks[1]
    scale = np.sqrt(scattering.grid.equilibrium)
    values, vectors = np.linalg.eigh(0.5 * (block * scale / scale[:, None] + (block * scale / scale[:, None]).T))
    system, h = OneDrift(scattering.grid.velocity, 1.0), 0.1
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


def test_steps_allocate_nothing_of_the_states_size(scattering):
    """Work arrays are made once; a step may only allocate per cell."""
    import tracemalloc

    class Many(OneDrift):
        def __init__(self, velocity):
            super().__init__(velocity, 1.0)
            self.shape = (5000, 3, len(velocity))

        def to_harmonics(self, state, out):
            out[...] = state.transpose(1, 0, 2)

        def from_harmonics(self, harmonics, out, add=False):
            if add:
                out += harmonics.transpose(1, 0, 2)
            else:
                out[...] = harmonics.transpose(1, 0, 2)

        def explicit(self, state, out):
            np.multiply(state, self.rate, out=out)

    system = Many(scattering.grid.velocity)
    integrator = ETD3(system)
    operators = StepOperators(ETD3, scattering, 0.1, system.orders, MPI.COMM_SELF)
    u = np.ones(system.shape)
    integrator.step(u, operators, None)
    tracemalloc.start()
    integrator.step(u, operators, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.05 * u.nbytes  # NumPy keeps a buffer of 0.2 MB
    operators.free()
