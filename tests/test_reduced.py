"""The reduced model: its coefficients, its stationary state and its spreading against exact results and the kinetics."""

import numpy as np
import pytest
from helpers import close, hpcwigner
from mpi4py import MPI
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import erfc

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import builder, loading
from hpcwigner.reduced import stepping
from hpcwigner.reduced.coefficients import coefficients, mean_free_paths
from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.reduced.fluxes import bernoulli, bernoulli_slope
from hpcwigner.reduced.matrix import JacobianMatrix
from hpcwigner.reduced.run import reduce
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.run import ensure
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.reading import read, read_summary

BASE = """\
material: ws2_hbn
temperature: {temperature} K
momentum: {{energy_max: {energy_max} meV, energy_step: {energy_step} meV, angles: 8}}
output: {{directory: {directory}, series_every: 0.25 ps, fields_every: 1 ps}}
"""
WARM = {"temperature": 300, "energy_max": 310, "energy_step": 10}
COOL = {"temperature": 77, "energy_max": 62, "energy_step": 4}
VARIED = (
    "sample.energy={all: {cosine: {amplitude: 6 meV, period: 0.12 um}}, KΛ: {cosine: {amplitude: 9 meV, period: 0.12 um, "
    "phase: 90 degree}}, KK: 2 meV}"
)
"""A landscape in which offsets vary, with several sets of rates."""


def input_file(folder, *settings, name="reduced", values=COOL):
    path = folder / f"{name}.yaml"
    path.write_text(BASE.format(directory=folder / name, **values), encoding="utf-8")
    return loading.load(path, settings)


@pytest.fixture
def equation_of(tmp_path):
    """Makes the reduced equation of an input on one rank."""
    made = []

    def make(*settings, values=COOL):
        problem = builder.build(input_file(tmp_path, *settings, values=values), MPI.COMM_SELF)
        made.append(problem)
        equation = DriftDiffusion(problem, Decomposition(problem.space, MPI.COMM_SELF, (1, len(problem.cells.valleys))))
        made.append(equation)
        return equation

    yield make
    for one in made[::-1]:
        one.free()


@pytest.fixture
def larger_steps(monkeypatch):
    """Steps to 1e-7, a third as many: for statements that the error of the steps hardly touches."""
    monkeypatch.setattr(stepping, "TOLERANCE", 1e-7)


def boltzmann(problem):
    """Equilibrium of one exciton in all, N_v ∝ g_v M_v [1 − exp(−top_v/kT)] exp(−E_v/kT), summed up directly, (x, y, valley)."""
    kt = BOLTZMANN * problem.config.temperature
    bottoms = [v.energy for v in problem.cells.valleys]
    energy = np.moveaxis(problem.variation.energy, 0, -1) if problem.variation is not None else np.array(bottoms)
    weight = np.array([
        v.degeneracy * v.mass * -np.expm1(-top / kt) for v, top in zip(problem.cells.valleys, problem.cells.tops, strict=True)
    ])  # fmt: skip
    n = weight * np.exp((energy.min() - energy) / kt) * np.ones((*problem.space.whole.shape, 1))
    return n / (n.sum() * problem.space.whole.cell_measure)


def test_coefficients_are_those_of_the_kinetics(equation_of):
    problem = equation_of(values=WARM).problem
    (here,) = coefficients(problem)[0]
    p = problem.cells.valley_sum(problem.equilibrium.population)
    whole = chapman_enskog(problem.equilibrium, problem.scattering.stages[0].blocks[1])
    assert abs((here.diffusion @ p).sum() / whole - 1) < 1e-12
    for matrix in (here.diffusion, here.transfer):  # detailed balance
        assert np.abs(matrix * p - (matrix * p).T).max() < 1e-12 * np.abs(matrix * p).max()
    assert np.abs(here.transfer.sum(axis=0)).max() < 1e-13 * np.abs(here.transfer).max()
    # By hand: rates out of thermal valleys, from the blocks alone.
    for v, own in enumerate(problem.cells.slices):
        share = problem.equilibrium.population[own] / problem.equilibrium.population[own].sum()
        for w, other in enumerate(problem.cells.slices):
            if w != v:
                expected = (problem.scattering.stages[0].blocks[0][other, own] @ share).sum()
                assert abs(here.transfer[w, v] / expected - 1) < 1e-12
    light = problem.generators[0].light
    assert abs(here.losses["radiation"].sum() / (light @ problem.equilibrium.population / p[0]) - 1) < 1e-12
    assert np.allclose(mean_free_paths(problem) ** 2 * problem.equilibrium.mean_square_speed, 4 * here.diffusion.diagonal() ** 2)


