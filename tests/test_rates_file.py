"""Rates written to a file and read back, and files from elsewhere."""

import shutil

import h5py
import numpy as np
import pytest
import xarray
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.momentum import rates_file
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates, generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read
from hpcwigner.terms.scattering import ScatteringStage


@pytest.fixture(scope="module")
def equilibrium(couplings):
    return Equilibrium(EnergyCells.build(couplings.valleys, 4.0, 62.0), 77.0)


@pytest.fixture(scope="module")
def built(couplings, equilibrium):
    return Rates.build(couplings, equilibrium, 4, 0, comm=MPI.COMM_SELF)


@pytest.fixture
def path(tmp_path, built):
    file = tmp_path / "rates.h5"
    rates_file.write(file, built, 0, {"source": "test"})
    return file


def generators(rates):
    kinds = ((True, True), (True, False), (False, True))
    return [ScatteringStage.build(rates, intravalley=a, intervalley=b) for a, b in kinds]


def test_blocks_survive_the_file(path, built, equilibrium):
    back = rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)
    for copy, expected in zip(generators(back), generators(built), strict=True):
        assert np.abs(copy.blocks - expected.blocks).max() < 1e-13 * np.abs(expected.blocks).max()
        assert np.abs(copy.blocks[0].sum(axis=0)).max() < 1e-13 * np.abs(copy.blocks[0]).max()
        assert copy.valley_transfer == pytest.approx(expected.valley_transfer, abs=1e-12 * np.abs(copy.blocks[0]).max())
    assert back.formation == pytest.approx(built.formation, rel=1e-13)


def test_columns_of_gamma_sum_to_zero_and_xarray_opens_it(path):
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data.gamma.dims == ("m", "cell_to", "cell_from")
        assert np.abs(data.gamma[0].sum("cell_to")).max() < 1e-12 * np.abs(data.gamma).max()
        assert data.gamma.attrs["units"] == "ps-1"
        assert float(data.equilibrium.sum()) == pytest.approx(1)


def test_a_file_without_the_intervalley_part_counts_by_valleys(path, built, equilibrium, light_cone):
    with h5py.File(path, "r+") as file:
        del file["gamma_intervalley"], file["formation_intervalley"]
    back = rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)
    whole, expected = generators(back)[0], generators(built)[0]
    assert np.abs(whole.blocks - expected.blocks).max() < 1e-13 * np.abs(expected.blocks).max()
    assert whole.valley_transfer == pytest.approx(expected.valley_transfer, abs=1e-12 * np.abs(whole.blocks[0]).max())
    assert back.formation == pytest.approx(built.formation, rel=1e-13)


def break_balance(gamma):
    gamma[0, 7, 7] -= 0.01 * gamma[0, 6, 7]
    gamma[0, 6, 7] *= 1.01


def go_negative(gamma):
    gamma[0, 30, 2] = -0.5


def lose_excitons(gamma):
    gamma[0, 5, 5] *= 1.01


def grow(gamma):
    gamma[1, range(gamma.shape[1]), range(gamma.shape[1])] += 1e3


def be_nan(gamma):
    gamma[1, 4, 4] = np.nan


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_balance, ["gamma[0]", "detailed balance", "(cell_to 6, cell_from 7)", "KK at"]),
        (go_negative, ["gamma[0]", "-0.5 /ps", "cell_to 30, cell_from 2", "KK' at"]),
        (lose_excitons, ["gamma[0]", "sums to", "KK at"]),
        (grow, ["gamma[1]", "grows"]),
        (be_nan, ["not finite"]),
    ],
)
def test_what_breaks_the_physics_is_refused(path, equilibrium, damage, words):
    with h5py.File(path, "r+") as file:
        gamma = file["gamma"][()]
        damage(gamma)
        file["gamma"][...] = gamma
    with pytest.raises(InputError) as error:
        rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_small_errors_are_corrected_exactly(path, equilibrium):
    """As rates in single precision have them: balance and number hold to rounding afterwards."""
    with h5py.File(path, "r+") as file:
        for name in ("gamma", "gamma_intervalley"):
            file[name][...] = file[name][()].astype(np.float32)
    blocks = ScatteringStage.build(rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)).blocks
    flow = blocks[0] * equilibrium.population
    assert np.abs(flow - flow.T).max() < 1e-15 * np.abs(flow).max()
    assert np.abs(blocks[0].sum(axis=0)).max() < 1e-13 * np.abs(blocks[0]).max()


