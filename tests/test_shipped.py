"""The shipped jobs at full size against exact moment equations and limits: what the READMEs promise.

The job at 20 K: test_readme.py.
"""

import numpy as np
import pytest
from helpers import ROOT, hpcwigner

from hpcwigner.exciton.constants import BOLTZMANN
from hpcwigner.storage.reading import read, read_summary

pytestmark = pytest.mark.slow


def settings(*words):
    """Options that change an input."""
    return [option for word in words for option in ("--set", word)]


@pytest.mark.parametrize("name", ["ws2_300K", "ws2_77K", "ws2_300K_intervalley_off"])
def test_full_runs_agree_with_the_moment_equations(tmp_path, name):
    """D_v within 0.5 % of its largest value from 1 ps on, as the run says itself (checked in test_run.py and test_readme.py)."""
    ran = hpcwigner(ROOT / "inputs" / f"{name}.yaml", "--output", tmp_path / "run")
    assert ran.returncode == 0, ran.stderr
    checks = read_summary(tmp_path / "run/series.h5")[1]["checks"]
    for quantity in ("diffusion", "width_squared"):
        worst = np.array(checks[f"deviation_{quantity}"].value)
        assert worst.shape == (3,)
        assert np.all(worst < 5e-3), (quantity, worst)
    if name == "ws2_300K":
        assert np.allclose(read(tmp_path / "run/series.h5").data["diffusion"][-1], 0.984, atol=0.01)


def test_strain_speeds_excitons_up(tmp_path):
    """D of WS2 at 300 K: smallest near −0.1 % strain, 4.5 times that without strain at 0.6 % (inputs/README.md)."""
    strains = [-0.2, -0.1, 0.0, 0.6]
    vary = f"sweep.vary={{sample.strain: [{', '.join(f'{s} percent' for s in strains)}]}}"
    ran = hpcwigner(ROOT / "inputs/ws2_300K_strain_sweep.yaml", "--output", tmp_path / "sweep", "--set", vary)
    assert ran.returncode == 0, ran.stderr
    ends = [read(tmp_path / f"sweep/point_{i:03d}/moments.h5").data["diffusion"][-1] for i in range(len(strains))]
    assert np.ptp(ends, axis=1).max() < 1e-2, "the valleys do not diffuse together"
    assert np.allclose(np.mean(ends, axis=1), [0.998, 0.945, 0.984, 4.40], rtol=5e-3)


def test_a_cold_cloud_fills_its_trap(tmp_path):
    """In the end ⟨x²⟩ = kT/k, all of it kept by reflecting walls; on wider cells than the shipped ones."""
    grid = "space.cells=40", "momentum.energy_step=1 meV", "momentum.energy_max=12 meV"
    steps = "time.steps=[{size: 20 fs, until: 1 ps}, {size: 80 fs}]", "output.series_every=4 ps", "output.fields_every=40 ps"
    ran = hpcwigner(ROOT / "inputs/ws2_20K_trap.yaml", "--output", tmp_path / "run", *settings(*grid, *steps))
    assert ran.returncode == 0, ran.stderr
    series = read(tmp_path / "run/series.h5").data
    variance = 0.5 * series["width_squared_axis"][-1, :, 0]
    assert np.allclose(variance, BOLTZMANN * 20 / 100, rtol=1e-2)
    assert np.all(np.abs(series["mean_position"][-1]) < 2e-3)
    assert series["population_total"][-1] == pytest.approx(1, abs=1e-9)


def test_annihilation_looks_like_diffusion(tmp_path):
    """A Gaussian spot seems to spread with D + R n0 w0²/16 as long as few have annihilated, D of the moment equations."""
    options = "--point", "2", *settings("time.end=2 ps", "space.cells=44")
    ran = hpcwigner(ROOT / "inputs/ws2_300K_density_2d.yaml", "--output", tmp_path / "sweep", *options)
    assert ran.returncode == 0, ran.stderr
    series = read(tmp_path / "sweep/point_002/series.h5").data
    spot = (0.7e-4) ** 2 / (8 * np.log(2))  # w0² [cm²]
    at_1_ps = series["time"] == 1
    assert series["diffusion_total"][at_1_ps] == pytest.approx(0.986 + 0.41 * 1e11 * spot / 16, rel=0.03)
    assert np.all(series["ring_contrast"] < 1e-3)


def test_repulsion_softens_the_cloud(tmp_path):
    """In local equilibrium D(1 + ½ g⟨n⟩/kT), ⟨n⟩ = ∫n² dx/∫n dx, D of Chapman–Enskog."""
    options = "--point", "3", *settings("time.end=15 ps", "space.cells=72")
    ran = hpcwigner(ROOT / "inputs/ws2_77K_dipolar_expansion.yaml", "--output", tmp_path / "sweep", *options)
    assert ran.returncode == 0, ran.stderr
    series, fields = (read(tmp_path / f"sweep/point_003/{name}.h5").data for name in ("series", "fields"))
    density = fields["density"][-1].sum(axis=0)  # [1/µm²]
    mean = 1e8 * float((density**2).sum() / density.sum())
    expected = 2.508 * (1 + 0.5 * 1.7e-11 * mean / (BOLTZMANN * 77))
    assert expected > 1.7 * 2.508
    assert series["diffusion_total"][-1] == pytest.approx(expected, rel=5e-3)