def test_scharfetter_gummel_weights():
    x = np.array([-40.0, -2.0, -1e-5, 0.0, 1e-9, 0.3, 30.0])
    assert np.allclose(bernoulli(-x), np.exp(x) * bernoulli(x), rtol=1e-13)
    step = 1e-6
    assert np.allclose(bernoulli_slope(x), (bernoulli(x + step) - bernoulli(x - step)) / (2 * step), atol=1e-9)


PLANE = "space={dimensions: 2, length: 0.12 um, cells: [12, 10], boundary: {x: periodic, y: {low: reflecting, high: open}}}"
DENSE = "pump={density: 1e12 cm^-2, spot_fwhm: 40 nm}"


@pytest.mark.parametrize(
    "settings",
    [
        ("space={dimensions: 1, length: 0.12 um, cells: 24, boundary: {reflectivity: 0.4}}",),
        (PLANE, VARIED, "radiation={phonon_assisted: on}"),
        (PLANE, VARIED, DENSE, "interaction.repulsion=1e-11 meV cm^2", "recombination.lifetime=5 ps"),
    ],
)
def test_jacobian_is_the_derivative(equation_of, settings):
    equation, rng = equation_of(*settings), np.random.default_rng(1)
    n = (1 + rng.random(equation.shape)) * 1e-4
    direction = rng.standard_normal(n.shape) * 1e-4
    matrix = JacobianMatrix(equation)
    scales = np.array([1.0, 3.0, 0.2])
    matrix.fill(0.7, *equation.jacobian(n, 0), scales)
    x, y = matrix.mat.createVecs()
    x.setArray((direction / scales).ravel())
    matrix.mat.mult(x, y)
    product = (0.7 * direction / scales).ravel() - y.getArray()
    step = 1e-4
    expected = (equation.implicit(n + step * direction, 0) - equation.implicit(n - step * direction, 0)) / (2 * step) / scales
    assert np.abs(product - expected.ravel()).max() < 1e-7 * np.abs(expected).max()
    matrix.free()
    for made in (x, y):
        made.destroy()


@pytest.mark.parametrize("walls", ["periodic", "reflecting"])
def test_equilibrium_stands_still(equation_of, walls):
    space = f"space={{dimensions: 2, length: 0.12 um, cells: [12, 10], boundary: {walls}, symmetry: whole}}"
    equation = equation_of(space, VARIED, "radiation=off")
    assert len(equation.problem.offsets.stages) > 3
    n = boltzmann(equation.problem)
    moved = equation.transport(n, 0)
    turnover = 2 * sum(d.max() for d in equation.stages[0].diffusion) / equation.problem.space.spacing[0] ** 2
    assert np.abs(moved / n).max() < 1e-13 * turnover
    assert np.abs((equation.implicit(n, 0) - moved) / n).max() < 1e-12 * np.abs(equation.stages[0].transfer).max()


