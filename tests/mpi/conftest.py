"""What tests on several ranks share."""

from pathlib import Path

import pytest
from mpi4py import MPI
from walled import local_generator


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
