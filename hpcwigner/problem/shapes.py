"""Shapes of a pulse's profile: functions of the position, with the keys that describe them in the input."""

import dataclasses
import math
from typing import Annotated

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.schema import Quantity, require

Length = Annotated[float, Quantity("nm", shown="um")]
Width = Annotated[float, Quantity("nm", shown="um", positive=True)]
Degrees = Annotated[float, Quantity("degree")]


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A spot; in a slab a line along y."""

    fwhm: Width
    """Full width at half maximum."""
    peak: float = 1.0
    """Value in the middle."""
    center: tuple[Length, Length] = (0.0, 0.0)
    """[x, y] of the middle."""

    def __call__(self, x: Array, y: Array) -> Array:
        scale = 4 * math.log(2) / self.fwhm**2
        return self.peak * np.exp(-scale * ((x - self.center[0]) ** 2 + (y - self.center[1]) ** 2))


@dataclasses.dataclass(frozen=True)
class Cosine:
    """A grating: amplitude · cos(2πs/period − phase) along the direction `angle`."""

    period: Width
    """Length of a period."""
    amplitude: float = 1.0
    """Largest value."""
    angle: Degrees = 0.0
    """Of the direction s against x."""
    phase: Degrees = 0.0
    """Shift of the maximum, 360 degrees for a period."""

    def __call__(self, x: Array, y: Array) -> Array:
        return self.amplitude * np.cos(2 * math.pi / self.period * _along(x, y, self.angle) - math.radians(self.phase))


@dataclasses.dataclass(frozen=True)
class Edge:
    """½ height [1 + tanh((s − at)/width)] along the direction `angle`."""

    width: Width
    """Width of the edge."""
    at: Length = 0.0
    """Position of the edge."""
    height: float = 1.0
    """Value far beyond the edge."""
    angle: Degrees = 0.0
    """Of the direction s against x."""

    def __call__(self, x: Array, y: Array) -> Array:
        return 0.5 * self.height * (1 + np.tanh((_along(x, y, self.angle) - self.at) / self.width))


@dataclasses.dataclass(frozen=True)
class Ring:
    """A circle around the origin with a Gaussian cross-section."""

    radius: Width
    """Radius of the circle."""
    fwhm: Width
    """Full width at half maximum of the cross-section."""
    peak: float = 1.0
    """Value on the circle."""

    def __call__(self, x: Array, y: Array) -> Array:
        scale = 4 * math.log(2) / self.fwhm**2
        return self.peak * np.exp(-scale * (np.hypot(x, y) - self.radius) ** 2)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A function of the position: exactly one of these."""

    gaussian: Gaussian | None = None
    """A spot."""
    cosine: Cosine | None = None
    """A grating."""
    step: Edge | None = None
    """An edge."""
    ring: Ring | None = None
    """A ring."""

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        require(len(given) == 1, "", ", ".join(given) or "none", "exactly one of gaussian, cosine, step and ring")

    def __call__(self, x: Array, y: Array) -> Array:
        """Values at x and y [nm], arrays that broadcast."""
        return next(shape(x, y) for shape in vars(self).values() if shape is not None)


def _along(x: Array, y: Array, degrees: float) -> Array:
    """Coordinate along a direction."""
    angle = math.radians(degrees)
    return x * math.cos(angle) + y * math.sin(angle)
