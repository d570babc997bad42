"""Functions of the position that inputs are made of: spots, gratings, edges, rings and their sums."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import SpaceGrid

Shape = Callable[[Array, Array], Array]
"""Of x and y [nm], arrays that broadcast."""


def constant(value: float) -> Shape:
    """The same everywhere."""
    return lambda x, y: np.full(np.broadcast_shapes(x.shape, y.shape), value)


def gaussian(peak: float, fwhm: float, center: Sequence[float]) -> Shape:
    """Spot of a full width at half maximum [nm] around a centre [nm]; in a slab a line along y."""
    scale = 4 * math.log(2) / fwhm**2
    return lambda x, y: peak * np.exp(-scale * ((x - center[0]) ** 2 + (y - center[1]) ** 2))


def cosine(amplitude: float, period: float, angle: float, phase: float) -> Shape:
    """Grating along the direction `angle` [rad]: amplitude · cos(2πs/period − phase [rad])."""
    return lambda x, y: amplitude * np.cos(2 * math.pi / period * _along(x, y, angle) - phase)


def step(height: float, at: float, width: float, angle: float) -> Shape:
    """½ height [1 + tanh((s − at)/width)] along the direction `angle` [rad]; lengths in nm."""
    return lambda x, y: 0.5 * height * (1 + np.tanh((_along(x, y, angle) - at) / width))


def ring(peak: float, radius: float, fwhm: float) -> Shape:
    """Gaussian in the distance from a circle around the origin [nm]."""
    scale = 4 * math.log(2) / fwhm**2
    return lambda x, y: peak * np.exp(-scale * (np.hypot(x, y) - radius) ** 2)


def total(shapes: Sequence[Shape]) -> Shape:
    """Their sum."""
    return lambda x, y: np.sum([shape(x, y) for shape in shapes], axis=0)


def on_grid(shape: Shape, grid: SpaceGrid) -> Array:
    """Values at the centres of the held cells, shape (x, y); a slab takes y = 0."""
    y = grid.centers(1) if grid.dimensions == 2 else np.zeros(1)
    return shape(grid.centers(0)[:, None], y[None, :])


def mirrors(values: Array, dimensions: int) -> frozenset[int]:
    """Axes whose mirror images leave the values of a whole grid as they are, to 1e-12 of the largest."""
    small = 1e-12 * np.abs(values).max()
    return frozenset(a for a in (0, 1) if a >= dimensions or np.abs(values - np.flip(values, a)).max() <= small)


def at_edges(values: Array, grid: SpaceGrid) -> float:
    """Largest of values on the held grid, shape (x, y), beside the edges of the sample."""
    axes = range(grid.dimensions)
    sides = [values.take(side, axis).max() for axis in axes for side in (0, -1)[grid.folded :]]
    return float(max(sides))


def _along(x: Array, y: Array, angle: float) -> Array:
    return x * math.cos(angle) + y * math.sin(angle)
