"""The registry: every quantity is written when chosen and only then, and has its known value in limiting cases."""

import h5py
import numpy as np
import pytest
import xarray
from helpers import ROOT, hpcwigner, problem_of, small_input
from mpi4py import MPI
from test_fields import place, state  # noqa: F401  (fixture)

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.exciton.phonons import absorption_threshold
from hpcwigner.momentum.angles import Angles
from hpcwigner.observables import registry
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.observables.fields import Directions, LocalState, SpatialMomentSums, WignerCut, centre_weights
from hpcwigner.observables.series import Snapshot
from hpcwigner.problem import builder, loading
from hpcwigner.space.grid import Decomposition, SpaceGrid

PLANE = "{dimensions: 2, length: 2 um, cells: [24, 20], boundary: periodic}"
CONTRACT = {
    "population", "width_squared", "diffusion", "diffusion_drift", "diffusion_interv", "diffusion_source",
    "diffusion_radiative", "pl_total", "population_total", "coherent", "density", "pl", "shape_variation", "wigner",
}  # fmt: skip


def test_names_are_unique_and_the_default_is_the_contract():
    names = [o.name for o in registry.ALL]
    assert len(set(names)) == len(names)
    assert {o.name for o in registry.ALL if o.default and o.only_in not in ("landscape", "annihilation")} == CONTRACT
    chosen = registry.select(["default"], 2)
    assert {o.name for group in chosen.values() for o in group} == CONTRACT


@pytest.mark.slow
@pytest.mark.parametrize("space", ["{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}", PLANE], ids=["slab", "plane"])
def test_all_are_written_with_unit_and_formula(tmp_path, space):
    path = small_input(tmp_path, space=space)
    process = hpcwigner(path, "--set", "output.observables=[all]")
    assert process.returncode == 0, process.stderr
    dimensions = 2 if space == PLANE else 1
    for name, observables in registry.select(["all"], dimensions).items():
        with xarray.open_dataset(tmp_path / "run" / name, engine="h5netcdf") as file:
            assert set(file.data_vars) - {"threshold"} == {o.name for o in observables}
            for o in observables:
                assert file[o.name].dims == o.dimensions
                assert file[o.name].attrs["units"] == o.unit
                assert file[o.name].attrs["formula"] == o.formula
                assert np.isfinite(file[o.name].values[-1]).any(), o.name
            assert set(file.coords) == {d for o in observables for d in o.dimensions}
    with xarray.open_dataset(tmp_path / "run/fields.h5", engine="h5netcdf") as fields:
        last = fields.isel(time=-1)
        right = last.anisotropy_x.sel(x=slice(0.2, 0.6))
        assert float(right.min()) > 0  # away from the centre excitons move outwards
        centre = {"x": slice(-0.2, 0.2)} | ({"y": slice(-0.2, 0.2)} if dimensions == 2 else {})
        assert float(last.pl_normalized.sel(centre).max()) == pytest.approx(1, abs=0.1)


def test_only_what_is_chosen_is_computed_and_written(tmp_path):
    path = small_input(tmp_path)
    process = hpcwigner(path, "--set", "output.observables=[temperature, wigner]")
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "run/fields.h5").exists()
    with h5py.File(tmp_path / "run/series.h5") as series, h5py.File(tmp_path / "run/wigner.h5") as wigner:
        assert set(series) == {"time", "valley", "temperature", "summary"}
        assert set(wigner) == {"time", "valley", "x", "k", "wigner", "threshold"}
    assert "not compared" in process.stdout
    shown = hpcwigner("plot", tmp_path / "run", "--show", "budget")
    assert shown.returncode == 2
    assert "has no 'diffusion_" in shown.stderr
    assert "output.observables" in shown.stderr


@pytest.mark.parametrize(
    ("names", "dimensions", "expected"),
    [("[temprature]", 1, "did you mean 'temperature'?"), ("[anisotropy_y]", 1, "1 dimensions"), ("[wigner_angles]", 2, "2 dim")],
)
def test_names_that_do_not_fit_are_refused(tmp_path, names, dimensions, expected):
    path = small_input(tmp_path)
    settings = [f"output.observables={names}", f"space.dimensions={dimensions}", "space.cells=24"]
    process = hpcwigner("check", path, *(w for s in settings for w in ("--set", s)))
    assert process.returncode == 2
    assert "output.observables.0: found" in process.stderr
    assert expected in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_the_verb_lists_every_observable():
    process = hpcwigner("observables")
    assert process.returncode == 0
    for o in registry.ALL:
        assert f"  {o.name} (" in process.stdout
        assert o.formula in process.stdout


@pytest.fixture
def problem(rates, light_cone):
    return problem_of(rates, light_cone)


def snapshot_of(problem, moments, final):
    return Snapshot(moments, problem.budget(0.0, moments), problem.generators[0], final)


def test_a_boltzmann_state_is_in_equilibrium(problem):
    equilibrium, cells = problem.equilibrium, problem.cells
    p = equilibrium.population
    moments = SpatialMoments(p, np.zeros_like(p), 2.0 * p)
    snapshot = snapshot_of(problem, moments, cells.valley_sum(p))
    values = {o.name: o.compute(snapshot) for o in registry.select(["all"], 1, run=False)["series.h5"]}
    discarded = 20 * equilibrium.discarded_weight  # the missing tail has many kT
    assert values["kinetic_energy"] == pytest.approx(equilibrium.thermal_energy, rel=discarded + 1e-12)
    assert values["temperature"] * BOLTZMANN == pytest.approx(values["kinetic_energy"])
    assert np.abs(values["energy_distance"]).max() < 1e-13
    assert values["relative_population"] == pytest.approx(1, rel=1e-12)
    assert values["pl_width_squared"] == pytest.approx(2.0)
    gains = np.maximum(problem.generators[0].valley_transfer, 0) @ p
    assert np.abs(values["growth"] * cells.valley_sum(p)).max() < 1e-9 * gains.max()


