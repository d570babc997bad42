"""Views of spectra.h5: spectra against time and place with the names of their lines, and widths of sidebands as measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables import instrument
from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.observables.instrument import Widths
from hpcwigner.plotting import style
from hpcwigner.plotting.maps import film, normalised, visible_reach
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, attributes_of, names, read, reduced

DECADES = 4  # Logarithmic scales end so far below the largest value
STRONG = 0.03  # Sidebands with less than this part of the photons of all sidebands at every time shown are not named
APART = 0.03  # Names closer than this part of the energy axis share a line
MOST_TIMES = 5
WIDER = 1.5  # Maps in logarithmic colours reach further than linear ones
DIRECT = 10.0  # Without windows, light within this of the direct line's energy is that line, all below it sidebands [meV]
UM2_PER_PS = 1e4  # In cm²/s


@dataclasses.dataclass(frozen=True)
class Look:
    """How spectra are looked at: FWHM of the point spread [µm] and of the detector [ps], windows of energy [meV], times [ps]."""

    psf: float | None = None
    time: float | None = None
    windows: Sequence[tuple[float, float]] = ()
    at: Sequence[float] = ()


class Spectra:
    """spectra.h5 of a run seen in a certain way; large variables are read row by row."""

    def __init__(self, directory: Path, look: Look) -> None:
        """Raises InputError where the file is missing, or does not hold what is asked for."""
        self.path, self.look = directory / "spectra.h5", look
        self.file: Variables = read(self.path, leave=("intensity", "measured"))
        self.file.last_time()
        self.time = self.file.data["time"]
        self.places = [self.file.data[axis] for axis in "xy" if axis in self.file.data]
        self.own = look.psf is not None or look.time is not None
        if look.psf is not None and not self.places:
            raise InputError(
                f"--psf: found a spectrum of the whole sample in {self.path}, expected output.spectrum.place: resolved"
            )
        self.name = "measured" if "measured" in names(self.path) and not self.own else "intensity"
        self.attributes = attributes_of(self.path, self.name)

    @property
    def energy(self) -> Array:
        """Centres of the bins [meV]. Raises InputError when the file holds windows only."""
        if "energy" not in self.file.data:
            raise InputError(f"{self.path}: found windows of energy, expected spectra (output.spectrum without windows)")
        return self.file.data["energy"]

    @property
    def described(self) -> str:
        """What the instrument is, for titles; '' without one."""
        known = {"psf_fwhm": self.look.psf, "time_fwhm": self.look.time} if self.own else self.attributes
        parts = []
        for key, what, unit in (("psf_fwhm", "point spread", "um"), ("time_fwhm", "detector", "ps")):
            if value := known.get(key):
                number = value if isinstance(value, float) else float(str(value).split()[0])
                parts.append(f"{what} {number:g} {style.unit_text(unit)}")
        return f"measured: {', '.join(parts)} (FWHM)" if parts else ""

    @functools.cached_property
    def whole(self) -> Array:
        """Spectra of the whole sample, shape (time, bin)."""
        cell = float(np.prod([places[1] - places[0] for places in self.places]))
        axes = tuple(range(1, 1 + len(self.places)))
        values = reduced(self.path, self.name, lambda row: cell * row.sum(axis=axes) if axes else row)
        return self._in_time(values)

    @functools.cached_property
    def lines(self) -> Array:
        """Resolved spectra along x, in a plane on y = 0, shape (time, bin, x)."""
        if len(self.places) == 1:
            return self._in_time(self._in_space(reduced(self.path, self.name, lambda row: row)))

        def on_line(row: Array) -> Array:
            return style.central_line(self._in_space(row[None])[0])

        return self._in_time(reduced(self.path, self.name, on_line))

    def windowed(self, windows: Sequence[tuple[float, float]] = ()) -> Array:
        """Light in windows of energy, or in those of the file, shape (time, window, x[, y])."""
        if not windows:
            return self._in_time(self._in_space(reduced(self.path, self.name, lambda row: row)))
        energy = self.energy
        step = energy[1] - energy[0]
        weights = step * instrument.window_weights(np.append(energy - 0.5 * step, energy[-1] + 0.5 * step), windows)
        values = reduced(self.path, self.name, lambda row: np.tensordot(weights, row, axes=(0, 0)))
        return self._in_time(self._in_space(values))

    def _in_space(self, values: Array) -> Array:
        if not (self.own and self.look.psf):
            return values
        for number, places in enumerate(self.places):
            periodic = "xy"[number] in self.file.attributes.get("periodic", "")
            response = instrument.space_response(len(places), float(places[1] - places[0]), self.look.psf, periodic)
            values = instrument.along(response, values, values.ndim - len(self.places) + number)
        return values

    def _in_time(self, values: Array) -> Array:
        if not (self.own and self.look.time):
            return values
        return instrument.along(instrument.time_response(self.time, self.look.time), values, 0)

    def rows(self, values: Array) -> NDArray[np.intp]:
        """Rows of the times asked for, or of some from the brightest to the last with light. Raises InputError without light."""
        total = values.reshape(len(values), -1).sum(axis=1)
        lit = np.flatnonzero(total > 0)
        if not len(lit):
            raise InputError(f"{self.path}: found no light at any time that the instrument shows, expected some")
        first, last = self.time[int(np.nanargmax(total))], self.time[lit[-1]]
        wanted = self.look.at or (np.geomspace(first, last, MOST_TIMES) if first > 0 else [first, last])
        return np.unique([lit[np.abs(self.time[lit] - t).argmin()] for t in wanted])


def strong_bands(file: Variables, limits: tuple[float, float]) -> dict[str, float]:
    """Energy [meV] by name of the sidebands that begin within `limits` and matter at some time; neighbours are one entry."""
    photons = file.need("sideband_photons")
    share = np.nanmax(photons / np.maximum(photons.sum(axis=1, keepdims=True), 1e-300), axis=0)
    named = sorted(
        (float(energy), name)
        for name, energy, part in zip(file.texts["sideband"], file.need("sideband_energy"), share, strict=True)
        if part >= STRONG and limits[0] < energy < limits[1]
    )
    merged: list[tuple[list[float], list[str]]] = []
    for energy, name in named:
        if merged and energy - merged[-1][0][0] < APART * (limits[1] - limits[0]):
            merged[-1][0].append(energy)
            merged[-1][1].append(name)
        else:
            merged.append(([energy], [name]))
    return {", ".join(band[:2]) + " …" * (len(band) > 2): float(np.mean(energies)) for energies, band in merged}


def marks(file: Variables, limits: tuple[float, float]) -> dict[str, float]:
    """Energy [meV] by name of the strong sidebands and of the direct line, which is named as the bright valley."""
    direct = float(file.need("direct_energy"))
    return strong_bands(file, limits) | ({file.attributes["bright_valley"]: direct} if limits[0] < direct < limits[1] else {})


def spectrum(directory: Path, look: Look) -> Any:
    """Spectra against time with the sidebands' names, spectra at chosen times and against place. Raises InputError."""
    spectra = Spectra(directory, look)
    energy, whole = spectra.energy, spectra.whole
    rows = spectra.rows(whole)
    count = 2 + bool(spectra.places)
    figure, axes = style.subplots(1, count, figsize=(1.5 + 4.9 * count, 5.6))
    unit = spectra.file.units.get("photons", "ps-1")
    limits = float(energy[0]), float(energy[-1])
    image = log_map(axes[0], energy, spectra.time, normalised(whole))
    figure.colorbar(image, ax=axes[0], label="PL / largest at that time")
    axes[0].set(xlim=limits, xlabel=ENERGY, ylabel="time (ps)")
    top, lowest = np.nanmax(whole[rows]), 1e-3 * np.nanmax(whole[rows], axis=1).min()
    for number, row in enumerate(rows):
        colour = style_colour(number, len(rows))
        axes[1].semilogy(energy, whole[row], color=colour, lw=1.4, label=f"{spectra.time[row]:.4g} ps")
    axes[1].set(
        xlim=limits, ylim=(min(lowest, top * 10.0**-DECADES), 2 * top), xlabel=ENERGY, ylabel=style.label("PL", f"meV-1 {unit}")
    )
    axes[1].legend(frameon=False, fontsize=8, loc="best")
    for axis in axes[:2]:
        mark_bands(axis, spectra.file, limits)
    if spectra.places:
        row = rows[-1]
        image = log_map(axes[2], spectra.places[0], energy, spectra.lines[row])
        reach = WIDER * visible_reach(spectra.places[0], spectra.lines[row])
        axes[2].set(
            xlabel="x (µm)", xlim=(-reach, reach), ylabel=ENERGY, title=f"{spectra.time[row]:.4g} ps, {spectra.file.place}"
        )
        figure.colorbar(image, ax=axes[2], label=style.label("PL", spectra.attributes["units"]))
    figure.suptitle("   ".join(filter(None, [style.title(directory, spectra.file), spectra.described, decay_text(spectra.file)])))
    return figure


