"""Quantities of a state whose answer is known."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcwigner.momentum.angles import Angles
from hpcwigner.observables.fields import Directions, LocalState, SpatialMomentSums, WignerCut, undershoot
from hpcwigner.space.grid import Decomposition, SpaceGrid


@pytest.fixture(params=[1, 2], ids=["slab", "plane"])
def place(request, rates):
    """Grid, its decomposition on one rank, angles."""
    shape = (60, 1) if request.param == 1 else (60, 48)
    grid = SpaceGrid(request.param, 4000.0, shape, "periodic")
    angles = Angles(8, half=request.param == 1)
    return grid, Decomposition(grid, MPI.COMM_SELF, (angles.count, rates.cells.size)), angles


def state(grid, angles, equilibrium, width_squared):
    """Boltzmann in momentum, Gaussian in space, with a momentum along the radius: u ∝ (1 + r·Q̂/R) p."""
    profile = grid.gaussian(width_squared)
    x, y = grid.centers(0)[:, None, None, None], grid.centers(1)[None, :, None, None]
    directed = 1 + (x * angles.cosine[:, None] + y * angles.sine[:, None]) / 1e4
    share = (angles.multiplicity / angles.number)[:, None] * equilibrium.population
    u = profile[:, :, None, None] * directed * share
    return u.reshape(-1, angles.count, equilibrium.cells.size)


def test_moments_of_a_gaussian(place, rates):
    grid, decomposition, angles = place
    w2 = 300.0**2
    found = SpatialMomentSums(decomposition)(Directions(angles)(state(grid, angles, rates.equilibrium, w2)))
    p = rates.equilibrium.population
    assert found.zeroth == pytest.approx(p, rel=1e-12)
    assert found.second == pytest.approx(w2 * p, rel=1e-9)
    # ∫r·Q̂ u: ⟨x²⟩⟨cos²⟩ (+ the same for y) / R = w²/2 / R; a slab doubles its x
    assert found.first == pytest.approx(0.5 * w2 / 1e4 * p, rel=1e-9)


def test_shape_variation_integrates_to_zero_and_cancels_between_valleys(place, rates, generator):
    grid, decomposition, angles = place
    rng = np.random.default_rng(5)
    u = state(grid, angles, rates.equilibrium, 2e5) * rng.random((grid.shape[0] * grid.shape[1], 1, rates.cells.size))
    directions = Directions(angles)(u)
    moments = SpatialMomentSums(decomposition)(directions)
    fields = LocalState(directions, decomposition, generator, moments)
    for v in range(3):
        assert abs(fields.shape_variation[v].sum()) < 1e-12 * np.abs(fields.shape_variation[v]).sum()
    growth = generator.valley_transfer @ moments.zeroth / rates.cells.valley_sum(moments.zeroth)
    full = fields.shape_variation + growth[:, None, None] * fields.density
    assert np.abs(full.sum(axis=0)).max() < 1e-12 * np.abs(full).max()
    assert fields.density.sum() * grid.cell_measure == pytest.approx(moments.zeroth.sum())
    assert fields.pl.sum() * grid.cell_measure == pytest.approx(generator.loss @ moments.zeroth)


def test_wigner_cut_of_a_boltzmann_state(place, rates):
    """All valleys share one occupation exp(−(E_v + ε)/kT); in the plane the value on y = 0, a face, is interpolated."""
    grid, decomposition, angles = place
    equilibrium, cells = rates.equilibrium, rates.cells
    cut = WignerCut(decomposition, angles, cells)
    found = cut.along_x(state(grid, angles, equilibrium, 500.0**2))
    assert found.shape == (3, 60, cut.POINTS)
    x = grid.centers(0)
    profile = np.exp(-((x / 500.0) ** 2))
    norm = grid.gaussian(500.0**2).max() / np.exp(
        -(grid.centers(0)[30] ** 2 + (grid.centers(1)[24] ** 2 if grid.dimensions == 2 else 0)) / 500.0**2
    )
    for v, valley in enumerate(cells.valleys):
        kinetic = 76.1996 * cut.k**2 / (2 * valley.mass)
        inside = kinetic < cells.tops[v]
        assert np.array_equal(np.isfinite(found[v, 30]), inside | (kinetic <= cells.tops[v]))
        occupation = (equilibrium.population / cells.states)[cells.slices[v].start + cells.cell_within(v, kinetic[inside])]
        direction = 1 + np.sign(cut.k[inside]) * x[:, None] / 1e4
        expected = norm * profile[:, None] * direction * occupation
        np.testing.assert_allclose(found[v][:, inside], expected, rtol=1e-4)  # pytest.approx takes seconds for so many
    per_state = equilibrium.population / cells.states  # the same function of total energy in every valley
    total = equilibrium.kinetic_energy + np.array([v.energy for v in cells.valleys])[cells.valley_of_cell]
    slope = np.polyfit(total, np.log(per_state), 1)[0]
    assert -1 / slope == pytest.approx(equilibrium.thermal_energy, rel=0.02)


def test_undershoot_finds_the_most_negative_density():
    density = np.array([[[1.0, 4.0, -0.2]], [[3.0, 0.0, 1.0]]])
    assert undershoot(density, MPI.COMM_SELF) == pytest.approx([-0.05, 0.0])
