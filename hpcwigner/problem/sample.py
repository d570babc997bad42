"""From the `sample` of an input to E_v(r) at each point, its sharp steps, and classes of points that share scattering rates."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.valley import ValleyState
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_step
from hpcwigner.problem import maps
from hpcwigner.problem.blocks import Sample, StrainTensor
from hpcwigner.problem.config import Config, valley_index
from hpcwigner.problem.shapes import Field, Function, Map
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import Jump, Landscape

LARGEST_JUMP = 1e-3  # Across a periodic edge, relative to the range of the values
LARGEST_KINK = 0.02  # Change of the slope there, relative to the largest slope


@dataclasses.dataclass(frozen=True)
class SharpStep:
    """A step that is narrower than a cell, at the nearest face between cells."""

    key: str  # Of the field in the input
    axis: int  # That the face is normal to
    face: int  # Number of the first cell beyond it on the whole grid
    position: float  # Of the face [nm]
    given: float  # Where the input has it [nm]
    height: float

    def __call__(self, x: Array, y: Array) -> Array:
        beyond = (x, y)[self.axis] > self.position
        return np.where(np.broadcast_to(beyond, (x.size, y.size)), self.height, 0.0)

    @property
    def line(self) -> str:
        """Where it is, for messages."""
        name, shift = "xy"[self.axis], self.position - self.given
        moved = f", shifted by {shift:.2g} nm to a face between cells" if abs(shift) > 1e-6 else ", a face between cells"
        return f"junction: {self.key}.step is narrower than a cell: sharp, at {name} = {self.position / 1000:.6g} um{moved}"


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
        parts = [_function(part, value, "percent", grid) for part, value in _strains(strain).items()]
        biaxial = _values(key, "percent", _mean(parts), grid)
        result -= _gauge_factors(material, names)[:, None, None] * biaxial
    for name, value in (sample.energy or {}).items():
        key = f"sample.energy.{name}"
        valley = slice(None) if name == "all" else valley_index(key, name, names)
        result[valley] += _values(key, "meV", _function(key, value, "meV", grid), grid)
    return result


def sharp_steps(
    sample: Sample | None, material: Material, valleys: Sequence[Named], grid: SpaceGrid
) -> tuple[tuple[SharpStep, ...], tuple[Jump, ...]]:
    """Steps that are narrower than a cell, and by face what they add to each valley's energy. Raises InputError."""
    names = [valley.name for valley in valleys]
    parts: list[tuple[SharpStep, Array]] = []  # with the valleys' energy per unit of height
    if sample is not None and (strain := sample.strain) is not None:
        given = _strains(strain)
        for key, value in given.items():
            parts += [(step, -_gauge_factors(material, names) / len(given)) for step in _steps_in(key, value, grid)]
    for name, value in ((sample and sample.energy) or {}).items():
        key, acts = f"sample.energy.{name}", np.zeros(len(names))
        acts[slice(None) if name == "all" else valley_index(key, name, names)] = 1.0
        parts += [(step, acts) for step in _steps_in(key, value, grid)]
    heights: dict[tuple[int, int], Array] = {}
    for step, per_unit in parts:
        place = step.axis, step.face
        heights[place] = heights.get(place, np.zeros(len(names))) + step.height * per_unit
    by_key = {(step.axis, step.face): step for step, _ in parts}
    for (axis, face), (next_axis, next_face) in itertools.pairwise(sorted(heights)):
        if axis == next_axis and next_face - face < HALO:
            raise InputError(
                f"{by_key[axis, next_face].key}.step.at: found a sharp step {next_face - face} cells beyond that of "
                f"{by_key[axis, face].key}, expected at least {HALO} cells between them"
            )
    jumps = [Jump(*place, tuple(map(float, values))) for place, values in sorted(heights.items()) if values.any()]
    return tuple(step for step, _ in parts), tuple(jumps)


def _steps_in(key: str, value: Any, grid: SpaceGrid) -> list[SharpStep]:
    """The sharp steps of what the input gives at `key`. Raises InputError."""
    if isinstance(value, tuple):
        return [step for i, part in enumerate(value) for step in _steps_in(f"{key}.{i}", part, grid)]
    step = _sharp_step(key, value, grid) if isinstance(value, Field) else None
    return [] if step is None else [step]


def _sharp_step(key: str, field: Field[Any, Any, Any], grid: SpaceGrid) -> SharpStep | None:
    """A field as a sharp step, if it is a step within the sample that is narrower than a cell. Raises InputError."""
    edge, whole = field.step, grid.whole
    if edge is None or edge.width >= max(whole.spacing[: whole.dimensions]):
        return None
    if edge.angle not in (0.0, 90.0):
        raise InputError(
            f"{key}.step.angle: found {edge.angle:g} degree, expected 0 or 90 degree where the step is narrower than a cell "
            f"({max(whole.spacing[: whole.dimensions]):.4g} nm), or a larger width"
        )
    axis = int(edge.angle == 90.0)
    if axis >= whole.dimensions or edge.width >= whole.spacing[axis] or abs(edge.at) >= 0.5 * whole.length:
        return None
    spacing, cells = whole.spacing[axis], whole.shape[axis]
    face = round(edge.at / spacing + 0.5 * cells)
    if not HALO <= face <= cells - HALO:
        reach = (0.5 * cells - HALO) * spacing / 1000
        raise InputError(
            f"{key}.step.at: found {edge.at / 1000:g} um, expected -{reach:.6g} to {reach:.6g} um: a sharp step is {HALO} cells "
            f"or more from the edges of the sample"
        )
    return SharpStep(key, axis, face, (face - 0.5 * cells) * spacing, edge.at, edge.height)


