"""Change of D_v by uncertain numbers of a material, and the report on a material."""

import dataclasses

import numpy as np
import pytest
from helpers import exponential, hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates, generator
from hpcwigner.observables.transport import chapman_enskog, elastic_acoustic
from hpcwigner.problem import loading
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.studies import sensitivity, verification


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return loading.load(small_input(tmp_path_factory.mktemp("sensitivity")), ["momentum.energy_step=8 meV"])


@pytest.fixture(scope="module")
def analysis(small):
    """All estimated numbers of the shipped material varied."""
    return sensitivity.analyse(small, MPI.COMM_SELF, ranged=False)


@pytest.mark.slow
def test_slopes_are_differences_of_curves(analysis, small, ws2):
    key = next(k for k in analysis.varied if sensitivity.label(k) == "M TA electron")
    number = dict(materials.numbers(ws2))[key]
    low, high = (sensitivity.curves(small, materials.with_value(ws2, key, number.value * f)) for f in (0.9, 1.1))
    expected = 0.5 * (high.diffusion - low.diffusion)
    index = int(np.argmin(np.abs(high.time - 2.0)))
    assert analysis.slopes([2.0])[key][0] == pytest.approx(expected[index], rel=1e-12)
    assert np.abs(expected[index]).max() > 1e-4
    estimated = {k for k, n in materials.numbers(ws2) if n.confidence == "estimated"}
    assert set(analysis.varied) == {k for k in estimated if not k.endswith(("splitting", "gauge_factor"))}
    assert "valleys.KΛ.gauge_factor" in estimated


def test_curves_release_shared_memory_and_communicators(small, ws2, monkeypatch):
    alive = set()
    create, free = NodeShared.__init__, NodeShared.free
    monkeypatch.setattr(NodeShared, "__init__", lambda self, *words: (alive.add(id(self)), create(self, *words))[1])
    monkeypatch.setattr(NodeShared, "free", lambda self: (alive.discard(id(self)), free(self))[1])
    sensitivity.curves(small, ws2)
    assert not alive


def test_effects_are_linear_in_small_changes(small, ws2):
    """Twice the slope from 10 % is the difference of ±20 % up to third order."""
    key = next(k for k, _ in materials.numbers(ws2) if sensitivity.label(k) == "K TA electron")
    value = dict(materials.numbers(ws2))[key].value
    at = {f: sensitivity.curves(small, materials.with_value(ws2, key, value * f)).at([3.0])[0] for f in (0.8, 0.9, 1.1, 1.2)}
    assert at[1.2] - at[0.8] == pytest.approx(2 * (at[1.1] - at[0.9]), rel=0.05)


def test_times_are_those_of_the_outputs(tmp_path, ws2):
    """The last output comes at the end, also where that is no multiple of series_every."""
    curves = sensitivity.curves(loading.load(small_input(tmp_path), ["time.end=2.1 ps"]), ws2)
    assert curves.time == pytest.approx([0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.1])


def test_verb_writes_table_and_plot(analysis, tmp_path, monkeypatch):
    """Of curves that are at hand. The verb as a whole: the README; on several ranks: mpi/test_sweep_on_ranks.py."""
    monkeypatch.setattr(sensitivity, "analyse", lambda *_: analysis)
    process = hpcwigner("sensitivity", small_input(tmp_path), "--at", "1", "2", "-o", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "out/sensitivity.png").stat().st_size > 10_000
    text = (tmp_path / "out/sensitivity.txt").read_text(encoding="utf-8")
    assert process.stdout.strip() == text.strip()
    for word in ("D_KK'", "M TA electron", "KΛ electron_mass", "radiation linewidth", "base value"):
        assert word in text


@pytest.mark.slow
@pytest.mark.parametrize("name", materials.shipped())
def test_report_of_every_shipped_material(name):
    text = verification.report(name)
    for word in ("binding energy of KK", "acoustic slope", "Chapman–Enskog", "light cone", "in equilibrium KK holds"):
        assert word in text
    lowest = name.startswith("mo")
    assert ("is the lowest valley" in text) == lowest


def test_verify_and_check_from_the_command_line(tmp_path):
    process = hpcwigner("verify", "ws2_hbn")
    assert process.returncode == 0
    assert "30.49 µeV/K (measured 28 µeV/K" in process.stdout
    process = hpcwigner("check", small_input(tmp_path))
    assert "KK' -51.5 meV (given; computed -47.9" in process.stdout.replace("-47.89", "-47.9")
    process = hpcwigner("verify", "ws3_hbn")
    assert process.returncode == 2
    assert "ws2_hbn" in process.stderr


def test_acoustic_diffusion_of_point_like_excitons_is_the_elastic_limit(couplings):
    """At high temperature Chapman–Enskog tends to ħ³ρv²/(M²D²) when excitons are points."""
    state = exponential(couplings.valleys, 1e-6)[0]
    phonon = dataclasses.replace(couplings.acoustic[0], valley=state)
    equilibrium = Equilibrium(EnergyCells.build((state,), 10.0, 1200.0), 1000.0)
    rates = Rates.build(Couplings((state,), (phonon,), ()), equilibrium, 1, 0, comm=MPI.COMM_SELF)
    assert chapman_enskog(equilibrium, generator(rates.intravalley)[1]) == pytest.approx(elastic_acoustic(phonon), rel=0.01)


def test_lifetime_of_a_thermal_bright_valley(ws2):
    """The share of the light cone in a Boltzmann distribution, by quadrature."""
    cone = LightCone.from_material(ws2)
    thermal = 0.0861733326 * 20.0
    energy = (np.arange(20000) + 0.5) * 20 * thermal / 20000
    weight = np.exp(-energy / thermal)
    share = weight[energy < cone.energy].sum() / weight.sum()
    assert cone.mean_lifetime(20.0) == pytest.approx(1 / (cone.rate * share), rel=0.03)


def test_numbers_have_keys_and_can_be_replaced(ws2):
    numbers = dict(materials.numbers(ws2))
    changed = materials.with_value(ws2, "valleys.KΛ.electron_mass", 5.0)
    assert changed.valleys["KΛ"].electron_mass.value == 5.0
    assert ws2.valleys["KΛ"].electron_mass.value == 0.63
    assert numbers["sound_velocity"].value == 4.3
    same = dict(materials.numbers(changed))
    assert {k for k in numbers if same[k] != numbers[k]} == {"valleys.KΛ.electron_mass"}
