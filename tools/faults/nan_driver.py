"""hpcwigner whose drift yields `VALUE` somewhere in its call number `CALL` on rank `RANK`: CALL RANK VALUE, then its words."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the program this script lies beside

import numpy as np
from numpy.typing import NDArray

import hpcwigner.cli.main
from hpcwigner.terms.equation import WignerSystem

Array = NDArray[np.float64]

call, rank, value = int(sys.argv.pop(1)), sys.argv.pop(1), float(sys.argv.pop(1))
drift, calls = WignerSystem.explicit_to_harmonics, 0


def broken(self: WignerSystem, state: Array, slots: Array, index: int, *more: Any, **named: Any) -> None:
    global calls
    drift(self, state, slots, index, *more, **named)
    calls += 1
    if calls == call and os.environ.get("OMPI_COMM_WORLD_RANK", "0") == rank:
        slots[1, slots.shape[1] // 2, index, 3] = value


WignerSystem.explicit_to_harmonics = broken  # type: ignore[method-assign]
sys.exit(hpcwigner.cli.main.main())
