"""Momentum cells and angular harmonics."""

import numpy as np
import pytest

from hpcwigner.exciton.constants import HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_above


def test_equilibrium_follows_degeneracy_mass_and_energy(couplings):
    cells = EnergyCells.build(couplings.valleys, 1.0, 120.0)
    equilibrium = Equilibrium(cells, 77.0)
    weights = np.array([v.degeneracy * v.mass * np.exp(-v.energy / equilibrium.thermal_energy) for v in cells.valleys])
    truncated = weights * [1 - np.exp(-top / equilibrium.thermal_energy) for top in cells.tops]
    assert cells.valley_sum(equilibrium.population) == pytest.approx(truncated / truncated.sum(), rel=1e-12)


def test_speeds_give_the_thermal_mean_square(couplings):
    cells = EnergyCells.build(couplings.valleys, 3.0, 100.0)
    equilibrium = Equilibrium(cells, 20.0)
    p = equilibrium.population
    mean = cells.valley_sum(p * equilibrium.velocity**2) / cells.valley_sum(p)
    thermal = [2 * equilibrium.thermal_energy / v.mass * HBAR_OVER_M0**2 / HBAR2_OVER_M0 for v in cells.valleys]
    assert mean == pytest.approx(thermal, rel=1e-12)


def test_cells_find_their_own_energies(couplings):
    cells = EnergyCells.build(couplings.valleys, 1.5, 80.0)
    kinetic = Equilibrium(cells, 77.0).kinetic_energy
    for v, own in enumerate(cells.slices):
        assert np.array_equal(own.start + cells.cell_within(v, kinetic[own]), np.arange(own.start, own.stop))
    assert cells.width(0) <= 1.5


def test_auto_cutoff_discards_nothing_that_matters(couplings):
    for temperature in (4.0, 20.0, 77.0, 300.0):
        equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 5.0, auto_energy_above(temperature)), temperature)
        assert equilibrium.discarded_weight < 1e-4


@pytest.mark.parametrize("number", [4, 8, 16, 20])
@pytest.mark.parametrize("half", [True, False])
def test_harmonics_invert_and_count_populations(number, half):
    angles = Angles(number, half)
    assert np.abs(angles.from_harmonics @ angles.to_harmonics - np.eye(angles.count)).max() < 1e-14
    assert np.array_equal(angles.to_harmonics[0], np.ones(angles.count))
    assert angles.multiplicity.sum() == number
    assert len(angles.orders) == angles.count


def test_half_circle_holds_both_signs_of_theta():
    full, half = Angles(12, False), Angles(12, True)
    f = np.exp(0.7 * full.cosine) + 0.2 * np.cos(2 * full.theta)  # even in θ
    folded = f[: half.count] * half.multiplicity
    assert half.to_harmonics @ folded == pytest.approx((full.to_harmonics @ f)[: half.count], rel=1e-13)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("half", [True, False])
def test_mirrors_reverse_the_normal_velocity_exactly(axis, half):
    angles = Angles(16, half)
    image = angles.mirror(axis)
    normal, along = (angles.cosine, angles.sine) if axis == 0 else (angles.sine, angles.cosine)
    if half and axis == 1:
        image = angles.mirror(0)  # a slab has no wall along y; its mirror is θ → π − θ only
        normal, along = angles.cosine, angles.sine
    assert np.array_equal(normal[image], -normal)
    assert np.array_equal(along[image], along)
