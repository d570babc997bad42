"""Importing the package changes nothing in a process: it may be a notebook's."""

import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment

CODE = """
import importlib, os, pkgutil, signal, sys

import petsc4py

petsc4py.init([])
from numba.core import entrypoints
from petsc4py import PETSc  # sets signal handlers of its own

def state():
    signals = {s: signal.getsignal(s) for s in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
    ours = [finder for finder in sys.meta_path if "hpcwigner" in f"{type(finder).__module__} {finder}"]
    return dict(os.environ), list(sys.path), ours, sys.excepthook, signals, entrypoints.init_all

before = state()
import hpcwigner

for module in pkgutil.walk_packages(hpcwigner.__path__, "hpcwigner."):
    importlib.import_module(module.name)
assert state() == before, (state(), before)
print(len([name for name in sys.modules if name.startswith("hpcwigner.")]))
"""


@pytest.mark.slow
def test_importing_every_module_changes_nothing():
    environment = {k: v for k, v in clean_environment().items() if not k.endswith("_NUM_THREADS")}
    words = [sys.executable, "-c", CODE]
    ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 50
