"""Where a file comes from: program, libraries, machine, input."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np

import hpcwigner


def library_versions() -> dict[str, str]:
    """Versions of everything that numbers pass through."""
    import h5py
    import mpi4py
    import numba
    from mpi4py import MPI
    from petsc4py import PETSc

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "mpi4py": mpi4py.__version__,
        "mpi": MPI.Get_library_version().split("\n")[0].split(",")[0].strip("\x00 "),
        "petsc": ".".join(map(str, PETSc.Sys.getVersion())),
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }


def git_revision() -> str:
    """Revision of the program's checkout, with '+changes' when it differs; 'unknown' outside a checkout.

    A copy made by jobs/pack_environment.sh has it in a file.
    """
    root = Path(hpcwigner.__file__).resolve().parents[1]
    if (packed := root / "REVISION").exists():
        return packed.read_text(encoding="utf-8").strip()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def attributes(input_text: str, ranks: int) -> dict[str, str | int]:
    """Attributes of every output file. To be called on one rank: it starts git."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return {
        "Conventions": "CF-1.8",
        "source": f"hpcwigner {hpcwigner.__version__}",
        "git_revision": git_revision(),
        "libraries": versions,
        "machine": f"{platform.node()} {platform.machine()}",
        "ranks": ranks,
        "input": input_text,
    }
