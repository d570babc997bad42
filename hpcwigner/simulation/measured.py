"""What an instrument makes of the spectra of a run (observables/instrument.py), added to spectra.h5 when the run has ended."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from hpcwigner.exciton.constants import UM
from hpcwigner.observables import instrument
from hpcwigner.problem.config import Config
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import writing
from hpcwigner.simulation.progress import LOG
from hpcwigner.storage.files import FILTERS

PIECE = 2**23  # Numbers that are in memory at a time; at least one image, or all times at one place and energy
NAME = "measured"


def add(config: Config, path: Path) -> None:
    """Adds `measured` to a closed spectra.h5 if the input names an instrument; on one rank. Raises WriteError.

    First each image is blurred and written, then each place's course in time is read back, blurred and written again.
    """
    wanted = config.output.spectrum
    if wanted is None or not wanted.instrument:
        return
    with writing(path), h5py.File(path, "r+") as file:
        seen = _create(file, wanted.compression == "gzip")
        periodic, responses = str(file.attrs.get("periodic", "")).split(), {}
        if wanted.psf_fwhm is not None and "x" in file:
            for name, axis in {"x": 2, "y": 3}.items():
                if name in file:
                    grid = _grid(file[name][()])
                    responses[axis] = instrument.space_response(*grid, wanted.psf_fwhm * UM, name in periodic)
        source = file["intensity"]
        for row in range(len(source)):
            for part in _pieces(source.shape[1:2], source.chunks[1:2], math.prod(source.shape[2:])):
                values = source[row : row + 1, part[0]]
                for axis, response in responses.items():
                    values = instrument.along(response, values, axis)
                seen[row : row + 1, part[0]] = values
        attributes = {"psf_fwhm": f"{wanted.psf_fwhm * UM:g} um"} if responses and wanted.psf_fwhm is not None else {}
        if wanted.time_fwhm is not None:
            response = instrument.time_response(file["time"][()], wanted.time_fwhm)
            for part in _pieces(seen.shape[1:], seen.chunks[1:], len(seen)):
                seen[(slice(None), *part)] = instrument.along(response, seen[(slice(None), *part)], 0)
            attributes["time_fwhm"] = f"{wanted.time_fwhm:g} ps"
            if unknown := int(np.isnan(response[:, 0]).sum()):
                attributes["unknown"] = f"{unknown} last times, for which the detector would see light after the end of the run"
                if unknown == len(response):
                    LOG.warning("%s: no time is measured, since the run is shorter than the detector's response", path.name)
        seen.attrs.update(attributes)
        LOG.info("%s: measured with %s", path.name, ", ".join(f"{key} {value}" for key, value in attributes.items()))


def _create(file: h5py.File, compress: bool) -> h5py.Dataset:
    """A variable as `intensity`, of a fixed size: rows that a restart keeps are those of variables that can grow."""
    source = file["intensity"]
    if NAME in file:
        del file[NAME]
    dimensions = tuple(str(dimension[0].name).strip("/") for dimension in source.dims)
    text = f"{source.attrs['long_name']}, as the instrument shows it"
    chunks = tuple(min(pair) for pair in zip(source.chunks, source.shape, strict=True))
    layout = {"chunks": chunks, "fillvalue": np.nan, **(FILTERS if compress else {})}
    dataset = file.create_dataset(NAME, source.shape, "f8", **layout)
    for number, name in enumerate(dimensions):
        dataset.dims[number].attach_scale(file[name])
    formula = "intensity, convolved with Gaussians along x, y and time; 0 before the first time"
    dataset.attrs.update(
        {"units": source.attrs["units"], "long_name": text, "formula": formula, "_FillValue": np.array([np.nan])}
    )
    return dataset


def _grid(centers: Array) -> tuple[int, float]:
    """Number and spacing of cells."""
    return len(centers), float(centers[1] - centers[0])


def _pieces(shape: tuple[int, ...], chunk: tuple[int, ...], each: int) -> Iterator[tuple[slice, ...]]:
    """Blocks that cover an array of this shape, each a chunk of the file, or a part of it where it is too much.

    That is more than PIECE numbers when each element stands for `each` of them.
    """
    block = list(chunk)
    while each * math.prod(block) > PIECE and max(block) > 1:
        longest = block.index(max(block))
        block[longest] = -(-block[longest] // 2)
    for corner in itertools.product(*(range(0, size, step) for size, step in zip(shape, block, strict=True))):
        yield tuple(slice(first, first + step) for first, step in zip(corner, block, strict=True))
