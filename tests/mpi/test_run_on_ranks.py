"""Whole runs on several ranks against the same run on one."""

from pathlib import Path

import numpy as np
import pytest
from helpers import FEW_STEPS, ROOT, close, small_input
from mpi4py import MPI

from hpcwigner.problem import loading
from hpcwigner.simulation.restart import OUTPUT_FILES
from hpcwigner.simulation.run import run
from hpcwigner.storage.reading import read

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi

SHORT = "time.end=1.5 ps", "output.wigner_at=[1.25 ps]", "output.fields_every=0.75 ps"
"""21 steps."""
TWO = "{dimensions: 2, length: 5 um, cells: [17, 14], boundary: periodic}"
FLAKE = "{dimensions: 2, length: 3 um, cells: [13, 15], boundary: reflecting}"
WALLS = """{dimensions: 2, length: 2 um, cells: [13, 15], boundary: {x: {reflectivity: 0.5, diffuse: 0.5},
 y: {low: open, high: {reflectivity: 1, diffuse: 1}}}}"""
UNEVEN = "{dimensions: 1, length: 6 um, cells: 53, boundary: periodic}"


PULSES = """pump=[{profile: [{gaussian: {fwhm: 0.5 um, center: [0.4 um, -0.3 um]}}, {ring: {radius: 0.6 um, fwhm: 0.3 um}}],
 density: 1e11 cm^-2}, {center: 1.2 ps, density: 2e10 cm^-2, energy: {valley: KK', above: 10 meV}}]"""


FEWER = "momentum.angles={start: 8, reduce: [{at: 1 ps, to: 4}]}"


def run_on(comm, folder, name, space, integrator, *settings):
    path = folder / f"{name}-{comm.size}.yaml"
    if comm.rank == 0:
        small_input(folder, path.stem, space, integrator, FEW_STEPS)
    comm.Barrier()
    directory, finished = run(loading.load(path, (*SHORT, *settings)), comm, quiet=True)
    assert finished
    return directory


SPOT = "sample.strain={gaussian: {peak: 0.12 percent, fwhm: 1.5 um, center: [0.3 um, 0 um]}}"
"""A landscape with some twenty sets of valley offsets, in which the pulse is detuned by place."""
TIP = "sample={strain: {xx: {gaussian: {peak: 0.1 percent, fwhm: 1.2 um, center: [0.2 um, 0.1 um]}}, yy: 0.02 percent}}"

SPECTRUM = "output.spectrum={from: -90 meV, to: 10 meV, step: 2 meV, every: 0.5 ps, place: resolved, compression: gzip}"
"""Ranks write into the same chunks."""

FOLDED = "space.symmetry=folded", "output.observables=[all]"
EVEN = "{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}"
EVEN_FLAKE = "{dimensions: 2, length: 2 um, cells: [24, 20], boundary: reflecting}"

CASES = [
    (UNEVEN, "etd2"), (UNEVEN, "etd2_dense"), (UNEVEN, "arkimex3", SPOT), (UNEVEN, "etd2", SPOT, SPECTRUM),
    (TWO, "etd3", FEWER, SPECTRUM), (TWO, "etd2", PULSES), (FLAKE, "etd3_dense", TIP), (WALLS, "etd3", TIP),
    (EVEN, "etd3", *FOLDED), (EVEN_FLAKE, "etd3", *FOLDED),
]  # fmt: skip


CHOSEN = {2: (0, 2, 4, 8, 9), 3: (1, 5, 7, 9), 4: (3, 6, 7)}.get(COMM.size, range(8))
"""The cases of each number of ranks. On three and four mostly planes; one rank would be compared with itself."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Directories of the runs on one rank, by case; made at the same time by different ranks."""
    folder = Path(COMM.bcast(str(tmp_path_factory.mktemp("alone"))))
    for place, number in enumerate(CHOSEN):
        if place % COMM.size == COMM.rank:
            run_on(MPI.COMM_SELF, folder, f"case{number}", *CASES[number])
    COMM.Barrier()
    return {number: folder / f"case{number}-1" for number in CHOSEN}


if COMM.size > 1:

    @pytest.mark.slow
    @pytest.mark.parametrize("number", CHOSEN, ids=lambda number: CASES[number][1])
    def test_any_number_of_ranks_gives_the_same_files(folder, alone, number):
        """To 1e-11 of the largest value, per valley."""
        together, expected = run_on(COMM, folder, "all", *CASES[number]), alone[number]
        if COMM.rank == 0:
            close(together, expected, [name for name in OUTPUT_FILES if (expected / name).exists()])
        COMM.Barrier()


VALLEY_QUANTITIES = {"series.h5": ("population", "width_squared", "diffusion"), "fields.h5": ("density", "shape_variation")}

if COMM.size == 3:

    @pytest.mark.slow
    def test_ranks_agree_where_a_valley_holds_almost_nothing(folder):
        """1e-11 of the largest value, per valley, in series and fields of the job at 20 K on a coarse grid."""
        small = "space.length=6 um", "space.cells=64", "momentum.energy_step=1 meV", "momentum.angles=8"
        shorter = "time.end=12 ps", "time.steps=[{size: 25 fs, until: 0.75 ps}, {size: 125 fs}]"
        settings = *small, *shorter, "output.wigner_at=[]"  # the cuts of the shipped job are later
        for comm, name in ((COMM, "together"), (MPI.COMM_SELF, "alone"))[: 2 if COMM.rank == 0 else 1]:
            path = loading.load(ROOT / "inputs/ws2_20K.yaml", (*settings, f"output.directory={folder / name}"))
            assert run(path, comm, quiet=True)[1]
        if COMM.rank == 0:
            for file, names in VALLEY_QUANTITIES.items():
                together, alone = (read(folder / name / file).data for name in ("together", "alone"))
                if file == "series.h5":
                    assert alone["population"][-1, 0] < 1e-3 * alone["population"][-1].sum()
                for name in names:
                    # η is what remains after gain and loss nearly cancel: 1e-11 of those, not of the rest
                    tolerance = 1e-9 if name == "shape_variation" else 1e-11
                    for a, b in zip(*(np.moveaxis(data[name], 1, 0) for data in (together, alone)), strict=True):
                        assert np.nanmax(np.abs(a - b)) <= tolerance * np.nanmax(np.abs(b)), name
        COMM.Barrier()
