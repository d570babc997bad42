"""Spectra of the photoluminescence: areas, positions and shapes of lines, balances, landscapes."""

import itertools
import math

import numpy as np
import pytest
from helpers import hpcwigner, small_input
from mpi4py import MPI
from scipy.integrate import quad

from hpcwigner.exciton.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0, HBAR_C
from hpcwigner.exciton.sidebands import sidebands
from hpcwigner.observables.spectrum import Lines, cell_lines, point_line
from hpcwigner.problem import builder, loading
from hpcwigner.simulation.spectra import Spectra, lines_of
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.reading import read

EDGES = np.linspace(-130.0, 30.0, 321)
HILLS = "sample.energy={all: {gaussian: {peak: 9 meV, fwhm: 0.8 um}}, KΛ: {gaussian: {peak: 6 meV, fwhm: 1 um}}}"
SPECTRUM = "output.spectrum={from: -130 meV, to: 30 meV, step: 0.5 meV, every: 0.5 ps"


def lorentzian(x, width):
    return width / math.pi / (x**2 + width**2)


@pytest.fixture(scope="module")
def lines(rates, couplings, light_cone, generator):
    formed = math.fsum(rates.formation.sum(axis=0))
    return Lines.build(rates.equilibrium, couplings, light_cone, formed, generator.out_rates[0], generator.light, EDGES)


def test_all_bins_together_are_the_loss(lines):
    """Cell by cell, with what lies beyond the bins."""
    kernel = lines.kernel()
    assert kernel.shape == (lines.equilibrium.cells.size, len(EDGES) + 1)
    assert (kernel > -1e-30).all()
    assert kernel.sum(axis=1) == pytest.approx(lines.rates.sum(axis=0) + lines.light, rel=1e-12)
    assert (lines.rates.sum(axis=0) > 0).all()


def test_rates_are_the_golden_rule(lines, ws2, couplings, light_cone):
    """Σ over the light cone of γ |G|² η/[ΔE² + w²] with |G|² = ħ(D0 F)²/(2ρωA), from the numbers of the material file."""
    equilibrium, material = lines.equilibrium, ws2
    temperature, cone = equilibrium.temperature, material.radiation
    q_cone = cone.refractive_index.value * cone.photon_energy.value / HBAR_C
    bright = couplings.valleys[light_cone.valley]
    for band in sidebands(couplings, bright.name):
        phonon, valley = band.process, band.valley
        kinetic = np.array([0.3, 7.0, 21.0])
        momentum = np.sqrt(2 * valley.mass * kinetic / HBAR2_OVER_M0)
        overlap = valley.overlaps[bright.name]
        deformation = phonon.electron * overlap(momentum * valley.hole_fraction)
        if phonon.hole:
            deformation = deformation + phonon.hole * overlap(momentum * valley.electron_fraction)
        squared = HBAR * deformation**2 / (2 * material.area_density.value * phonon.energy / HBAR) * phonon.final_valleys
        number = 1 / math.expm1(phonon.energy / (BOLTZMANN * temperature))
        eta, photon = (number + 1, -phonon.energy) if band.emission else (number, phonon.energy)
        detuning = bright.energy - valley.energy - kinetic - photon
        width = lines.direct_width
        expected = light_cone.rate * squared * eta * q_cone**2 / (4 * math.pi) / (detuning**2 + width**2)
        assert band.rate(kinetic, light_cone, width, temperature) == pytest.approx(expected, rel=1e-12), band.name
    assert any(not band.emission for band in sidebands(couplings, bright.name))


def test_without_width_a_line_lies_at_the_excitons_energy_less_the_phonons(lines):
    """First moment of each sideband for Γ → 0 and its own rate frozen: E_v ∓ ħΩ + ⟨ε⟩ over the cells."""
    cells, equilibrium = lines.equilibrium.cells, lines.equilibrium
    names = [valley.name for valley in cells.valleys]
    for band in lines.bands:
        own = names.index(band.valley.name)
        edges, bottom = cells.edges(own), band.valley.energy + band.shift
        fine = np.linspace(bottom - 5, bottom + edges[-1] + 5, 20001)
        population = equilibrium.population[cells.slices[own]]
        spectrum = population @ cell_lines(fine, bottom + edges[:-1], bottom + edges[1:], np.full(len(population), 1e-7))
        centers = np.concatenate(([fine[0]], 0.5 * (fine[1:] + fine[:-1]), [fine[-1]]))
        middle = 0.5 * (edges[1:] + edges[:-1])
        assert spectrum @ centers / spectrum.sum() == pytest.approx(bottom + population @ middle / population.sum(), abs=2e-3)


