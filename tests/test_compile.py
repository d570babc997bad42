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
    from hpcwigner.runtime import kernels, tile_kernels

    compiled = {}
    for module in (kernels, tile_kernels, propagators):
        for name, kernel in vars(module).items():
            if getattr(getattr(kernel, "_cache", None), "cache_path", None):
                compiled[name] = [str(signature) for signature in kernel.stats.cache_misses]
    with open(f"{os.environ['COMPILED']}.{os.environ['OMPI_COMM_WORLD_RANK']}", "w") as file:
        json.dump(compiled, file)

atexit.register(compilations)
runpy.run_module("hpcwigner", run_name="__main__", alter_sys=True)
"""
"""A rank that leaves the signatures it has compiled in a file."""


def compiled(folder, integrator, ranks):
    """Signatures that each rank compiles, by kernel, in a run with the numba cache in `folder`."""
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    path = small_input(folder, integrator, integrator=integrator)
    environment = clean_environment() | {
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "COMPILED": str(folder / integrator),
    }
    words = ["run", path, "--set", "time.end=0.5 ps", "--set", "output.wigner_at=[]", "--quiet"]
    command = ["mpirun", "-n", str(ranks), sys.executable, folder / "worker.py", *words]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads((folder / f"{integrator}.{rank}").read_text(encoding="utf-8")) for rank in range(ranks)]


@pytest.mark.slow
def test_one_rank_compiles(tmp_path):
    """Three ranks with an empty cache; then two of another integrator, with what those have left."""
    first, *others = compiled(tmp_path, "etd2", 3)
    assert all(first[name] for name in ("upwind", "transform", "upwind_transformed", "angular_sums"))
    for rank in (*others, *compiled(tmp_path, "arkimex3", 2)[1:]):
        assert rank.keys() == first.keys()
        assert not any(rank.values()), "a rank compiled signatures that runtime/compile.py does not list"
    assert os.listdir(tmp_path / "cache")
