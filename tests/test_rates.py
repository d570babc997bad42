"""Rates against analytic limits of the golden rule, and their exact properties."""

import dataclasses

import numpy as np
import pytest
from helpers import exponential, exponential_overlap
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN, HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.momentum import conductance
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.terms.scattering import ScatteringStage


def only(couplings, acoustic=(), optical=()):
    return Couplings(couplings.valleys, tuple(acoustic), tuple(optical))


def test_form_factor_of_exponential_states_by_quadrature():
    a, b, shift = 1.355, 0.9, 1.7
    r, w = np.polynomial.laguerre.laggauss(80)
    length = 1 / (1 / a + 1 / b)
    angle = (np.arange(400) + 0.5) * 2 * np.pi / 400
    bessel = np.cos(shift * length * r[:, None] * np.cos(angle)).mean(axis=1)
    exact = 2 / np.pi / (a * b) * 2 * np.pi * length**2 * np.sum(w * r * bessel)
    assert exponential_overlap(shift, a, b) == pytest.approx(exact, rel=1e-8)
    assert exponential_overlap(0.0, a, a) == pytest.approx(1, rel=1e-15)


def test_fast_excitons_scatter_elastically_at_high_temperature(couplings):
    """1/τ = M D² kT/(ħ³ρv²) for point-like excitons (form factor 1) much faster than sound."""
    phonon = dataclasses.replace(couplings.acoustic[0], valley=exponential(couplings.valleys, 1e-6)[0])
    coupling = dataclasses.replace(only(couplings, [phonon]), valleys=(phonon.valley,))
    temperature = 3000.0
    equilibrium = Equilibrium(EnergyCells.build(coupling.valleys, 20.0, 2600.0), temperature)
    out = Rates.build(coupling, equilibrium, 1, 0, comm=MPI.COMM_SELF).intravalley[0].sum(axis=0)
    deformation = phonon.electron + phonon.hole
    elastic = phonon.valley.mass / HBAR2_OVER_M0 * deformation**2 * BOLTZMANN * temperature
    elastic /= HBAR * phonon.area_density * phonon.sound_velocity**2
    assert out[20:80] == pytest.approx(elastic, rel=5e-3)


def test_acoustic_linewidth_of_the_bright_exciton_grows_with_30_microelectronvolt_per_kelvin(couplings):
    widths = []
    for temperature in (100.0, 300.0):
        equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 5.0, 310.0), temperature)
        widths.append(HBAR * Rates.build(couplings, equilibrium, 1, 0, comm=MPI.COMM_SELF).formation[0][:3].sum())
    assert (widths[1] - widths[0]) / 200 * 1000 == pytest.approx(30.5, rel=0.01)


@pytest.mark.parametrize(("temperature", "expected"), [(300.0, 22.3), (77.0, 7.1), (20.0, 4.7)])
def test_linewidth_of_the_coherent_exciton(ws2, couplings, temperature, expected):
    """ħΓ_0(KK) of an independent calculation with exponential states."""
    couplings = Couplings.from_material(ws2, exponential(couplings.valleys, 1.355))
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 1.0, max(60.0, 12 * BOLTZMANN * temperature)), temperature)
    rates = Rates.build(couplings, equilibrium, 1, 0, comm=MPI.COMM_SELF)
    assert HBAR * (rates.formation[0] + rates.formation[1]).sum() == pytest.approx(expected, abs=0.06)


def test_optical_emission_rate_from_the_golden_rule(couplings):
    """Isotropic coupling: Γ = g M D0²/(2ρħω)·(n + 1) below, n above; below the threshold absorption only."""
    phonon = next(p for p in couplings.optical if p.name == "K TA")
    states = exponential(couplings.valleys, 1e-6)
    phonon = dataclasses.replace(phonon, initial=states[0], final=states[1])
    equilibrium = Equilibrium(EnergyCells.build(states, 1.0, 100.0), 77.0)
    rates = Rates.build(Couplings(states, (), (phonon,)), equilibrium, 1, 0, comm=MPI.COMM_SELF)
    n = 1 / np.expm1(phonon.energy / (BOLTZMANN * 77.0))
    down = states[1].mass / HBAR2_OVER_M0 * phonon.electron**2 / (2 * phonon.area_density * phonon.energy / HBAR)
    out = rates.intervalley[0].sum(axis=0)[equilibrium.cells.slices[0]]
    assert out[:80] == pytest.approx(down * (2 * n + 1), rel=1e-12)
    assert np.abs(rates.intervalley[1]).max() < 1e-10 * out.max()


