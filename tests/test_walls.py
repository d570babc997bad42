"""Walls: equilibrium beside them, what they return and absorb, decay between them against independent solutions, folding."""

import numpy as np
import pytest
import scipy.optimize
from helpers import hpcwigner, small_input
from mpi4py import MPI
from walled import Sample, exact_decay, local_generator

from hpcwigner.exciton.constants import BOLTZMANN, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.integrators.exponential import ETD2, ETD3
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import Landscape
from hpcwigner.space.walls import Edges, FaceWeights, Sides, Surface
from hpcwigner.storage.reading import read

CLOSED = {
    "specular": Surface(1.0),
    "partly diffuse": Surface(1.0, 0.4),
    "diffuse": Surface(1.0, 1.0),
    "different": Edges(Sides(Surface(1.0, 0.7), "reflecting"), Sides(Surface(1.0, 1.0), Surface(1.0, 0.2))),
}


def grid_of(shape, boundary, spacing=25.0):
    return SpaceGrid(1 if shape[1] == 1 else 2, spacing * shape[0], shape, boundary)


def hills(grid, kT, shifts=(0, 1, 2)):
    """A smooth landscape with a slope at every wall, of three valleys with these shifts."""
    x, y = (np.pi * grid.centers(axis) / grid.length for axis in (0, 1))
    return Landscape(kT * np.array([np.sin(1.3 * x + v)[:, None] + 0.5 * np.cos(y - v) for v in shifts]), kT, grid)


@pytest.fixture(scope="module")
def warm(couplings):
    """Few cells at 300 K."""
    generator = local_generator(couplings, step=16.0)
    yield generator
    generator.scattering.shared.free()


@pytest.fixture(scope="module")
def intravalley(couplings):
    """The valleys by themselves, with mean free paths of 15 nm."""
    generator = local_generator(couplings, intervalley=False)
    yield generator
    generator.scattering.shared.free()


def test_weights_of_the_uniform_stencil():
    """f = (11u_1 − 7u_2 + 2u_3)/6, the average of three cells extrapolated to the face; constants stay what they are."""
    faces = FaceWeights.uniform()
    assert 6 * faces.leaving.ravel() == pytest.approx([11, -7, 2], rel=1e-14)
    assert faces.from_face + faces.from_inside.sum(axis=1) == pytest.approx(np.ones((3, 1, 1, 1)), rel=1e-14)
    assert faces.beyond.sum(axis=1) == pytest.approx(np.ones((3, 1, 1, 1)), rel=1e-14)


PLANES_WITH_HILLS = {"specular", "different"}


@pytest.mark.slow
@pytest.mark.parametrize("boundary", CLOSED)
@pytest.mark.parametrize("shape", [(12, 1), (9, 7)], ids=["slab", "plane"])
def test_equilibrium_stands_still(warm, shape, boundary):
    """All valleys, for 100 ps in whole steps; they share a landscape, since scattering between them is that of one offset.

    Each boundary has it in the slab or in the plane.
    """
    grid, landscape = (
        grid_of(shape, CLOSED[boundary], spacing=40.0 if shape[1] > 1 else 30.0),
        (shape[1] > 1) == (boundary in PLANES_WITH_HILLS),
    )
    sample = Sample(warm, grid, landscape=hills(grid, warm.equilibrium.thermal_energy, (1, 1, 1)) if landscape else None)
    u = sample.at_rest()
    assert np.abs(sample.after(u, round(100 / sample.step)) - u).max() < 1e-11 * u.max()
    sample.free()


