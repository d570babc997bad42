"""Reads what a run has written, on one rank, without MPI."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import negative_windows
from hpcwigner.observables.phases import Phases, Thermalisation
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.provenance import describe_history

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Variables:
    """Contents of an output file."""

    path: Path
    data: dict[str, Array]
    units: dict[str, str]
    long_names: dict[str, str]
    valleys: tuple[str, ...]
    attributes: dict[str, str]

    def need(self, name: str) -> Array:
        """A variable that the file holds only if the run was asked for it. Raises InputError when it does not."""
        if name not in self.data:
            raise InputError(
                f"{self.path}: has no '{name}', which is needed here (it holds {', '.join(self.data)}): "
                f"name it in output.observables of the input"
            )
        return self.data[name]

    def last_time(self) -> float:
        """Time of the last row [ps]. Raises InputError when nothing has been written yet."""
        if not len(self.data["time"]):
            raise InputError(f"{self.path}: holds no times yet, expected a run that has come to its first output")
        return float(self.data["time"][-1])


def read(path: Path) -> Variables:
    """All variables of an output file. Raises InputError when it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            datasets = {name: d for name, d in file.items() if isinstance(d, h5py.Dataset)}
            data = {name: d[()] for name, d in datasets.items() if name != "valley"}
            units, long_names = ({n: str(d.attrs.get(key, "")) for n, d in datasets.items()} for key in ("units", "long_name"))
            valleys = tuple(v.decode() for v in file["valley"][()])
            return Variables(path, data, units, long_names, valleys, {k: str(v) for k, v in file.attrs.items()})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a run directory with {path.name}") from None
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as an output file of this program ({error})") from None


def last_time(path: Path) -> float:
    """Time of the last row [ps]; −∞ without a readable file or row."""
    try:
        with h5py.File(path, "r") as file:
            return float(file["time"][-1:].max(initial=-np.inf))
    except (OSError, KeyError):  # not there, or left in pieces by a killed run
        return -np.inf


def describe(directory: Path) -> str:
    """Where a run directory comes from, and its last numbers."""
    series = read(directory / "series.h5")
    times = series.data["time"]
    lines = [f"{key:<14}{series.attributes.get(key, '?')}" for key in ("source", "git_revision", "libraries", "machine", "ranks")]
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
    lines.append(f"{'phases':<14}D_v rise until {_at(phases.rise_end)}; alike within 10 % from: {_at(phases.alike_from)}")
    if set(series.data) >= Thermalisation.NEEDS:
        thermal = Thermalisation.from_series(series.data)
        energy, momentum, valley = map(_at, dataclasses.astuple(thermal))
        lines.append(f"{'thermalised':<14}within 5 % from: energies {energy}, directions {momentum}, valleys {valley}")
    return "\n".join(lines)


def _at(time: float) -> str:
    return f"{time:g} ps" if np.isfinite(time) else "not reached"
