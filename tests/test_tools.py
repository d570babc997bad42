"""Scripts in tools/: wrong words do not hang them, and what judges the fault campaign sees a single bit."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from faults.directories import FILES, difference
from helpers import ROOT, clean_environment


@pytest.fixture
def twins(tmp_path):
    """Two run directories with the same output files."""
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        for name in FILES:
            with h5py.File(folder / name, "w") as file:
                file["time"] = np.arange(3.0)
                file["diffusion"] = np.array([[np.nan, 0.0], [1.0, -2.0], [np.pi, 1e-300]])
    return folders


def test_equal_files_with_nan_do_not_differ(twins):
    assert difference(*twins) == ""


@pytest.mark.parametrize("name", FILES)
def test_campaign_sees_one_bit(twins, name):
    for place, value in (((2, 0), np.nextafter(np.pi, 4)), ((0, 1), -0.0), ((1, 0), np.nan)):
        with h5py.File(twins[0] / name, "r+") as file:
            before = file["diffusion"][place]
            file["diffusion"][place] = value
        assert difference(*twins).startswith(f"{name}:diffusion differs")
        with h5py.File(twins[0] / name, "r+") as file:
            file["diffusion"][place] = before
    assert difference(*twins) == ""


def test_campaign_sees_what_is_missing(twins):
    with h5py.File(twins[0] / "fields.h5", "r+") as file:
        del file["time"]
    assert difference(*twins) == "fields.h5 holds ['diffusion'], expected ['diffusion', 'time']"
    (twins[0] / "series.h5").write_bytes(b"not HDF5")
    assert difference(*twins).startswith("series.h5 cannot be read")
    (twins[0] / "series.h5").unlink()
    assert difference(*twins) == "series.h5 is missing"


@pytest.mark.parametrize(("words", "code"), [(("--help",), 0), (("/nowhere",), 2)])
def test_checkpoint_benchmark_answers_words(words, code):
    command = ["mpirun", "--quiet", "-n", "2", sys.executable, str(ROOT / "tools/bench-checkpoint"), *words]
    found = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == code
    assert "usage: bench-checkpoint" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts the files")
def test_startup_counts_files():
    """With the archive a rank opens a fraction of the Python files."""
    words = [sys.executable, ROOT / "tools/startup", "--repeat", "1"]
    found = subprocess.run(words, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False)
    if "ptrace" in found.stderr:
        pytest.skip("strace is not allowed here")
    assert found.returncode == 0, found.stderr
    line = next(line for line in found.stdout.splitlines() if line.startswith("| … Python |"))
    own, archive = np.array(line.split("|")[2:-1], dtype=int).reshape(2, 2)
    assert (4 * archive < own).all(), found.stdout