@pytest.mark.parametrize("landscape", [False, True], ids=["uniform", "landscape"])
@pytest.mark.parametrize("boundary", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("shape", [(12, 1), (9, 7)], ids=["slab", "plane"])
def test_closed_walls_keep_each_valleys_number(warm, shape, boundary, landscape):
    grid = grid_of(shape, boundary)
    sample = Sample(warm, grid, landscape=hills(grid, warm.equilibrium.thermal_energy) if landscape else None)
    u = np.random.default_rng(1).random(sample.decomposition.local_shape)
    change = warm.equilibrium.cells.valley_sum(sample.change(u))
    assert np.abs(change.sum(axis=(0, 1, 2))).max() < 1e-13 * np.abs(change).sum()
    sample.free()


@pytest.mark.parametrize("surface", [Surface(0.3), Surface(0.3, 0.5), Surface(0.9, 1.0), Surface(0.0)], ids=str)
def test_the_rest_of_the_incident_flux_is_lost(warm, surface):
    """In a plane with a wall at its upper end along x: 1 − R of Σ |v_n| f, in each valley, and each cell if all is specular."""
    sample = Sample(warm, grid_of((9, 8), Edges(Sides("reflecting", surface))))
    u = np.random.default_rng(2).random(sample.decomposition.local_shape)
    face = (11 * u[-1] - 7 * u[-2] + 2 * u[-3]) / 6
    incident = np.maximum(sample.angles.cosine, 0)[:, None] * sample.equilibrium.velocity * face
    lost, expected = -sample.change(u).sum(axis=(0, 1, 2)), (1 - surface.reflectivity) * incident.sum(axis=(0, 1)) / 25.0
    if surface.diffuse:
        lost, expected = map(sample.equilibrium.cells.valley_sum, (lost, expected))
    assert lost == pytest.approx(expected, abs=1e-12 * expected.max())
    sample.free()


def test_what_is_returned_diffusely_is_the_equilibrium(warm):
    """Ghost cells of the incoming directions beside a uniform state of any kind, each valley by itself."""
    sample = Sample(warm, grid_of((9, 1), Surface(0.8, 1.0)))
    u = np.ones((9, 1, 1, 1)) * np.random.default_rng(3).random(sample.decomposition.local_shape[2:])
    sample.drift.halo.start(u)
    coming, cells = sample.angles.cosine > 0, sample.equilibrium.cells
    ghosts = sample.drift.halo.ghosts[0][0]
    at_face = ghosts[1] + (ghosts[1] - ghosts[0]) * 1.5  # they lie on a straight line through the face's value
    shape = sample.at_rest()[0, 0]
    for valley in cells.slices:
        ratio = (at_face[0] / shape)[coming][:, valley]
        assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]), rel=1e-12)
        flux = [np.abs(sample.angles.cosine)[:, None] * sample.equilibrium.velocity * v for v in (at_face[0], u[0, 0])]
        assert flux[0][coming][:, valley].sum() == pytest.approx(0.8 * flux[1][~coming][:, valley].sum(), rel=1e-12)
    sample.free()


