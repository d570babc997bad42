"""What loading the compiled kernels brings along."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
{before}
from hpcwigner.space.drift import upwind_derivative
from hpcwigner.dynamics import run
upwind_derivative(np.zeros(8))
print([name for name in ("scipy", "scipy.linalg", "yaml", "pydantic", "pint") if name in sys.modules])
import yaml
from scipy import linalg
print(linalg.norm([3.0, 4.0]), yaml.safe_load("1"))
"""


def output(before):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_kernels_load_neither_scipy_nor_yaml():
    """Hundreds of files per rank, on a cluster's shared file system; both can still be imported by whoever needs them."""
    assert output("") == ["[]", "5.0 1"]


def test_what_is_loaded_already_stays():
    assert output("import scipy.linalg") == ["['scipy', 'scipy.linalg']", "5.0 1"]
