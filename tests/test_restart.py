"""Stopping and going on, in processes of their own: bit-identical, refused where it makes no sense, within seconds."""

import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from helpers import ROOT, clean_environment, hpcwigner, small_input

from hpcwigner.simulation.control import parse_slurm_duration
from hpcwigner.storage.reading import read

SLAB = "{dimensions: 1, length: 6 um, cells: 48}"
PLANE = "{dimensions: 2, length: 4 um, cells: [14, 12], boundary: reflecting}"
EVERY_STEP = ("--set", "checkpoint.every=0 s", "--set", "checkpoint.keep=1000", "--set", "time.end=2.5 ps")
FEW_STEPS = "[{size: 50 fs, until: 0.75 ps}, {size: 125 fs}]"
"""29 steps to 2.5 ps."""
FILES = ("series.h5", "fields.h5", "wigner.h5")


def same(a, b):
    """All output files bit-identical."""
    for name in FILES:
        x, y = read(a / name), read(b / name)
        assert x.data.keys() == y.data.keys()
        for key in x.data:
            assert np.array_equal(x.data[key], y.data[key], equal_nan=True), (name, key)


def state(checkpoint):
    """u of a checkpoint."""
    with h5py.File(checkpoint / "state.h5", "r") as file:
        return file["u"][()]


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize(("space", "integrator"), [(SLAB, "etd3"), (SLAB, "arkimex3"), (PLANE, "etd3"), (PLANE, "arkimex3")])
def test_restarted_twice_it_is_bit_identical(tmp_path, space, integrator, ranks):
    path = small_input(tmp_path, space=space, integrator=integrator, steps=FEW_STEPS)
    whole = hpcwigner(path, *EVERY_STEP, "--output", tmp_path / "whole", ranks=ranks)
    assert whole.returncode == 0, whole.stderr
    numbers = sorted(p.name for p in (tmp_path / "whole/checkpoints").iterdir() if p.is_dir())
    assert len(numbers) == 29
    resumed = tmp_path / "resumed"
    # killed in the pump, between two outputs; then stopped by request, and gone on with again
    shutil.copytree(tmp_path / "whole/checkpoints" / numbers[12], resumed / "checkpoints" / numbers[12])
    (resumed / "STOP").touch()
    first = hpcwigner(path, *EVERY_STEP, "--output", resumed, "--restart", ranks=ranks)
    assert first.returncode == 3, first.stdout + first.stderr
    assert f"restarted from checkpoint {numbers[12]}" in first.stdout
    assert not (resumed / "STOP").exists()
    second = hpcwigner(path, *EVERY_STEP, "--output", resumed, "--restart", "latest", ranks=ranks)
    assert second.returncode == 0, second.stderr
    same(resumed, tmp_path / "whole")
    states = [state(folder / "checkpoints" / numbers[-1]) for folder in (resumed, tmp_path / "whole")]
    assert np.array_equal(*states)
    if integrator == "etd3":  # checkpoints do not alter the steps
        plain = hpcwigner(path, "--set", "time.end=2.5 ps", "--output", tmp_path / "plain", ranks=ranks)
        assert plain.returncode == 0
        same(tmp_path / "plain", tmp_path / "whole")


def test_other_numbers_of_ranks(tmp_path):
    """1e-11 of the largest value per valley."""
    path = small_input(tmp_path, steps=FEW_STEPS)
    assert hpcwigner(path, *EVERY_STEP).returncode == 0
    for ranks in (2, 3):
        folder = tmp_path / f"on{ranks}"
        shutil.copytree(tmp_path / "run/checkpoints/00000011", folder / "checkpoints/00000011")
        found = hpcwigner(path, *EVERY_STEP, "--output", folder, "--restart", "00000011", ranks=ranks)
        assert found.returncode == 0, found.stderr
        for name, keys in (("series.h5", ("population", "diffusion")), ("fields.h5", ("density",))):
            a, b = read(folder / name), read(tmp_path / "run" / name)
            for key in keys:
                for v in range(3):
                    x, y = a.data[key][:, v], b.data[key][:, v]
                    assert np.nanmax(np.abs(x - y)) <= 1e-11 * np.nanmax(np.abs(y)), key


def test_a_longer_end_and_other_fields(tmp_path):
    path = small_input(tmp_path)
    assert hpcwigner(path, "--set", "time.end=2 ps").returncode == 0
    longer = hpcwigner(path, "--restart")
    assert longer.returncode == 0, longer.stderr
    assert hpcwigner(path, "--output", tmp_path / "whole").returncode == 0
    same(tmp_path / "run", tmp_path / "whole")
    assert (tmp_path / "run/series.h5.replaced").exists()
    shorter = hpcwigner(path, "--restart", "--set", "time.end=2 ps")
    assert shorter.returncode == 2
    assert "time.end: found 2 ps" in shorter.stderr