def test_a_file_of_another_grid_or_temperature_is_refused(path, couplings, equilibrium):
    with pytest.raises(InputError, match=r"temperature: found 300 K, expected 77 K"):
        rates_file.read(path, Equilibrium(EnergyCells.build(couplings.valleys, 4.0, 310.0), 300.0), 4, MPI.COMM_SELF)
    with pytest.raises(InputError, match=r"momentum: found a grid of .* cells, expected"):
        rates_file.read(path, Equilibrium(EnergyCells.build(couplings.valleys, 5.0, 62.0), 77.0), 4, MPI.COMM_SELF)
    with pytest.raises(InputError, match=r"momentum.angles: found 32, expected at most 8"):
        rates_file.read(path, equilibrium, 16, MPI.COMM_SELF)
    with pytest.raises(InputError, match=r"rates: found '.*nothing.h5', expected a file"):
        rates_file.read(path.with_name("nothing.h5"), equilibrium, 4, MPI.COMM_SELF)
    other_top = Equilibrium(EnergyCells.build(couplings.valleys, 4.0, 61.9), 77.0)
    assert other_top.cells.counts == equilibrium.cells.counts
    with pytest.raises(InputError, match=r"width: found .* in KK at .*, expected that of the input's cells"):
        rates_file.read(path, other_top, 4, MPI.COMM_SELF)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("velocity", np.nan, r"velocity: found nan in KK at .* meV, expected a speed ≥ 0 and below"),
        ("velocity", 1e300, r"velocity: found 1e\+300 in KK at .* meV, expected .* below that of light"),
        ("energy", 30.0, r"energy: found 30 in KK at .* meV, expected one inside the cell"),
        ("equilibrium", 0.0, r"equilibrium: found 0 in KK at .* meV, expected a population > 0"),
        ("equilibrium", 0.5, r"equilibrium: found a sum of .*, expected 1"),
        ("formation", -1.0, r"formation: found -1 in KK at .* meV, expected a rate ≥ 0"),
        ("valley", "Λ".encode(), r"valley: found Λ, KK', KΛ, expected KK, KK', KΛ, as in the material"),
    ],
)
def test_values_that_do_not_fit_the_cells_are_refused(path, equilibrium, name, value, words):
    with h5py.File(path, "r+") as file:
        file[name][0] = value
    with pytest.raises(InputError, match=words):
        rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)


def test_cells_that_do_not_move_are_refused(path, equilibrium):
    with h5py.File(path, "r+") as file:
        file["velocity"][...] = 0.0
    with pytest.raises(InputError, match="velocity: found 0 in all cells, expected a speed above 0 in some"):
        rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)


def test_numbers_of_any_precision_are_read(path, equilibrium):
    with h5py.File(path, "r+") as file:
        speeds = file["velocity"][()]
        for name in ("velocity", "equilibrium", "energy"):
            values = file[name][()]
            del file[name]
            file[name] = values.astype(np.longdouble)
    back = rates_file.read(path, equilibrium, 4, MPI.COMM_SELF).equilibrium
    assert back.velocity.dtype == back.population.dtype == np.float64
    np.testing.assert_array_equal(back.velocity, speeds)


def test_bands_need_not_be_parabolic(path, built, equilibrium):
    """Speeds, populations and energies are the file's: D is quadratic in speed, and balance is that of its populations."""
    population = built.equilibrium.population * np.random.default_rng(2).uniform(0.8, 1.2, built.cells.size)
    population /= population.sum()
    with h5py.File(path, "r+") as file:
        for name in ("gamma", "gamma_intervalley"):
            file[name][...] = file[name][()] * (built.equilibrium.population / population)
        file["velocity"][...] *= 2
        file["equilibrium"][...] = population
        file["energy"][3] += 0.1
    back = rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)
    flow = (back.intravalley + back.intervalley)[0] * population
    assert np.abs(flow - flow.T).max() < 1e-15 * flow.max()
    assert np.array_equal(back.equilibrium.population, population)
    shift = back.equilibrium.kinetic_energy - equilibrium.kinetic_energy
    assert shift == pytest.approx(np.where(np.arange(len(shift)) == 3, 0.1, 0.0), abs=1e-12)
    d, twice = (
        chapman_enskog(e, generator(built.intravalley + built.intervalley)[1])
        for e in (equilibrium, equilibrium.with_values(equilibrium.population, back.equilibrium.velocity, shift))
    )
    assert twice == pytest.approx(4 * d, rel=1e-12)


def test_a_run_takes_the_speeds_of_the_file(tmp_path):
    source = small_input(tmp_path, "direct")
    assert hpcwigner("rates", source, "-o", tmp_path / "rates.h5").returncode == 0
    with h5py.File(tmp_path / "rates.h5", "r+") as file:
        file["velocity"][...] *= 1.5
    direct, filed = (
        builder.build(loading.load(source, ["space.cells=384", *more]), MPI.COMM_SELF)
        for more in ([], [f"rates={tmp_path / 'rates.h5'}"])
    )
    assert filed.equilibrium.velocity == pytest.approx(1.5 * direct.equilibrium.velocity, rel=1e-15)
    assert filed.largest_step("etd2") < direct.largest_step("etd2")
    late = [p.moments.reference()[-1].diffusion for p in (direct, filed)]
    assert np.all(late[1] > 1.5 * late[0])


@pytest.mark.slow
def test_a_run_from_a_file_equals_the_run_from_the_material(tmp_path):
    """On one rank; the file on several: mpi/test_rates_on_ranks.py."""
    direct = small_input(tmp_path, "direct")
    assert hpcwigner("rates", direct, "-o", tmp_path / "rates.h5").returncode == 0
    again = hpcwigner("rates", direct, "-o", tmp_path / "rates.h5")
    assert again.returncode == 2
    assert "rates.h5" in again.stderr
    for words in ((), ("--set", "rates=rates.h5", "--output", tmp_path / "filed")):
        done = hpcwigner(direct, *words)
        assert done.returncode == 0, done.stderr
    a, b = (read(tmp_path / name / "series.h5").data for name in ("direct", "filed"))
    late = a["time"] >= 0.5
    for name in ("population", "diffusion", "diffusion_interv"):
        assert np.abs(a[name][late] - b[name][late]).max() < 1e-10 * np.abs(a[name][late]).max()
    bad = tmp_path / "bad.h5"
    shutil.copy(tmp_path / "rates.h5", bad)
    with h5py.File(bad, "r+") as file:
        file["gamma"][0, 1, 0] *= 2
    refused = hpcwigner(direct, "--set", "rates=bad.h5", "--output", tmp_path / "bad")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "bad.h5" in refused.stderr