@pytest.mark.slow
def test_stationary_state_is_that_of_the_kinetics(tmp_path, larger_steps):
    """From a pulse at one side of a closed sample; KK holds 1e-6 of all excitons at 45 K."""
    space = "space={dimensions: 1, length: 0.12 um, cells: 12, boundary: reflecting}"
    pump = "pump={profile: {gaussian: {peak: 1, fwhm: 30 nm, center: [30 nm, 0 nm]}}}"
    settings = space, VARIED, "radiation=off", "time.end=800 ps", "output.series_every=100 ps", "output.fields_every=400 ps"
    values = {"temperature": 45, "energy_max": 45, "energy_step": 3}
    config = input_file(tmp_path, *settings, pump, values=values)
    written = read(reduce(config, MPI.COMM_SELF, quiet=True) / "fields.h5")
    density = np.moveaxis(written.data["density"][-1], 0, -1)  # (x, valley)
    problem = builder.build(input_file(tmp_path, *settings, "pump=off", "initial=equilibrium", values=values), MPI.COMM_SELF)
    expected = 1e3 * boltzmann(problem)[:, 0]  # [1/µm]
    kinetic = 1e3 * problem.initial.densities(Decomposition(problem.space.whole, MPI.COMM_SELF, (1, 3)), problem.cells)
    assert expected[:, 0].max() < 1e-5 * expected.max()
    assert np.abs(kinetic / expected - 1).max() < 1e-12
    total = density.sum() / expected.sum()
    assert abs(total - 1) < 1e-7  # the pulse, integrated to the tolerance of the steps
    assert np.abs(density / expected / total - 1).max() < 1e-10
    problem.free()


@pytest.mark.slow
def test_gaussian_spreads_exactly(tmp_path):
    """One valley alone: w² grows by 4Dt, and a Gaussian stays one, to 1e-6 of its peak where cells are fine."""
    space = "space={dimensions: 1, length: 3 um, cells: 3000}"
    pump = "pump={center: 0.1 ps, duration_fwhm: 50 fs, spot_fwhm: 0.6 um, energy: {valley: KK, above: 20 meV}}"
    ends = "time.end=6 ps", "output.series_every=1 ps", "output.fields_every=6 ps"
    config = input_file(tmp_path, space, pump, "scattering.intervalley=off", "radiation=off", *ends, values=WARM)
    directory = reduce(config, MPI.COMM_SELF, quiet=True)
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    problem = builder.build(config, MPI.COMM_SELF)
    bright, block = problem.cells.slices[0], problem.scattering.stages[0].blocks[1]
    share = problem.equilibrium.population[bright] / problem.equilibrium.population[bright].sum()
    speed = problem.equilibrium.velocity[bright]
    d = -0.5 * speed @ np.linalg.solve(block[bright, bright], speed * share)
    t, n, w2 = series.data["time"], series.data["population"], 1e6 * series.data["width_squared"][:, 0]
    assert np.all(n[:, 1:] == 0)
    assert np.abs(series.data["diffusion"][t > 2, 0] / (d / 100) - 1).max() < 1e-9
    assert np.abs(np.diff(w2[t > 2]) / (4 * d * np.diff(t[t > 2])) - 1).max() < 1e-7
    x, density = 1e3 * fields.data["x"], fields.data["density"][-1, 0] / 1e3  # [nm, 1/nm]
    (source,) = problem.sources
    gaussian, (nodes, weights), (begin, end) = np.zeros(len(x)), np.polynomial.legendre.leggauss(100), source.window
    for time, weight in zip(begin + 0.5 * (end - begin) * (1 + nodes), 0.5 * (end - begin) * weights, strict=True):
        spread = 600**2 / (8 * np.log(2)) + 4 * d * (6 - time)
        gaussian += weight * source.strength(time) * np.exp(-(x**2) / spread) / np.sqrt(np.pi * spread)
    assert abs(gaussian.sum() - 1) < 1e-9
    assert np.abs(density - gaussian).max() < 1e-6 * gaussian.max()
    problem.free()