def _gauge_factors(material: Material, names: Sequence[str]) -> Array:
    """g_v [meV/percent], shape (valley,). Raises InputError where the material has none."""
    factors = []
    for name in names:
        if (factor := material.valleys[name].gauge_factor) is None:
            raise InputError(f"sample.strain: found no valleys.{name}.gauge_factor in the material, expected one of each valley")
        factors.append(factor.value)
    return np.array(factors)


def _strains(strain: Any) -> dict[str, Any]:
    """The fields whose mean is the biaxial strain, by key."""
    key = "sample.strain"
    return {f"{key}.xx": strain.xx, f"{key}.yy": strain.yy} if isinstance(strain, StrainTensor) else {key: strain}


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
        if (step := _sharp_step(key, value, grid)) is not None:
            return step
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


Number = TypeVar("Number", np.float64, np.int64)

FEW = 8  # So many different offsets are nodes as they are


@dataclasses.dataclass(frozen=True, eq=False)
class Variation:
    """E_v(r) of the whole sample, and the nodes: sets of valley offsets for which there are rates."""

    energy: Array  # E_v(r) from the bright valley without strain [meV], shape (valley, x, y)
    nodes: Array  # E_v from the bright valley at the same place [meV], shape (class, valley); class 0 is that of the centre
    class_of_point: NDArray[np.int64]  # Shape (x, y)
    distance: float  # Largest distance of nodes [meV]; 0 where every point is at its node
    steps: tuple[SharpStep, ...] = ()  # Of the input
    jumps: tuple[Jump, ...] = ()  # The same by face, part of `energy`

    @classmethod
    def from_input(cls, config: Config, material: Material, valleys: Sequence[ValleyState], grid: SpaceGrid) -> Variation:
        """The sample of an input on the grid of the whole sample. Raises InputError."""
        shifts = energies(config.sample, material, valleys, grid)
        energy = shifts + np.array([valley.energy for valley in valleys])[:, None, None]
        bright = [valley.name for valley in valleys].index(material.radiation.bright_valley)
        offsets = (energy - energy[bright]).reshape(len(valleys), -1).T
        distance, (_, places, members) = 0.0, np.unique(np.round(offsets, 9), axis=0, return_index=True, return_inverse=True)
        nodes = offsets[places]
        if len(nodes) > FEW:
            distance = node_distance(config)
            nodes, members = np.unique(np.round(offsets / distance) * distance, axis=0, return_inverse=True)
        members = members.reshape(grid.shape)
        first = members[grid.shape[0] // 2, grid.shape[1] // 2]
        order = np.array([first, *(number for number in range(len(nodes)) if number != first)])
        sharp = sharp_steps(config.sample, material, valleys, grid)
        return cls(energy, nodes[order], np.argsort(order)[members], distance, *sharp)

    def valleys_at(self, number: int, valleys: Sequence[ValleyState]) -> tuple[ValleyState, ...]:
        """Valleys with the offsets of a node."""
        return tuple(dataclasses.replace(v, given=float(e)) for v, e in zip(valleys, self.nodes[number], strict=True))

    def couplings_at(self, number: int, material: Material, valleys: Sequence[ValleyState]) -> Couplings:
        """Valleys and phonons of a material at a node."""
        return Couplings.from_material(material, self.valleys_at(number, valleys))

    def equilibrium_at(self, number: int, couplings: Couplings, equilibrium: Equilibrium) -> Equilibrium:
        """Boltzmann state at a node on the given cells of kinetic energy; `couplings` are those of the node."""
        cells = equilibrium.cells
        return Equilibrium(EnergyCells(couplings.valleys, cells.counts, cells.tops), equilibrium.temperature)

    @property
    def spread(self) -> tuple[Array, Array]:
        """Lowest and highest E_v(r) of each valley [meV], shape (valley,)."""
        return self.energy.min(axis=(1, 2)), self.energy.max(axis=(1, 2))

    @property
    def uniform(self) -> bool:
        """Whether nothing varies after all."""
        return bool(np.ptp(self.energy.reshape(len(self.energy), -1), axis=1).max() == 0)

    def landscape(self, equilibrium: Equilibrium, grid: SpaceGrid) -> Landscape:
        """Landscape on the cells held of a grid, from the bottoms of `equilibrium` (those of node 0) [meV]."""
        energy = held(self.energy - self.nodes[0][:, None, None], grid)
        return Landscape(energy, equilibrium.thermal_energy, grid, self.jumps)


def held(values: NDArray[Number], grid: SpaceGrid) -> NDArray[Number]:
    """The part of values (..., x, y) of the whole sample that a grid holds, contiguous."""
    (nx, ny), (copies_x, copies_y) = grid.shape, grid.copies
    return np.ascontiguousarray(values[..., nx * (copies_x - 1) :, ny * (copies_y - 1) :])


def node_distance(config: Config) -> float:
    """Distance of nodes [meV]: half an energy cell at the default tolerance (problem/README.md), more or less at others.

    Rates are averages over cells, so that they change smoothly with an offset over the width of a cell.
    """
    step = config.momentum.energy_step
    width = auto_energy_step(config.temperature) if isinstance(step, str) else step
    return width * min(4.0, max(0.25, 0.5 * math.sqrt(config.time.tolerance / 1e-3)))
