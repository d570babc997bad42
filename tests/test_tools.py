"""Scripts in tools/ and jobs/: they start, answer wrong words, and compare files to the last bit."""

import ast
import importlib
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from faults.directories import FILES, difference
from helpers import ROOT, clean_environment, small_input

SHEBANG = "#!/usr/bin/env python3"
LIBRARIES = ("hpcwigner", "faults", "comparison", "shipped")
PYTHON_TOOLS = sorted(p.name for p in (ROOT / "tools").iterdir() if p.is_file() and p.read_text("utf-8").startswith(SHEBANG))
SOURCES = [f"tools/{name}" for name in PYTHON_TOOLS]
SOURCES += sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tools").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES)
def test_what_tools_import_from_the_package_exists(path):
    """Also within functions, which --help does not reach."""
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "hpcwigner":
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):  # then it is a module
                    importlib.import_module(f"{node.module}.{alias.name}")


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


@pytest.mark.slow
def test_checkpoint_benchmark_answers_words():
    """On two ranks."""
    command = ["mpirun", "-n", "2", sys.executable, str(ROOT / "tools/bench-checkpoint"), "/nowhere"]
    ran = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "usage: bench-checkpoint" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", PYTHON_TOOLS)
def test_tools_have_help_and_look_for_their_python_first(name, called):
    assert os.access(ROOT / "tools" / name, os.X_OK)
    statements = ast.parse((ROOT / "tools" / name).read_text("utf-8")).body
    lines = [ast.unparse(statement) for statement in statements[1:4]]
    assert [line for line in lines if line != "from __future__ import annotations"][:2] == ["import project", "project.enter()"]
    code, out, _ = called(name, "--help")
    assert code == 0
    assert f"usage: {name}" in out


def test_tools_find_the_projects_python():
    """Started by its name, where the first python3 on the PATH has none of the libraries."""
    environment = {k: v for k, v in clean_environment().items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ran = subprocess.run(
        [ROOT / "tools/network", "--help"], env=environment | {"PATH": "/usr/bin:/bin", "HPCWIGNER_VENV": sys.prefix},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage: network" in ran.stdout


@pytest.mark.parametrize("integrator", ["etd2", "etd3", "etd2_dense"])
def test_bench_measures_every_part_of_a_step(tmp_path, called, integrator):
    path = small_input(tmp_path, space="{dimensions: 2, length: 2 um, cells: 16}")
    small = {"STREAM": 2**18, "GEMM": 100}
    code, out, _ = called("bench", path, "--cells", 16, "--rounds", 2, "--integrator", integrator, **small)
    assert code == 0
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("|")][2:]
    times = {row[0].strip(): float(row[2]) for row in rows}
    counts = {row[0].strip(): int(row[1].strip() or 0) for row in rows}
    assert all(time > 0 for time in times.values())
    assert ("in-scattering" in times) == (integrator != "etd2_dense")
    assert {"drift, harmonics of both", "matrix products", "N(u) stored", "diagonals, back to angles"} <= times.keys()
    parts = sum(count * times[name] for name, count in counts.items())
    assert parts == pytest.approx(times["sum of a step's parts"], rel=0.01)


def startup(*words):
    """Rows of the table of tools/startup: name → numbers of rank 0 and rank 1."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: it counts the files")
    command = [sys.executable, ROOT / "tools/startup", "--repeat", "0", *words]
    ran = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False)
    if "ptrace" in ran.stderr:
        pytest.skip("strace is not allowed here")
    assert ran.returncode == 0, ran.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran.stdout.split("\n\n")[0].splitlines()[2:]]
    return {name: [float(number) for number in numbers] for name, *numbers in rows}


@pytest.mark.slow
def test_startup_counts_files():
    rows = startup()
    for rank in (0, 1):
        kinds = sum(rows[f"… {kind}"][rank] for kind in ("Python", "shared libraries", "other"))
        assert kinds == rows["files opened"][rank] > rows["… of the project and its environment"][rank] > 300
        assert 30 < rows["private memory, MiB"][rank] < 200


@pytest.mark.slow
def test_a_packed_environment_stands_alone(tmp_path):
    """From an unpacked copy no rank opens a file of the project or of its environment."""
    packed = tmp_path / "environment.tar"
    environment = clean_environment() | {"HPCWIGNER_VENV": sys.prefix}
    words = [ROOT / "jobs/pack_environment.sh", packed]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = startup("--packed", packed)
    assert rows["… of the project and its environment"] == [0, 0]
    assert rows["files of child processes (git)"] == [0, 0]  # the revision is packed too
    packed.unlink()
