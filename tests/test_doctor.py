"""The verb `doctor` on several ranks: node-local directories, and faults of a single rank."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment

WORKER = """
import contextlib, io, json, os, sys
from unittest import mock

from hpcwigner.cli.main import main

def fail(*arguments, **options):
    raise OSError("made to fail")

def doctor():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["doctor"])
    return [code, out.getvalue(), err.getvalue(), os.listdir()]

results = {}
result_file = os.path.abspath("../results." + os.environ["OMPI_COMM_WORLD_RANK"])
for name in sys.argv[1:]:
    broken = contextlib.nullcontext()
    if os.path.isdir(name):
        os.chdir(name)
    elif os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        broken = mock.patch(name, None if name.endswith("SIGNATURES") else fail)
    with broken:
        results[name] = doctor()
with open(result_file, "w") as file:
    json.dump(results, file)
"""
"""Calls `doctor` once for each argument: a working directory, or something that is made to fail on rank 1."""
TEMPORARY = {"OMPI_MCA_orte_tmpdir_base": "/tmp", "PRTE_MCA_prte_tmpdir_base": "/tmp"}  # Of mpirun: Open MPI 4 and 5
OTHER_NODE = """
tmp=$1; local=$2; shift 2; run='exec "$0" "$@"'
export TMPDIR="$tmp"
[ "$OMPI_COMM_WORLD_RANK" = 0 ] || [ -z "$tmp" ] || exec unshare -m sh -c \
    "mount -t tmpfs tmpfs '$tmp' && mount -t tmpfs tmpfs '$local' && $run" "$0" "$@"
[ -n "$tmp" ] || unset TMPDIR
eval "$run"
"""
"""Starts a rank; where rank 0 sees two directories, the others see empty ones, as on another node; TMPDIR is the first."""
FAULTS = {
    "hpcwigner.cli.doctor.stack.loaded": ["mpi failed", "blas failed"],
    "hpcwigner.cli.doctor.library_versions": ["versions failed"],
    "h5py.get_config": ["hdf5 failed"],
    "hpcwigner.runtime.compile.SIGNATURES": ["compiling the kernels failed"],
}
"""What fails on rank 1, and the faults that `doctor` reports."""


def can_mount(folder):
    words = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Exit code, standard output and error and files left on each of two ranks, by what is special about a call of `doctor`.

    If mounting is allowed, the ranks do not share the directory for temporary files, nor the working directory "local".
    """
    folder = tmp_path_factory.mktemp("doctor")
    for name in ("work", "tmp", "local"):
        (folder / name).mkdir()
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    mounted = can_mount(folder / "tmp")
    places = [folder / "tmp", folder / "local"] if mounted else ["", ""]
    calls = [*FAULTS, folder / "work", *([folder / "local"] if mounted else [])]
    command = ["mpirun", "-n", "2", "sh", "-c", OTHER_NODE, sys.executable, *places, folder / "worker.py", *calls]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT), "H5PY_ALWAYS_USE_MPI": "1", **TEMPORARY}
    ran = subprocess.run(command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    first, second = (json.loads((folder / f"results.{rank}").read_text(encoding="utf-8")) for rank in range(2))
    return folder, mounted, {name: (first[name], second[name]) for name in first}


def report(answers, name, code):
    """What rank 0 says; both ranks have the same exit code and leave no file."""
    first, second = answers[2][str(name)]
    assert first[0] == second[0] == code, first
    assert first[2] == second[1] == second[2] == ""
    assert first[3] == second[3] == []
    return first[1]


@pytest.fixture
def node_local(answers):
    folder, mounted, _ = answers
    if not mounted:
        pytest.skip("mounting is not allowed here")
    return folder


@pytest.mark.slow
def test_a_node_local_temporary_directory_is_no_fault(answers, node_local):
    assert report(answers, node_local / "work", 0).rstrip().endswith("all is well")


@pytest.mark.slow
def test_a_working_directory_that_nodes_do_not_share_is_named(answers, node_local):
    faults = [line for line in report(answers, node_local / "local", 1).splitlines() if line.startswith("WRONG")]
    assert len(faults) == 1
    assert str(node_local / "local") in faults[0]
    assert faults[0].endswith("(rank 1 of 2)")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_an_exception_on_one_rank_is_reported(answers, name):
    """The other rank does not wait for it, and goes on with the other checks."""
    text = report(answers, name, 1)
    faults = [line for line in text.splitlines() if line.startswith("WRONG")]
    for fault, words in zip(faults, FAULTS[name], strict=True):
        assert words in fault
        assert fault.endswith("(rank 1 of 2)")
    assert "PETSc " in text