def test_distance_is_one_far_from_equilibrium(problem):
    cells = problem.cells
    everything_hot = np.zeros(cells.size)
    everything_hot[[s.stop - 1 for s in cells.slices]] = 1.0
    moments = SpatialMoments(everything_hot, np.zeros(cells.size), everything_hot)
    snapshot = snapshot_of(problem, moments, np.ones(3))
    distance = next(o for o in registry.SERIES if o.name == "energy_distance").compute(snapshot)
    assert distance == pytest.approx(1, abs=0.02)


def test_fields_of_a_directed_boltzmann_state(place, rates, generator):  # noqa: F811
    """u ∝ (1 + r·Q̂/R) p: ⟨cos θ⟩ = x/2R, kinetic energies of equilibrium everywhere."""
    grid, decomposition, angles = place
    u = state(grid, angles, rates.equilibrium, 3e5)
    directions = Directions(angles)(u)
    local = LocalState(directions, decomposition, generator, SpatialMomentSums(decomposition)(directions))
    chosen = registry.select(["all"], grid.dimensions)["fields.h5"]
    values = {o.name: o.compute(local) for o in chosen}
    bright = ~np.isnan(values["anisotropy_x"])
    assert 0.1 < bright.mean() < 1  # where there is next to nothing, ratios are undefined
    x, y = grid.centers(0)[:, None], grid.centers(1)[None, :]
    for name, expected in (("anisotropy_x", x / 2e4), ("anisotropy_y", y / 2e4)):
        if name in values:
            difference = np.where(bright, values[name] - expected, 0)
            assert np.abs(difference).max() < 1e-12
    equilibrium = rates.equilibrium
    warmer = values["local_temperature"] / equilibrium.temperature - 1
    assert np.nanmax(np.abs(warmer)) < 20 * equilibrium.discarded_weight + 1e-12
    weights = (centre_weights(local.decomposition, axis) for axis in (0, 1))
    assert np.einsum("xy,x,y", values["pl_normalized"], *weights) == pytest.approx(1)
    assert np.abs(values["shape_variation_normalized"]).max() < 1e-9


def test_every_direction_of_a_slab(rates):
    """Along ±x `wigner_angles` is `wigner`, and all directions together are the density."""
    grid, angles, cells = SpaceGrid(1, 4000.0, (12, 1), "periodic"), Angles(8, half=True), rates.cells
    decomposition = Decomposition(grid, MPI.COMM_SELF, (angles.count, cells.size))
    u = state(grid, angles, rates.equilibrium, 500.0**2) * np.random.default_rng(3).random((12, angles.count, cells.size))
    cut = WignerCut(decomposition, angles, cells)
    along, every = cut.along_x(u), cut.by_angle(u)
    assert np.array_equal(every[:, :, 0, 1:], along[:, :, cut.k > 0], equal_nan=True)
    assert np.array_equal(every[:, :, -1, 1:], along[:, :, cut.k < 0][..., ::-1], equal_nan=True)
    first = [s.start for s in cells.slices]
    states = cells.states[first] / angles.number
    assert every[:, :, :, 0] == pytest.approx((u[:, :, first] / angles.multiplicity[:, None] / states).transpose(2, 0, 1))


def test_threshold_is_the_missing_energy_after_one_acoustic_phonon(couplings):
    """√(2M(51.5 − 23.6 meV))/ħ for KK', √(2M(30.5 − 19 meV))/ħ for KΛ; ħ²/m0 = 76.1996 meV nm²."""
    threshold = absorption_threshold(couplings, "KK")
    expected = [np.sqrt(2 * mass * missing / 76.1996) for mass, missing in ((0.71, 27.9), (0.99, 11.5))]
    assert np.isnan(threshold[0])
    assert threshold[1:] == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def room_temperature():
    """Exact states of the shipped 300 K job, to 12 ps."""
    settings = loading.load(ROOT / "inputs/ws2_300K.yaml", ["time.end=12 ps", "momentum.energy_step=12 meV"])
    problem = builder.build(settings, MPI.COMM_SELF)
    return problem.moments.snapshots()


def test_adiabatic_diffusion_is_the_drift_part_once_momentum_has_relaxed(room_temperature):
    observable = next(o for o in registry.SERIES if o.name == "diffusion_adiabatic")
    early, late = room_temperature[2], room_temperature[-1]
    assert observable.compute(late) == pytest.approx(late.budget.parts["drift"], rel=1e-3)
    assert np.abs(observable.compute(early) / early.budget.parts["drift"] - 1).max() > 0.02


def test_growth_makes_the_intervalley_terms_cancel(room_temperature):
    """Σ_v n_v (D_v^interv + c_v w_v²/4) = 0, and c_v n_v with source and loss is ∂t n_v."""
    growth = next(o for o in registry.SERIES if o.name == "growth")
    for snapshot in room_temperature[2:]:
        b = snapshot.budget
        c = growth.compute(snapshot)
        terms = b.population * (b.parts["interv"] + c * b.width_squared / 4)
        assert abs(terms.sum()) < 1e-12 * np.abs(snapshot.rates.valley_transfer).max() * snapshot.moments.second.sum()
    before, now, after = room_temperature[20:23]
    rate = (after.budget.population - before.budget.population) / 0.5
    b = now.budget
    loss = now.rates.equilibrium.cells.valley_sum(now.rates.light * now.moments.zeroth)
    assert growth.compute(now) * b.population - loss == pytest.approx(rate, rel=2e-2, abs=1e-9)
