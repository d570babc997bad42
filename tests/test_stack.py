"""Stacks with something missing or wrong end the program with one line; what is installed holds all files."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import ROOT, clean_environment, small_input

from hpcwigner.cli import stack

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HIDE = """
import importlib.machinery as machinery
find = machinery.PathFinder.find_spec
hide = lambda cls, name, path=None, target=None: None if name in {names} else find(name, path, target)
machinery.PathFinder.find_spec = classmethod(hide)
"""
SERIAL = "import types\nget_config = lambda: types.SimpleNamespace(mpi=False)\n"
NO_LIBRARY = "raise RuntimeError('cannot load MPI library\\nlibmpi.so: no such file')\n"
STUBS = {
    "hidden": {"sitecustomize.py": HIDE.format(names=("petsc4py", "plotly"))},
    "serial": {"h5py/__init__.py": SERIAL},
    "broken": {"h5py/__init__.py": "raise ImportError('libhdf5_mpi.so.103: cannot open shared object file')\n"},
    "no library": {"mpi4py/__init__.py": "", "mpi4py/MPI.py": NO_LIBRARY},
    "mixed": {"sitecustomize.py": "import ctypes, os\nctypes.CDLL(os.path.dirname(__file__) + '/libmpi.so.12')\n"},
}
"""Files in front of everything else on Python's path."""


def program(folder, stub, *words):
    """The command line in a process of its own, with the files of a stub."""
    for name, text in STUBS[stub].items():
        path = folder / "stub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment = clean_environment() | {"PYTHONPATH": f"{folder / 'stub'}:{ROOT}"}
    command = [sys.executable, "-P", "-m", "hpcwigner", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stub", "words"),
    [
        ("hidden", ["missing: petsc4py (Debian: ", "your mpirun", "pip install plotly"]),
        ("serial", ["h5py is the serial build", "HDF5_MPI=ON", "doctor"]),
        ("broken", ["h5py does not load (libhdf5_mpi.so.103: ", "conda-forge"]),
        ("no library", ["does not load (cannot load MPI library libmpi.so: no such file)", "the MPI of your mpirun?"]),
        ("mixed", ["different MPI libraries", "libmpi.so.12", "doctor"]),
    ],
)  # fmt: skip
def test_a_stack_that_does_not_fit_is_named_in_one_line(tmp_path, stub, words):
    if stub == "mixed":
        library = next(path for path in stack.loaded(r"libz\.so|libm\.so|libc\.so"))
        (tmp_path / "stub").mkdir()
        (tmp_path / "stub" / "libmpi.so.12").write_bytes(Path(library).read_bytes())
    ran = program(tmp_path, stub, "check", small_input(tmp_path))
    (line,) = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert line.startswith("hpcwigner: ")
    for word in words:
        assert word in line


def test_without_any_library_all_are_named():
    command = [sys.executable, "-S", "-m", "hpcwigner", "--help"]
    ran = subprocess.run(
        command, cwd=ROOT, env=clean_environment() | {"PYTHONPATH": ""}, capture_output=True, text=True, check=False
    )
    (line,) = ran.stderr.splitlines()
    assert ran.returncode == 1
    for name in (*stack.LINKED, *stack.OTHERS.values()):
        assert name in line


def test_the_libraries_looked_for_are_the_projects():
    """Those of pyproject.toml; what is linked to MPI is no plain dependency, which pip would replace by wheels for no MPI."""
    plain, linked = PROJECT["project"]["dependencies"], PROJECT["project"]["optional-dependencies"]["stack"]
    names = [[re.match(r"[\w-]+", requirement)[0] for requirement in group] for group in (plain, linked)]
    assert sorted(names[0]) == sorted(stack.OTHERS.values())
    assert sorted(names[1]) == sorted(stack.LINKED)


def test_a_wheel_holds_all_files_of_the_package():
    """Every file that is no module belongs to the package data of its folder."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    package = ROOT / "hpcwigner"
    others = [p.relative_to(ROOT) for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".nbi", ".nbc")]
    others = [path for path in others if path.name != "README.md" and "__pycache__" not in path.parts]
    assert len(others) > 10
    for path in others:
        homes = [(".".join(path.parts[:depth]), "/".join(path.parts[depth:])) for depth in range(1, len(path.parts))]
        homes = [(home, name) for home, name in homes if (ROOT / home.replace(".", "/") / "__init__.py").exists()]
        patterns = [(name, pattern) for home, name in homes for key in ("*", home) for pattern in data.get(key, ())]
        assert any(fnmatch.fnmatch(name, pattern) and name.count("/") == pattern.count("/") for name, pattern in patterns), path
