"""Whole runs in landscapes against exact results: equilibrium, traps, uniform and absent fields."""

import numpy as np
import pytest
from helpers import hpcwigner, same, small_input

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.exciton.materials import load as material
from hpcwigner.problem import equation
from hpcwigner.storage.reading import read

QUIET = ("--set", "radiation=off", "--set", "output.wigner_at=[]")


def run(path, *settings):
    process = hpcwigner(path, *QUIET, *(word for setting in settings for word in ("--set", setting)))
    assert process.returncode == 0, process.stderr
    folder = path.parent / "run"
    return read(folder / "series.h5").data, read(folder / "fields.h5").data


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Directory of a finished run without a landscape."""
    folder = tmp_path_factory.mktemp("plain")
    assert hpcwigner(small_input(folder, "plain")).returncode == 0
    return folder / "plain"


@pytest.mark.slow
@pytest.mark.parametrize(
    "sample", ["{energy: {all: 0 meV}}", "{energy: {KΛ: {gaussian: {peak: 0 meV, fwhm: 1 um}}}}", "{strain: 0 percent}"]
)
def test_zero_fields_change_nothing(plain, tmp_path, sample):
    assert hpcwigner(small_input(tmp_path, "zero"), "--set", f"sample={sample}").returncode == 0
    a, b = (read(folder / "series.h5").data for folder in (plain, tmp_path / "zero"))
    assert all(np.array_equal(a[key], b[key], equal_nan=True) for key in a)
    same(plain, tmp_path / "zero", ["wigner.h5"])


@pytest.mark.slow
def test_uniform_strain_is_a_shift_of_valleys_and_keeps_the_moment_equations(tmp_path):
    """0.2 % against a material file with shifted valleys: the same run, which agrees with the moment equations."""
    shift = {name: -0.2 * valley.gauge_factor.value for name, valley in material("ws2_hbn").valleys.items()}
    offsets = {name: shift[name] - shift["KK"] for name in ("KK'", "KΛ")}
    strained, shifted = small_input(tmp_path, "strained"), small_input(tmp_path, "shifted")
    process = hpcwigner(strained, "--set", "sample.strain=0.2 percent")
    assert process.returncode == 0
    assert "largest deviation of D_v from the exact moment equations" in process.stdout + process.stderr
    assert (
        hpcwigner(
            shifted, "--set", f"sample.energy={{KK': {offsets[chr(75) * 2 + chr(39)]} meV, KΛ: {offsets['KΛ']} meV}}"
        ).returncode
        == 0
    )
    a, b = (read(tmp_path / name / "series.h5").data for name in ("strained", "shifted"))
    for key in ("population", "diffusion", "pl_total"):
        assert np.allclose(a[key], b[key], rtol=1e-9, atol=0, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", ["77 K", "300 K"])
def test_equilibrium_is_reached_from_a_spot(tmp_path, temperature):
    """From an excitation at one side the density goes to exp(−E_v(r)/kT) of all valleys, with local rates, to 1e-6.

    The grid's top is high: what is cut off there would be seen.
    """
    hot = temperature == "300 K"
    length, cells = ("50 nm", 6) if hot else ("0.1 um", 8)  # the slowest mode of diffusion decays in 0.6 and 1.5 ps
    path = small_input(tmp_path, space=f"{{dimensions: 1, length: {length}, cells: {cells}}}", integrator="etd2")
    hills = f"{{cosine: {{amplitude: {12 if hot else 6} meV, period: {length}}}}}"
    settings = (
        f"temperature={temperature}", f"sample.energy={{all: {hills}, KΛ: {hills}}}", f"time.end={12 if hot else 25} ps",
        f"time.steps=[{{size: {8 if hot else 30} fs}}]", "output.series_every=6 ps", "output.fields_every=6 ps",
        f"pump.profile={{gaussian: {{fwhm: {30 if hot else 50} nm, center: [{10 if hot else 20} nm, 0 nm]}}}}",
        "momentum.energy_max=400 meV" if hot else "momentum.energy_max=100 meV",
        "momentum.energy_step=16 meV" if hot else "momentum.energy_step=5 meV",
    )  # fmt: skip
    _, fields = run(path, *settings)
    energy, density = fields["landscape"], fields["density"][-1]
    masses = np.array([valley.degeneracy * valley.mass for valley in material("ws2_hbn").valleys.values()])
    expected = masses[:, None] * np.exp(-energy / (BOLTZMANN * float(temperature.split()[0])))
    expected *= density.sum() / expected.sum()
    assert density == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_cloud_in_a_harmonic_trap_breathes_at_twice_its_frequency(tmp_path):
    """Without scattering ⟨x²⟩ = A + B cos 2ωt, ω² = k/M, and the energy stays."""
    path = small_input(tmp_path, space="{dimensions: 1, length: 0.8 um, cells: 48, boundary: open}", integrator="etd3")
    curvature = 600.0  # meV/um²
    settings = (
        "scattering={intravalley: off, intervalley: off}", "momentum.energy_step=1 meV", "momentum.energy_max=45 meV",
        # The other valleys stay empty: with equal bottoms they have the fewest energies.
        f"sample.energy={{all: {{quadratic: {{curvature: [{curvature} meV/um^2, 0 meV/um^2]}}}}, KK': 51.5 meV, KΛ: 30.5 meV}}",
        "momentum.angles=12",
        "pump={energy: {valley: KK, above: 6 meV, spread: 2 meV}, spot_fwhm: 0.3 um, duration_fwhm: 10 fs, center: 0 ps}",
        "time.end=10 ps", "time.steps=[{size: 25 fs}]", "output.observables=[default, kinetic_energy]",
    )  # fmt: skip
    series, _ = run(path, *settings)
    frequency = np.sqrt(curvature * 1e-6 / HBAR2_OVER_M0 / material("ws2_hbn").valleys["KK"].mass) * HBAR_OVER_M0
    time, width = series["time"], series["width_squared"][:, 0]
    late = time > 0.2

    def misfit(factor):
        phase = 2 * frequency * factor * time[late]
        design = np.stack([np.ones(late.sum()), np.cos(phase), np.sin(phase)]).T
        return np.linalg.lstsq(design, width[late], rcond=None)[1][0]

    factors = np.linspace(0.9, 1.1, 401)
    best = factors[np.argmin([misfit(factor) for factor in factors])]
    assert best == pytest.approx(1, abs=0.01)
    assert misfit(best) < 1e-3 * ((width[late] - width[late].mean()) ** 2).sum()
    energy = (series["potential_energy"] + series["kinetic_energy"])[late, 0]
    assert np.abs(energy - energy[0]).max() < 0.02 * np.abs(energy[0])


SPOT = "sample.strain={gaussian: {peak: 0.2 percent, fwhm: 1 um}}"


@pytest.mark.parametrize(
    ("verb", "settings", "message"),
    [
        ("moments", (SPOT,), "moments: found a problem without closed moment equations, since the sample has a landscape"),
        ("sensitivity", (SPOT,), "sample: found values that vary in space, expected uniform ones"),
        ("run", (SPOT, "momentum.energy_step=14 meV"), "momentum.energy_step: found 14 meV, which makes"),
        ("rates", (SPOT,), "sample: found valley offsets that vary in space"),
        ("run", (SPOT, "scattering.intervalley={off_at: 1 ps}"), "scattering: found off_at, expected on or off"),
        (
            "run",
            (SPOT, "space.cells=12", "temperature=20 K", "momentum.energy_max=30 meV"),
            "space.cells: found 12, expected at least",
        ),
        (
            "run",
            (SPOT, "output.observables=[relative_population]"),
            "output.observables.0: found 'relative_population', expected what",
        ),
        ("run", ("output.observables=[mean_position]",), "expected what a sample without a landscape has"),
    ],
)
def test_what_does_not_hold_in_a_landscape_is_refused(tmp_path, verb, settings, message):
    path = small_input(tmp_path)
    output = ("--output", tmp_path / "rates.h5") if verb == "rates" else ()
    process = hpcwigner(verb, path, *output, *(word for setting in settings for word in ("--set", setting)))
    assert process.returncode == 2
    assert message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


def test_a_steep_landscape_is_warned_of(tmp_path):
    path = small_input(tmp_path)
    settings = ("--set", SPOT, "--set", "space.cells=96", "--set", "temperature=20 K", "--set", "momentum.energy_max=30 meV")
    process = hpcwigner("check", path, *settings, "--set", "time.steps=auto")
    assert process.returncode == 0, process.stderr
    assert "from cell to cell: use" in process.stdout


@pytest.mark.slow
def test_a_plane_is_a_slab_where_nothing_varies_along_y(tmp_path):
    """Landscape, local rates, detuned pulse and all directions of motion: densities to 1e-11."""
    sample = "sample.energy={all: {cosine: {amplitude: 5 meV, period: 2 um}}, KΛ: {cosine: {amplitude: 4 meV, period: 1 um}}}"
    light = "pump.profile=[1, {cosine: {amplitude: 0.8, period: 2 um, phase: 50 degree}}]"
    spaces = {"slab": "{dimensions: 1, length: 2 um, cells: 24}", "plane": "{dimensions: 2, length: 2 um, cells: [24, 7]}"}
    densities = []
    for name, space in spaces.items():
        path = small_input(tmp_path, name, space=space, integrator="etd2", steps="[{size: 20 fs, until: 0.75 ps}, {size: 50 fs}]")
        words = ("--set", sample, "--set", light, "--set", "time.end=1.5 ps", "--set", "output.fields_every=0.5 ps")
        process = hpcwigner(path, *QUIET, *words)
        assert process.returncode == 0, process.stderr
        densities.append(read(tmp_path / name / "fields.h5").data["density"])
    slab, plane = densities
    summed = plane.sum(axis=-1) * 2.0 / 7  # µm per cell along y
    for valley in range(3):
        assert np.abs(summed[:, valley] - slab[:, valley]).max() < 1e-11 * slab[:, valley].max()


def test_more_nodes_than_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(equation, "physical_memory", lambda: 1e6)
    process = hpcwigner("check", small_input(tmp_path), "--set", SPOT)
    assert process.returncode == 2
    assert "sets of valley offsets, whose rates take" in process.stderr
