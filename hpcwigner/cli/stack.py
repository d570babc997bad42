"""Is there all that the program needs, and do MPI, PETSc and HDF5 fit together? One line on what is wrong, at first use.

pip installs what is not linked to MPI; mpi4py, petsc4py and a parallel h5py come with the system. The verb `doctor` tests more.
"""

import importlib.util
import os
import re
from pathlib import Path

from hpcwigner.runtime.errors import RunError

LINKED = {
    "mpi4py": "Debian: python3-mpi4py; conda-forge and PyPI: mpi4py",
    "petsc4py": "Debian: python3-petsc4py-real, with its folder below /usr/lib/petscdir on the path; conda-forge, PyPI: petsc4py",
    "h5py": "Debian: python3-h5py-mpi; conda-forge: h5py=*=mpi*; PyPI: HDF5_MPI=ON CC=mpicc pip install --no-binary=h5py h5py",
}
"""Modules that are linked to MPI, and where they come from."""
OTHERS = {"yaml": "pyyaml", "PIL": "pillow"} | {
    name: name for name in ("numpy", "scipy", "numba", "pydantic", "pint", "tqdm", "matplotlib", "plotly", "jinja2")
}
"""The other modules, and what pip calls them."""
SERIAL = "h5py is the serial build; on Debian set H5PY_ALWAYS_USE_MPI=1 (python3-h5py-mpi), elsewhere build it with HDF5_MPI=ON"
DOCTOR = "(python -m hpcwigner doctor tells more)"


def missing() -> str:
    """What is not installed, as one line; '' if nothing is. Imports nothing."""
    absent = [name for name in (*LINKED, *OTHERS) if importlib.util.find_spec(name) is None]
    linked = [f"{name} ({LINKED[name]})" for name in absent if name in LINKED]
    others = [OTHERS[name] for name in absent if name in OTHERS]
    parts = [f"{', '.join(linked)}, built for the MPI of your mpirun"] if linked else []
    parts += [f"pip install {' '.join(others)}"] if others else []
    return f"missing: {'; '.join(parts)}" if parts else ""


def load_mpi(petsc_options: list[str]) -> None:
    """Starts MPI, and PETSc with its options. Raises RunError when their libraries do not load."""
    module = "petsc4py"
    try:
        import petsc4py

        petsc4py.init(petsc_options)
        module = "mpi4py"
        from mpi4py import MPI  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: mpi4py from PyPI finds no MPI library
        problem = " ".join(str(error).split())
        raise RunError(f"{module} does not load ({problem}): is it built for the MPI of your mpirun? {LINKED[module]}") from None


def require_consistent() -> None:
    """Raises RunError when h5py is serial or does not load, or when several MPI libraries are mixed."""
    try:
        import h5py
    except (ImportError, OSError) as error:
        raise RunError(f"h5py does not load ({' '.join(str(error).split())}): {LINKED['h5py']}") from None
    if not h5py.get_config().mpi:
        raise RunError(f"{SERIAL} {DOCTOR}")
    if problem := mixed(mpi_libraries()):
        raise RunError(f"{problem} {DOCTOR}")


def mpi_libraries() -> list[str]:
    """The MPI libraries that this process has loaded."""
    return loaded(r"lib(mpi|mpich)\.so")


def mixed(libraries: list[str]) -> str:
    """What is wrong with these MPI libraries, as one line; '' if nothing is."""
    if len(libraries) < 2:
        return ""
    return f"mpi4py, petsc4py and h5py are linked to different MPI libraries: {', '.join(libraries)}; build them against one"


def loaded(pattern: str) -> list[str]:
    """Shared libraries of this process whose file name matches."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    named = {line.split()[-1] for line in maps.splitlines() if "/" in line}  # a library is mapped several times
    paths = {os.path.realpath(path) for path in named}
    return sorted(path for path in paths if re.match(pattern, os.path.basename(path)))
