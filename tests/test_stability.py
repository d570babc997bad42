"""The longest stable step, against power iteration of whole steps on plane waves with real rates."""

import numpy as np
import pytest
from helpers import small_input
from mpi4py import MPI
from plane_waves import PlaneWaves, growth

from hpcwigner.integrators.exponential import ETD2, SCHEMES
from hpcwigner.integrators.operators import StepOperators
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.rates import Rates
from hpcwigner.problem import builder, loading
from hpcwigner.problem.builder import SAFETY
from hpcwigner.space.stencil import stable_step
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.scattering import ScatteringStage
from hpcwigner.terms.term import State

SPACING = 20.0  # [nm]: drift limits the step, scattering helps
IN_PLANE = np.array([(x, y) for x in np.linspace(0.4, np.pi, 5) for y in np.linspace(0, np.pi, 3) if y <= x + 1e-9])


@pytest.fixture(params=[True, False], ids=["scattering", "without"])
def local(request, rates: Rates):
    stage = ScatteringStage.build(rates, intravalley=request.param, intervalley=request.param)
    zero = np.zeros(rates.cells.size)
    yield LocalGenerator(stage, zero, zero)
    stage.shared.free()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_steps_are_stable_below_the_limit_and_grow_above(local, scheme, dimensions):
    angles = Angles(2 * (local.orders - 1), half=dimensions == 1)
    velocity = local.equilibrium.velocity
    reach = np.abs(angles.cosine) + (np.abs(angles.sine) if dimensions == 2 else 0)
    limit = stable_step(scheme.amplification, velocity * reach.max() / SPACING, local.out_rates[1:].min(axis=0))
    phases = IN_PLANE if dimensions == 2 else np.linspace(0.2, np.pi, 8)[:, None]
    system = PlaneWaves(velocity, angles, SPACING, phases)
    factors = []
    for part in (0.98, 1.2):
        operators = StepOperators(scheme, [local], [], part * limit, angles.orders, MPI.COMM_SELF)
        factors.append(growth(scheme, system, operators, np.sqrt(local.equilibrium.population)))
        operators.free()
    assert factors[0] <= 1 + 1e-9
    # Without damping order 2 grows at any step; its limit is where that passes 1e-12 a step, too little for a power iteration.
    assert factors[1] > 1 + 1e-6 or (scheme.order == 2 and not local.out_rates.any())


def test_number_is_stable_where_scattering_outweighs_drift(tmp_path):
    """Short waves of the density decay by diffusion, which no damping of other modes makes stable."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 1 um, cells: 40}")
    settings = ["temperature=300 K", "momentum={energy_max: 320 meV, energy_step: 8 meV, angles: 8}", "space.symmetry=whole"]
    problem = builder.build(loading.load(path, [*settings, "radiation=off", "initial=equilibrium", "pump=off"]), MPI.COMM_SELF)
    equation = problem.equation(MPI.COMM_SELF)
    noise = 1 + 0.1 * np.random.default_rng(4).standard_normal((40, 1, 1))
    start = noise * problem.angles.from_harmonics[:, 0, None] * problem.equilibrium.population
    deviation = {}
    for size in (SAFETY * problem.stable_step("etd2"), 2.6):
        operators = StepOperators(
            ETD2, problem.local_generators[0], [[s.spectrum(0)] for s in problem.sources], size, equation.orders, MPI.COMM_SELF
        )
        state = State(start.copy(), np.zeros((40, equation.field_count)))
        for _ in range(100):
            ETD2(equation).step(state, 0.0, operators, [None] * len(problem.sources))
        deviation[size] = np.abs(state.u.sum(axis=(1, 2)) - 1).max()
        operators.free()
    stable, unstable = deviation.values()
    assert stable < 0.5 * np.abs(noise - 1).max()
    assert unstable > 1e3
    equation.free()
    problem.free()
