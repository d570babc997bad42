"""The verb `doctor` on several ranks: node-local directories, and faults of a single rank."""

import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment

WORKER = """
import os, sys

def fail(*arguments, **options):
    raise OSError("made to fail")

if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    {code}
from hpcwigner.__main__ import run
sys.argv = ["hpcwigner", "doctor"]
sys.exit(run())
"""
TEMPORARY = {"OMPI_MCA_orte_tmpdir_base": "/tmp", "PRTE_MCA_prte_tmpdir_base": "/tmp"}  # Of mpirun: Open MPI 4 and 5
OTHER_NODE = """
run="exec $0 $1"
[ "$OMPI_COMM_WORLD_RANK" = 0 ] || [ -z "$2" ] || exec unshare -m sh -c "mount -t tmpfs tmpfs '$2' && cd '$PWD' && $run"
$run
"""
"""Starts a rank; where rank 0 sees the directory $2, the others see an empty one, as on another node."""


def doctor(folder, code="pass", local="", **variables):
    """`doctor` on two ranks in folder/work; rank 1 first runs the line `code`. The directory `local` differs between ranks."""
    (folder / "work").mkdir()
    (folder / "worker.py").write_text(WORKER.format(code=code), encoding="utf-8")
    command = ["mpirun", "-n", "2", "sh", "-c", OTHER_NODE, sys.executable, folder / "worker.py", local]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT), **TEMPORARY, **variables}
    ran = subprocess.run(command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert not list((folder / "work").iterdir())
    return ran


def can_mount(folder):
    words = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def node_local(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("mounting is not allowed here")
    return tmp_path


@pytest.mark.slow
def test_a_node_local_temporary_directory_is_no_fault(node_local):
    (node_local / "tmp").mkdir()
    ran = doctor(node_local, local=node_local / "tmp", TMPDIR=str(node_local / "tmp"))
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert ran.stdout.rstrip().endswith("all is well")


@pytest.mark.slow
def test_a_working_directory_that_nodes_do_not_share_is_named(node_local):
    ran = doctor(node_local, local=node_local / "work")
    assert ran.returncode == 1, ran.stderr
    (fault,) = [line for line in ran.stdout.splitlines() if line.startswith("WRONG")]
    assert str(node_local / "work") in fault
    assert fault.endswith("(rank 1 of 2)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import hpcwigner.cli.doctor as d; d.stack.loaded = fail", ["mpi failed", "blas failed"]),
        ("import hpcwigner.cli.doctor as d; d.library_versions = fail", ["versions failed"]),
        ("import h5py; h5py.get_config = fail", ["hdf5 failed"]),
        ("import hpcwigner.runtime.compile as c; c.SIGNATURES = None", ["compiling the kernels failed"]),
    ],
)
def test_an_exception_on_one_rank_is_reported(tmp_path, code, words):
    """The other rank does not wait for it, and goes on with the other checks."""
    ran = doctor(tmp_path, code)
    assert ran.returncode == 1, ran.stderr
    faults = [line for line in ran.stdout.splitlines() if line.startswith("WRONG")]
    assert len(faults) == len(words)
    for fault, word in zip(faults, words, strict=True):
        assert word in fault
        assert fault.endswith("(rank 1 of 2)")
    assert "PETSc " in ran.stdout
