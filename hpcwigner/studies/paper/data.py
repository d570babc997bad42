"""What the figures are drawn from: four runs, and their fields on the line y = 0."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from hpcwigner.observables.curves import Curves
from hpcwigner.observables.radial import RadialInversion
from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read
from hpcwigner.studies.paper.transport import Transport, ValleySeries

SWITCHED_AT = 10.0  # End of intervalley scattering in the run of Figure 4 [ps]
FINE_REACH, FINE_POINTS = 5.0, 501  # Half length [µm] and points of the line y = 0 that slab profiles are inverted to


class PaperRun:
    """The output of one run: `series` and `fields`, `curves` D_v(t), and positions `x` on the line y = 0 [µm].

    `x` are the cells of a plane; it is finer than the cells of a slab, whose inversion is a sum of waves. `bright` is the index
    of the bright valley, `dark` that of the valley with most excitons at the end.
    """

    def __init__(self, directory: Path, bright: int) -> None:
        self.directory, self.bright = directory, bright
        self.series, self.fields = read(directory / "series.h5"), read(directory / "fields.h5")
        self.valleys, self.time = self.series.valleys, self.series.data["time"]
        self.curves = Curves(self.time, self.series.need("diffusion"))
        self.dark = int(self.series.data["population"][-1].argmax())
        self.in_plane = "y" in self.fields.data
        cells = self.fields.data["x"]
        reach = min(FINE_REACH, float(cells[-1]))
        self.x = cells if self.in_plane else np.linspace(-reach, reach, FINE_POINTS)
        self.inversion = RadialInversion(cells, self.x)

    @functools.cached_property
    def wigner(self) -> Variables:
        """Contents of wigner.h5, which not every run has."""
        return read(self.directory / "wigner.h5")

    def at(self, name: str, time: float) -> Array:
        """Row of a series variable at an output time [ps]. Raises InputError."""
        return self.series.need(name)[_row(self.series, time)]

    def bright_at(self, name: str, time: float) -> float:
        """Value of the bright valley at an output time [ps]. Raises InputError."""
        return float(self.at(name, time)[self.bright])

    def line(self, name: str, time: float | None = None) -> Array:
        """A field on y = 0, shape (..., x) [per area], at an output time [ps] or at all of them. Raises InputError."""
        values = self.fields.need(name)
        values = values if time is None else values[_row(self.fields, time)]
        return style.central_line(values) if self.in_plane else self.inversion.isotropic(values)

    def line_error(self, name: str, time: float) -> float:
        """Bound of the relative error that a slab's inversion adds to `line` (of the bright valley)."""
        values = self.fields.need(name)[_row(self.fields, time)]
        return self.inversion.error(values[self.bright] if values.ndim == 2 else values)

    def wigner_line(self, valley: int, time: float) -> tuple[Array, Array]:
        """k [1/nm] and N_k(x) on y = 0 as occupation per state, shape (x, k). Raises InputError."""
        if self.in_plane:
            return self.wigner.data["k"], self.wigner.need("wigner")[_row(self.wigner, time), valley]
        forward, backward = self.inversion.along_x(self._projections(valley, time))
        q = self.wigner.data["q"]
        return np.concatenate((-q[:0:-1], q)), np.concatenate((backward[:0:-1], forward)).T

    def wigner_error(self, valley: int, time: float) -> float:
        """Bound of the relative error that a slab's inversion adds to `wigner_line`."""
        return self.inversion.error_along_x(self._projections(valley, time))

    def shape_at_width(self, time: float) -> tuple[Array, Array]:
        """x/w and η/N(0) [1/ps] of the bright valley on y = 0. Raises InputError."""
        variation, density = (self.line(name, time)[self.bright] for name in ("shape_variation", "density"))
        return self.x / np.sqrt(self.bright_at("width_squared", time)), variation / float(style.central_line(density))

    def exchange(self) -> Array:
        """n_v D_v^interv [cm²/s], shape (time, valley): equal and opposite between two valleys if η_1 = −η_2."""
        return np.asarray(self.series.need("population") * self.series.need("diffusion_interv"))

    def valley_series(self) -> ValleySeries:
        """The series that statements on transport are judged by. Raises InputError."""
        names = ("diffusion", "diffusion_interv", "width_squared", "population")
        return ValleySeries(tuple(self.valleys), self.bright, self.time, *map(self.series.need, names))

    def _projections(self, valley: int, time: float) -> Array:
        values = self.wigner.need("wigner_angles")[_row(self.wigner, time), valley]
        return np.nan_to_num(values).transpose(2, 0, 1)  # (q, x, angle)


@dataclasses.dataclass(frozen=True)
class PaperData:
    """Everything that the figures and statements need."""

    by_temperature: dict[str, PaperRun]  # The runs with all scattering: 300 K, 77 K, 20 K
    switched: PaperRun  # 300 K, intervalley scattering off after SWITCHED_AT
    intrinsic: dict[str, Array]  # D of each valley alone at 300 K by formula (transport.intrinsic_diffusion) [nm²/ps]
    coherent_lifetime: dict[str, float]  # 1/(γ + Γ_0) of |p0|² [ps] by temperature
    masses: tuple[float, ...]  # M_v [m0]

    @property
    def cold(self) -> PaperRun:
        """The run at 20 K."""
        return self.by_temperature["20 K"]

    @property
    def transport(self) -> Transport:
        """Numbers on D_v, w_v² and n_v. Raises InputError."""
        series = {name: run.valley_series() for name, run in self.by_temperature.items()}
        return Transport.of(series, {name: 1e3 * t for name, t in self.coherent_lifetime.items()})


def _row(file: Variables, time: float) -> int:
    """Row of an output time [ps]. Raises InputError when nothing was written then."""
    times = file.data["time"]
    row = int(np.abs(times - time).argmin()) if len(times) else -1
    if row < 0 or abs(times[row] - time) > 1e-6:
        raise InputError(f"{file.path}: found no output at {time:g} ps, expected one: the figures need it")
    return row