SURFACES = [Surface(0.0), Surface(0.5, 0.5), Surface(0.9), Surface(0.9, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize("surface", SURFACES, ids=str)
def test_decay_between_two_walls_is_that_of_the_transport_equation(intravalley, surface):
    """A slab of a few mean free paths, against its lowest eigenvalue by collocation with the same rates: 0.2 %."""
    length = 100.0
    sample = Sample(intravalley, SpaceGrid(1, length, (16, 1), surface).folded_along())
    exact = exact_decay(intravalley, sample.angles, 0, length, surface, 16)
    u = sample.at_rest(np.cos(2.5 * sample.grid.centers(0) / length)[:, None])
    assert sample.decay(u, 10.0 / exact**0.5, 0) == pytest.approx(exact, rel=2e-3)
    sample.free()


@pytest.mark.slow
def test_the_order_in_the_cells_beside_a_wall(intravalley):
    """Half as large cells make a third or less of the error."""
    length, errors, exact = 200.0, [], None
    for cells in (12, 24):
        sample = Sample(intravalley, SpaceGrid(1, length, (cells, 1), Surface(0.0)).folded_along(), part=0.6)
        u = sample.at_rest(np.cos(2.8 * sample.grid.centers(0) / length)[:, None])
        exact = exact or exact_decay(intravalley, sample.angles, 0, length, Surface(0.0), 20)
        errors.append(abs(sample.decay(u, 25.0, 0) / exact - 1))
        sample.free()
    assert errors[0] > 3 * errors[1]
    assert errors[1] < 2e-4


@pytest.fixture(scope="module")
def many_angles(couplings):
    """All scattering, between 32 directions."""
    generator = local_generator(couplings, 32, top=240.0)
    yield generator
    generator.scattering.shared.free()


@pytest.mark.slow
@pytest.mark.parametrize("surface", [Surface(0.9), Surface(0.9, 0.5), Surface(0.95, 1.0)], ids=str)
def test_surface_velocity(many_angles, surface):
    """Diffusion with a Robin wall, k tan(kL/2) = S/D with S = (1 − R)/(1 + R) √(2kT/πM), all valleys in equilibrium: 1 %."""
    generator, length = many_angles, 1000.0
    equilibrium = generator.equilibrium
    share, kT = equilibrium.cells.valley_sum(equilibrium.population), BOLTZMANN * 300
    masses = np.array([valley.mass for valley in equilibrium.cells.valleys])
    mean = share @ np.sqrt(2 * kT / (np.pi * masses * HBAR2_OVER_M0)) * HBAR_OVER_M0
    diffusion = chapman_enskog(equilibrium, generator.block(1))
    velocity = (1 - surface.reflectivity) / (1 + surface.reflectivity) * mean
    k = scipy.optimize.brentq(lambda k: k * np.tan(0.5 * k * length) - velocity / diffusion, 1e-9, 3.14 / length)
    sample = Sample(generator, SpaceGrid(1, length, (24, 1), surface).folded_along())
    u = sample.at_rest(np.cos(k * sample.grid.centers(0))[:, None])
    assert sample.decay(u, 60.0) == pytest.approx(diffusion * k**2, rel=1e-2)
    sample.free()


def growth(sample, count=200):
    """Factor per step of what grows fastest, by power iteration of whole steps."""
    weight = np.sqrt(sample.equilibrium.population)
    start = np.random.default_rng(5).standard_normal(sample.decomposition.local_shape) * weight
    sizes = [float(np.sqrt(((u / weight) ** 2).sum())) for u in sample.steps(start, count)]
    sample.free()
    return (sizes[-1] / sizes[count // 2]) ** (1 / (count - count // 2 - 1))


RETURNING = [Surface(0.99), Surface(1.0, 0.5), Surface(0.0)]
SHAPES = [(6, 1), (15, 1), (16, 1), (40, 1), (6, 16)]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "shape"), list(enumerate(SHAPES)), ids=str)
@pytest.mark.parametrize(("number", "surface"), list(enumerate(RETURNING)), ids=str)
def test_steps_at_the_limit_do_not_grow(warm, number, surface, place, shape):
    """Every surface and every shape with either integrator, in turn."""
    scheme = (ETD2, ETD3)[(number + place) % 2]
    grid = grid_of(shape, Edges(surface, surface if shape[1] > 1 else None), spacing=20.0)  # drift limits the step
    assert growth(Sample(warm, grid, scheme=scheme, part=0.98)) < 1 + 1e-9


def test_narrow_samples_need_shorter_steps(couplings):
    """Without scattering and without the factor for narrow samples a slab of six cells grows."""
    free = local_generator(couplings, step=16.0, intravalley=False, intervalley=False)
    grid = grid_of((6, 1), Surface(1.0, 0.5))
    assert growth(Sample(free, grid, part=0.98)) < 1 + 1e-9
    assert growth(Sample(free, grid, part=0.98 * 1.4)) > 1.05
    free.scattering.shared.free()


FAST = ("momentum.energy_step=8 meV", "time.steps=[{size: 30 fs, until: 0.75 ps}, {size: 60 fs}]", "output.wigner_at=[1 ps]")
FOLDED = [
    ("{dimensions: 1, length: 1 um, cells: 24, boundary: {reflectivity: 0.5, diffuse: 0.3}}", ()),
    ("{dimensions: 2, length: 1 um, cells: [12, 14], boundary: {x: {reflectivity: 0.2}, y: {reflectivity: 1, diffuse: 1}}}", ()),
    # An axis by itself: walls that differ, a pulse beside the middle, an odd number of cells.
    ("{dimensions: 2, length: 1 um, cells: [12, 14], boundary: {x: {low: open, high: {reflectivity: 0.7}}, y: reflecting}}", ()),
    (
        "{dimensions: 2, length: 1 um, cells: [12, 14], boundary: {x: {reflectivity: 0.6}, y: periodic}}",
        ("pump.profile={gaussian: {fwhm: 0.4 um, center: [0.2 um, 0 um]}}",),
    ),
    (
        "{dimensions: 2, length: 1 um, cells: [12, 13], boundary: {reflectivity: 0.6, diffuse: 0.5}}",
        ("sample.energy.all={gaussian: {peak: -5 meV, fwhm: 0.5 um, center: [0 um, 0.2 um]}}",),
    ),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("space", "settings"), FOLDED, ids=range(len(FOLDED)))
def test_a_folded_sample_gives_the_whole_one(tmp_path, space, settings):
    path = small_input(tmp_path, space=space)
    for symmetry in ("whole", "folded"):
        given = (f"space.symmetry={symmetry}", "output.observables=[all]", "time.end=1.5 ps", *FAST, *settings)
        ran = hpcwigner(path, *(w for s in given for w in ("--set", s)), "--output", tmp_path / symmetry)
        assert ran.returncode == 0, ran.stderr
    for name in ("series.h5", "fields.h5", "wigner.h5"):
        whole, folded = (read(tmp_path / symmetry / name).data for symmetry in ("whole", "folded"))
        assert set(whole) == set(folded)
        for quantity, expected in whole.items():
            assert np.array_equal(np.isnan(expected), np.isnan(folded[quantity]))
            scale = np.nanmax(np.abs(whole["diffusion"] if quantity.startswith("diffusion_") else expected), initial=1e-30)
            assert np.nanmax(np.abs(folded[quantity] - expected), initial=0.0) <= 1e-10 * scale, (name, quantity)


@pytest.mark.parametrize(
    ("space", "settings", "folded"),
    [
        (FOLDED[1][0], (), (True, True)),
        (FOLDED[2][0], (), (False, True)),
        (*FOLDED[3], (False, True)),
        (*FOLDED[4], (True, False)),
        ("{dimensions: 2, cells: [16, 15], length: 1 um}", (), (True, False)),
        ("{dimensions: 1, cells: 16, length: 1 um, boundary: {x: {low: open, high: reflecting}}}", (), (False, False)),
    ],
)
def test_each_axis_folds_by_itself(tmp_path, space, settings, folded):
    """The complete input, which says `folded` or `whole`, does the same."""
    path = small_input(tmp_path, space=space)
    problem = builder.build(loading.load(path, settings), MPI.COMM_SELF)
    assert problem.space.folded == folded
    problem.free()
    again = builder.build(
        loading.load(path, [*settings, f"space.symmetry={'folded' if any(folded) else 'whole'}"]), MPI.COMM_SELF
    )
    assert again.space == problem.space
    again.free()


def test_walls_that_differ_cannot_fold(tmp_path):
    path = small_input(tmp_path, space="{cells: 16, boundary: {x: {low: open, high: reflecting}}, symmetry: folded}")
    with pytest.raises(InputError, match=r"space\.symmetry: found folded, expected whole: the walls at the ends differ"):
        builder.build(loading.load(path, []), MPI.COMM_SELF)


@pytest.mark.slow
def test_mirrors_are_the_reflecting_boundary(tmp_path):
    """To the last bit, however it is written; the input comes back as it was given."""
    runs = []
    for number, wall in enumerate(
        ("reflecting", "{reflectivity: 1}", "{x: {low: reflecting, high: {reflectivity: 1, diffuse: 0}}}")
    ):
        path = small_input(tmp_path, f"run{number}", space=f"{{cells: 24, length: 1 um, boundary: {wall}}}")
        assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
        runs.append(tmp_path / f"run{number}")
        assert loading.load(runs[-1] / "input.yaml", []).space.boundary == loading.load(path, []).space.boundary
    first, *others = (read(run / "fields.h5").data for run in runs)
    assert all(np.array_equal(other[name], first[name], equal_nan=True) for other in others for name in first)


def test_a_checkpoint_that_is_folded_otherwise_is_refused(tmp_path):
    path = small_input(tmp_path, space="{dimensions: 2, cells: [16, 12], length: 1 um}")
    assert hpcwigner(path, "--set", "time.end=0.5 ps").returncode == 0
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("*/state.h5")
    problem = builder.build(loading.load(path, [f"initial={checkpoint}"]), MPI.COMM_SELF)
    assert problem.space.folded == (True, True)
    problem.free()
    with pytest.raises(InputError, match="folded along other axes than this input"):
        builder.build(loading.load(path, [f"initial={checkpoint}", "space.symmetry=whole"]), MPI.COMM_SELF)


def test_an_absorbing_wall_says_why_moments_are_not_compared(tmp_path):
    ran = hpcwigner(small_input(tmp_path, space="{cells: 24, length: 0.6 um, boundary: {reflectivity: 0.5}}"))
    assert ran.returncode == 0
    assert "of the excitons have left through the boundary" in ran.stdout