@pytest.mark.slow
def test_coupled_valleys_spread_as_their_waves(tmp_path):
    """Against the exact solution on the grid: for each wave exp[t (k − q² D)] with 3 × 3 matrices and the grid's q²."""
    space = "space={dimensions: 1, length: 2 um, cells: 250, symmetry: whole}"
    config = input_file(tmp_path, space, "radiation=off", "pump.spot_fwhm=0.3 um", "time.end=6 ps", values=WARM)
    directory = reduce(config, MPI.COMM_SELF, quiet=True)
    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    problem = builder.build(config, MPI.COMM_SELF)
    (here,) = coefficients(problem)[0]
    p = problem.cells.valley_sum(problem.equilibrium.population)
    d = float((here.diffusion @ p).sum())
    late = series.data["time"] >= 3
    assert np.abs(series.data["diffusion"][late] / (d / 100) - 1).max() < 1e-8
    profile, time = np.moveaxis(fields.data["density"], 1, 2), fields.data["time"]
    i, j = np.searchsorted(time, (1, 6))
    symbol = (2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(250))) / 64
    waves = np.fft.fft(profile[i], axis=0)
    later = [expm((time[j] - time[i]) * (here.transfer - q2 * here.diffusion)) @ a for q2, a in zip(symbol, waves, strict=True)]
    spread = np.fft.ifft(later, axis=0).real
    assert (np.abs(profile[j] - spread).max(axis=0) < 1e-7 * spread.max(axis=0)).all()
    problem.free()


def slowest_wave(problem, q):
    """Decay rate [1/ps] of exp(iqx) by the kinetics: dh_m = L_m h_m − iqv (h_{m−1} + h_{m+1})/2, but −iqv h_1 for m = 0."""
    blocks, v = problem.scattering.stages[0].blocks, problem.equilibrium.velocity
    orders, cells = len(blocks), len(v)
    whole = np.zeros((orders, cells, orders, cells), dtype=complex)
    for m in range(orders):
        whole[m, :, m] = blocks[m]
        for other in {m - 1, m + 1} & set(range(orders)):
            whole[m, range(cells), other, range(cells)] = -1j * q * v * (1.0 if m == 0 else 0.5)
    return -np.linalg.eigvals(whole.reshape(orders * cells, -1)).real.max()


@pytest.mark.slow
def test_difference_to_the_kinetics_falls_as_the_square_of_the_mean_free_path(tmp_path, larger_steps):
    """Gratings of three periods: decay of the contrast in runs of the reduced model against the kinetic wave without a grid."""
    quiet = "radiation=off", "output.series_every=3 ps", "output.fields_every=3 ps"
    problem = builder.build(input_file(tmp_path, *quiet, name="rates", values=WARM), MPI.COMM_SELF)
    d = chapman_enskog(problem.equilibrium, problem.scattering.stages[0].blocks[1])
    length = 2 * d / np.sqrt(problem.equilibrium.population @ problem.equilibrium.velocity**2)
    scaled, differences = np.array([0.0075, 0.015, 0.03]), []
    for number, ql in enumerate(scaled):
        period, cells = 2 * np.pi * length / ql, 60
        space = f"space={{dimensions: 1, length: {period!r} nm, cells: {cells}}}"
        pump = f"pump.profile=[0.5, {{cosine: {{amplitude: 0.5, period: {period!r} nm}}}}]"
        config = input_file(tmp_path, *quiet, space, pump, "time.end=9 ps", name=f"period{number}", values=WARM)
        written = read(reduce(config, MPI.COMM_SELF, quiet=True) / "fields.h5").data
        contrast = written["density"].sum(axis=1) @ np.cos(2e3 * np.pi * written["x"] / period)
        rate = np.log(contrast[-2] / contrast[-1]) / (written["time"][-1] - written["time"][-2])
        q = np.sqrt(2 - 2 * np.cos(2 * np.pi / cells)) * cells / period  # what the grid takes for q
        differences.append(rate / slowest_wave(problem, q) - 1)
    orders = np.diff(np.log(np.abs(differences))) / np.diff(np.log(scaled))
    assert np.abs(orders - 2).max() < 0.1, (orders, differences)
    assert np.abs(differences[0]) < 10 * scaled[0] ** 2
    problem.free()


