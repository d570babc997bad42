"""Output of runs in a landscape: positions, velocities, widths by axis, energies, and the balance of energy."""

import numpy as np
import pytest
import xarray
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.observables.fields import Directions, LocalState, SpatialMomentSums
from hpcwigner.observables.series import Snapshot
from hpcwigner.problem import builder, loading
from hpcwigner.simulation.balance import Balance
from hpcwigner.storage.reading import read, read_summary
from hpcwigner.terms.offsets import OffsetScattering
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import State

GRADIENT = 6.0, -3.0  # [meV/um]
BUMP = 5.0  # [meV], of KΛ
TILT = f"{{all: {{linear: {{gradient: [6 meV/um, -3 meV/um]}}}}, KΛ: {{gaussian: {{peak: {BUMP} meV, fwhm: 1.2 um}}}}}}"
SPOT = "{all: {gaussian: {peak: -8 meV, fwhm: 1 um}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"
SPACES = {
    "slab": "{dimensions: 1, length: 2.4 um, cells: 28, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 1.8 um, cells: [16, 14], boundary: reflecting}",
}
EVERY = 0.05  # ps
STEPS = "[{size: 10 fs, until: 0.8 ps}, {size: 25 fs}]"


def finished(folder, space, landscape, *settings):
    words = ("--set", f"sample.energy={landscape}", *(word for setting in settings for word in ("--set", setting)))
    ran = hpcwigner(small_input(folder, space=space, steps=STEPS), *words)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    return folder / "run"


@pytest.fixture(scope="module", params=SPACES)
def tilted(request, tmp_path_factory):
    """A finished run in a tilted sample, in which KΛ moves against the others."""
    settings = f"output.series_every={EVERY} ps", "time.end=1.5 ps", "output.observables=[all]"
    return finished(tmp_path_factory.mktemp(request.param), SPACES[request.param], TILT, *settings)


def slope(values):
    """Time derivative [1/ps] at all times but the first and last two, by central differences of order 4."""
    return (values[:-4] - 8 * values[1:-3] + 8 * values[3:-1] - values[4:]) / (12 * EVERY)


PAIRS = [
    ("drift_velocity", "mean_position", 1e3),  # nm/ps of um/ps
    ("diffusion", "width_squared", 0.25e4),  # cm²/s of um²/ps
    ("diffusion_axis", "width_squared_axis", 0.25e4),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "name", "factor"), PAIRS)
def test_rates_are_the_slopes_of_what_they_are_rates_of(tilted, rate, name, factor):
    series = read(tilted / "series.h5").data
    late = series["time"][2:-2] > 0.7  # after the pulse, which differences cannot follow
    found, expected = series[rate][2:-2][late], factor * slope(series[name])[late]
    assert found.shape == series[name][2:-2][late].shape
    assert np.abs(found - expected).max() < 2e-3 * np.abs(found).max()


def test_excitons_move_down(tilted):
    """Against the gradient along both axes, in the gradient's proportion, all valleys and the light."""
    series = read(tilted / "series.h5").data
    axes = series["mean_position"].shape[-1]
    last = series["mean_position"][-1]
    assert last.shape == (3, axes)
    assert (last[:, 0] < -1e-4).all()
    if axes == 2:
        assert last[:, 1] / last[:, 0] == pytest.approx(GRADIENT[1] / GRADIENT[0], rel=0.05)
    population = series["population"][-1]
    assert series["mean_position_total"][-1] == pytest.approx(population @ last / population.sum(), rel=1e-12)
    light = series["pl_mean_position"][-1] / last[0]  # that of KK, whose slow excitons lag behind
    assert ((light > 0.5) & (light < 1)).all()


def test_widths_of_axes_make_the_width(tilted):
    series = read(tilted / "series.h5").data
    for name in ("width_squared", "diffusion"):
        values, axes = series[name][5:], series[f"{name}_axis"][5:].mean(axis=-1)
        assert np.abs(axes - values).max() < 3e-12 * np.abs(values).max()
        assert np.isfinite(series[name][5:]).all()


def test_potential_energy_is_that_of_the_mean_position(tilted):
    """In the valleys that feel the tilt alone: linear in r."""
    series = read(tilted / "series.h5").data
    axes = series["mean_position"].shape[-1]
    energy, place = series["potential_energy"][5:], series["mean_position"][5:]
    shift = place @ np.array(GRADIENT[:axes])
    for valley, bottom in ((0, 0.0), (1, -51.5)):
        assert energy[:, valley] == pytest.approx(bottom + shift[:, valley], abs=1e-12)
    beyond = energy[:, 2] - shift[:, 2] + 30.5
    assert ((beyond > 0) & (beyond < BUMP)).all()
    assert (np.diff(beyond[10:]) < 0).all()  # KΛ leaves its hill


def test_the_energy_balance_closes(tilted):
    """Present = source − radiated − heat, to the error of the trapezoidal rule over steps; `heat` is the same number."""
    series, summary = read(tilted / "series.h5").data, read_summary(tilted / "series.h5")[1]["checks"]
    value = {name: entry.value for name, entry in summary.items()}
    assert abs(value["number_not_accounted_for"]) < 1e-6
    assert abs(value["energy_not_accounted_for"]) < 1e-4 * abs(value["energy_scattering"])
    assert value["energy_scattering"] == pytest.approx(-series["heat"][-1] * value["number_source"], rel=1e-9)
    content = series["population"] * (series["potential_energy"] + series["kinetic_energy"])
    assert value["energy_present"] == pytest.approx(content[-1].sum(), rel=1e-12)
    assert series["heat"][-1] > 10
    assert (np.diff(series["heat"][10:]) > 0).all()


