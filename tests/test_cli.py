"""The command line in processes of its own: exit codes, one clear line, nothing left behind, no hang."""

import pytest
from helpers import hpcwigner, small_input

BAD = {
    "missing file": (None, "no such file"),
    "not YAML": ("a: [1,", "not valid YAML"),
    "unknown key": ("material: ws2_hbn\ntemperature: 20 K\ntemprature: 3 K", "did you mean 'temperature'?"),
    "wrong unit": ("material: ws2_hbn\ntemperature: 20 ps", "does not convert"),
    "bare number": ("material: ws2_hbn\ntemperature: 20", "expected a unit"),
    "negative temperature": ("material: ws2_hbn\ntemperature: -20 K", "above 0"),
    "unknown material": ("material: ws3_hbn\ntemperature: 20 K", "did you mean 'ws2_hbn'?"),
    "cutoff too low": ("material: ws2_hbn\ntemperature: 300 K\nmomentum: {energy_max: 60 meV}", "Boltzmann weight"),
    "nothing forms": ("material: ws2_hbn\ntemperature: 20 K\nscattering: {intravalley: off, intervalley: off}", "nothing forms"),
    "switch in the pulse": ("material: ws2_hbn\ntemperature: 20 K\nscattering: {intervalley: {off_at: 0.5 ps}}", "off_at"),
}


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path, case, ranks):
    text, expected = BAD[case]
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text + "\n")
    before = sorted(tmp_path.iterdir())
    found = hpcwigner(path, "--output", tmp_path / "out", ranks=ranks, timeout=120)
    assert found.returncode == 2, found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("hpcwigner: ")
    assert expected in found.stderr
    assert found.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_more_ranks_than_cells_can_hold(tmp_path):
    path = small_input(tmp_path, space="{dimensions: 1, length: 6 um, cells: 10}")
    found = hpcwigner(path, ranks=4)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
    assert "space.cells: found 10 cells on 4 ranks, expected at least 3 cells per rank" in found.stderr
    assert not (tmp_path / "run").exists()


def test_too_long_steps_are_refused(tmp_path):
    steps = "[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 250 fs}]"
    found = hpcwigner(small_input(tmp_path, space="{cells: 300, length: 3 um}", steps=steps))
    assert found.returncode == 2
    assert "stability limit" in found.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["chekc", "x.yaml"], "did you mean 'check'?"),
        ([], "expected an input file or a verb"),
        (["check"], "INPUT"),
        (["check", "x.yaml", "--nonsense"], "--nonsense"),
        (["plot", "nowhere"], "no such file"),
        (["info", "nowhere"], "no such file"),
    ],
)
def test_wrong_commands(words, expected):
    found = hpcwigner(*words)
    assert (found.returncode, found.stdout) == (2, "")
    assert expected in found.stderr
    assert found.stderr.count("\n") == 1


def test_help_and_version():
    assert "check" in hpcwigner("--help").stdout
    assert hpcwigner("--version").stdout.startswith("hpcwigner 0")


def test_doctor_finds_this_stack_healthy():
    for ranks in (1, 2):
        found = hpcwigner("doctor", ranks=ranks)
        assert found.returncode == 0, found.stdout + found.stderr
        assert found.stdout.strip().endswith("all is well")
        for word in ("mpi4py", "petsc", "hdf5", "parallel", "GFLOP/s", "GB/s", "libmpi"):
            assert word in found.stdout


def test_check_predicts(tmp_path):
    found = hpcwigner("check", small_input(tmp_path), ranks=2)
    assert found.returncode == 0, found.stderr
    for word in ("unknowns", "steps", "memory", "output", "2 ranks"):
        assert word in found.stdout
    assert not (tmp_path / "run").exists()


def test_an_error_on_one_rank_ends_all(tmp_path):
    """Within seconds, with the message, and not with exit code 0."""
    script = tmp_path / "fail.py"
    script.write_text(
        "from mpi4py import MPI\nfrom hpcwigner.runtime.parallel import abort_all_ranks_on_exception\n"
        "abort_all_ranks_on_exception(MPI.COMM_WORLD)\n"
        "if MPI.COMM_WORLD.rank == 1: raise RuntimeError('on purpose')\nMPI.COMM_WORLD.Barrier()\n"
    )
    import subprocess
    import sys

    from helpers import ROOT, clean_environment

    found = subprocess.run(
        ["mpirun", "--quiet", "-n", "2", sys.executable, script],
        cwd=ROOT, env=clean_environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert found.returncode != 0
    assert "on purpose" in found.stderr
    assert "rank 1" in found.stderr
