"""`python -m hpcwigner`: one thread per rank unless asked otherwise; libraries read this when they are loaded."""

import os
import sys

from hpcwigner.runtime import imports

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("H5PY_ALWAYS_USE_MPI", "1")
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # else it looks for some in the metadata of every package installed


def run() -> int:
    """The program; returns its exit code."""
    imports.install()
    from hpcwigner.cli.main import main

    code = main()
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        imports.save()
    return code


if __name__ == "__main__":
    sys.exit(run())