def test_the_landscape_is_that_of_the_input(tilted):
    with xarray.open_dataset(tilted / "fields.h5", engine="h5netcdf") as fields:
        x, y = fields.x, fields.y if "y" in fields else 0.0
        tilt = GRADIENT[0] * x + GRADIENT[1] * y
        bump = BUMP * np.exp(-4 * np.log(2) * (x**2 + y**2) / 1.2**2)
        for valley, bottom in (("KK", 0.0), ("KK'", -51.5), ("KΛ", -30.5)):
            expected = bottom + tilt + (bump if valley == "KΛ" else 0.0)
            assert fields.landscape.sel(valley=valley).values == pytest.approx(expected.values, abs=1e-9)
        assert fields.landscape.attrs["units"] == "meV"
        assert "time" not in fields.landscape.dims


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_folded_and_whole_samples_agree(tmp_path, space):
    """In a centred spot: every variable of both files; positions are 0."""
    runs = {}
    for symmetry in ("whole", "folded"):
        (tmp_path / symmetry).mkdir()
        steps = "time.steps=[{size: 20 fs, until: 0.5 ps}, {size: 50 fs}]"
        settings = f"space.symmetry={symmetry}", "time.end=1 ps", "output.observables=[all]", steps
        runs[symmetry] = finished(tmp_path / symmetry, SPACES[space], SPOT, *settings)
    for file in ("series.h5", "fields.h5"):
        whole, folded = (read(runs[symmetry] / file).data for symmetry in ("whole", "folded"))
        assert whole.keys() == folded.keys()
        for name, values in whole.items():
            if name.startswith(("mean_position", "drift_velocity", "pl_mean_position")):
                assert np.nanmax(np.abs(values)) < 1e-11, name
                assert np.nanmax(np.abs(folded[name])) == 0, name
                continue
            assert np.array_equal(np.isnan(values), np.isnan(folded[name])), name
            assert np.nanmax(np.abs(values - folded[name])) <= 1e-8 * np.nanmax(np.abs(values)), name
    assert np.ptp(whole["landscape"][0]) > 5


def test_shape_variation_takes_the_rates_of_each_point(tmp_path):
    """∂tN_v by intervalley scattering from the terms themselves, point by point; c_v is the mean over all excitons."""
    path = small_input(tmp_path, space=SPACES["plane"])
    problem = builder.build(loading.load(path, [f"sample.energy={TILT}", "space.symmetry=whole"]), MPI.COMM_SELF)
    equation = problem.equation(MPI.COMM_SELF)
    u = np.random.default_rng(2).random(equation.shape) * problem.equilibrium.population
    change = State(np.zeros_like(u), np.zeros((len(u), 0)))
    classes = problem.offsets.class_of_point.ravel()
    for number, stage in enumerate(problem.offsets.stages):
        part = State(np.zeros_like(u), change.fields)
        Scattering(problem.angles, [stage]).add(0.0, State(u, change.fields), part)
        change.u[classes == number] = part.u[classes == number]
    next(term for term in problem.terms if isinstance(term, OffsetScattering)).add(0.0, State(u, change.fields), change)
    gained = problem.cells.valley_sum(change.u.sum(axis=1)).T.reshape(3, *problem.space.shape)
    whole = State(u, np.zeros((len(u), equation.field_count)))
    changes = equation.changes(0.0, whole, problem.local_generators[0], problem.generators[0].light)
    directions = Directions(problem.angles)(u)
    moments = SpatialMomentSums(equation.decomposition)(directions)
    transfer = equation.transfer(changes)
    state = LocalState(directions, equation.decomposition, problem.generators[0], moments, transfer)
    growth = gained.sum(axis=(1, 2)) / state.density.sum(axis=(1, 2))
    expected = gained - growth[:, None, None] * state.density
    assert np.abs(state.shape_variation - expected).max() < 1e-11 * np.abs(gained).max()
    plain = LocalState(directions, equation.decomposition, problem.generators[0], moments)
    assert np.abs(plain.shape_variation - expected).max() > 1e-3 * np.abs(gained).max()
    equation.free()
    problem.free()


@pytest.mark.filterwarnings("error")
def test_an_empty_valley_has_no_velocity(tmp_path):
    """NaN, and no warning of a division by zero."""
    problem = builder.build(loading.load(small_input(tmp_path, space=SPACES["slab"]), [f"sample.energy={TILT}"]), MPI.COMM_SELF)
    equation = problem.equation(MPI.COMM_SELF)
    u = np.ones(equation.shape) * problem.equilibrium.population
    u[:, :, problem.cells.slices[1]] = 0.0
    sums = SpatialMomentSums(equation.decomposition)
    moments, whole = sums(Directions(problem.angles)(u)), State(u, np.zeros((len(u), equation.field_count)))
    changes = equation.changes(0.0, whole, problem.local_generators[0], problem.generators[0].light)
    entries = Balance(problem, equation.books, equation.decomposition, sums.weights, {}).entries(
        changes, problem.cells.valley_sum(u.sum(axis=1))
    )
    snapshot = Snapshot(moments, problem.budget(0.0, moments, entries), problem.generators[0], np.ones(3))
    for values in (snapshot.velocity(), snapshot.mean_position(), snapshot.diffusion_axis()):
        assert np.isnan(values[:, 0]).tolist() == [False, True, False]
    equation.free()
    problem.free()


def test_a_homogeneous_sample_has_none_of_them(slab):
    data = read(slab / "fields.h5").data | read(slab / "series.h5").data
    assert not {"landscape", "mean_position", "heat", "potential_energy", "diffusion_axis"} & data.keys()
