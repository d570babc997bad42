"""The command line as a process: exit codes, one line for each error, no files left behind, no hang."""

import gc
import subprocess
import sys
import weakref

import pytest
from helpers import FEW_STEPS, ROOT, clean_environment, hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.cli.main import VERBS, main
from hpcwigner.runtime.errors import RunError
from hpcwigner.runtime.parallel import on_first_rank

BAD = {
    "missing file": (None, "no such file"),
    "bare number": ("material: ws2_hbn\ntemperature: 20", "expected a unit"),
    "unknown material": ("material: ws3_hbn\ntemperature: 20 K", "did you mean 'ws2_hbn'?"),
    "text that turns round": ('material: "\\u202eabc"\ntemperature: 20 K', "found '\\u202eabc'"),
    "cutoff too low": ("material: ws2_hbn\ntemperature: 300 K\nmomentum: {energy_max: 60 meV}", "Boltzmann weight"),
    "too cold": ("material: ws2_hbn\ntemperature: 1.05 K", "temperature: found 1.05 K, at which a cell holds 0 of all excitons"),
    "nothing forms": ("material: ws2_hbn\ntemperature: 20 K\nscattering: {intravalley: off, intervalley: off}", "nothing forms"),
    "switch in the pulse": ("material: ws2_hbn\ntemperature: 20 K\nscattering: {intervalley: {off_at: 0.5 ps}}", "off_at"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path, case):
    """One line, also through mpirun. More of what ranks agree on: mpi/test_cli_on_ranks.py."""
    text, expected = BAD[case]
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text + "\n")
    before = sorted(tmp_path.iterdir())
    ran = hpcwigner(path, "--output", tmp_path / "out", ranks=2 if case == "missing file" else 1, timeout=120)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("hpcwigner: ")
    assert expected in ran.stderr
    assert ran.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_too_long_steps_are_refused(tmp_path):
    steps = "[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 250 fs}]"
    ran = hpcwigner(small_input(tmp_path, space="{cells: 300, length: 3 um}", steps=steps))
    assert ran.returncode == 2
    assert "stability limit" in ran.stderr


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
    ran = hpcwigner(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert expected in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_help_and_version():
    assert "check" in hpcwigner("--help").stdout
    assert hpcwigner("--version").stdout.startswith("hpcwigner 0")


def test_doctor_finds_this_stack_healthy():
    """On two ranks: tests/test_doctor.py."""
    ran = hpcwigner("doctor")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip().endswith("all is well")
    for word in ("mpi4py", "petsc", "hdf5", "parallel", "GFLOP/s", "GB/s", "libmpi"):
        assert word in ran.stdout


def test_an_error_on_one_rank_ends_all(tmp_path):
    """Within seconds, with the message, and not with exit code 0."""
    script = tmp_path / "fail.py"
    script.write_text(
        "from mpi4py import MPI\nfrom hpcwigner.runtime.parallel import abort_all_ranks_on_exception\n"
        "abort_all_ranks_on_exception(MPI.COMM_WORLD)\n"
        "if MPI.COMM_WORLD.rank == 1: raise RuntimeError('on purpose')\nMPI.COMM_WORLD.Barrier()\n"
    )
    ran = subprocess.run(
        ["mpirun", "-n", "2", sys.executable, script],
        cwd=ROOT, env=clean_environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "on purpose" in ran.stderr
    assert "rank 1" in ran.stderr


LOADED = """
import sys
from mpi4py import MPI
from hpcwigner.__main__ import run
sys.argv = ["hpcwigner", *sys.argv[1:]]
code = run()
words = {"hpcwigner.plotting", "hpcwigner.studies", "matplotlib", "plotly", "jinja2", "pydantic", "pint"} & sys.modules.keys()
for loaded in MPI.COMM_WORLD.gather((code, *sorted(words))) or ():
    print("LOADED", *loaded, flush=True)
"""


@pytest.mark.slow
def test_a_run_loads_what_it_uses(tmp_path):
    """No plotting library; the libraries that read the input on one rank only."""
    (tmp_path / "loaded.py").write_text(LOADED, encoding="utf-8")
    shorter = "--set", "time.end=1 ps", "--set", "output.wigner_at=[]"
    path = small_input(tmp_path, steps=FEW_STEPS)
    words = ["mpirun", "-n", "2", sys.executable, tmp_path / "loaded.py", "run", path, *shorter]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    lines = [line.split() for line in ran.stdout.splitlines() if line.startswith("LOADED")]
    assert lines == [["LOADED", "0", "pint", "pydantic"], ["LOADED", "0"]], ran.stdout + ran.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, monkeypatch, capsys):
    """Only the verb that is called is imported: each is called here."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main sets it
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: python -m hpcwigner {verb}")
    assert "%" not in shown.out + shown.err


def test_an_error_of_the_first_rank_keeps_nothing_alive():
    """What its callers held is freed with it: a PETSc object that lived on crashed the process at its end."""

    class Held:
        pass

    def refuse():
        raise RunError("no room")

    def caller():
        held = Held()
        try:
            on_first_rank(MPI.COMM_SELF, refuse)
        except RunError:
            return weakref.ref(held)

    gc.disable()
    try:
        assert caller()() is None
    finally:
        gc.enable()