@pytest.mark.slow
def test_walls_take_what_robin_takes(tmp_path):
    """Between two walls of R = 0.95 the slowest wave cos kx has D k tan(kL/2) = S; S = ½ (1 − R)/(1 + R) 4⟨|v|⟩/π."""
    space = "space={dimensions: 1, length: 0.3 um, cells: 150, boundary: {reflectivity: 0.95}}"
    every = "output.series_every=2 ps", "output.fields_every=20 ps"
    config = input_file(tmp_path, space, "radiation=off", "scattering.intervalley=off", "time.end=60 ps", *every, values=WARM)
    directory = reduce(config, MPI.COMM_SELF, quiet=True)
    series = read(directory / "series.h5").data
    problem = builder.build(config, MPI.COMM_SELF)
    (here,) = coefficients(problem)[0]
    d, mass, own = here.diffusion[0, 0], problem.cells.valleys[0].mass, problem.cells.slices[0]
    p, v = problem.equilibrium.population[own], problem.equilibrium.velocity[own]
    s = 2 / np.pi * 0.05 / 1.95 * (p @ v) / p.sum()
    thermal = 0.05 / 1.95 * np.sqrt(2 * BOLTZMANN * 300 / (np.pi * mass * HBAR2_OVER_M0)) * HBAR_OVER_M0
    assert abs(s / thermal - 1) < 0.02  # cells of 0.4 kT
    k = brentq(lambda k: d * k * np.tan(150 * k) - s, 1e-9, np.pi / 300 * (1 - 1e-9))
    late = series["time"] >= 30
    rate = -np.diff(np.log(series["population"][late, 0])) / np.diff(series["time"][late])
    assert np.abs(rate / (d * k**2) - 1).max() < 1e-5
    checks = read_summary(directory / "series.h5")[1]["checks"]
    lost = checks["number_walls"].value
    assert abs(lost + 1 - series["population_total"][-1]) < 1e-7
    assert lost < -0.1
    problem.free()


@pytest.mark.slow
def test_dense_excitons(tmp_path, monkeypatch):
    """Annihilation at one place has n = n_0/(1 + R n_0 t); a repulsion's equilibrium has E + g n + kT ln n constant."""
    space = "space={dimensions: 1, length: 0.1 um, cells: 12, boundary: reflecting}"
    start = "pump={profile: 1.0, density: 1e12 cm^-2, center: 0.1 ps, duration_fwhm: 50 fs}"
    ends = "radiation=off", "time.end=6 ps", "output.series_every=1 ps"
    config = input_file(tmp_path, space, start, *ends, "interaction.annihilation=0.1 cm^2/s", name="lost", values=WARM)
    written = read(reduce(config, MPI.COMM_SELF, quiet=True) / "series.h5").data
    n, t = written["population_total"] / 0.1, written["time"]  # per µm²
    late = t >= 2
    assert np.abs(np.diff(1 / n[late]) / (1e-5 * np.diff(t[late])) - 1).max() < 1e-6
    assert abs(written["annihilated"][-1] / written["population_total"][-1] / (1e4 / n[-1] - 1) - 1) < 1e-6
    monkeypatch.setattr(stepping, "TOLERANCE", 1e-8)  # an equilibrium does not depend on it
    place = "pump={profile: {gaussian: {peak: 1, fwhm: 10 nm, center: [10 nm, 0 nm]}}, density: 1e12 cm^-2}"
    field = "sample.energy.all={quadratic: {curvature: [80 meV/um^2, 0 meV/um^2]}}", "interaction.repulsion=4e-11 meV cm^2"
    slow = "radiation=off", "time.end=300 ps", "output.series_every=100 ps", "output.fields_every=100 ps"
    config = input_file(tmp_path, space.replace("0.1 um", "50 nm"), place, *field, *slow, name="repelled", values=WARM)
    fields = read(reduce(config, MPI.COMM_SELF, quiet=True) / "fields.h5").data
    density = fields["density"][-1] / 1e6  # (valley, x) [1/nm²]
    kt = BOLTZMANN * 300
    level = fields["landscape"] + 4e3 * density.sum(axis=0) + kt * np.log(density)
    assert 4e3 * density.sum(axis=0).max() > 2
    assert np.ptp(level, axis=1).max() < 1e-9


