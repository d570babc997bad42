"""Kernels are compiled by one rank; the others load them."""

import json
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment, copy_kernels, small_input

from hpcwigner.runtime import kernels, tile_kernels
from hpcwigner.runtime.compile import SIGNATURES

WORKER = """
import json, os, sys

from hpcwigner.cli.main import main

code = max(main(["run", path, *sys.argv[2:]]) for path in sys.argv[1].split(":"))

from hpcwigner.integrators import propagators
from hpcwigner.runtime import kernels, tile_kernels

compiled = {}
for module in (kernels, tile_kernels, propagators):
    for name, kernel in vars(module).items():
        if getattr(getattr(kernel, "_cache", None), "cache_path", None):
            compiled[name] = [str(signature) for signature in kernel.stats.cache_misses]
assert kernels.__file__.startswith(os.getcwd()), kernels.__file__
with open(f"compiled.{os.environ['OMPI_COMM_WORLD_RANK']}", "w") as file:
    json.dump(compiled, file)
sys.exit(code)
"""
"""A rank that runs inputs one after another and leaves the signatures it has compiled in a file."""
RANKS = 3
MISSING = ("transform", "angular_sums")
"""Kernels without compiled code: two that compile fast."""


def test_every_kernel_is_listed():
    """Those that ranks call while they step."""
    cached = {
        name: kernel for module in (kernels, tile_kernels) for name, kernel in vars(module).items() if hasattr(kernel, "_cache")
    }
    kept = {name for name, kernel in cached.items() if getattr(kernel._cache, "cache_path", None)}
    assert kept == {kernel.__name__ for kernel in SIGNATURES}


@pytest.mark.slow
def test_one_rank_compiles(tmp_path):
    """Three ranks with a cache that lacks some kernels, with explicit and with implicit-explicit steps."""
    shutil.copytree(ROOT / "hpcwigner", tmp_path / "hpcwigner", ignore=shutil.ignore_patterns("__pycache__"))
    copy_kernels(tmp_path)
    for name in MISSING:
        for file in tmp_path.glob(f"hpcwigner/runtime/__pycache__/kernels.{name}-*.nb[ci]"):
            file.unlink()
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    paths = [small_input(tmp_path, integrator, integrator=integrator) for integrator in ("etd2", "arkimex3")]
    words = [":".join(map(str, paths)), "--set", "time.end=0.5 ps", "--set", "output.wigner_at=[]", "--quiet"]
    command = ["mpirun", "-n", str(RANKS), sys.executable, "worker.py", *words]
    environment = clean_environment() | {"PYTHONPATH": str(tmp_path), "H5PY_ALWAYS_USE_MPI": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    first, *others = (json.loads((tmp_path / f"compiled.{rank}").read_text(encoding="utf-8")) for rank in range(RANKS))
    assert all(first[name] for name in MISSING)
    for rank in others:
        assert rank.keys() == first.keys()
        assert not any(rank.values()), "a rank compiled signatures that runtime/compile.py does not list"
    assert len(list(tmp_path.glob("hpcwigner/runtime/__pycache__/kernels.*.nbi"))) >= len(MISSING)
