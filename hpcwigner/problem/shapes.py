"""Functions of the position as the input gives them: shapes of a pulse's profile, and fields with units.

Every formula is written once. Its height is a number (pulses) or has a unit (energies in meV, strains in percent).
All functions take x [nm], shape (nx, 1), and y [nm], shape (ny,), and return their values, shape (nx, ny).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.schema import Quantity, require
from hpcwigner.space.grid import SpaceGrid

Length = Annotated[float, Quantity("nm", shown="um")]
Width = Annotated[float, Quantity("nm", shown="um", positive=True)]
Degrees = Annotated[float, Quantity("degree")]
Function = Callable[[Array, Array], Array]

Height = TypeVar("Height", bound=float)
Slope = TypeVar("Slope", bound=float)
Curvature = TypeVar("Curvature", bound=float)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian(Generic[Height]):
    """A spot; in a slab a line along y."""

    fwhm: Width
    """Full width at half maximum."""
    peak: Height
    """Value in the middle."""
    center: tuple[Length, Length] = (0.0, 0.0)
    """[x, y] of the middle."""

    def __call__(self, x: Array, y: Array) -> Array:
        scale = 4 * math.log(2) / self.fwhm**2
        return self.peak * np.exp(-scale * ((x - self.center[0]) ** 2 + (y - self.center[1]) ** 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(Generic[Height]):
    """A grating: amplitude · cos(2πs/period − phase) along the direction `angle`."""

    period: Width
    """Length of a period."""
    amplitude: Height
    """Largest value."""
    angle: Degrees = 0.0
    """Of the direction s against x."""
    phase: Degrees = 0.0
    """Shift of the maximum, 360 degrees for a period."""

    def __call__(self, x: Array, y: Array) -> Array:
        return self.amplitude * np.cos(2 * math.pi / self.period * _along(x, y, self.angle) - math.radians(self.phase))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edge(Generic[Height]):
    """½ height [1 + tanh((s − at)/width)] along the direction `angle`."""

    width: Width
    """Width of the edge."""
    at: Length = 0.0
    """Position of the edge."""
    height: Height
    """Value far beyond the edge."""
    angle: Degrees = 0.0
    """Of the direction s against x."""

    def __call__(self, x: Array, y: Array) -> Array:
        return 0.5 * self.height * (1 + np.tanh((_along(x, y, self.angle) - self.at) / self.width))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ring(Generic[Height]):
    """A circle around the origin with a Gaussian cross-section."""

    radius: Width
    """Radius of the circle."""
    fwhm: Width
    """Full width at half maximum of the cross-section."""
    peak: Height
    """Value on the circle."""

    def __call__(self, x: Array, y: Array) -> Array:
        scale = 4 * math.log(2) / self.fwhm**2
        return self.peak * np.exp(-scale * (np.hypot(x, y) - self.radius) ** 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Generic[Slope]):
    """gradient · r, zero at the origin."""

    gradient: tuple[Slope, Slope]
    """[along x, along y]."""

    def __call__(self, x: Array, y: Array) -> Array:
        return self.gradient[0] * x + self.gradient[1] * y


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic(Generic[Curvature]):
    """½ k_x (x − x0)² + ½ k_y (y − y0)²: a harmonic trap."""

    curvature: tuple[Curvature, Curvature]
    """[k_x, k_y]."""
    center: tuple[Length, Length] = (0.0, 0.0)
    """[x0, y0] of the minimum."""

    def __call__(self, x: Array, y: Array) -> Array:
        (kx, ky), (x0, y0) = self.curvature, self.center
        return 0.5 * kx * (x - x0) ** 2 + 0.5 * ky * (y - y0) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Random(Generic[Height]):
    """A Gaussian random field with the correlation ⟨f(r)f(r + d)⟩ = rms² exp(−d²/2ℓ²), the same for any cells and ranks.

    The mean over the period is 0: the wave q = 0 is left out and the others scaled to `rms`, which is a mean over seeds.
    """

    rms: Height
    """Root mean square of the values."""
    correlation_length: Width
    """ℓ, at least a cell and at most a quarter of the sample's length."""
    seed: int
    """Of the random numbers, 0 or more."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, "0 or more")

    def on(self, grid: SpaceGrid) -> Function:
        """The field on a sample: a sum of plane waves of fixed wave numbers, periodic where the sample is.

        Raises ValueError when the correlation length does not fit.
        """
        low, high, length = max(grid.spacing[: grid.dimensions]), grid.length / 4, self.correlation_length
        limits = f"{low / 1000:.4g} to {high / 1000:.4g} um, a cell to a quarter of the sample"
        require(low <= length <= high, "correlation_length", f"{length / 1000:g} um", limits)
        # Waves that repeat after the sample and eight more lengths are uncorrelated at its two ends to 1e-14 rms².
        periods = [grid.length + (0.0 if grid.periodic(axis) else 8 * length) for axis in range(grid.dimensions)]
        most = [math.ceil(8 * period / (2 * math.pi * length)) for period in periods]  # beyond q = 8/ℓ amplitudes are below 1e-7
        waves = [2 * math.pi / period * np.arange(-n, n + 1) for period, n in zip(periods, most, strict=True)]
        qx, qy = waves if grid.dimensions == 2 else (waves[0], np.zeros(1))
        amplitudes = np.outer(*(np.exp(-0.25 * (q * length) ** 2) for q in (qx, qy)))  # their square is the spectrum of f
        amplitudes[len(qx) // 2, len(qy) // 2] = 0.0
        amplitudes *= self.rms / math.sqrt(float((amplitudes**2).sum()))
        normal = np.random.default_rng(self.seed).standard_normal((2, *amplitudes.shape))
        return Waves(qx, qy, amplitudes * (normal[0] - 1j * normal[1]))


@dataclasses.dataclass(frozen=True)
class Waves:
    """Re Σ c(q) exp(iq·r) over a rectangle of wave vectors q = (qx, qy) [1/nm]; c has the shape (qx, qy)."""

    qx: Array
    qy: Array
    coefficients: Any

    def __call__(self, x: Array, y: Array) -> Array:
        along_x, along_y = (np.exp(1j * np.outer(r.ravel(), q)) for r, q in ((x, self.qx), (y, self.qy)))
        return np.ascontiguousarray((along_x @ self.coefficients @ along_y.T).real)


@dataclasses.dataclass(frozen=True)
class Field(Generic[Height, Slope, Curvature]):
    """A function of the position whose values have a unit: a number, one of these keys, or a list of both for their sum.

    A slab takes the values along y = 0. It must go on smoothly across periodic edges of the sample.
    """

    gaussian: Gaussian[Height] | None = None
    """A spot, peak · exp[−4 ln 2 (r − center)²/fwhm²]; in a slab a line along y."""
    linear: Linear[Slope] | None = None
    """gradient · r, zero at the origin."""
    quadratic: Quadratic[Curvature] | None = None
    """½k_x(x − x0)² + ½k_y(y − y0)²: a trap."""
    cosine: Cosine[Height] | None = None
    """amplitude · cos(2πs/period − phase)."""
    step: Edge[Height] | None = None
    """½ height [1 + tanh((s − at)/width)]; where it is narrower than a cell, a sharp junction at the nearest face of cells."""
    ring: Ring[Height] | None = None
    """peak · exp[−4 ln 2 (r − radius)²/fwhm²] at the distance r from the origin."""
    random: Random[Height] | None = None
    """Gaussian random field of mean 0 with ⟨f(r)f(r + d)⟩ = rms² exp(−d²/2ℓ²), the same for any cells and ranks."""

    def __post_init__(self) -> None:
        _exactly_one(vars(self))

    def on(self, grid: SpaceGrid) -> Function:
        """The function on a sample. Raises ValueError when a random field's correlation length does not fit it."""
        shape = next(shape for shape in vars(self).values() if shape is not None)
        return shape.on(grid) if isinstance(shape, Random) else shape


