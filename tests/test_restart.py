"""Stop and restart from the command line: bit-identical, refused where it makes no sense, within seconds.

On other numbers of ranks: mpi/test_interaction_on_ranks.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import BROAD, FEW_STEPS, FILES, LONG, ROOT, clean_environment, hpcwigner, same, small_input

from hpcwigner.simulation.control import slurm_time_left
from hpcwigner.storage.reading import read, read_summary
from hpcwigner.terms.books import Books


@pytest.mark.slow
def test_a_longer_end_and_other_fields(tmp_path):
    """The second start is in a process of its own: nothing that the first one had in memory helps it."""
    path = small_input(tmp_path, steps=FEW_STEPS)
    assert hpcwigner(path, "--set", "time.end=2 ps").returncode == 0
    longer = hpcwigner(path, "--restart", process=True)
    assert longer.returncode == 0, longer.stderr
    assert hpcwigner(path, "--output", tmp_path / "whole").returncode == 0
    same(tmp_path / "run", tmp_path / "whole")
    assert not (tmp_path / "run/series.h5.replaced").exists()  # it held nothing that the new file does not
    shorter = hpcwigner(path, "--restart", "--set", "time.end=2 ps")
    assert shorter.returncode == 2
    assert "time.end: found 2 ps" in shorter.stderr


def test_automatic_steps_are_those_of_the_first_start(tmp_path):
    path = small_input(tmp_path, steps="auto", integrator="auto")
    assert hpcwigner(path, "--set", "time.end=2 ps").returncode == 0
    assert hpcwigner(path, "--restart").returncode == 0
    assert hpcwigner(tmp_path / "run/input.yaml", "--output", tmp_path / "whole").returncode == 0
    same(tmp_path / "run", tmp_path / "whole")


def contents(directory):
    """Every file of a run directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_wigner_cut_may_be_added_by_several_restarts_from_one_checkpoint(tmp_path):
    """The checkpoint does not know the file, and every restart leaves a newer one behind; none may be lost."""
    path = small_input(tmp_path, steps=FEW_STEPS)
    directory = tmp_path / "run"
    assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
    number = (directory / "checkpoints/latest").read_text().strip()
    ends = (1.5, 2, 3)
    for end in ends:
        words = ("--set", f"time.end={end} ps", "--set", "output.wigner_at=[1.25 ps]")
        again = hpcwigner(path, "--restart", number, *words)
        assert again.returncode == 0, again.stderr
    for name in ("series.h5", "wigner.h5"):
        files = [directory / f"{name}{suffix}" for suffix in (".replaced", ".replaced1", "")]
        expected = ends if name == "series.h5" else 3 * (1.25,)
        assert [read(file).last_time() for file in files] == list(expected)
    assert hpcwigner(path, "--set", "output.wigner_at=[1.25 ps]", "--output", tmp_path / "whole").returncode == 0
    same(directory, tmp_path / "whole")


