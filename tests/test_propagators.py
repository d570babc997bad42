"""Propagators: exact to rounding in every cell, also where a valley holds 1e-13 of all excitons."""

import numpy as np
import pytest

from hpcwigner.integrators.propagators import conserve, phi_functions, resolvent
from hpcwigner.runtime.errors import InputError
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.scattering import ScatteringStage


@pytest.fixture(scope="module")
def lossless(rates, light_cone):
    none = np.zeros(rates.cells.size)
    return LocalGenerator(ScatteringStage.build(rates), none, none)


@pytest.fixture(scope="module", params=[0.01, 0.25])
def step(request):
    return request.param


def exact_propagator(generator, step):
    return conserve(phi_functions(generator.block(0), step), step, generator.equilibrium.population, generator.loss)


def test_number_and_equilibrium_are_kept_per_step(lossless, step):
    p = lossless.equilibrium.population
    assert p.min() < 1e-12 or lossless.equilibrium.temperature > 100  # the case that matters is in the test
    for propagator in (exact_propagator(lossless, step).full[0], exact_propagator(lossless, step).half[0]):
        assert np.abs(propagator.sum(axis=0) - 1).max() < 1e-13
        assert np.abs(propagator @ p / p - 1).max() < 1e-12
        assert propagator.min() >= 0


def test_equilibrium_is_kept_over_1000_steps(lossless, step):
    p = lossless.equilibrium.population
    propagator = exact_propagator(lossless, step).full[0]
    u = p.copy()
    for _ in range(1000):
        u = propagator @ u
    assert np.abs(u / p - 1).max() < 1e-11


def test_conservation_only_mends_rounding(lossless, generator, step):
    """The correction must not hide an error: before it, sums are right to 1e-12 already."""
    raw = phi_functions(lossless.block(0), step)
    assert np.abs(raw.full[0].sum(axis=0) - 1).max() < 1e-12
    mended = exact_propagator(generator, step)
    raw = phi_functions(generator.block(0), step)
    for a, b in zip(raw.full, mended.full, strict=True):
        assert np.abs(a - b).max() < 1e-12 * a.max()


@pytest.mark.parametrize("m", [0, 1, 4])
def test_phi_functions_satisfy_their_definition(generator, step, m):
    """z φ_{l+1}(z) = φ_l(z) − 1/l!, and exp by eigenvalues where those are accurate (in the 2-norm)."""
    z = step * generator.block(m)
    phi = phi_functions(generator.block(m), step)
    for order, (a, b) in enumerate(zip(phi.full, phi.full[1:], strict=False)):
        factorial = [1, 1, 2][order]
        residual = z @ b - (a - np.eye(len(a)) / factorial)
        assert np.abs(residual).max() < 1e-12 * max(1, np.abs(z).max())
    scale = np.sqrt(generator.equilibrium.population)
    values, vectors = np.linalg.eigh(0.5 * ((z * scale / scale[:, None]) + (z * scale / scale[:, None]).T))
    exact = (vectors * np.exp(values)) @ vectors.T
    assert np.abs(phi.full[0] * scale / scale[:, None] - exact).max() < 1e-11
    assert np.abs(phi.half[0] @ phi.half[0] - phi.full[0]).max() < 1e-12


def test_radiative_loss_is_what_the_sums_miss(generator, step):
    phi = exact_propagator(generator, step)
    missing = 1 - phi.full[0].sum(axis=0)
    assert missing == pytest.approx(step * (generator.loss @ phi.full[1]), abs=1e-14)
    assert missing.max() > 0


@pytest.mark.parametrize("shift", [2.0, 40.0, 4000.0])
def test_resolvent_keeps_number_and_equilibrium(lossless, shift):
    p = lossless.equilibrium.population
    inverse = resolvent(lossless.block(0), shift, lossless.loss)
    assert inverse.min() >= 0
    assert np.abs(shift * inverse.sum(axis=0) - 1).max() < 1e-13
    assert np.abs(shift * (inverse @ p) / p - 1).max() < 1e-12


@pytest.mark.parametrize("m", [0, 1, 3])
def test_resolvent_inverts(generator, m):
    inverse = resolvent(generator.block(m), 11.0, generator.loss if m == 0 else None)
    identity = (11.0 * np.eye(len(inverse)) - generator.block(m)) @ inverse
    assert np.abs(identity - np.eye(len(inverse))).max() < 1e-11


def test_a_generator_that_loses_particles_is_refused(lossless):
    wrong = lossless.block(0).copy()
    wrong[3, 3] *= 1.001
    with pytest.raises(InputError, match=r"columns miss their sums by .*, expected 1e-10 at most"):
        conserve(phi_functions(wrong, 0.1), 0.1, lossless.equilibrium.population, lossless.loss)


def test_valley_transfer_vanishes_in_sum_and_in_equilibrium(generator):
    p = generator.equilibrium.population
    assert np.abs(generator.valley_transfer.sum(axis=0)).max() < 1e-12 * np.abs(generator.valley_transfer).max()
    flow = generator.valley_transfer * p
    assert np.all(np.abs(flow.sum(axis=1)) < 1e-12 * np.abs(flow).sum(axis=1))
