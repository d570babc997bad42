"""Functions of the position from files: maps in HDF5 and netCDF-4 files, coordinates with units, and pictures of a camera."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcwigner.problem.shapes import Function, Image, Map
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Quantity
from hpcwigner.space.grid import SpaceGrid

FEWEST = 4  # Points along an axis, which a cubic spline needs
GREY = ("L", "I", "F", "I;16", "I;16B", "I;16L")  # Modes of pictures whose pixels are numbers: 8, 32, 16 bits and floats


def read(key: str, given: Map, unit: str, grid: SpaceGrid, degree: int = 3) -> Function:
    """The map that the input names at `key`, in `unit`: a function of x and y [nm]. Raises InputError.

    A map over x only is uniform along y; of a map over x and y a slab takes the line y = 0. `degree` is that of its splines;
    the unit "1" is that of values without one.
    """
    where = f"{key}: found '{given.dataset}' of {given.file}"
    try:
        with h5py.File(given.file, "r") as file:
            data = file.get(given.dataset)
            if not isinstance(data, h5py.Dataset):
                known = ", ".join(_datasets(file))
                raise InputError(
                    f"{key}.dataset: found '{given.dataset}', expected a dataset of {given.file} (there are: {known})"
                )
            if data.shape is None:
                raise InputError(f"{where} without values, expected a map over x, or over x and y")
            axes = _axes(data, where)
            coordinates = {name: _numbers(axis, "nm", f"{where} with the coordinate {name}") for name, axis in axes.items()}
            values = _numbers(data, unit, where)
    except (OSError, RuntimeError, KeyError) as error:  # what h5py raises on damaged files
        problem = " ".join(str(error).split()) if Path(given.file).exists() else "no such file"
        raise InputError(f"{key}.file: found '{given.file}', expected an HDF5 or netCDF-4 file ({problem})") from None
    if list(coordinates) == ["y", "x"]:
        values, coordinates = values.T, dict(reversed(coordinates.items()))
    return _interpolated(coordinates, values, grid, where, degree)


def read_image(key: str, given: Image, grid: SpaceGrid) -> Function:
    """The image that the input names at `key`, without a unit, as `read`. Raises InputError.

    Linear between its points: a cubic spline would fall below 0 beside bright pixels.
    """
    if given.dataset is not None:
        return read(key, Map(given.file, given.dataset), "1", grid, degree=1)
    assert given.pixel is not None
    from PIL import Image as Picture

    try:
        with warnings.catch_warnings(action="ignore"), Picture.open(given.file) as picture:  # on tags that pillow does not know
            if picture.mode not in GREY:
                raise InputError(f"{key}.file: found '{given.file}' in colour ({picture.mode}), expected a picture in grey")
            values = np.asarray(picture, dtype=np.float64)[::-1].T  # rows run from the top downwards
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:  # what pillow raises on damaged files
        problem = " ".join(str(error).split()) if Path(given.file).exists() else "no such file"
        raise InputError(f"{key}.file: found '{given.file}', expected a picture, such as PNG or TIFF ({problem})") from None
    with np.errstate(invalid="ignore"):  # infinite pixels are refused
        values /= max(values.max(), np.finfo(float).tiny)  # a black one is refused as a profile
    coordinates = {name: given.pixel * (np.arange(n) - 0.5 * (n - 1)) for name, n in zip("xy", values.shape, strict=True)}
    return _interpolated(coordinates, values, grid, f"{key}: found {given.file}", 1)


def _datasets(file: Any) -> list[str]:
    """Names of the datasets of a file that may be maps."""
    names: list[str] = []
    file.visit(names.append)
    return [name for name in names if isinstance(file[name], h5py.Dataset) and not h5py.h5ds.is_scale(file[name].id)]


def _axes(data: Any, where: str) -> dict[str, Any]:
    """Coordinate variables of a dataset by name, in the order of its axes: attached to it or beside it. Raises InputError."""
    scales = [dimension[0] if len(dimension) else None for dimension in data.dims]
    if any(scale is not None and scale.name is None for scale in scales):
        raise InputError(f"{where} with coordinates that are no longer in the file, expected x, or x and y")
    names = ["xy"[i] if scale is None else scale.name.split("/")[-1] for i, scale in enumerate(scales[:2])]
    if data.ndim > 2 or names not in (["x"], ["x", "y"], ["y", "x"]):
        over = ", ".join(names) if 1 <= data.ndim <= 2 else f"{data.ndim} axes"
        raise InputError(f"{where} over {over}, expected a map over x, or over x and y")
    axes = {name: data.parent.get(name) if scale is None else scale for name, scale in zip(names, scales, strict=True)}
    if missing := [name for name, axis in axes.items() if not isinstance(axis, h5py.Dataset)]:
        raise InputError(f"{where} without the coordinate {missing[0]}, expected a variable of that name beside it")
    return axes


def _numbers(data: Any, unit: str, where: str) -> Array:
    """Values of a dataset in `unit`, filled-in ones as NaN. Raises InputError."""
    if data.dtype.kind not in "fiu" or {"scale_factor", "add_offset"} & set(data.attrs):
        raise InputError(f"{where} of the type {data.dtype}, expected plain numbers, not packed ones")
    text = _units_of(data)
    try:
        factor = 1.0 if unit == "1" and text in ("", "1") else Quantity(unit, positive=True).parse(f"1 {text}")
    except ValueError:
        expected = "no attribute units, or 1" if unit == "1" else f"an attribute units that converts to {unit}"
        raise InputError(f"{where} with units {text!r:.40}, expected {expected}") from None
    values = np.asarray(data[...], dtype=np.float64)
    if "_FillValue" in data.attrs:
        fill = np.asarray(data.attrs["_FillValue"])
        if fill.size != 1 or fill.dtype.kind not in "fiu":
            raise InputError(f"{where} with a _FillValue of the type {fill.dtype} and shape {fill.shape}, expected one number")
        values = np.where(values == fill.ravel()[0], np.nan, values)
    with np.errstate(over="ignore"):  # infinite ones are refused
        return values * float(factor)


def _units_of(data: Any) -> str:
    """The attribute `units` of a dataset as text; '' without one."""
    given = data.attrs.get("units", "")
    first = given if isinstance(given, str | bytes) else (*np.asarray(given).ravel(), "")[0]
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _check_coordinate(name: str, coordinate: Array, half: float, where: str) -> None:
    """Refuses a coordinate that does not increase, or not cover −half to half [nm]. Raises InputError."""
    if coordinate.ndim != 1 or coordinate.size < FEWEST or not (np.diff(coordinate) > 0).all():
        problem = f"expected at least {FEWEST} finite values that increase"
        raise InputError(f"{where} with a coordinate {name} of the shape {coordinate.shape}, {problem}")
    missing = np.array([coordinate[0] + half, half - coordinate[-1]]) / 1000
    if missing.max() > 1e-9 * max(half, 1.0) / 1000:
        low, high = coordinate[[0, -1]] / 1000
        at = " and ".join(f"{m:.6g} um at the {end} end" for m, end in zip(missing, ("lower", "upper"), strict=True) if m > 0)
        needed = f"{name} from {-half / 1000:g} to {half / 1000:g} um" if half else f"the line {name} = 0"
        raise InputError(f"{where} with {name} from {low:.6g} to {high:.6g} um, expected it to cover {needed}: {at} are missing")


def _interpolated(coordinates: dict[str, Array], values: Array, grid: SpaceGrid, where: str, degree: int) -> Function:
    """Spline through values, over x or over x and y, that must be finite and cover a sample. Raises InputError."""
    from scipy.interpolate import RectBivariateSpline, make_interp_spline

    for name, coordinate in coordinates.items():
        half = 0.5 * grid.length if name == "x" or grid.dimensions == 2 else 0.0
        _check_coordinate(name, coordinate, half, where)
    shape = tuple(coordinate.size for coordinate in coordinates.values())
    if values.shape != shape:
        raise InputError(f"{where} with the shape {values.shape}, expected {shape} as its coordinates")
    if (bad := np.argwhere(~np.isfinite(values))).size:
        place = ", ".join(f"{n} = {c[i] / 1000:.6g} um" for (n, c), i in zip(coordinates.items(), bad[0], strict=True))
        raise InputError(f"{where} with {len(bad)} values that are not finite, the first at {place}, expected finite ones")
    if len(shape) == 1:
        return Line(make_interp_spline(*coordinates.values(), values, k=degree))
    return Surface(RectBivariateSpline(*coordinates.values(), values, kx=degree, ky=degree))


@dataclasses.dataclass(frozen=True)
class Line:
    """A spline over x, uniform along y."""

    spline: Any

    def __call__(self, x: Array, y: Array) -> Array:
        return np.repeat(self.spline(x.reshape(-1, 1)), y.size, axis=1)


@dataclasses.dataclass(frozen=True)
class Surface:
    """A spline over x and y."""

    spline: Any

    def __call__(self, x: Array, y: Array) -> Array:
        return np.asarray(self.spline(x.ravel(), y))
