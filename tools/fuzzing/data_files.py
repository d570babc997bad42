"""Changes to HDF5 files of rates and maps, and to pictures."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

BAD = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300, -1e-3, 1e-300, 5e-324)
UNITS = ("nm", "um", "meV", "eV", "%", "percent", "", "ps", "µm", "1", "nonsense", "um um", b"\xff\xfe", 3, np.array(["um", "nm"], dtype="S2"), "1e400 um",
         "nan um", "-um", "0 um", "a\nb")  # fmt: skip


def write_map(path: Path, rng: np.random.Generator) -> None:
    """A proper map over x, or over x and y, with the datasets energy (meV) and weight; as netCDF-4 has them."""
    x, y = np.linspace(-4, 4, 17), np.linspace(-4, 4, 13)
    names = [("x",), ("x", "y"), ("y", "x")][rng.integers(3)]
    axes = {"x": x, "y": y}
    with h5py.File(path, "w") as file:
        for name, axis in axes.items():
            file[name] = axis
            file[name].attrs["units"] = "um"
            file[name].make_scale(name)
        shape = tuple(axes[name].size for name in names)
        for dataset, unit in (("energy", "meV"), ("weight", "1")):
            file[dataset] = np.abs(rng.normal(size=shape))
            file[dataset].attrs["units"] = unit
            for number, name in enumerate(names):
                file[dataset].dims[number].attach_scale(file[name])


def write_picture(path: Path, rng: np.random.Generator) -> None:
    """A picture of a camera, of some mode."""
    from PIL import Image

    mode = ["L", "L", "I;16", "F", "RGB", "1"][rng.integers(6)]
    pixels = rng.integers(0, 200, (12, 12))
    kinds: dict[str, Any] = {"L": np.uint8, "1": np.uint8, "I;16": np.uint16, "F": np.float32, "RGB": np.uint8}
    array = pixels.astype(kinds[mode])
    if mode == "F" and rng.integers(2):
        array[3, 4] = BAD[rng.integers(len(BAD))]
    picture = Image.fromarray(np.stack([array] * 3, axis=-1) if mode == "RGB" else array)
    (picture.convert("1") if mode == "1" else picture).save(path, format="TIFF")


def damage(path: Path, rng: np.random.Generator) -> None:
    """Changes a file in one to three places, its content by name, or cuts or replaces it; of a picture also single bytes.

    Single bytes of HDF5 files are left alone: the HDF5 library itself (1.10) crashes on some of those.
    """
    hdf5 = h5py.is_hdf5(path)
    if not hdf5 or rng.random() < 0.2:
        _damage_bytes(path, rng, not hdf5)
        return
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice([1, 1, 2, 3])):
            _damage_content(file, rng)


def _damage_bytes(path: Path, rng: np.random.Generator, single: bool) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.integers(4 if single else 2)
    if kind == 0:
        data = data[: rng.integers(len(data))]
    elif kind == 1:
        data = bytearray(
            [b"", b"\x89HDF\r\n\x1a\n", b"text", bytes(10000), b"CDF\x01" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(20)][
                rng.integers(6)
            ]
        )
    else:
        for _ in range(rng.integers(1, 30)):
            data[rng.integers(len(data) if kind == 2 else min(200, len(data)))] = rng.integers(256)
    path.write_bytes(bytes(data))


def _damage_content(file: h5py.File, rng: np.random.Generator) -> None:
    names = sorted(file)
    if not names:
        return
    name = names[rng.integers(len(names))]
    data = file[name]
    kind = rng.integers(10)
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.dtype.kind not in "fiu" or data.size == 0:
        kind = rng.integers(8, 10)
    if kind < 3:  # single numbers
        place = tuple(rng.integers(n) for n in data.shape)
        with np.errstate(all="ignore"):
            data[place] = np.asarray(BAD[rng.integers(len(BAD))]).astype(data.dtype)
    elif kind == 3:
        _replace(file, name, _reshaped(rng, data[()]))
    elif kind == 4:
        _replace(file, name, _retyped(rng, data[()]))
    elif kind == 5:
        with np.errstate(all="ignore"):
            data[...] = (data[()] * [-1.0, 0.0, 1e-3, 1e3, 1e300, np.nan, 1.0 + 1e-5][rng.integers(7)]).astype(data.dtype)
    elif kind == 6:
        values = data[()]
        data[...] = values[::-1] if rng.integers(2) else rng.permutation(values)
    elif kind == 7:
        data.attrs["units"] = UNITS[rng.integers(len(UNITS))]
        if rng.integers(4) == 0:
            data.attrs[["_FillValue", "scale_factor", "add_offset", "units"][rng.integers(4)]] = [
                data[()].flat[0],
                "x",
                [],
                np.nan,
            ][rng.integers(4)]
    elif kind == 8:
        if rng.integers(2):
            del file[name]
        else:
            _replace(file, name, None)
    else:
        keys = [*sorted(file.attrs), "temperature", "bright_valley"]
        file.attrs[keys[rng.integers(len(keys))]] = [np.nan, -1, 99, "x", [1, 2], [], 77.0, b"\xff", h5py.Empty("f8"), "77 K"][
            rng.integers(10)
        ]


def _replace(file: h5py.File, name: str, values: Any) -> None:
    """Another dataset of the same name, or a group; its scales and attributes are lost."""
    del file[name]
    if values is None:
        file.create_group(name)
    else:
        file[name] = values


def _reshaped(rng: np.random.Generator, values: Any) -> Any:
    choices = [values[:-1], values[..., :-1], values[..., None], values[None], values.ravel(), values.ravel()[0], values[:0], np.repeat(values, 2, 0),
               h5py.Empty("f8"), values.T]  # fmt: skip
    return choices[rng.integers(len(choices))]


def _retyped(rng: np.random.Generator, values: Any) -> Any:
    with np.errstate(all="ignore"):
        choices = [values.astype(np.float32), values.astype(np.int8), values.astype(complex), values.astype("S8"), values.astype(bool), values.astype(np.float16),
                   values.astype(">f8"), np.full(values.shape, "x", dtype=h5py.string_dtype()), values.astype(np.longdouble),
                   np.zeros(values.shape, dtype=[("a", "f8")]), values.astype(np.uint64)]  # fmt: skip
    return choices[rng.integers(len(choices))]
