"""Whole runs in a landscape against single excitons (particles.py, stored in particle_references) and the equations of a tilt."""

from pathlib import Path

import numpy as np
import particle_series
import pytest
from helpers import hpcwigner
from particle_cases import CASES, Case, equilibrium_at, in_scattering, ws2

from hpcwigner.reference.tilt import TiltedSample
from hpcwigner.storage.reading import read
from hpcwigner.terms.sources import injection_spectrum

REFERENCES = Path(__file__).parent / "particle_references"
INPUT = """\
material: ws2_hbn
temperature: {temperature} K
pump: {{center: {center} ps, duration_fwhm: {duration} ps, spot_fwhm: {spot} nm, energy: {injected}}}
radiation: off
sample: {{energy: {energy}}}
momentum: {{energy_max: {above}, energy_step: {step}, angles: 8}}
space: {{dimensions: 1, length: {length} nm, cells: {cells}, boundary: {boundary}}}
time: {{end: {end} ps, steps: [{{size: 10 fs, until: 0.5 ps}}, {{size: 25 fs, until: 2 ps}}, {{size: 62.5 fs}}]}}
output: {{directory: {directory}, series_every: 0.5 ps, fields_every: 0.5 ps, observables: [default, kinetic_energy]}}
"""
SPOT = np.sqrt(8 * np.log(2))
"""FWHM of the field over w of the density exp(−x²/w²)."""


def run_of(folder, energy, case, end, step="auto", **space):
    """Series of a run as the particles have them; `energy` is the input's, `step` that of its energy cells."""
    given = {
        "above": "auto" if case.above is None else f"{case.above} meV",
        "directory": folder / "run",
        "spot": SPOT * case.width,
        "step": step,
    }
    values = {
        "injected": "{valley: KK, above: 25 meV, spread: 3 meV}",
        "temperature": case.temperature,
        "center": case.center,
        "duration": case.duration,
    }
    text = INPUT.format(energy=energy, end=end, **given, **values, **space)
    (folder / "run.yaml").write_text(text, encoding="utf-8")
    ran = hpcwigner(folder / "run.yaml", "--quiet")
    assert ran.returncode == 0, ran.stderr
    series = read(folder / "run" / "series.h5").data
    mean = 1e3 * series["mean_position"][:, :, 0]
    bottoms = [valley.energy for valley in ws2().valleys]
    return {
        "time": series["time"], "population": series["population"], "kinetic_energy": series["kinetic_energy"],
        "mean_position": mean, "mean_square": mean**2 + 0.5e6 * series["width_squared_axis"][:, :, 0],
        "potential_energy": series["potential_energy"] - bottoms,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step", "limit"),
    [("flank_77K", "auto", 5e-3), pytest.param("strain_flank_77K", "2.5 meV", 2e-2, marks=pytest.mark.slow)],
)
def test_excitons_on_the_flank_of_a_well(tmp_path, name, step, limit):
    """They cool, change their valleys and slide into the well as single ones do; also where its depth differs among valleys.

    The latter within the error of nodes 2 meV apart and energy cells of 2.5 meV: with nodes 0.2 meV apart and
    the default cells the run agrees within chance.
    """
    case: Case = CASES[name]
    time, series = particle_series.load(REFERENCES / f"{name}.json")
    keep = (time >= 0.5) & (time <= 10)  # the pulse is over
    time, series = time[keep], {key: (mean[keep], error[keep]) for key, (mean, error) in series.items()}
    shapes = [f"{v}: {{gaussian: {{peak: {p} meV, fwhm: {case.fwhm} nm, center: [{case.at} nm, 0 nm]}}}}"
              for v, p in zip(("KK", "KK'", "KΛ"), case.peaks, strict=True)]  # fmt: skip
    run = run_of(tmp_path, f"{{{', '.join(shapes)}}}", case, 10, step, length=2000, cells=64, boundary="periodic")
    assert series["mean_position"][0][-1, 1] < -10  # they do slide
    deviations = particle_series.compare(run, time, series, least=0.05)
    assert deviations.keys() == set(particle_series.QUANTITIES)
    for quantity, deviation in deviations.items():
        assert deviation.certain < limit, (quantity, deviation)


@pytest.mark.slow
def test_a_tilted_sample(tmp_path):
    """n_v, ⟨x⟩, ⟨x²⟩ and energies at 77 K under 10 meV/µm agree with moment equations without a grid."""
    case = Case(77.0, (0.0, 0.0, 0.0), 1.0, 300.0)
    tilt = "{all: {linear: {gradient: [-10 meV/um, 0 meV/um]}}}"
    run = run_of(tmp_path, tilt, case, 6, "1.5 meV", length=3000, cells=60, boundary="open")
    equilibrium = equilibrium_at(77, 1.5)
    sample = TiltedSample(equilibrium, in_scattering(equilibrium, 4), 0.01)
    start = injection_spectrum(equilibrium, 0, 25.0, 3.0)
    solved = sample.solve(start, 0.5 * case.width**2, np.concatenate(([0.0], run["time"][1:] - case.center)))
    for name, tolerance in (("population", 5e-3), ("kinetic_energy", 5e-3), ("mean_position", 5e-3), ("mean_square", 5e-3)):
        expected, found = getattr(solved, name)[2:, 1:], run[name][2:, 1:]
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), err_msg=name)
