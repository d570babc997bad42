# ruff: noqa: E402  (libraries read the environment when they are loaded)
"""What the tests share: the environment of numerical libraries, and one small material problem."""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("H5PY_ALWAYS_USE_MPI", "1")

import petsc4py

petsc4py.init([])

import mpi4py
import pytest
from helpers import ROOT, hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.radiation import Radiation
from hpcwigner.terms.scattering import ScatteringStage

SLOWEST = (
    "test_readme", "test_tutorial", "test_figures", "test_restart", "test_sweep", "test_run", "test_shipped", "test_contributing",
    "test_tools", "test_compile", "test_reduced", "test_walls", "test_uniform_slab", "test_spectra_output",
)  # fmt: skip
"""Files that begin first, so that no worker is left with a long one at the end."""


def pytest_configure(config):
    config.option.loadscopereorder = False  # pytest-xdist: files in the order below, not those of most tests first


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Counts what each rank ran of mpi/: pytest-mpi skips silently without --with-mpi, and a skipped test is no test."""
    if path := os.environ.get("HPCWIGNER_MPI_REPORT"):
        ended = {kind: terminalreporter.stats.get(kind, []) for kind in ("passed", "failed", "error", "skipped")}
        counts = [sum("mpi/" in report.nodeid for report in reports) for reports in ended.values()]
        Path(f"{path}.{MPI.COMM_WORLD.rank}").write_text(" ".join(map(str, counts)) + "\n", encoding="ascii")


@pytest.fixture(scope="session")
def ws2():
    """The shipped material."""
    return materials.load("ws2_hbn")


@pytest.fixture(scope="session")
def couplings(ws2):
    return Couplings.from_material(ws2)


@pytest.fixture(scope="session")
def light_cone(ws2):
    return LightCone.from_material(ws2)


@pytest.fixture(scope="session", params=[20.0, 300.0], ids=["20K", "300K"])
def rates(request, couplings):
    """Coarse rates (2 meV at 20 K, 8 meV at 300 K), harmonics 0…4."""
    cold = request.param == 20.0
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 2.0 if cold else 8.0, 30.0 if cold else 310.0), request.param)
    return Rates.build(couplings, equilibrium, 4, bright_valley=0, comm=MPI.COMM_SELF)


@pytest.fixture(scope="session")
def generator(rates, light_cone):
    """Scattering with radiative loss."""
    loss = Radiation(rates.equilibrium, light_cone).rate
    return LocalGenerator(ScatteringStage.build(rates), loss, loss)


def _finished(folder, **options):
    ran = hpcwigner(small_input(folder, **options))
    assert ran.returncode == 0, ran.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def slab(tmp_path_factory):
    """Directory of a finished run of a slab: not to be changed."""
    return _finished(tmp_path_factory.mktemp("slab"), space="{dimensions: 1, length: 4 um, cells: 48, boundary: periodic}")


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """Directory of a finished run of a plane that is no square: not to be changed."""
    return _finished(tmp_path_factory.mktemp("plane"), space="{dimensions: 2, length: 3 um, cells: [20, 16]}")


@pytest.fixture
def called(monkeypatch, capsys):
    """Calls a tool in this process with words; returns its exit code, its output and its errors."""

    def call(name, *words, **constants):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [name, *map(str, words)])
            patched.setattr(sys, "path", sys.path.copy())
            patched.setattr(mpi4py.rc, "initialize", mpi4py.rc.initialize)
            loader = importlib.machinery.SourceFileLoader("tool", str(ROOT / "tools" / name))
            module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tool", loader))
            patched.setitem(sys.modules, "tool", module)
            loader.exec_module(module)
            for constant, value in constants.items():
                patched.setattr(module, constant, value)
            try:
                code = module.main() or 0
            except SystemExit as end:
                code = end.code
        return code, *capsys.readouterr()

    return call
