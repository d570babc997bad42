"""Reads what a run has written, on one rank, without MPI."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError


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
