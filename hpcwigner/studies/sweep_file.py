"""summary.h5: the results of a sweep, one row per point, readable as netCDF-4 by xarray."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import Curves
from hpcwigner.storage.files import whole

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep, with one value per point."""

    key: str
    values: Array | tuple[str, ...]
    """Numbers, or texts if not all values are numbers."""
    unit: str

    @property
    def name(self) -> str:
        """Name of the variable in the file."""
        return self.key.replace(".", "_")


@dataclasses.dataclass(frozen=True)
class SweepSummary:
    """Numbers of D_v(t), NaN for points that are not finished."""

    parameters: tuple[Parameter, ...]
    directories: tuple[str, ...]
    """Directories of the points, relative to the sweep's directory."""
    valleys: tuple[str, ...]
    times: Array
    """[ps], shape (time,)"""
    ends: Array
    """Last time of each point [ps], shape (point,)"""
    diffusion: Array
    """[cm²/s], shape (point, time, valley)"""
    features: dict[str, Array]
    """By name as in FEATURES, shape (point, valley)"""

    @classmethod
    def from_curves(
        cls,
        parameters: Sequence[Parameter],
        directories: Sequence[str],
        valleys: Sequence[str],
        times: Sequence[float],
        curves: Sequence[Mapping[str, Curves] | None],
    ) -> SweepSummary:
        """From D_v(t) by valley of each point, None for points that are not finished."""
        shape = (len(curves), len(valleys))
        ends, diffusion = np.full(len(curves), np.nan), np.full((len(curves), len(times), len(valleys)), np.nan)
        features = {name: np.full(shape, np.nan) for name in FEATURES}
        for p, by_valley in enumerate(curves):
            for name, curve in (by_valley or {}).items():
                v = valleys.index(name)
                ends[p] = curve.time[-1]
                diffusion[p, :, v] = curve.at(times)[:, 0]
                values = (*curve.extremum(0, 1), *curve.extremum(0, -1), *curve.window(0))
                for feature, value in zip(FEATURES, values, strict=True):
                    features[feature][p, v] = value
        return cls(tuple(parameters), tuple(directories), tuple(valleys), np.array(times), ends, diffusion, features)

    @property
    def window_open(self) -> NDArray[np.bool_]:
        """Where D is still negative at the end, shape (point, valley)."""
        return self.features["window_end"] == self.ends[:, None]


FEATURES = {
    "diffusion_peak_time": ("ps", "time of the largest D_v from 1 ps on"),
    "diffusion_peak": ("cm2 s-1", "largest D_v from 1 ps on"),
    "diffusion_minimum_time": ("ps", "time of the smallest D_v from 1 ps on"),
    "diffusion_minimum": ("cm2 s-1", "smallest D_v from 1 ps on"),
    "window_start": ("ps", "start of the longest window with D_v < 0; NaN: none"),
    "window_end": ("ps", "end of the longest window with D_v < 0; where it equals end_time, the window is still open then"),
}
"""Unit and meaning of each feature, in the order in which `from_curves` computes them."""


def write(path: Path, summary: SweepSummary, attributes: Mapping[str, str | int]) -> None:
    """Puts the file in the place of an older one. Raises parallel.WriteError."""
    with whole(path) as part, h5py.File(part, "w") as file:
        file.attrs.update(attributes)
        _variable(file, "point", np.arange(len(summary.directories)), (), "", "number of the point")
        _variable(file, "time", summary.times, (), "ps", "time")
        _variable(file, "valley", summary.valleys, (), "", "exciton valley")
        for name in ("point", "time", "valley"):
            file[name].make_scale(name)
        coordinates = ["directory", *(p.name for p in summary.parameters)]
        for p in summary.parameters:
            _variable(file, p.name, p.values, ("point",), p.unit, f"{p.key} of the input")
        _variable(file, "directory", summary.directories, ("point",), "", "directory of the point")
        _variable(file, "end_time", summary.ends, ("point",), "ps", "last time; NaN: the point is not finished")
        _variable(file, "diffusion", summary.diffusion, ("point", "time", "valley"), "cm2 s-1", "diffusion coefficient D_v")
        for name, (unit, text) in FEATURES.items():
            _variable(file, name, summary.features[name], ("point", "valley"), unit, text)
        for name in ("end_time", "diffusion", *FEATURES):
            file[name].attrs["coordinates"] = " ".join(coordinates)  # by CF: what xarray makes coordinates of


def _variable(
    file: h5py.File, name: str, values: Array | NDArray[np.int64] | Sequence[str], dimensions: Sequence[str], unit: str, text: str
) -> None:
    data = np.asarray(values)
    dataset = file.create_dataset(name, data=data if data.dtype.kind != "U" else data.astype(h5py.string_dtype()))
    for i, dimension in enumerate(dimensions):
        dataset.dims[i].attach_scale(file[dimension])
    dataset.attrs["long_name"] = text
    if unit:
        dataset.attrs["units"] = unit
