"""What the figures are drawn from: four runs, and their fields on the line y = 0."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcwigner.observables.curves import Curves
from hpcwigner.observables.fields import central_weights
from hpcwigner.observables.radial import RadialInversion
from hpcwigner.observables.transport import IntrinsicDiffusion
from hpcwigner.plotting import style
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

Array = NDArray[np.float64]

FINE_REACH, FINE_POINTS = 5.0, 501
"""Half length [µm] and number of points of the line y = 0 that slab profiles are inverted to."""


@dataclasses.dataclass(frozen=True)
class PaperRun:
    """The output of one run."""

    directory: Path
    bright: int
    """Index of the bright valley."""

    @functools.cached_property
    def series(self) -> Variables:
        """Contents of series.h5."""
        return read(self.directory / "series.h5")

    @functools.cached_property
    def fields(self) -> Variables:
        """Contents of fields.h5."""
        return read(self.directory / "fields.h5")

    @functools.cached_property
    def wigner(self) -> Variables:
        """Contents of wigner.h5."""
        return read(self.directory / "wigner.h5")

    @property
    def valleys(self) -> tuple[str, ...]:
        """Names."""
        return self.series.valleys

    @property
    def time(self) -> Array:
        """Times of the series [ps]."""
        return self.series.data["time"]

    @property
    def curves(self) -> Curves:
        """D_v(t)."""
        return Curves(self.time, self.series.need("diffusion"))

    @property
    def dark(self) -> int:
        """Index of the valley that holds most excitons at the end."""
        return int(self.series.data["population"][-1].argmax())

    @property
    def in_plane(self) -> bool:
        """Whether the run was two-dimensional."""
        return "y" in self.fields.data

    @functools.cached_property
    def inversion(self) -> RadialInversion:
        """From this slab's profiles to `x` on the line y = 0."""
        return RadialInversion(self.fields.data["x"], self.x)

    @functools.cached_property
    def x(self) -> Array:
        """Positions on y = 0 [µm]: the cells of a plane; finer than the cells of a slab, whose inversion is a sum of waves."""
        cells = self.fields.data["x"]
        reach = min(FINE_REACH, float(cells[-1]))
        return cells if self.in_plane else np.linspace(-reach, reach, FINE_POINTS)

    def centre(self, values: Array) -> Array:
        """Value at the origin of `values` (..., x)."""
        return np.asarray(values @ central_weights(len(self.x)))

    def at(self, name: str, time: float) -> Array:
        """Row of a series variable at an output time [ps]. Raises InputError."""
        return self.series.need(name)[_row(self.series, time)]

    def line(self, name: str, time: float | None = None) -> Array:
        """A field on y = 0, shape (..., x) [per area], at an output time [ps] or at all of them. Raises InputError."""
        values = self.fields.need(name)
        values = values if time is None else values[_row(self.fields, time)]
        return style.central_line(values) if self.in_plane else self.inversion.isotropic(values)

    def line_error(self, name: str, time: float) -> float:
        """Bound of the relative error that the inversion adds to `line` (of the bright valley); 0 for a plane."""
        values = self.fields.need(name)[_row(self.fields, time)]
        return 0.0 if self.in_plane else self.inversion.error(values[self.bright] if values.ndim == 2 else values)

    def wigner_line(self, valley: int, time: float) -> tuple[Array, Array]:
        """k [1/nm] and N_k(x) on y = 0 as occupation per state, shape (x, k). Raises InputError."""
        row = _row(self.wigner, time)
        if self.in_plane:
            return self.wigner.data["k"], self.wigner.need("wigner")[row, valley]
        forward, backward = self.inversion.along_x(self._projections(valley, row))
        q = self.wigner.data["q"]
        return np.concatenate((-q[:0:-1], q)), np.concatenate((backward[:0:-1], forward)).T

    def wigner_error(self, valley: int, time: float) -> float:
        """Bound of the relative error that the inversion adds to `wigner_line`; 0 for a plane."""
        return 0.0 if self.in_plane else self.inversion.error_along_x(self._projections(valley, _row(self.wigner, time)))

    def _projections(self, valley: int, row: int) -> Array:
        return np.nan_to_num(self.wigner.need("wigner_angles")[row, valley]).transpose(2, 0, 1)  # (q, x, angle)


@dataclasses.dataclass(frozen=True)
class PaperData:
    """Everything that the figures and statements need."""

    warm: PaperRun
    """300 K"""
    cool: PaperRun
    """77 K"""
    cold: PaperRun
    """20 K"""
    switched: PaperRun
    """300 K, intervalley scattering off after `switched_at`."""
    switched_at: float
    """[ps]"""
    intrinsic: tuple[IntrinsicDiffusion, ...]
    """Of each valley alone at 300 K."""
    coherent_lifetime: dict[str, float]
    """1/(γ + Γ_0) of |p0|² [ps] by temperature."""
    flattening: dict[str, float]
    """Predicted relative loss of the profiles' peak by numerical dissipation, by temperature."""
    angles: int
    """Number of directions of motion of the runs."""

    @property
    def by_temperature(self) -> dict[str, PaperRun]:
        """The runs with all scattering, in falling temperature."""
        return {"300 K": self.warm, "77 K": self.cool, "20 K": self.cold}


def _row(file: Variables, time: float) -> int:
    """Row of an output time [ps]. Raises InputError when nothing was written then."""
    times = file.data["time"]
    row = int(np.abs(times - time).argmin()) if len(times) else -1
    if row < 0 or abs(times[row] - time) > 1e-6:
        raise InputError(f"{file.path}: found no output at {time:g} ps, expected one: the figures need it")
    return row