@pytest.mark.parametrize("width", [0.2, 3.0])
def test_a_thermal_line_is_an_exponential_convolved_with_a_lorentzian(width):
    """Cells of ever smaller width; bins are exact."""
    thermal, bins, errors = 6.6, np.linspace(-15.0, 40.0, 56), []

    def exact(energy):
        boltzmann = lambda e: math.exp(-e / thermal) / thermal  # noqa: E731
        return quad(lambda e: boltzmann(e) * lorentzian(energy - e, width), 0, 200, points=[energy], limit=400)[0]

    expected = np.array([quad(exact, a, b)[0] for a, b in itertools.pairwise(bins)])
    for step in (2.0, 1.0, 0.5):
        edges = np.arange(0.0, 150.0 + step, step)
        share = np.exp(-edges[:-1] / thermal) - np.exp(-edges[1:] / thermal)
        shape = share @ cell_lines(bins, edges[:-1], edges[1:], np.full(len(share), width))
        errors.append(np.abs(shape[1:-1] - expected).max() / expected.max())
    assert errors[2] < 2e-3
    assert np.diff(np.log2(errors)).max() < -0.9


def test_a_point_line_is_a_lorentzian():
    bins = np.array([-3.0, -1.0, 0.5, 2.0])
    parts = point_line(bins, 0.7, center=0.2)
    pieces = [(-np.inf, -3.0), (-3.0, -1.0), (-1.0, 0.5), (0.5, 2.0), (2.0, np.inf)]
    assert parts == pytest.approx([quad(lambda e: lorentzian(e - 0.2, 0.7), *piece)[0] for piece in pieces], abs=1e-9)


def written(folder, *settings, space="{dimensions: 1, length: 4 um, cells: 32}"):
    ran = hpcwigner(small_input(folder, space=space), *(word for setting in settings for word in ("--set", setting)))
    assert ran.returncode == 0, ran.stderr
    return read(folder / "run/spectra.h5").data, read(folder / "run/series.h5").data


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sample", "resolved"])
@pytest.mark.parametrize("sample", ["", HILLS], ids=["homogeneous", "landscape"])
def test_spectra_of_a_run_hold_all_that_radiates(tmp_path, place, sample):
    """∫I dE dr with the outer bins: γ N of the light cone and the loss by sidebands."""
    settings = [f"{SPECTRUM}, place: {place}}}", "radiation={phonon_assisted: on}", *([sample] if sample else [])]
    spectra, series = written(tmp_path, *settings, space="{dimensions: 1, length: 4 um, cells: 32, boundary: open}")
    inside = spectra["intensity"].sum(axis=1) * 0.5
    if place == "resolved":
        inside = inside.sum(axis=1) * 4.0 / 32
    photons = spectra["photons"]
    assert inside + spectra["below"] + spectra["above"] == pytest.approx(photons, rel=1e-12)
    due = np.searchsorted(series["time"], spectra["time"] - 1e-9)
    assert (photons[1:] > series["pl_total"][due][1:]).all()
    population = series["population_total"]
    if sample:
        return
    # Without a landscape the decay after the pulse is the light emitted
    late = series["time"] >= 2.25  # nothing forms any more
    slope = np.gradient(population, series["time"], edge_order=2)[late]
    emitted = np.interp(series["time"][late], spectra["time"], photons)
    assert -slope == pytest.approx(emitted, rel=0.05)


def test_uniform_energies_move_the_whole_spectrum(tmp_path):
    """A sample whose bottoms lie 5 meV higher: the same light at energies higher by ten bins."""
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    plain, _ = written(tmp_path / "a", f"{SPECTRUM}}}")
    higher, _ = written(tmp_path / "b", f"{SPECTRUM}}}", "sample.energy={all: {step: {height: 5 meV, at: -40 um, width: 1 um}}}",
                        "space.boundary=open")  # fmt: skip
    a, b = plain["intensity"][-1], higher["intensity"][-1]
    assert b[10:] == pytest.approx(a[:-10], rel=1e-6, abs=1e-9 * a.max())
    assert higher["photons"] == pytest.approx(plain["photons"], rel=1e-6)