def test_detailed_balance_and_positivity_in_every_cell(rates):
    p = rates.equilibrium.population
    for gamma in (rates.intravalley[0], rates.intervalley[0]):
        flow = gamma * p
        assert gamma.min() >= 0
        assert np.abs(flow - flow.T).max() <= 1e-14 * flow.max()
        both = (flow + flow.T) > 0
        assert np.max(np.abs(flow - flow.T)[both] / (flow + flow.T)[both]) < 1e-14


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0, 2.0])
def test_every_harmonic_is_damped(couplings, step):
    """No mode of any harmonic grows, whatever the ratio of cell width to phonon energy."""
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, step, 30.0), 20.0)
    blocks = ScatteringStage.build(Rates.build(couplings, equilibrium, 8, 0, comm=MPI.COMM_SELF)).blocks
    root = np.sqrt(equilibrium.population)
    for m, block in enumerate(blocks):
        modes = np.linalg.eigvalsh(block * (root / root[:, None]))
        assert modes[-1] < (1e-12 if m == 0 else -0.1)


@pytest.mark.slow
def test_energy_diffusion_is_of_second_order_in_the_cells_width(couplings):
    """½ d⟨(δε)²⟩/dt by acoustic phonons at 300 K, whose energies are far below cells of 4 or 8 meV.

    Plain cell averages would be of first order: several times too large at 8 meV.
    """
    acoustic = only(couplings, couplings.acoustic)

    def diffusion(step):
        equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, step, 310.0), 300.0)
        rates, cells = Rates.build(acoustic, equilibrium, 0, 0, comm=MPI.COMM_SELF).intravalley[0], equilibrium.cells.slices[0]
        energy = (np.arange(equilibrium.cells.counts[0]) + 0.5) * equilibrium.cells.width(0)
        squared = (rates[cells, cells] * np.subtract.outer(energy, energy) ** 2).sum(axis=0)
        return squared @ equilibrium.population[cells] / equilibrium.population[cells].sum()

    exact = diffusion(0.25)
    errors = [abs(diffusion(step) / exact - 1) for step in (2.0, 4.0, 8.0)]
    assert errors[2] < 0.1
    assert errors[1] < errors[2] / 3
    assert errors[0] < 0.01


def test_quadrature_is_converged(rates, couplings, monkeypatch):
    monkeypatch.setattr(conductance, "ANGLES", 256)
    monkeypatch.setattr(conductance, "POINTS", 8)
    fine = Rates.build(couplings, rates.equilibrium, 2, 0, comm=MPI.COMM_SELF)
    for m in (0, 1, 2):
        coarse, exact = ((r.intravalley + r.intervalley)[m] for r in (rates, fine))
        assert np.abs(coarse - exact).max() < 1e-3 * np.abs(exact).max()
        out = (fine.intravalley + fine.intervalley)[0].sum(axis=0)
        assert np.all(np.abs(coarse.sum(axis=0) - exact.sum(axis=0)) < 2e-4 * out)


def test_formation_keeps_the_energy_of_the_phonon(couplings):
    phonon = next(p for p in couplings.optical if p.name == "K LO")
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 0.7, 30.0), 20.0)
    rates = Rates.build(only(couplings, optical=[phonon]), equilibrium, 1, 0, comm=MPI.COMM_SELF)
    energy = equilibrium.kinetic_energy @ rates.formation[1] / rates.formation[1].sum()
    assert energy == pytest.approx(51.5 - 48.0, rel=1e-9)


def test_reverse_process_counts_valleys_from_the_other_side(couplings):
    there = next(p for p in couplings.optical if p.name == "Λ TA")
    assert there.final_valleys == 3
    assert there.directions()[1].final_valleys == 1
    inside = next(p for p in couplings.optical if p.name.startswith("Λ to"))
    assert inside.final_valleys == 2
