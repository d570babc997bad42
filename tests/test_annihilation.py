"""Annihilation against closed forms and ordinary differential equations."""

import math

import annihilation_reference as reference
import numpy as np
import pytest
from dense import advanced, cloud, fields_of, problem_of
from helpers import hpcwigner, small_input
from mpi4py import MPI
from scipy.integrate import solve_ivp

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.problem.builder import RESOLVED
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.reading import read
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.term import State

NO_SCATTERING = (
    "scattering={intravalley: off, intervalley: off}", "pump.energy={valley: KK, above: 20 meV}", "radiation=off",
)  # fmt: skip
SPACES = {
    "slab": "{dimensions: 1, length: 3 um, cells: 60}",
    "plane": "{dimensions: 2, length: 3 um, cells: [40, 36]}",
}
CLOSED = {
    "slab": (reference.slab_number, reference.slab_width_squared),
    "plane": (reference.plane_number, reference.plane_width_squared),
}


def only_annihilation(problem):
    """An equation with nothing else in it, its generators, and the term."""
    (term,) = (term for term in problem.terms if term.name == "annihilation")
    scattering = problem.generators[0].scattering
    assert not np.abs(scattering.blocks).max()
    nothing = np.zeros(problem.cells.size)
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    return WignerEquation(decomposition, problem.angles, [term]), [[LocalGenerator(scattering, nothing, nothing)]], term


def order_of(name):
    return SCHEMES[name].order if name in SCHEMES else 3


@pytest.fixture(scope="module", params=["slab", "plane"])
def alone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    problem = problem_of(folder, *NO_SCATTERING, "interaction.annihilation=1 cm^2/s", space=SPACES[request.param])
    yield request.param, problem
    problem.free()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "worst"), [("etd2", 1e-4), ("etd3", 3e-5), ("arkimex3", 1e-5)])
def test_a_gaussian_becomes_smaller_and_broader_as_the_closed_forms_say(alone, name, worst):
    """Up to a = R n0 t = 5 with the steps that the builder's limit allows at a tolerance of 1e-3, and with half of them."""
    kind, problem = alone
    equation, generators, term = only_annihilation(problem)
    width_squared, peak = 1e5, 0.01
    u = cloud(problem, width_squared)
    u *= peak * problem.space.gaussian(width_squared).reshape(-1, 1, 1) / u.sum(axis=(1, 2))[:, None, None]
    u *= math.sqrt(math.pi * width_squared) ** problem.space.dimensions  # n0 = 0.01/nm² at the middle
    assert term.rate == pytest.approx(100)  # nm²/ps
    end, square = 5 / (term.rate * peak), problem.space.squared_distance.reshape(-1)
    number, width = CLOSED[kind]
    errors, counts = [], []
    for size in np.array([1.0, 0.5]) * RESOLVED * 1e-3 ** (1 / order_of(name)) / term.relaxation_rate(peak):
        seen = []

        def measure(_, state, seen=seen):
            n = state.u.sum(axis=(1, 2))
            seen.append((n.sum(), square @ n / n.sum()))

        advanced(name, equation, generators, u, end, size, monitor=measure)
        a = np.linspace(0, 5, len(seen))[1:]
        seen = np.array(seen[1:]) / seen[0]
        exact = np.array([(number(x), width(x)) for x in a])
        errors.append(np.abs(seen / exact - 1).max())
        counts.append(len(seen))
    assert exact[-1, 0] < 0.4
    assert exact[-1, 1] > 1.4
    assert errors[0] < worst
    assert math.log(errors[0] / errors[1], counts[1] / counts[0]) > order_of(name) - 0.5
    equation.free()