def test_local_shifts_keep_area_and_mean_energy(tmp_path):
    """Against kernels whose edges are moved by each point's own E_v(r), without interpolation."""
    landscape = "sample.energy={all: {gaussian: {peak: -7.3 meV, fwhm: 1.5 um}}}"
    path = small_input(tmp_path, space="{dimensions: 1, length: 4 um, cells: 24, boundary: open}")
    problem = builder.build(loading.load(path, [f"{SPECTRUM}}}", landscape]), MPI.COMM_SELF)
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    isotropic = np.random.default_rng(5).random((problem.space.shape[0], problem.cells.size)) * problem.equilibrium.population
    spectra = Spectra(problem, decomposition)(isotropic)
    energy = problem.potential(decomposition) - problem.potential(decomposition)[-1]
    start = problem.potential(decomposition)[-1] - problem.offsets.nodes[0]
    assert np.ptp(energy[:, 0]) > 5
    for point in range(len(isotropic)):
        shift = float(energy[point, 0] + start[0])
        (exact,) = lines_of(problem, EDGES - shift)
        expected = isotropic[point] @ exact.kernel()
        assert spectra[point].sum() == pytest.approx(expected.sum(), rel=1e-12)
        assert np.abs(spectra[point] - expected).max() < 0.06 * expected.max()  # lines of cells have sharp ends
        centers = 0.5 * (EDGES[1:] + EDGES[:-1])
        mean, exact_mean = (s[1:-1] @ centers / s[1:-1].sum() for s in (spectra[point], expected))
        assert mean == pytest.approx(exact_mean, abs=2e-2)
    problem.free()


def test_windows_are_sums_of_bins(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    spectra, _ = written(tmp_path / "a", f"{SPECTRUM}}}")
    windows, _ = written(tmp_path / "b", f"{SPECTRUM}, windows: [[-80 meV, -60.25 meV], [-5 meV, 5 meV]]}}")
    energy, intensity = spectra["energy"], spectra["intensity"]
    near = (energy > -5) & (energy < 5)
    assert windows["intensity"][:, 1] == pytest.approx(0.5 * intensity[:, near].sum(axis=1), rel=1e-12)
    far = (energy > -80) & (energy < -60.5)
    half = np.flatnonzero(np.isclose(energy, -60.25))[0]
    assert windows["intensity"][:, 0] == pytest.approx(0.5 * intensity[:, far].sum(axis=1) + 0.25 * intensity[:, half], rel=1e-12)


def test_phonon_assisted_recombination_is_a_loss(tmp_path):
    """By the moment equations; the number of excitons falls by it, and is right in a run."""
    ran = hpcwigner(small_input(tmp_path), "--set", "radiation={phonon_assisted: on}")
    assert ran.returncode == 0, ran.stderr
    deviation = next(line for line in ran.stdout.splitlines() if "largest deviation of D_v" in line)
    assert max(float(word) for word in deviation.replace(",", "").split() if "e-" in word) < 1e-2
    balance = next(line for line in ran.stdout.splitlines() if "balance off by" in line)
    assert abs(float(balance.split("balance off by")[1].split()[0])) < 1e-9
    (tmp_path / "off").mkdir()
    plain = hpcwigner(small_input(tmp_path / "off"))
    assert plain.returncode == 0
    on, off = (read(folder / "run/series.h5").data["population_total"][-1] for folder in (tmp_path, tmp_path / "off"))
    assert 1e-6 < off - on < 1e-3


def test_repulsion_moves_lines_up(tmp_path):
    """By g n(r, t), against kernels whose edges are moved."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 4 um, cells: 24, boundary: open}")
    dense = ["pump.density=1e12 cm^-2", "interaction.repulsion=1e-11 meV cm^2"]
    problem = builder.build(loading.load(path, [f"{SPECTRUM}}}", *dense]), MPI.COMM_SELF)
    decomposition = Decomposition(problem.space, MPI.COMM_SELF, (problem.angles.count, problem.cells.size))
    spectra, density = Spectra(problem, decomposition), np.linspace(0, 0.01, problem.space.shape[0])  # up to 1e12 per cm²
    light = spectra(density[:, None] * problem.equilibrium.population)
    for found, n in zip(light[1:], density[1:], strict=True):
        (moved,) = lines_of(problem, EDGES - 1e3 * n)  # g n = 10 meV in the end
        expected = n * problem.equilibrium.population @ moved.kernel()
        assert found.sum() == pytest.approx(expected.sum(), rel=1e-12)
        assert np.abs(found - expected).max() < 0.02 * expected.max()
    (still,) = lines_of(problem, EDGES)
    assert np.abs(found - n * problem.equilibrium.population @ still.kernel()).max() > 0.3 * expected.max()
    problem.free()
