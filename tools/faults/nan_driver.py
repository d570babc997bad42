"""hpcwigner whose drift yields `VALUE` somewhere in its call number `CALL` on rank `RANK`: CALL RANK VALUE, then its words."""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the program this script lies beside

import numpy as np
from numpy.typing import NDArray

import hpcwigner.cli
from hpcwigner.space.drift import Drift

Array = NDArray[np.float64]

call, rank, value = int(sys.argv.pop(1)), sys.argv.pop(1), float(sys.argv.pop(1))
apply, calls = Drift.apply, 0


def broken(self: Drift, u: Array, out: Array) -> None:
    global calls
    apply(self, u, out)
    calls += 1
    if calls == call and os.environ.get("OMPI_COMM_WORLD_RANK", "0") == rank:
        out[out.shape[0] // 2, 0, 1, 3] = value


Drift.apply = broken  # type: ignore[method-assign]
sys.exit(hpcwigner.cli.main())