@dataclasses.dataclass(frozen=True)
class Map:
    """A field in a file (problem/maps.py)."""

    file: str
    """HDF5 or netCDF-4 file: a map over x, or over x and y, that covers the sample and is interpolated by cubic splines."""
    dataset: str
    """The map; it and its coordinates `x` and `y` have attributes `units`. Without dimension scales its axes are x, y."""


@dataclasses.dataclass(frozen=True)
class Image:
    """A function of the position without a unit in a file (problem/maps.py)."""

    file: str
    """An image, linear between its points: a picture in grey (PNG, TIFF), or a map as of [fields](#fields) without a unit."""
    dataset: str | None = None
    """The map in an HDF5 or netCDF-4 file."""
    pixel: Width | None = None
    """Of a picture, size of a pixel. Values are its grey values, no gamma, the brightest 1; origin in the middle, y upwards."""

    def __post_init__(self) -> None:
        given = [name for name in ("dataset", "pixel") if getattr(self, name) is not None]
        expected = "either dataset (HDF5, netCDF-4) or pixel (a picture)"
        require(len(given) == 1, "", " and ".join(given) or "neither dataset nor pixel", expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spot(Gaussian[float]):
    """A spot of a pulse."""

    peak: float = 1.0
    """Value in the middle."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grating(Cosine[float]):
    """A grating of a pulse."""

    amplitude: float = 1.0
    """Largest value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step(Edge[float]):
    """An edge of a pulse."""

    height: float = 1.0
    """Value far beyond the edge."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circle(Ring[float]):
    """A ring of a pulse."""

    peak: float = 1.0
    """Value on the circle."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """A function of the position without a unit: exactly one of these."""

    gaussian: Spot | None = None
    """A spot."""
    cosine: Grating | None = None
    """A grating."""
    step: Step | None = None
    """An edge."""
    ring: Circle | None = None
    """A ring."""

    def __post_init__(self) -> None:
        _exactly_one(vars(self))

    def __call__(self, x: Array, y: Array) -> Array:
        """Values at x and y [nm], arrays that broadcast."""
        return next(shape(x, y) for shape in vars(self).values() if shape is not None)


def _exactly_one(forms: dict[str, Any]) -> None:
    """Refuses none and several. Raises ValueError."""
    given, names = [name for name, value in forms.items() if value is not None], list(forms)
    known = f"{', '.join(names[:-1])} and {names[-1]}"
    require(len(given) == 1, "", ", ".join(given) or "none", f"exactly one of {known}")


def _along(x: Array, y: Array, degrees: float) -> Array:
    """Coordinate along a direction."""
    angle = math.radians(degrees)
    return x * math.cos(angle) + y * math.sin(angle)


Energy = Annotated[float, Quantity("meV")]
Strain = Annotated[float, Quantity("percent")]
EnergyField = Field[
    Energy, Annotated[float, Quantity("meV/nm", shown="meV/um")], Annotated[float, Quantity("meV/nm^2", shown="meV/um^2")]
]
StrainField = Field[
    Strain,
    Annotated[float, Quantity("percent/nm", shown="percent/um")],
    Annotated[float, Quantity("percent/nm^2", shown="percent/um^2")],
]
Energies = Energy | EnergyField | Map | tuple[Energy | EnergyField | Map, ...]
Strains = Strain | StrainField | Map | tuple[Strain | StrainField | Map, ...]
