# ruff: noqa: E402  (libraries read the environment when they are loaded)
"""What the tests share: one small material problem, small inputs, and a way to start the program on several ranks."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("H5PY_ALWAYS_USE_MPI", "1")

import subprocess
import sys
from pathlib import Path

import petsc4py

petsc4py.init([])

import pytest

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.grid import EnergyGrid
from hpcwigner.momentum.rates import Rates
from hpcwigner.momentum.scattering import Scattering

ROOT = Path(__file__).resolve().parents[1]

SMALL_INPUT = """\
material: ws2_hbn
temperature: 77 K
momentum: {{energy_max: 62 meV, energy_step: 4 meV, angles: 8}}
space: {space}
time: {{end: 3 ps, integrator: {integrator}, tolerance: 1e-2, steps: {steps}}}
output: {{directory: {directory}, series_every: 0.25 ps, fields_every: 1 ps, wigner_at: [2 ps]}}
"""
SLAB = "{dimensions: 1, length: 6 um, cells: 48, boundary: periodic}"
FIXED_STEPS = "{pump: 10 fs, pump_end: 0.75 ps, early: 50 fs, early_end: 2 ps, late: 125 fs}"


def small_input(folder: Path, name: str = "run", space: str = SLAB, integrator: str = "etd3", steps: str = FIXED_STEPS) -> Path:
    """A complete input that runs in a second or two; its output goes to folder/name."""
    path = folder / f"{name}.yaml"
    path.write_text(
        SMALL_INPUT.format(space=space, integrator=integrator, steps=steps, directory=folder / name), encoding="utf-8"
    )
    return path


def clean_environment() -> dict[str, str]:
    """For a new mpirun: processes must not take themselves for ranks of the one that started pytest."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_COMM", "PMIX", "PRTE"))}
    environment |= {f"OMPI_ALLOW_RUN_AS_ROOT{suffix}": "1" for suffix in ("", "_CONFIRM")}
    return environment | {"OMPI_MCA_rmaps_base_oversubscribe": "1"}


def hpcwigner(*words: object, ranks: int = 1, cwd: Path = ROOT, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    """Runs the program in processes of its own, through mpirun when `ranks` > 1."""
    command = [sys.executable, "-m", "hpcwigner", *map(str, words)]
    if ranks > 1:
        command = ["mpirun", "--quiet", "-n", str(ranks), *command]
    return subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="session")
def ws2():
    """The shipped material."""
    return materials.load("ws2_hbn")


@pytest.fixture(scope="session")
def couplings(ws2):
    return Couplings.of(ws2)


@pytest.fixture(scope="session")
def light_cone(ws2):
    return LightCone.of(ws2)


@pytest.fixture(scope="session", params=[20.0, 300.0], ids=["20K", "300K"])
def rates(request, couplings):
    """Coarse rates (2 meV at 20 K, 8 meV at 300 K), harmonics 0…4."""
    cold = request.param == 20.0
    grid = EnergyGrid.build(couplings.valleys, request.param, 2.0 if cold else 8.0, 30.0 if cold else 310.0)
    return Rates.build(couplings, grid, 4, bright_valley=0)


@pytest.fixture(scope="session")
def scattering(rates, light_cone):
    """With radiative loss."""
    return Scattering.build(rates, light_cone)
