"""`python -m hpcwigner`: the command line, on one thread per rank unless the environment asks for more."""

import os
import sys

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "H5PY_ALWAYS_USE_MPI": "1",  # Debian's h5py loads its serial build otherwise
    "PYDANTIC_DISABLE_PLUGINS": "1",  # else pydantic reads the metadata of every installed package
}
"""Defaults of this process. Libraries read them when they are loaded."""


def run() -> int:
    """Set the defaults, then run the command line, where all that it needs is there; returns the exit code."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from hpcwigner.cli.stack import missing

    if problem := missing():
        print(f"hpcwigner: {problem}", file=sys.stderr)
        return 1
    from hpcwigner.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
