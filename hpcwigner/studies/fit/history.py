"""All evaluations of a fit in one file: a search that starts again goes the same way, without evaluating anything twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.files import whole


class History:
    """Places of the numbers in their ranges and the readings there; every rank holds all, rank 0 writes the file."""

    def __init__(self, path: Path | None, attributes: Mapping[str, Any], numbers: int, readings: int) -> None:
        """Reads `path` where it exists; a rank without a path holds nothing until `rows` are given to it."""
        self.path, self.attributes = path, attributes
        self.places, self.readings = np.empty((0, numbers)), np.empty((0, readings))
        self._row: dict[bytes, int] = {}

    def load(self) -> tuple[Array, Array]:
        """What the file holds. Raises InputError where it cannot be read or is of another fit."""
        if self.path is None or not self.path.exists():
            return self.places, self.readings
        try:
            with h5py.File(self.path, "r") as file:
                places, readings = file["places"][...], file["readings"][...]
        except (OSError, KeyError) as error:
            raise InputError(f"{self.path}: cannot be read ({error}): move it away") from None
        if (places.shape[1], readings.shape[1]) != (self.places.shape[1], self.readings.shape[1]):
            raise InputError(f"{self.path}: found evaluations of another fit: move it away")
        return places, readings

    def hold(self, places: Array, readings: Array) -> None:
        """Adds evaluations without writing them."""
        for number, row in enumerate(places, start=len(self.places)):
            self._row[row.tobytes()] = number
        self.places = np.concatenate((self.places, places))
        self.readings = np.concatenate((self.readings, readings))

    def add(self, places: Array, readings: Array) -> None:
        """Adds evaluations; the file takes the place of the old one at once, or never. Raises WriteError."""
        self.hold(places, readings)
        if self.path is None:
            return
        with whole(self.path) as part, h5py.File(part, "w") as file:
            file.attrs.update(self.attributes)
            file["places"], file["readings"] = self.places, self.readings
            file["places"].attrs["long_name"] = "numbers that move, from 0 to 1 in their ranges (evaluation, number)"
            file["readings"].attrs["long_name"] = "readings of the targets, then those that divide them (evaluation, reading)"

    def __contains__(self, place: Array) -> bool:
        return place.tobytes() in self._row

    def __getitem__(self, place: Array) -> Array:
        return np.asarray(self.readings[self._row[place.tobytes()]])

    def __len__(self) -> int:
        return len(self.places)
