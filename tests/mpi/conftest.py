"""Counts what each rank really ran: pytest-mpi skips silently without --with-mpi, and a skipped test is no test."""

import os
from pathlib import Path

import pytest
from mpi4py import MPI
from walled import local_generator


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    report = os.environ.get("HPCWIGNER_MPI_REPORT")
    if report:
        counts = [len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")]
        with open(f"{report}.{MPI.COMM_WORLD.rank}", "w", encoding="ascii") as file:
            file.write(" ".join(map(str, counts)) + "\n")


@pytest.fixture
def folder(tmp_path):
    """One directory for all ranks: pytest gives each rank its own."""
    return Path(MPI.COMM_WORLD.bcast(str(tmp_path)))


@pytest.fixture(scope="module")
def generator(couplings):
    """Scattering at 300 K on few cells; not that of files which have a `generator` of their own."""
    made = local_generator(couplings, step=16.0)
    yield made
    made.scattering.shared.free()
