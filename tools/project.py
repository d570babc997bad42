"""The environment of the Python tools: `project.enter()` stands before the imports of all libraries."""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MPIRUN = {
    **{f"OMPI_ALLOW_RUN_AS_ROOT{suffix}": "1" for suffix in ("", "_CONFIRM")},
    **{"OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"},
    **{"OMPI_MCA_orte_execute_quiet": "1"},
}
"""Environment of mpirun: also as root, more ranks than cores, for Open MPI 4 and 5; and no words of 4's own on failures."""


def enter() -> None:
    """Prepare to import the package beside this folder, on one thread per rank.

    A Python without the libraries hands over to the project's own, which tools/environment sets up where it is missing.
    """
    own = Path(os.environ.get("HPCWIGNER_VENV", ROOT / ".venv"))
    complete = all(importlib.util.find_spec(name) for name in ("numba", "petsc4py"))
    if not complete and Path(sys.prefix).resolve() != own.resolve():
        script = '. "$0"; exec "$python" "$@"'
        os.execvp("bash", ["bash", "-c", script, str(ROOT / "tools/environment"), *sys.argv])
    sys.path.insert(1, str(ROOT))  # after the folder of the tool
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "H5PY_ALWAYS_USE_MPI"):
        os.environ.setdefault(variable, "1")
