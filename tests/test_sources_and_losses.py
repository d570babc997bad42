"""radiation: off, recombination, injection above resonance, long pulses, several sources, outputs at any time."""

import dataclasses
import math

import numpy as np
import pytest
import xarray
import yaml
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.problem import builder, loading
from hpcwigner.reference.step_choice import choose, pulse_windows
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.terms.sources import injection_spectrum

SLAB = "{dimensions: 1, length: 4 um, cells: 24}"
INJECTED = "pump.energy={valley: KΛ, above: 20 meV, spread: 3 meV}"


def problem_of(folder, *settings):
    return builder.build(loading.load(small_input(folder, space=SLAB), settings), MPI.COMM_SELF)


def series_of(folder, *settings, name="run"):
    words = (word for setting in settings for word in ("--set", setting))
    done = hpcwigner(small_input(folder, name), *words)
    assert done.returncode == 0, done.stderr
    with xarray.open_dataset(folder / name / "series.h5", engine="h5netcdf") as series:
        return series.load(), done.stdout


def test_nothing_is_lost_without_radiation(tmp_path):
    series, printed = series_of(tmp_path, "radiation=off")
    assert series.population_total.values[-1] == pytest.approx(1, abs=1e-12)
    assert not series.pl_total.values.any()
    assert not np.nan_to_num(series.diffusion_radiative.values).any()
    assert "terms: drift, scattering, source\n" in printed
    assert "largest deviation of D_v" in printed


def test_recombination_is_exponential(tmp_path):
    """With one lifetime and no light the total decays as exp(−t/τ) once formation is over, and D_v has no part from it."""
    series, printed = series_of(tmp_path, "radiation=off", "recombination.lifetime=4 ps")
    late = series.population_total.sel(time=slice(2.5, 3))
    assert late.values / late.values[0] == pytest.approx(np.exp(-(late.time.values - 2.5) / 4), rel=1e-9)
    deviation = next(line for line in printed.splitlines() if line.startswith("largest deviation of D_v"))
    assert max(float(word.strip(",")) for word in deviation.split(":")[1].split() if word[0].isdigit()) < 1e-2