REFUSED = {
    "scattering.intravalley=off": "scattering.intravalley: found off or off_at, expected on: in the reduced model the excitons "
    "of a valley are thermal",
    "interaction.annihilation={rate: 0.1 cm^2/s, hot: 0.5, above: 100 meV}": "interaction.annihilation.hot: found 0.5, expected "
    "0: excitons of the reduced model are thermal at once",
    "sample.energy.all={step: {height: 5 meV, width: 3 nm}}": "sample: found a step narrower than a cell, expected a width of at "
    "least 93.75 nm: a junction reflects, which is no diffusion",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_has_no_reduced_form_is_refused(tmp_path, setting):
    input_file(tmp_path, values=WARM)
    space = "space={length: 12 um, cells: 128, boundary: open}"
    words = "--set", space, "--set", "pump.density=1e10 cm^-2", "--set", setting
    process = hpcwigner("reduce", tmp_path / "reduced.yaml", *words)
    assert (process.returncode, process.stderr.strip()) == (2, f"hpcwigner: {REFUSED[setting]}")
    assert not (tmp_path / "reduced_reduced").exists()


@pytest.mark.slow
def test_command_writes_a_run_directory(tmp_path):
    """As a run's: info, plot and report take it. It lies beside that of the kinetics, and is never written over."""
    input_file(tmp_path, values=WARM)
    path, directory = tmp_path / "reduced.yaml", tmp_path / "reduced_reduced"
    words = "--quiet", "--set", "time.end=1.5 ps", "--set", "output.wigner_at=[1 ps]"
    process = hpcwigner("reduce", path, *words)
    assert process.returncode == 0, process.stderr
    assert sorted(p.name for p in directory.iterdir()) == ["fields.h5", "input.yaml", "run.lock", "run.log", "series.h5"]
    written, summary = read(directory / "series.h5"), read_summary(directory / "series.h5")[1]
    assert written.attributes["model"].startswith("reduced")
    warnings = [entry.value for entry in summary["warnings"].values()]
    assert warnings[0] == "left out wigner: excitons of the reduced model are thermal and have no direction"
    assert warnings[1].startswith(
        "no rate constants exist before energies are thermal (5 %: from 0.5 ps on): excitons leave valleys"
    )
    checks = summary["checks"]
    assert abs(checks["number_not_accounted_for"].value) < 1e-7
    assert checks["departs_steep"].value < 1e-12
    assert abs(checks["slowest_mode"].value / 6.8 - 1) < 0.1
    parts = sum(written.data[f"diffusion_{name}"] for name in ("drift", "interv", "source", "radiative"))
    assert np.nanmax(np.abs(parts - written.data["diffusion"])) < 1e-12 * np.nanmax(np.abs(parts))
    for verb in ("info", "plot", "report"):
        assert hpcwigner(verb, directory).returncode == 0
    assert "reduced" in hpcwigner("info", directory).stdout
    with pytest.raises(InputError, match="which holds the model 'reduced', expected a run of the kinetics"):
        ensure(loading.load(path).in_directory(str(directory)), MPI.COMM_SELF, quiet=True)
    again = hpcwigner("reduce", path, *words)
    assert again.returncode == 2
    assert "which holds a run already" in again.stderr
    restarted = hpcwigner("reduce", path, "--restart")
    expected = "hpcwigner: --restart latest: found with the reduced model, which writes no checkpoints: start it anew"
    assert (restarted.returncode, restarted.stderr.strip()) == (2, expected)


def test_departures_of_a_steep_profile(tmp_path):
    """In a spot exp(−r²/w²) ℓq = 2ℓr/w² exceeds 0.3 beyond r = 0.15 w²/ℓ, where erfc(0.15 w/ℓ) of the excitons are."""
    space = "space={dimensions: 1, length: 0.2 um, cells: 400, boundary: open}"
    pump = "pump={center: 0.05 ps, duration_fwhm: 20 fs, spot_fwhm: 40 nm, energy: {valley: KK, above: 20 meV}}"
    steps = "output.series_every=0.05 ps", "time.end=0.1 ps", "scattering.intervalley=off"
    config = input_file(tmp_path, space, pump, *steps, values=WARM)
    directory = reduce(config, MPI.COMM_SELF, quiet=True)
    checks, series = read_summary(directory / "series.h5")[1]["checks"], read(directory / "series.h5").data
    problem = builder.build(config, MPI.COMM_SELF)
    length, widths = mean_free_paths(problem)[0], 1e3 * np.sqrt(series["width_squared"][1:, 0])
    number = series["population"][:, 0]
    beyond = np.append(0.0, erfc(0.15 * widths / length)) * number
    expected = (beyond[1:] + beyond[:-1]).sum() / (number[1:] + number[:-1]).sum()
    assert 0.05 < expected < 0.95
    assert abs(checks["departs_steep"].value / expected - 1) < 0.02
    assert checks["departs_steep_until"].value == 0.1
    assert np.isnan(checks["departs_strong_until"].value)
    problem.free()


def test_spectra_are_those_of_thermal_valleys(tmp_path):
    """All photons of spectra.h5 are what the losses take; after the pulse their rate is −∂t n."""
    spectrum = "output.spectrum={from: -120 meV, to: 60 meV, step: 2 meV, every: 0.5 ps}"
    config = input_file(tmp_path, "radiation={phonon_assisted: on}", spectrum, "time.end=5 ps", values=WARM)
    directory = reduce(config, MPI.COMM_SELF, quiet=True)
    series, spectra = read(directory / "series.h5").data, read(directory / "spectra.h5").data
    n, t, photons = series["population_total"], series["time"], spectra["photons"]
    assert abs(spectra["time"][-3] - t[-5]) < 1e-9
    loss = -(n[-4] - n[-6]) / (t[-4] - t[-6])
    assert abs(photons[-3] / loss - 1) < 1e-4
    assert photons[-3] > 1.01 * series["pl_total"][-5]
    checks = read_summary(directory / "series.h5")[1]["checks"]
    assert checks["number_sidebands"].value < 0
    assert abs(1 + checks["number_sidebands"].value + checks["number_radiation"].value - n[-1]) < 1e-7


def test_folded_and_whole_planes_agree(tmp_path, monkeypatch):
    """A well in the middle of a plane, with walls: a quarter of it is enough."""
    monkeypatch.setattr(stepping, "TOLERANCE", 1e-6)
    space = "space={{dimensions: 2, length: 0.2 um, cells: [14, 12], boundary: {{x: open, y: reflecting}}, symmetry: {}}}"
    well = "sample.energy.all={gaussian: {peak: -20 meV, fwhm: 0.1 um}}"
    pump = "pump={center: 0.1 ps, duration_fwhm: 50 fs, spot_fwhm: 0.1 um}"
    even = "output.observables=[population, width_squared, width_squared_axis, diffusion, pl_total, density, pl, shape_variation]"
    made = []
    for symmetry in ("folded", "whole"):
        settings = space.format(symmetry), well, pump, "time.end=0.5 ps", even
        config = input_file(tmp_path, *settings, name=symmetry, values=WARM)
        made.append(reduce(config, MPI.COMM_SELF, quiet=True))
    close(*made, names=("series.h5", "fields.h5"), tolerance=1e-10)
