"""hpcwigner whose N(u) holds `VALUE` somewhere in evaluation number `CALL` on rank `RANK`: CALL RANK VALUE, then its words."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the program this script lies beside

import hpcwigner.cli.main
from hpcwigner.momentum.tile import N, Tile
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import State

call, rank, value = int(sys.argv.pop(1)), sys.argv.pop(1), float(sys.argv.pop(1))
tiles, calls = WignerEquation.tiles, 0


def broken(self: WignerEquation, tile: Tile, time: float, state: State) -> Iterator[Tile]:
    global calls
    calls += 1
    due = calls == call and os.environ.get("OMPI_COMM_WORLD_RANK", "0") == rank
    for filled in tiles(self, tile, time, state):
        if due:
            filled.slot(N)[1, len(filled.points) // 2, 3] = value
            due = False
        yield filled


WignerEquation.tiles = broken  # type: ignore[method-assign]
sys.exit(hpcwigner.cli.main.main())