def test_automatic_steps_are_those_of_the_first_start(tmp_path):
    path = small_input(tmp_path, steps="auto", integrator="auto")
    assert hpcwigner(path, "--set", "time.end=2 ps").returncode == 0
    assert hpcwigner(path, "--restart").returncode == 0
    assert hpcwigner(tmp_path / "run/input.yaml", "--output", tmp_path / "whole").returncode == 0
    same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("temperature=78 K", "temperature"),
        ("momentum.angles=12", "momentum.angles"),
        ("space.cells=50", "space.cells"),
        ("time.steps=[{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 250 fs}]", "time.steps"),
        ("output.series_every=0.5 ps", "output.series_every"),
    ],
)
def test_changes_that_make_no_sense_are_refused_by_key(tmp_path, override, key):
    path = small_input(tmp_path)
    assert hpcwigner(path, "--set", "time.end=1 ps", "--set", "output.wigner_at=[]").returncode == 0
    found = hpcwigner(path, "--restart", "--set", "output.wigner_at=[]", "--set", override)
    assert found.returncode == 2
    assert found.stderr.startswith(f"hpcwigner: {key}: found ")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("ranks", [1, 4])
def test_nothing_to_restart_from(tmp_path, ranks):
    found = hpcwigner(small_input(tmp_path), "--restart", "latest", ranks=ranks)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
    assert "no complete checkpoint" in found.stderr
    assert not (tmp_path / "run").exists()


def started(tmp_path, ranks, *words):
    """A run that would take minutes, stepping already."""
    path = small_input(tmp_path)
    command = [sys.executable, "-m", "hpcwigner", str(path), "--set", "time.end=3000 ps", *words]
    if ranks > 1:
        command = ["mpirun", "--quiet", "-n", str(ranks), *command]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tmp_path / "run/fields.h5").exists():
            time.sleep(1.0)
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


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("how", ["USR1", "TERM", "STOP", "walltime"])
def test_stops_within_seconds_with_a_checkpoint(tmp_path, how, ranks):
    if how == "TERM" and ranks > 1:
        how = "USR1"  # Open MPI's mpirun does not forward SIGTERM: it ends the job itself
    words = ["--set", "time.walltime=8 s"] if how == "walltime" else []
    process = started(tmp_path, ranks, *words)
    asked = time.monotonic()
    if how == "STOP":
        (tmp_path / "run/STOP").touch()
    elif how != "walltime":
        process.send_signal(getattr(signal, f"SIG{how}"))
    out, err = finish(process)
    assert process.returncode == 3, out + err
    assert time.monotonic() - asked < 10
    assert "go on with --restart" in out
    assert (tmp_path / "run/checkpoints/latest").exists()


def test_a_save_file_saves_and_goes_on(tmp_path):
    process = started(tmp_path, 1)
    (tmp_path / "run/SAVE").touch()
    deadline = time.monotonic() + 10
    while (tmp_path / "run/SAVE").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (tmp_path / "run/checkpoints/latest").exists()
    assert process.poll() is None
    second = hpcwigner(tmp_path / "run.yaml", "--restart", "--set", "time.end=3000 ps")
    assert second.returncode == 2
    assert "another run is under way" in second.stderr
    (tmp_path / "run/STOP").touch()
    finish(process)
    assert process.returncode == 3


def test_a_stop_file_is_obeyed_however_often_checkpoints_are_written(tmp_path):
    """Removing it with a periodic checkpoint would lose the request."""
    process = started(tmp_path, 1, "--set", "checkpoint.every=0 s")
    (tmp_path / "run/STOP").touch()
    out, err = finish(process)
    assert process.returncode == 3, out + err
    assert "a file STOP" in out


def test_a_lost_rank_ends_all(tmp_path):
    process = started(tmp_path, 2)
    pids = subprocess.run(["pgrep", "-f", str(tmp_path / "run.yaml")], capture_output=True, text=True, check=True).stdout.split()
    victim = next(int(p) for p in pids if int(p) != process.pid)
    os.kill(victim, signal.SIGKILL)
    finish(process, 10)
    assert process.returncode not in (0, 3)


def test_slurm_durations():
    assert parse_slurm_duration("1-02:03:04") == 93784
    assert parse_slurm_duration("59:30") == 3570
    assert parse_slurm_duration("0:45") == 45
    assert parse_slurm_duration("UNLIMITED") is None
    assert parse_slurm_duration("") is None


def test_a_signal_during_start_up_is_not_lost(tmp_path):
    """It must neither end the process nor be forgotten."""
    command = [sys.executable, "-m", "hpcwigner", str(small_input(tmp_path)), "--set", "time.end=3000 ps"]
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
