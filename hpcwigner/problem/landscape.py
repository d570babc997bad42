"""From the `sample` of an input to its landscape: what is added to each valley's energy at each point."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from hpcwigner.exciton.materials import Material
from hpcwigner.problem import maps
from hpcwigner.problem.blocks import Sample, StrainTensor
from hpcwigner.problem.config import valley_index
from hpcwigner.problem.shapes import Field, Function, Map
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid

LARGEST_JUMP = 1e-3  # Across a periodic edge, relative to the range of the values
LARGEST_KINK = 0.02  # Change of the slope there, relative to the largest slope


class Named(Protocol):
    """A valley."""

    @property
    def name(self) -> str:
        """Name in the material file."""


def energies(sample: Sample | None, material: Material, valleys: Sequence[Named], grid: SpaceGrid) -> Array:
    """dE_v(r) [meV] at the centres of the held cells, shape (valley, x, y); zeros without a sample. Raises InputError.

    dE_v = −g_v s + the energies given, with the biaxial strain s [percent] and the material's gauge factors g_v [meV/percent].
    It reads the maps that the input names: on one rank, whose result goes to the others.
    """
    names = [valley.name for valley in valleys]
    result = np.zeros((len(names), *grid.shape))
    if sample is None:
        return result
    if (strain := sample.strain) is not None:
        key = "sample.strain"
        given = {f"{key}.xx": strain.xx, f"{key}.yy": strain.yy} if isinstance(strain, StrainTensor) else {key: strain}
        biaxial = _values(key, "percent", _mean([_function(part, value, "percent", grid) for part, value in given.items()]), grid)
        result -= _gauge_factors(material, names)[:, None, None] * biaxial
    for name, value in (sample.energy or {}).items():
        key = f"sample.energy.{name}"
        valley = slice(None) if name == "all" else valley_index(key, name, names)
        result[valley] += _values(key, "meV", _function(key, value, "meV", grid), grid)
    return result


def _gauge_factors(material: Material, names: Sequence[str]) -> Array:
    """g_v [meV/percent], shape (valley,). Raises InputError where the material has none."""
    factors = []
    for name in names:
        if (factor := material.valleys[name].gauge_factor) is None:
            raise InputError(f"sample.strain: found no valleys.{name}.gauge_factor in the material, expected one of each valley")
        factors.append(factor.value)
    return np.array(factors)


def _mean(functions: Sequence[Function]) -> Function:
    """The mean of some functions."""
    return lambda x, y: np.mean([function(x, y) for function in functions], axis=0)


def _function(key: str, value: Any, unit: str, grid: SpaceGrid) -> Function:
    """The function that the input gives at `key`: a number, a field, or a list of them, whose sum is meant. Raises InputError."""
    if isinstance(value, tuple):
        parts = [_function(f"{key}.{i}", part, unit, grid) for i, part in enumerate(value or (0.0,))]
        return lambda x, y: np.sum([part(x, y) for part in parts], axis=0)
    if isinstance(value, Map):
        return maps.read(key, value, unit, grid)
    if isinstance(value, Field):
        try:
            return value.on(grid)
        except ValueError as error:
            raise InputError(f"{key}.random.{error}") from None
    return lambda x, y: np.full((x.size, y.size), float(value))


def _values(key: str, unit: str, function: Function, grid: SpaceGrid) -> Array:
    """Values at the centres of the held cells, shape (x, y). Raises InputError if they are infinite or jump across an edge."""
    values = function(grid.centers(0)[:, None], grid.centers(1))
    if not np.isfinite(values).all():
        raise InputError(f"{key}: found values that are not finite, expected finite ones in the whole sample")
    _check_edges(key, unit, function, grid.whole)
    return values


def _check_edges(key: str, unit: str, function: Function, grid: SpaceGrid) -> None:
    """Refuses a function that does not go on smoothly across the periodic edges of a sample. Raises InputError.

    Judged are values and slopes at both ends of each axis, on lines through the cells: the force is the slope.
    """
    x, y = grid.centers(0), grid.centers(1)
    inside = function(x[:, None], y)
    for axis, name in enumerate("xy"[: grid.dimensions]):
        if not grid.periodic(axis):
            continue
        spacing = grid.spacing[axis]
        depth = 1e-3 * spacing
        ends = 0.5 * grid.length * np.array([-1, -1, 1, 1]) + depth * np.array([0, 1, -1, 0])
        low, above, below, high = function(ends[:, None], y) if axis == 0 else function(x[:, None], ends).T
        first, last = (above - low) / depth, (high - below) / depth
        jump, kink = float(np.abs(high - low).max()), float(np.abs(last - first).max())
        steepest = max(float(np.abs(slope).max()) for slope in (first, last, np.diff(inside, axis=axis) / spacing))
        rounding = 1e-12 * float(np.abs(inside).max())
        problem = ""
        if jump > LARGEST_JUMP * float(np.ptp(inside)) + rounding:
            problem = f"a jump of {jump:.3g} {unit}"
        elif kink > LARGEST_KINK * steepest + rounding / depth:
            problem = f"a slope that jumps by {1000 * kink:.3g} {unit}/um"
        if problem:
            raise InputError(
                f"{key}: found {problem} across the periodic edges along {name}, expected a smooth periodic function: "
                f"set space.boundary to open or reflecting"
            )