ENERGY = "photon energy − bright exciton (meV)"


def style_colour(number: int, count: int) -> Any:
    """Colour of one of several times, from dark to light."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * number / max(1, count - 1))


def log_map(axis: Any, x: Array, y: Array, values: Array) -> Any:
    """Map of positive `values` (y, x) in logarithmic colours over DECADES."""
    from matplotlib.colors import LogNorm

    top = float(np.nanmax(values))
    low = top * 10.0**-DECADES
    shown = np.maximum(values, low)  # NaN stays
    return axis.pcolormesh(x, y, shown, norm=LogNorm(low, top), cmap="magma", shading="nearest", rasterized=True)


def mark_bands(axis: Any, file: Variables, limits: tuple[float, float]) -> None:
    """Dotted lines where the strong sidebands and the direct line begin, with their names above the axes."""
    dark = bool(axis.collections)
    for name, energy in marks(file, limits).items():
        axis.axvline(energy, color="white" if dark else "0.6", ls=":", lw=0.8, zorder=3 if dark else 0)
        axis.annotate(name, (energy, 1.0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      rotation=90, ha="center", va="bottom", fontsize=7, annotation_clip=False)  # fmt: skip


def decay_text(file: Variables) -> str:
    """Decay time of all photons at the end, for titles; '' while it grows."""
    time = instrument.decay_time(file.data["time"], file.need("photons"))
    text = f"{time:.3g} ps" if time < 1000 else f"{time / 1000:.3g} ns"
    return f"PL decays within {text} at the end" if np.isfinite(time) else ""


def measured_widths(spectra: Spectra) -> dict[str, Widths]:
    """w² [µm²] and D [µm²/ps] of the light in each window, by its name. Raises InputError."""
    if not spectra.places:
        raise InputError(f"{spectra.path}: found spectra of the whole sample, expected output.spectrum.place: resolved")
    if "window" in spectra.file.texts:
        if spectra.look.windows:
            raise InputError(f"--window: found windows in {spectra.path} already, expected none")
        titles = [f"{name} meV" for name in spectra.file.texts["window"]]
        light = spectra.windowed()
    else:
        energy = spectra.energy
        margin, direct = 0.5 * float(energy[1] - energy[0]), float(spectra.file.need("direct_energy"))
        low, high = float(energy[0]) - margin, float(energy[-1]) + margin
        usual = [(low, direct - DIRECT), (max(low, direct - DIRECT), min(direct + DIRECT, high))]
        windows = spectra.look.windows or usual
        windows = [(float(a), float(b)) for a, b in windows if b > a]
        titles, light = [f"{a:g} to {b:g} meV" for a, b in windows], spectra.windowed(windows)
    line = style.central_line(light) if len(spectra.places) == 2 else light
    return {
        name: Widths.of(spectra.time, spectra.places, light[:, number], line[:, number]) for number, name in enumerate(titles)
    }


def sidebands(directory: Path, look: Look) -> Any:
    """w²(t) and D(t) of the light in windows of energy, by second moments and by a fitted Gaussian. Raises InputError."""
    spectra = Spectra(directory, look)
    figure, axes = style.subplots(2, 1, figsize=(8, 7.5), sharex=True)
    late = spectra.time >= min(JUDGED_FROM, float(spectra.time[-1]))
    widths: list[Array] = []
    speeds: list[Array] = []
    for number, (name, seen) in enumerate(measured_widths(spectra).items()):
        colour = {"color": style.COLOURS[number % len(style.COLOURS)]}
        for axis, moments, fitted in (
            (axes[0], seen.width_squared, seen.fitted_width_squared),
            (axes[1], UM2_PER_PS * seen.diffusion, UM2_PER_PS * seen.fitted_diffusion),
        ):
            axis.plot(spectra.time, moments, ls="-", label=f"{name}, second moment{at_end(spectra.time, moments)}", **colour)
            axis.plot(spectra.time, fitted, ls="--", label=f"{name}, fitted Gaussian{at_end(spectra.time, fitted)}", **colour)
            (widths if axis is axes[0] else speeds).append(np.concatenate((moments[late], fitted[late])))
    for axis, values in zip(axes, (widths, speeds), strict=True):
        both = np.concatenate(values)
        if np.isfinite(both).any() and axis is axes[0]:
            margin = 0.05 * (np.nanmax(both) - np.nanmin(both))
            axis.set_ylim(np.nanmin(both) - margin, np.nanmax(both) + margin)
        elif axis is axes[1]:
            style.fit_y(axis, both)
            axis.axhline(0, **style.ZERO_LINE)
    axes[0].set_ylabel("$w^2$ (µm²)")
    axes[1].set(ylabel="¼ d$w^2$/dt (cm²/s)", xlabel="time (ps)", xlim=(0, spectra.time[-1]))
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle("   ".join(filter(None, [style.title(directory, spectra.file), spectra.described])))
    return figure


def at_end(time: Array, values: Array) -> str:
    """The last value that there is, for legends."""
    known = np.flatnonzero(np.isfinite(values))
    return f": {values[known[-1]]:.3g} at {time[known[-1]]:.4g} ps" if len(known) else ""


def animate(directory: Path, output: Path | None = None, look: Look | None = None) -> Path:
    """Writes a GIF of the spectra, also against place, to `output`, by default RUN/spectrum.gif. Raises InputError."""
    path = output or directory / "spectrum.gif"
    style.check_suffix(path, (".gif",))
    spectra = Spectra(directory, look or Look())
    energy, whole = spectra.energy, spectra.whole
    rows = np.flatnonzero(np.nan_to_num(whole).max(axis=1) > 0)
    if not len(rows):
        raise InputError(f"{spectra.path}: found no light at any time, expected a run that has reached its pulse")
    plt = style.pyplot()
    figure, axes = style.subplots(1, 2 if spectra.places else 1, figsize=(10 if spectra.places else 6, 5.2), squeeze=False)
    limits, top = (float(energy[0]), float(energy[-1])), float(np.nanmax(whole))
    (curve,) = axes[0, 0].semilogy(energy, whole[rows[0]], color=style.COLOURS[1])
    low = max(top * 1e-9, float(np.nanmin(np.nanmax(whole[rows], axis=1))) * 1e-3)
    unit = spectra.file.units["photons"]
    axes[0, 0].set(xlim=limits, ylim=(low, 2 * top), xlabel=ENERGY, ylabel=style.label("PL", f"meV-1 {unit}"))
    mark_bands(axes[0, 0], spectra.file, limits)
    if spectra.places:
        lines = spectra.lines
        relative = normalised(lines)
        image = log_map(axes[0, 1], spectra.places[0], energy, relative[rows[0]])
        reach = WIDER * max(visible_reach(spectra.places[0], lines[row]) for row in rows)
        axes[0, 1].set(xlim=(-reach, reach), xlabel="x (µm)", title=spectra.file.place)
        figure.colorbar(image, ax=axes[0, 1], label="PL / largest at that time")

    def show(row: int) -> None:
        curve.set_ydata(whole[row])
        if spectra.places:
            image.set_array(np.maximum(relative[row], 10.0**-DECADES))

    film(path, figure, spectra.time, rows, show)
    plt.close(figure)
    return path
