"""The verb `info`: where a run directory comes from, and its last numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.cli import common
from hpcwigner.observables.curves import negative_windows
from hpcwigner.observables.phases import Phases, Thermalisation
from hpcwigner.storage.provenance import describe_history
from hpcwigner.storage.reading import read

ORIGIN = ("source", "git_revision", "libraries", "machine", "ranks")
"""Provenance attributes to print."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path)


def call(options: argparse.Namespace, comm: MPI.Intracomm) -> None:
    """Print the description. Raises InputError. Collective."""
    common.print_text(comm, lambda: describe(options.directory))


def describe(directory: Path) -> str:
    """Text of the verb. Raises InputError."""
    series = read(directory / "series.h5")
    times = series.data["time"]
    lines = [f"{key:<14}{series.attributes.get(key, '?')}" for key in ORIGIN]
    lines += [f"{'start':<14}{line}" for line in describe_history(json.loads(series.attributes.get("history", "[]")))]
    if not len(times):
        return "\n".join([*lines, "nothing written yet"])
    lines.append(f"{'time':<14}0 … {times[-1]:g} ps in {len(times)} outputs")
    for i, valley in enumerate(series.valleys):
        n, w, d = (series.need(name)[-1, i] for name in ("population", "width_squared", "diffusion"))
        lines.append(f"{valley:<14}n = {n:.6g}, w² = {w:.6g} µm², D = {d:.6g} cm²/s")
        windows = ", ".join(f"{a:.4g}…{b:.4g} ps" for a, b in negative_windows(times, series.data["diffusion"][:, i]))
        lines.append(f"{'':<14}D < 0: {windows or 'never'} (from 1 ps on)")
    phases = Phases.from_diffusion(times, series.data["diffusion"])
    lines.append(f"{'phases':<14}D_v rise until {_at(phases.rise_end)}; equal within 10 % from: {_at(phases.alike_from)}")
    if set(series.data) >= Thermalisation.NEEDS:
        energy, momentum, valley = map(_at, dataclasses.astuple(Thermalisation.from_series(series.data)))
        lines.append(f"{'thermalised':<14}within 5 % from: energies {energy}, directions {momentum}, valleys {valley}")
    return "\n".join(lines)


def _at(time: float) -> str:
    return f"{time:g} ps" if np.isfinite(time) else "not reached"
