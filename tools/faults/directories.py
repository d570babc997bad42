"""What lies in a run directory, looked at from outside: the campaign's own arithmetic, not the program's."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faults.outcomes import LostError, require

FILES = ("series.h5", "fields.h5", "wigner.h5")
BLOCK = 16 * 2**20
"""Bytes that a checksum covers."""


def latest(directory: Path) -> int:
    """The checkpoint that was published last; −1 without one."""
    try:
        return int((directory / "checkpoints" / "latest").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1


def checkpoint_under_way(directory: Path) -> bool:
    """Whether a checkpoint is being written."""
    try:
        return any(name.endswith(".partial") for name in os.listdir(directory / "checkpoints"))
    except OSError:
        return False


def difference(found: Path, expected: Path) -> str:
    """First difference between two runs' output files, bit for bit except that all NaN are equal; '' without one."""
    for name in FILES:
        if not (found / name).exists():
            return f"{name} is missing"
        try:
            with h5py.File(found / name) as a, h5py.File(expected / name) as b:
                keys = [{key for key, item in file.items() if isinstance(item, h5py.Dataset)} for file in (a, b)]
                if keys[0] != keys[1]:
                    return f"{name} holds {sorted(keys[0])}, expected {sorted(keys[1])}"
                for key in keys[0]:
                    x, y = a[key][()], b[key][()]
                    if not _identical(x, y):
                        return f"{name}:{key} differs (shapes {x.shape}, {y.shape})"
        except (OSError, KeyError) as error:
            return f"{name} cannot be read ({error})"
    return ""


def _identical(x: Any, y: Any) -> bool:
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.dtype.kind == "f":
        return bool(((x.view("u8") == y.view("u8")) | (np.isnan(x) & np.isnan(y))).all())
    return bool((x == y).all())


def require_good_checkpoints(directory: Path, completed: int) -> None:
    """Requires that `completed` (−1: none) is still there, and that it and every other checkpoint that stayed are whole."""
    for path in (directory / "checkpoints").glob("[0-9]" * 8):
        _require_whole(path)
    require(completed < 0 or (directory / "checkpoints" / f"{completed:08d}").is_dir(), f"checkpoint {completed} is gone")


def _require_whole(checkpoint: Path) -> None:
    """Requires that a checkpoint is what its mark says."""
    try:
        files = json.loads((checkpoint / "complete.json").read_text(encoding="ascii").split("\n", 1)[1])["files"]
        for name, expected in files.items():
            content = (checkpoint / name).read_bytes()
            sums = [zlib.crc32(content[i : i + BLOCK]) for i in range(0, len(content), BLOCK)]
            require(expected == {"size": len(content), "crc32": sums}, f"{checkpoint / name} is damaged")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise LostError(f"{checkpoint} is damaged ({error})") from None
