"""Repulsion in mean field against its own equilibrium, nonlinear diffusion, balance of energy and symmetries."""

import numpy as np
import pytest
from dense import advanced, cloud, fields_of, problem_of, right_hand_sides
from helpers import hpcwigner, small_input
from mpi4py import MPI
from nonlinear_diffusion import Medium, barenblatt, barenblatt_width_squared, solve
from scipy.optimize import brentq
from scipy.special import lambertw

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem.builder import SAFETY
from hpcwigner.storage.reading import read
from hpcwigner.terms.term import State

STRONG = "interaction.repulsion=1.4e-11 meV cm^2"
"""g n = 14 meV = 2.1 kT at 77 K and the density of `cloud`."""
QUIET = "radiation=off", "pump={density: 1e12 cm^-2, center: 500 ps, spot_fwhm: 0.9 um}"
TRAP = "sample.energy={all: {gaussian: {peak: -24 meV, fwhm: 1 um}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"
SPACES = {
    "slab": "{dimensions: 1, length: 2.4 um, cells: 30, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 2 um, cells: [22, 20], boundary: reflecting}",
}


def strength(problem):
    """g [meV nm²]."""
    return problem.config.interaction.repulsion


def settled(problem, number):
    """u (point, angle, cell) with N_v ∝ exp[−(E_v + g n)/kT] and `number` excitons: n exp(g n/kT) = c Σ_v p_v exp(−E_v/kT)."""
    kT, equilibrium, landscape = problem.equilibrium.thermal_energy, problem.equilibrium, problem.offsets.landscape
    energy = landscape.energy.reshape(len(landscape.energy), -1).T  # (point, valley)
    weight = np.exp(-energy / kT) @ problem.cells.valley_sum(equilibrium.population)
    b = strength(problem) / kT

    def density(log_c):
        return lambertw(b * np.exp(log_c) * weight).real / b

    measure = problem.space.cell_measure
    log_c = brentq(lambda x: measure * density(x).sum() - number, -40, 40, xtol=1e-14, rtol=1e-14)
    n = density(log_c)
    factor = np.exp(log_c - energy / kT - b * n[:, None])[:, problem.cells.valley_of_cell]
    u = problem.angles.from_harmonics[:, 0][:, None] * (factor * equilibrium.population)[:, None, :]
    assert u.sum(axis=(1, 2)) == pytest.approx(n, rel=1e-12)
    return np.ascontiguousarray(u)


def settled_with_peak(problem, peak):
    """The same with a largest density of `peak` [1/nm²]."""
    measure, points = problem.space.cell_measure, np.prod(problem.space.shape)

    def excess(log_number):
        return settled(problem, np.exp(log_number)).sum(axis=(1, 2)).max() - peak

    return settled(problem, np.exp(brentq(excess, np.log(1e-3 * peak * measure * points), np.log(peak * measure * points))))


@pytest.fixture(scope="module", params=["slab", "plane"])
def trap(request, tmp_path_factory):
    """A trap with local offsets of a valley and rates of several nodes."""
    problem = problem_of(tmp_path_factory.mktemp("trap"), *QUIET, STRONG, TRAP, space=SPACES[request.param])
    assert len(problem.offsets.stages) > 1
    yield problem
    problem.free()


def test_the_self_consistent_equilibrium_stands_still(trap):
    """Drift and force cancel to rounding, scattering is in detailed balance, and 60 ps of steps change nothing."""
    equation, u = trap.equation(MPI.COMM_SELF), settled_with_peak(trap, 0.01)
    kT, density = trap.equilibrium.thermal_energy, u.sum(axis=(1, 2))
    assert strength(trap) * np.ptp(density) > 1.5 * kT
    changes = right_hand_sides(trap, 0.0, equation, State(u, fields_of(equation)))
    scale = np.abs(changes["drift"]).max()
    assert np.abs(changes["drift"] + changes["force"]).max() < 1e-13 * scale
    rates = np.abs(trap.generators[0].scattering.blocks[0].diagonal())
    assert np.abs(changes["scattering"]).max() < 1e-12 * (rates * u).max()
    size = min(1.0, trap.largest_step("etd2"))
    end = advanced("etd2", equation, trap.local_generators, u, 60.0, size, trap.sources)
    assert np.abs(end.u - u).max() < 1e-11 * u.max()
    assert (np.abs(end.u - u) / u).max() < 1e-8
    equation.free()


def test_without_the_repulsion_the_same_state_moves(trap):
    """The test above can fail: g that is wrong by a thousandth is seen."""
    equation, u = trap.equation(MPI.COMM_SELF), settled_with_peak(trap, 0.01)
    (term,) = (term for term in trap.terms if term.name == "repulsion")
    term.strength *= 1.001
    changes = right_hand_sides(trap, 0.0, equation, State(u, fields_of(equation)))
    term.strength /= 1.001
    assert np.abs(changes["drift"] + changes["force"]).max() > 1e-5 * np.abs(changes["drift"]).max()
    equation.free()
