"""What the pictures and statements are made of: solutions of the moment equations with spectra, by material and temperature."""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import JUDGED_FROM, Curves
from hpcwigner.runtime.arrays import Array
from hpcwigner.storage.reading import read

DIRECT = 10.0  # Light within this of the bright exciton belongs to the direct line [meV]
STANDS_OUT = 1.05  # A maximum of a spectrum is this much above the lowest light between it and any higher one
NEAR = 1.5  # A maximum within this of where a sideband begins belongs to it [meV]
ONCE = 0.1  # A sideband is seen when its maximum has more than this part of the largest light at that time


class SpectraRun:
    """moments.h5 and spectra.h5 of one material at one temperature."""

    def __init__(self, directory: Path, material: str, temperature: float) -> None:
        """Raises InputError where a file is missing."""
        self.material, self.temperature = material, temperature
        self.series, self.spectra = read(directory / "moments.h5"), read(directory / "spectra.h5")
        self.time, self.energy = self.spectra.data["time"], self.spectra.data["energy"]
        self.intensity, self.bands = self.spectra.data["intensity"], self.spectra.texts["sideband"]
        self.valleys, self.bright = self.series.valleys, self.spectra.attributes["bright_valley"]
        self.dark = int(self.series.data["population"][-1].argmax())
        self.curves = Curves(self.time, self.series.data["diffusion"])

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.material} at {self.temperature:g} K"

    @property
    def late(self) -> NDArray[np.bool_]:
        """Which times count: from JUDGED_FROM on, shape (time,)."""
        return np.asarray(self.time >= JUDGED_FROM)

    @functools.cached_property
    def shares(self) -> Array:
        """Part of each sideband in the light of all sidebands, shape (time, sideband); NaN before there is any."""
        photons = self.spectra.data["sideband_photons"]
        with np.errstate(invalid="ignore"):
            return np.asarray(photons / photons.sum(axis=1, keepdims=True))

    @functools.cached_property
    def sideband_part(self) -> Array:
        """Part of the sidebands of other valleys in all light, shape (time,)."""
        others = [not name.startswith(f"{self.bright} ") for name in self.bands]
        with np.errstate(invalid="ignore"):
            part = self.spectra.data["sideband_photons"][:, others].sum(axis=1) / self.spectra.data["photons"]
        return np.asarray(part)

    @functools.cached_property
    def mean_energy(self) -> Array:
        """Mean photon energy of the light more than DIRECT below the bright exciton [meV], shape (time,)."""
        below = self.energy < -DIRECT
        light = self.intensity[:, below]
        with np.errstate(invalid="ignore"):
            return np.asarray(light @ self.energy[below] / light.sum(axis=1))

    @functools.cached_property
    def relative(self) -> Array:
        """Spectra over their largest value at each time, shape (time, bin); NaN without light."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.intensity / self.intensity.max(axis=1, keepdims=True))

    def maxima(self, row: int = -1) -> list[tuple[float, float]]:
        """Energy [meV] and height, over that of the direct line, of a spectrum's maxima below it, the highest first.

        A maximum counts if it stands out by STANDS_OUT.
        """
        from scipy.signal import find_peaks

        light = self.intensity[row]
        logarithm = np.log(light / light[np.abs(self.energy) < DIRECT].max())
        peaks, _ = find_peaks(logarithm, prominence=np.log(STANDS_OUT))
        below = [p for p in peaks if self.energy[p] < -DIRECT]
        return sorted(((float(self.energy[p]), float(np.exp(logarithm[p]))) for p in below), key=lambda peak: -peak[1])

    def bands_at(self, energy: float) -> str:
        """Names of the sidebands that begin at an energy [meV], within NEAR; '' if there are none."""
        begins = self.spectra.data["sideband_energy"]
        return ", ".join(name for name, begin in zip(self.bands, begins, strict=True) if abs(energy - begin) < NEAR)

    def transient(self) -> tuple[float, float, float, float]:
        """The maximum where a sideband begins that loses most until the end, of those that once have ONCE of the largest light.

        Energy [meV], time [ps], height over the largest light at that time, and at the end; NaN if there is none.
        """
        best, least = (np.nan,) * 4, np.inf
        for row in np.flatnonzero(self.late):
            for energy, _ in self.maxima(row):
                place = int(np.abs(self.energy - energy).argmin())
                then, last = float(self.relative[row, place]), float(self.relative[-1, place])
                if then > ONCE and last < least * then and self.bands_at(energy):
                    best, least = (energy, float(self.time[row]), then, last), last / then
        return best


Runs = dict[tuple[str, float], SpectraRun]  # By material and temperature [K]