@pytest.mark.slow
def test_history_of_starts(tmp_path):
    """The files' attributes are those of the latest start; what the starts before it were is kept."""
    path = small_input(tmp_path, steps=FEW_STEPS)
    assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
    assert hpcwigner(path, "--restart", "--set", "time.end=2 ps", "--set", "output.fields_every=0.5 ps", ranks=2).returncode == 0
    assert hpcwigner(path, "--restart", "--set", "output.fields_every=0.5 ps").returncode == 0
    for name in FILES:
        attributes = read(tmp_path / "run" / name).attributes
        assert attributes["ranks"] == "1"
        assert "end: 3.0 ps" in attributes["input"]
        starts = json.loads(attributes["history"])
        assert [start["ranks"] for start in starts] == [1, 2, 1]
        steps = [start["first_step"] for start in starts]
        assert steps[0] == 0 < steps[1] < steps[2]
        assert all(re.match(r"20\d\d-\d\d-\d\dT", start["time"]) for start in starts)
        assert starts[1]["changes"]["time.end"] == ["1.0 ps", "2.0 ps"]
        assert starts[1]["changes"]["output.fields_every"] == ["1.0 ps", "0.5 ps"]
        assert starts[2]["changes"] == {"time.end": ["2.0 ps", "3.0 ps"]}
        assert all(start["git_revision"] and start["libraries"] for start in starts)
    summaries = read_summary(tmp_path / "run/series.h5")
    assert [summaries[number]["performance"]["ranks"].value for number in (1, 2, 3)] == [1, 2, 1]
    shown = hpcwigner("info", tmp_path / "run").stdout
    assert "from step 0" in shown
    assert f"from step {steps[2]}: " in shown
    assert "time.end 2.0 ps → 3.0 ps" in shown


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Input of a finished run of 1 ps in run/ beside it: not to be changed."""
    path = small_input(tmp_path_factory.mktemp("short"))
    assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
    return path


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("temperature=78 K", "temperature"),
        ("momentum.angles=12", "momentum.angles"),
        ("space.cells=50", "space.cells"),
        ("time.steps=[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 250 fs}]", "time.steps"),
        ("output.series_every=0.5 ps", "output.series_every"),
        ("output.wigner_at=[1 ps, 2 ps]", "output.wigner_at"),
    ],
)
def test_changes_that_make_no_sense_are_refused_by_key(short, override, key):
    before = contents(short.parent / "run")
    refused = hpcwigner(short, "--restart", "--set", "output.wigner_at=[]", "--set", override)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"hpcwigner: {key}: found ")
    assert refused.stderr.count("\n") == 1
    assert contents(short.parent / "run") == before


def test_nothing_to_restart_from(tmp_path):
    refused = hpcwigner(small_input(tmp_path), "--restart", "latest")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "no complete checkpoint" in refused.stderr
    assert not (tmp_path / "run").exists()


def started(tmp_path, ranks, *words):
    """A long run, stepping already."""
    path = small_input(tmp_path, space=BROAD)
    command = [sys.executable, "-m", "hpcwigner", str(path), *LONG, *words]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tmp_path / "run/fields.h5").exists():
            time.sleep(0.3)
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("did not start")


def finish(process, seconds=20):
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@pytest.mark.slow
@pytest.mark.parametrize(("how", "ranks"), [("USR1", 2), ("TERM", 1)])
def test_a_signal_stops_within_seconds_with_a_checkpoint(tmp_path, how, ranks):
    """Open MPI's mpirun forwards SIGUSR1; on SIGTERM it ends the job itself. SIGUSR1 on one rank: during start-up, below.

    What ranks agree on: mpi/test_control.py.
    """
    process = started(tmp_path, ranks)
    asked = time.monotonic()
    process.send_signal(getattr(signal, f"SIG{how}"))
    out, err = finish(process)
    assert process.returncode == 3, out + err
    assert time.monotonic() - asked < 10
    assert "go on with --restart" in out
    assert (tmp_path / "run/checkpoints/latest").exists()


@pytest.mark.slow
def test_the_walltime_stops_with_a_checkpoint(tmp_path):
    began = time.monotonic()
    ran = hpcwigner(small_input(tmp_path, space=BROAD), *LONG, "--set", "time.walltime=1 s")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert 1 - 0.5 < time.monotonic() - began < 30
    assert "stopped by the walltime" in ran.stdout
    assert "go on with --restart" in ran.stdout
    assert (tmp_path / "run/checkpoints/latest").exists()


@pytest.mark.slow
def test_a_save_file_saves_and_goes_on(tmp_path):
    process = started(tmp_path, 1)
    (tmp_path / "run/SAVE").touch()
    deadline = time.monotonic() + 10
    while (tmp_path / "run/SAVE").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (tmp_path / "run/checkpoints/latest").exists()
    assert process.poll() is None
    second = hpcwigner(tmp_path / "run.yaml", "--restart", *LONG)
    assert second.returncode == 2
    assert "another run is under way" in second.stderr
    (tmp_path / "run/STOP").touch()
    finish(process)
    assert process.returncode == 3


@pytest.mark.slow
def test_a_stop_file_is_obeyed_however_often_checkpoints_are_written(tmp_path):
    """Removing it with a periodic checkpoint would lose the request."""
    process = started(tmp_path, 1, "--set", "checkpoint.every=0 s")
    (tmp_path / "run/STOP").touch()
    out, err = finish(process)
    assert process.returncode == 3, out + err
    assert "a file STOP" in out


@pytest.mark.slow
def test_a_lost_rank_ends_all(tmp_path):
    process = started(tmp_path, 2)
    commands = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    pids = [pid for pid, command in commands.items() if str(tmp_path / "run.yaml").encode() in command]
    victim = next(int(p) for p in pids if int(p) != process.pid)
    os.kill(victim, signal.SIGKILL)
    finish(process, 10)
    assert process.returncode not in (0, 3)


@pytest.mark.parametrize(("answer", "left"), [("2000-01-01T00:10:00", 600), ("N/A", None), ("", None)])
def test_the_end_of_a_slurm_job(tmp_path, monkeypatch, answer, left):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho {answer}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(time, "time", lambda: time.mktime((2000, 1, 1, 0, 0, 0, 0, 1, -1)))
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm_time_left() is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm_time_left() == left


@pytest.mark.slow
def test_a_signal_during_start_up_is_not_lost(tmp_path):
    """It must neither end the process nor be forgotten."""
    command = [sys.executable, "-m", "hpcwigner", str(small_input(tmp_path, space=BROAD)), *LONG]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    handled = 1 << (signal.SIGUSR1 - 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # as soon as Python handles the signal (SigCgt), long before the first step
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            caught = int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)
        if caught & handled:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, out + err
    assert (tmp_path / "run/checkpoints/latest").exists()


def test_a_checkpoint_with_other_auxiliary_fields_is_refused(tmp_path, monkeypatch):
    """Of an older version, whose books were others."""
    path, hills = small_input(tmp_path), ("--set", "sample.energy={all: {gaussian: {peak: 5 meV, fwhm: 1 um}}}")
    with monkeypatch.context() as older:
        older.setattr(Books, "names", property(lambda books: [f"older.{i}" for i in range(books.count)]))
        assert hpcwigner(path, *hills, "--set", "time.end=0.5 ps").returncode == 0
    refused = hpcwigner(path, *hills, "--set", "time.end=1 ps", "--restart")
    assert refused.returncode == 2
    assert "--restart: found a checkpoint with" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