@pytest.mark.parametrize("between", ["on", "off"])
@pytest.mark.parametrize(("hot", "delay"), [(0, None), (0.5, None), (0.5, 0.4), (1, None), (1, 0.4)])
def test_populations_of_cells_follow_their_differential_equations(tmp_path, between, hot, delay):
    """Uniform sample without scattering: every cell and direction, and what waits to come back, against scipy."""
    block = f"rate: 1 cm^2/s, between_valleys: {between}, hot: {hot}, above: 20 meV, spread: 4 meV"
    given = block if delay is None else f"{block}, delay: {delay} ps"
    space = "{dimensions: 1, length: 1 um, cells: 6, boundary: periodic}"
    problem = problem_of(tmp_path, *NO_SCATTERING, f"interaction.annihilation={{{given}}}", space=space)
    equation, generators, term = only_annihilation(problem)
    cells, share = problem.cells, problem.angles.from_harmonics[:, 0]
    valleys, shape = len(cells.valleys), (problem.angles.count, cells.size)
    rng = np.random.default_rng(2)
    start = rng.random(shape) * np.array([1.0, 0.3, 0.6])[cells.valley_of_cell]  # neither isotropic nor equal in valleys
    start *= 0.01 / start.sum()
    waiting = np.array([1e-3, 2e-3, 5e-4]) if delay else np.zeros(valleys)
    spectra = np.zeros((valleys, cells.size)) if term.spectra is None else term.spectra
    own = np.equal.outer(np.arange(valleys), cells.valley_of_cell)
    if hot:
        assert spectra.sum(axis=1) == pytest.approx(np.ones(valleys), rel=1e-12)
        assert not spectra[~own].any()
        assert spectra @ problem.equilibrium.kinetic_energy == pytest.approx(20 * np.ones(valleys), rel=0.02)

    def slope(_, y):
        u, h = y[: start.size].reshape(shape), y[start.size :]
        n = np.array([u[:, own[v]].sum() for v in range(valleys)])
        partners = n.sum() * np.ones(valleys) if between == "on" else n
        met = 100 * partners * n  # R = 100 nm²/ps
        back = h / delay if delay else hot * met
        change = -(1 + hot) * 100 * partners[cells.valley_of_cell] * u + share[:, None] * (back @ spectra)
        return np.concatenate((change.ravel(), hot * met - h / delay if delay else 0 * h))

    exact = solve_ivp(slope, (0, 1.5), [*start.ravel(), *waiting], rtol=1e-10, atol=1e-14).y[:, -1]
    fields = fields_of(equation)
    assert fields.shape[1] == (valleys if delay else 0)
    fields[:, :valleys] = waiting[: fields.shape[1]]
    u = np.ascontiguousarray(np.broadcast_to(start, (equation.shape[0], *shape)))
    found = advanced("etd3", equation, generators, State(u, fields), 1.5, 0.01)
    scale = exact[: start.size].max()
    assert np.abs(found.u - exact[: start.size].reshape(shape)).max() < 1e-5 * scale
    assert np.abs(found.u[0] - start).max() > 0.1 * scale
    if delay:
        assert found.fields == pytest.approx(np.broadcast_to(exact[start.size :], found.fields.shape), rel=1e-5)
    lost = start.sum() + waiting.sum() - exact.sum()
    if not delay and between == "on":  # one exciton per annihilation whatever `hot` is
        assert lost == pytest.approx(0.01 - 0.01 / (1 + 100 * 0.01 * 1.5), rel=1e-7)
    problem.free()


def test_a_uniform_sample_follows_the_logistic_solution(tmp_path):
    """A whole run: ∂t n = −n/τ − R n² of all excitons once the pulse is over, hot ones or not."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 2 um, cells: 8, boundary: periodic}", steps="auto")
    settings = (
        "pump={profile: 1, density: 1e12 cm^-2, duration_fwhm: 50 fs, center: 0.1 ps}", "radiation=off",
        "interaction.annihilation={rate: 1 cm^2/s, hot: 0.5, above: 20 meV}", "recombination.lifetime=4 ps",
        "time.tolerance=1e-4", "output.series_every=0.5 ps", "output.wigner_at=[]",
        "time.end=5 ps",
    )  # fmt: skip
    done = hpcwigner(path, *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    series, fields = (read(tmp_path / "run" / name).data for name in ("series.h5", "fields.h5"))
    time = series["time"]
    late = time >= 2.0  # all coherent excitons have become incoherent ones
    n = series["population_total"][late] / 2.0  # 1/µm of a sample of 2 µm
    density = fields["density"].sum(axis=1)
    assert np.ptp(density, axis=1).max() < 1e-12 * density.max()
    assert n[0] == pytest.approx(np.interp(2.0, fields["time"], density[:, 0]), rel=1e-9)
    assert 2e3 < n[0] < 1e4  # 1e12 cm⁻² were formed
    rate, lifetime, passed = 1e2 * 1e-6, 4.0, time[late] - 2.0  # µm²/ps, ps
    decay = np.exp(-passed / lifetime)
    exact = n[0] * decay / (1 + rate * n[0] * lifetime * (1 - decay))
    assert exact[-1] < 0.5 * exact[0]
    assert n == pytest.approx(exact, rel=1e-4)


def test_steps_shrink_as_the_density_grows(tmp_path):
    """h (1 + hot) R n ≤ RESOLVED tolerance^(1/order), n all that is ever formed at the densest place; a delay counts as well."""
    given = "interaction.annihilation={rate: 1 cm^2/s, hot: 0.5, above: 20 meV"
    problem = problem_of(tmp_path, f"{given}}}", "time.tolerance=1e-3")
    allowed = {name: problem.largest_step(name) for name in ("etd2", "etd3", "etd2_dense", "arkimex3")}
    assert problem.peak_density == pytest.approx(0.01, rel=0.1)
    for name, step in allowed.items():
        assert step == pytest.approx(RESOLVED * 1e-3 ** (1 / order_of(name)) / (1.5 * 100 * problem.peak_density), rel=1e-12)
    problem.free()
    thin = problem_of(tmp_path, f"{given}}}", "pump.density=1e6 cm^-2")
    drift_only = problem_of(tmp_path)
    for name, step in allowed.items():
        assert thin.largest_step(name) == drift_only.largest_step(name) > step
    delayed = problem_of(tmp_path, f"{given}, delay: 5 fs}}", "time.tolerance=1e-3")
    assert delayed.largest_step("etd3") == pytest.approx(RESOLVED * 0.1 * 5e-3, rel=1e-12)
    for each in (thin, drift_only, delayed):
        each.free()