def test_a_valleys_lifetime_enters_its_own_balance(tmp_path):
    """∂t n_total = −n_KΛ/τ at every output after formation: by finite differences of the written populations."""
    series, _ = series_of(tmp_path, "radiation=off", "recombination.lifetime={KΛ: 2 ps}", "output.series_every=0.125 ps")
    late = series.sel(time=slice(2, 3))
    rate = np.gradient(late.population_total.values, late.time.values)[1:-1]
    assert rate == pytest.approx(-late.population.sel(valley="KΛ").values[1:-1] / 2, rel=2e-3)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("recombination.lifetime={KY: 1 ns}", "recombination.lifetime: found 'KY', expected a valley of the material"),
        ("pump.energy={valley: KA, above: 20 meV}", "pump.energy.valley: found 'KA', expected a valley"),
        ("pump.energy={valley: KΛ, above: 2 eV}", "pump.energy.above: found 2000 meV, expected an energy below"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_material_is_refused(tmp_path, setting, words):
    refused = hpcwigner("check", small_input(tmp_path), "--set", setting)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_injected_excitons_fly_ballistically(tmp_path):
    """Without scattering and light: all in KΛ at the energy asked for, w² = w0² + ⟨v²⟩⟨(t − t')²⟩ over the pulse A(t')²."""
    off = ("scattering.intravalley=off", "scattering.intervalley=off", "radiation=off", INJECTED)
    problem = problem_of(tmp_path, *off)
    source = problem.sources[0]
    spectrum = source.spectrum(0)
    assert spectrum.sum() == pytest.approx(1, abs=1e-14)
    valley = [v.name for v in problem.cells.valleys].index("KΛ")
    assert not np.delete(problem.cells.valley_sum(spectrum), valley).any()
    assert float(spectrum @ problem.equilibrium.kinetic_energy) == pytest.approx(20, abs=0.3)
    mean_square_speed = float(spectrum @ problem.equilibrium.velocity**2)
    pump = problem.config.pump
    variance = (pump.duration_fwhm**2 / (8 * math.log(2))) / 2  # of A(t)², half that of A(t)
    for time, budget in zip(problem.moments.times, problem.moments.reference(), strict=True):
        if time > 0.7:
            width = source.width_squared + mean_square_speed * ((time - pump.center) ** 2 + variance)
            assert budget.width_squared[valley] == pytest.approx(width, rel=1e-9)
            assert budget.population[valley] == pytest.approx(1, abs=1e-12)
    problem.free()


def test_a_run_with_injection_agrees_with_the_moment_equations(tmp_path):
    series, printed = series_of(tmp_path, INJECTED, "time.integrator=etd2", "time.steps=auto")
    assert "injection" in printed
    line = next(line for line in printed.splitlines() if line.startswith("largest deviation of D_v"))
    assert max(float(word.strip(",")) for word in line.split(":")[1].split() if word[0].isdigit()) < 1.2e-2
    assert not series.coherent.values.any()


def test_the_energy_of_injection_is_in_the_grid(tmp_path):
    problem = problem_of(tmp_path)
    with pytest.raises(ValueError, match="an energy below"):
        injection_spectrum(problem.equilibrium, 0, 1e4, 1.0)
    problem.free()


@pytest.mark.slow
@pytest.mark.parametrize("duration", ["0.8 ps", "3 ps"])
@pytest.mark.parametrize("temperature", [300, 77])
def test_long_pulses_form_all_excitons(tmp_path, duration, temperature):
    """κσ up to 30: |p0|² used to be wrong by its own size, the population not a number."""
    settings = (f"temperature={temperature} K", "momentum.energy_max=auto", "momentum.energy_step=8 meV", "radiation=off")
    problem = problem_of(tmp_path, *settings, f"pump.duration_fwhm={duration}", "pump.center=6 ps", "time.end=20 ps")
    assert problem.moments.reference()[-1].population.sum() == pytest.approx(1, abs=1e-7)
    problem.free()


def test_a_run_that_forms_nothing_fails(tmp_path):
    failed = hpcwigner(small_input(tmp_path), "--set", "pump.center=40 ps")
    assert failed.returncode == 2
    assert failed.stderr == "hpcwigner: time.end: found 3 ps, when the moment equations have 0 excitons, expected some\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_pulses_are_the_sum_of_their_own(tmp_path):
    """Moments are linear: two pulses at different times and widths against the sum of runs with one of them."""
    problem = problem_of(tmp_path, "time.end=6 ps")
    first = problem.sources[0]
    later = dataclasses.replace(
        first, pulse=dataclasses.replace(first.pulse, center=3.1), width_squared=2 * first.width_squared, amplitude=0.5
    )
    moments = problem.moments
    both = dataclasses.replace(moments, sources=[first, later])
    tick = both.plan((both.end, 1)).tick
    windows = [(w.begin, w.end) for w in pulse_windows(both, tick, math.inf)]
    assert windows == [(0.0, 0.75), (2.5, 3.5)]
    states = [dict(one.exact_moments())[6.0] for one in (moments, dataclasses.replace(moments, sources=[later]), both)]
    for part in ("zeroth", "first", "second"):
        alone, second, together = (getattr(state, part) for state in states)
        assert together == pytest.approx(alone + second, rel=1e-9, abs=1e-12 * np.abs(together).max())
    reference = both.reference()
    chosen = choose(both, {"etd2": 0.1}, 1e-2, reference)
    inside = [step.size for step in chosen.plan.steps if 2.75 < step.start < 3.4]
    between = [step.size for step in chosen.plan.steps if 1.6 < step.start < 2.4]
    assert max(inside) <= 0.025 < min(between)
    error = [
        abs(b.diffusion / r.diffusion - 1).max() for b, r in zip(both.integrated("etd2", chosen.plan), reference, strict=True)
    ]
    assert max(error[8:]) < 0.1
    problem.free()


PULSE = "{center: 0.2 ps, duration_fwhm: 100 fs, spot_fwhm: 0.4 um, density: 2e10 cm^-2}"
LATER = "{center: 2.3 ps, duration_fwhm: 80 fs, spot_fwhm: 0.5 um, density: 1e10 cm^-2, energy: {valley: KK, above: 20 meV}}"
TRAIN = f"pump=[{PULSE}, {LATER}]"


@pytest.mark.slow
def test_a_list_of_pulses_from_input_to_files(tmp_path):
    """Against each pulse alone: populations add up before radiation and after, at every output. Written back as it came."""
    settings = ("time.end=4 ps", "time.steps=[{size: 20 fs}]")
    both, printed = series_of(tmp_path, TRAIN, *settings, name="both")
    first, _ = series_of(tmp_path, f"pump=[{PULSE}]", *settings, name="first")
    second, _ = series_of(tmp_path, f"pump=[{LATER}]", *settings, name="second")
    assert "largest deviation of D_v" in printed
    assert float(second.population_total[8]) == 0 < float(second.population_total[-1])
    for name in ("population", "coherent", "pl_total"):
        total = (first[name] + second[name]).values
        assert both[name].values == pytest.approx(total, rel=1e-10, abs=1e-12 * np.abs(total).max()), name
    written = yaml.safe_load((tmp_path / "both/input.yaml").read_text())["pump"]
    assert [pulse["center"] for pulse in written] == ["0.2 ps", "2.3 ps"]
    assert isinstance(yaml.safe_load((tmp_path / "first/input.yaml").read_text())["pump"], list)


def test_entries_of_a_list_are_counted_from_zero(tmp_path):
    path = small_input(tmp_path)
    config = loading.load(path, [TRAIN, "pump.1.density=3e10 cm^-2"])
    assert [pulse.density for pulse in config.pulses.values()] == pytest.approx([2e-4, 3e-4])
    for wrong, message in (("pump.2.density=1 cm^-2", "from 0 to 1"), ("pump.first.density=1 cm^-2", "found 'first' in a list")):
        with pytest.raises(InputError, match=message):
            loading.load(path, [TRAIN, wrong])
    vary = "sweep={vary: {pump.1.density: [1e10 cm^-2, 4e10 cm^-2]}}"
    points = loading.points(loading.load(path, [TRAIN, vary]))
    assert [point.config.pulses["pump.1"].density for point in points] == pytest.approx([1e-4, 4e-4])
    assert schema.shown(points[1].config, "pump.1.density") == (4e10, "cm^-2")


def test_outputs_at_any_time(tmp_path):
    """The end and the outputs of fields and cuts need not be multiples of the series' interval; the last output is at the end."""
    settings = ("time.end=2.13 ps", "output.fields_every=0.3 ps", "output.wigner_at=[1.1 ps]", "time.steps=auto")
    series, printed = series_of(tmp_path, *settings)
    assert series.time.values == pytest.approx([*np.arange(9) * 0.25, 2.13])
    assert "largest deviation of D_v" in printed
    for name, times in (("fields.h5", [*np.arange(8) * 0.3, 2.13]), ("wigner.h5", [1.1])):
        with xarray.open_dataset(tmp_path / "run" / name, engine="h5netcdf") as written:
            assert written.time.values == pytest.approx(times)
