"""Kernels are compiled by one rank; the others load them."""

import json
import os
import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment, small_input

WORKER = """
import atexit, json, os, runpy, sys

def compilations():
    from hpcwigner.integrators import propagators
    from hpcwigner.runtime import kernels

    compiled = {}
    for module in (kernels, propagators):
        for name, kernel in vars(module).items():
            if getattr(getattr(kernel, "_cache", None), "cache_path", None):
                compiled[name] = [str(signature) for signature in kernel.stats.cache_misses]
    with open(f"{os.environ['COMPILED']}.{os.environ['OMPI_COMM_WORLD_RANK']}", "w") as file:
        json.dump(compiled, file)

atexit.register(compilations)
runpy.run_module("hpcwigner", run_name="__main__", alter_sys=True)
"""
"""A rank that leaves the signatures it has compiled in a file."""


@pytest.mark.parametrize("integrator", ["etd2", "arkimex3"])
def test_one_rank_compiles(tmp_path, integrator):
    """Four ranks with an empty cache."""
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    path = small_input(tmp_path, integrator=integrator)
    environment = clean_environment() | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "COMPILED": str(tmp_path / "compiled"),
    }
    words = ["run", path, "--set", "time.end=0.5 ps", "--set", "output.wigner_at=[]", "--quiet"]
    command = ["mpirun", "--quiet", "-n", "4", sys.executable, tmp_path / "worker.py", *words]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    compiled = [json.loads((tmp_path / f"compiled.{rank}").read_text(encoding="utf-8")) for rank in range(4)]
    assert all(compiled[0][name] for name in ("upwind", "transform", "upwind_transformed", "angular_sums"))
    for rank in (1, 2, 3):
        assert not any(compiled[rank].values()), f"rank {rank} compiled signatures that runtime/compile.py does not list"
    assert os.listdir(tmp_path / "cache")
