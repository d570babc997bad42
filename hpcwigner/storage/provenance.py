"""Where a file comes from: program, libraries, machine, input."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hpcwigner

KEPT = ("source", "git_revision", "libraries", "machine", "ranks")  # Attributes that go into the history of starts


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
    """Revision of the program's checkout, with '+changes' when it differs; 'unknown' outside a checkout."""
    root = Path(hpcwigner.__file__).resolve().parents[1]
    if (packed := root / "REVISION").exists():  # in a copy made by jobs/pack_environment.sh
        return packed.read_text(encoding="utf-8").strip()

    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def attributes(input_text: str, ranks: int, extensions: Mapping[str, str]) -> dict[str, str | int]:
    """Attributes of every output file, with the versions of packages that extend the program. To be called on one rank."""
    return {
        "Conventions": "CF-1.8",
        "source": f"hpcwigner {hpcwigner.__version__}",
        "git_revision": git_revision(),
        "libraries": ", ".join(map(" ".join, {**library_versions(), **extensions}.items())),
        "machine": f"{platform.node()} {platform.machine()}",
        "ranks": ranks,
        "input": input_text,
    }


def describe_history(starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each start, for people."""
    return [
        f"{start['time']} from step {start['first_step']}: {start['source']}, revision {start['git_revision']}, "
        f"{start['ranks']} ranks on {start['machine']}"
        + "".join(f", {key} {before} → {after}" for key, (before, after) in start["changes"].items())
        for start in starts
    ]
