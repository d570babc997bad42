"""A landscape E_v(r) on the grid, and the stencils that keep its Boltzmann distribution stationary.

For a point i, in units of kT, r_k = exp[−(E_(i+k) − E_i)/2kT] and c_k the central differences of order 6,

    (Xu)_i = Σ_k c_k (u_(i+k)/r_k + r_k u_i),    F_i Δx/kT = 2 Σ_k c_k r_k,    Y = r Δᵀδᵀδ Δ r⁻¹/60,

with (Δg)_j = g_(j+1) + g_(j−1) − g_j (r_(j+1) + r_(j−1))/r_j and the forward difference δ. Both conserve number. On
p ∝ exp(−E/kT) X gives F_i Δx/kT · p, the discrete force that balances the drift to rounding, and Y gives nothing. Where E is
constant X + Y is the upwind stencil of order 5.

Steps that are narrower than a cell, `jumps`, are none of this: stencils and forces are those of the landscape without them.
"""

import dataclasses
import functools
import math

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import SpaceGrid

STEEP, TOO_STEEP = 1.0, 1.7
"""Change of E per cell [kT] above which errors reach percents, and from which on weighted stencils let noise grow."""
ROUGH = 0.05  # Part of the largest force that the order of the differences decides, from which on features are too narrow
NO_FORCE = 1e-9  # Change of E per cell [kT] that is rounding
CENTRAL4 = np.array([0.0, 1.0, -8.0, 0.0, 8.0, -1.0, 0.0]) / 12
CENTRAL6 = np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0]) / 60


@dataclasses.dataclass(frozen=True)
class Jump:
    """A sharp step of the valleys' energies at a face between cells."""

    axis: int  # That the face is normal to
    face: int  # Number of the first cell beyond it
    heights: tuple[float, ...]  # Of each valley: E_v beyond the face less that before it [meV]


@dataclasses.dataclass(frozen=True, eq=False)
class Landscape:
    """Energies of the valleys at the centres of the cells held."""

    energy: Array  # E_v(r) with the jumps [meV], shape (valley, x, y)
    thermal_energy: float  # kT [meV]
    grid: SpaceGrid
    jumps: tuple[Jump, ...] = ()  # At faces normal to axes that are not folded

    def __post_init__(self) -> None:
        assert self.energy.shape[1:] == self.grid.shape
        assert all(self.grid.copies[jump.axis] == 1 for jump in self.jumps)

    @functools.cached_property
    def smooth(self) -> Array:
        """E_v(r) without the jumps [meV], shape (valley, x, y)."""
        smooth = self.energy.copy()
        for jump in self.jumps:
            beyond = (slice(None), slice(jump.face, None)) if jump.axis == 0 else (..., slice(jump.face, None))
            smooth[beyond] -= np.array(jump.heights)[:, None, None]
        return smooth

    def windows(self, axis: int) -> Array:
        """E/kT without the jumps at each cell and the three on either side along an axis, shape (valley, x, y, 7).

        Beyond a wall the landscape is mirrored, beyond an open edge its last value continues.
        """
        kinds = {"periodic": "wrap", "open": "edge"}
        walls = [self.grid.wall(axis, side) for side in (0, 1)]
        modes = [kinds.get(wall, "symmetric") if isinstance(wall, str) else "symmetric" for wall in walls]
        extended = self.smooth / self.thermal_energy
        lower, upper = (np.pad(extended, _pads(axis, side), modes[side]) for side in (0, 1))  # type: ignore[call-overload]
        below = lower.take(range(HALO), axis + 1)
        above = upper.take(range(-HALO, 0), axis + 1)
        extended = np.concatenate((below, extended, above), axis + 1)
        return np.lib.stride_tricks.sliding_window_view(extended, 2 * HALO + 1, axis=axis + 1)

    def steepness(self) -> Array:
        """|E_(i+1) − E_i|/kT, the largest over valleys and the axes, shape (x, y)."""
        steps = [np.abs(np.diff(self.windows(axis), axis=-1)[..., HALO - 1 : HALO + 1]) for axis in range(self.grid.dimensions)]
        return np.asarray(np.max([step.max(axis=(0, -1)) for step in steps], axis=0))

    def roughness(self) -> float:
        """Largest difference of the forces by differences of order 4 and 6, relative to the largest force."""
        windows = [self.windows(axis) for axis in range(self.grid.dimensions)]
        fourth, sixth = (np.array([window @ weights for window in windows]) for weights in (CENTRAL4, CENTRAL6))
        return float(np.abs(fourth - sixth).max() / max(np.abs(sixth).max(), NO_FORCE))

    def doubts(self) -> list[str]:
        """What makes a run in this landscape inaccurate, for warnings."""
        steepest, doubts, cells = float(self.steepness().max()), list[str](), max(self.grid.whole.shape)
        if steepest > STEEP:
            needed = math.ceil(cells * steepest / (0.5 * STEEP))
            doubts.append(f"the landscape changes by up to {steepest:.2g} kT from cell to cell: use {needed} space.cells")
        if (rough := self.roughness()) > ROUGH:
            doubts.append(
                f"the landscape has features of few cells (forces are uncertain by {100 * rough:.0f} %): use more space.cells"
            )
        return doubts

    def forces(self) -> Array:
        """The discrete force F = −∇E [meV/nm] along each axis, shape (axis, valley, x, y)."""
        spacing = self.grid.spacing
        return np.array([fitted(self.windows(a), spacing[a], self.thermal_energy)[1] for a in range(self.grid.dimensions)])

    def stencils(self, axis: int, *, through_jumps: bool = False) -> Array:
        """X + Y and −X + Y times Δx for motion towards larger and smaller coordinates, shape (2, valley, x, y, 7).

        Weights stand in the order of the flow, from the farthest cell upstream on. Those of cells behind a valley's jump are 0,
        unless they are wanted `through_jumps`.
        """
        stencils = fitted(self.windows(axis), self.grid.spacing[axis], self.thermal_energy)[0]
        for jump in () if through_jumps else self.jumps:
            if jump.axis == axis:
                stepped = np.flatnonzero(jump.heights)
                for cell in range(jump.face - HALO, jump.face + HALO):
                    at = (slice(cell, cell + 1), slice(None)) if axis == 0 else (slice(None), slice(cell, cell + 1))
                    depth = jump.face - cell  # The first cell beyond the face is that far towards larger coordinates
                    behind = slice(HALO + depth, None) if depth > 0 else slice(None, HALO + depth)
                    upwards, downwards = stencils[0], stencils[1][..., ::-1]
                    for weights in (upwards, downwards):
                        weights[(stepped, *at, behind)] = 0.0
        return stencils


def _pads(axis: int, side: int) -> list[tuple[int, int]]:
    """Ghost cells on one side of an axis, for numpy.pad of (valley, x, y)."""
    return [((HALO, 0) if side == 0 else (0, HALO)) if i == axis + 1 else (0, 0) for i in range(3)]


def _amplitudes(windows: Array) -> Array:
    """r_k for windows of E/kT (…, 7)."""
    return np.asarray(np.exp(-0.5 * (windows - windows[..., HALO, None])))


def fitted(windows: Array, spacing: float, thermal_energy: float) -> tuple[Array, Array]:
    """Stencils of both directions, as `Landscape.stencils`, (2, …, 7), and the force [meV/nm] for windows of E/kT (…, 7)."""
    central, dissipation = central_weights(windows), dissipation_weights(windows)
    stencils = np.stack((central + dissipation, (dissipation - central)[..., ::-1]))
    return stencils, 2 * thermal_energy / spacing * central[..., HALO]


def stencil_excess(step: float) -> float:
    """Largest |symbol| of X + Y on u/√p where E changes by `step` kT per cell, relative to that without a landscape."""
    phase = np.linspace(0, np.pi, 181)
    largest = []
    for change in (0.0, step):
        windows = change * np.arange(-HALO, HALO + 1)
        weights = (central_weights(windows) + dissipation_weights(windows)) * np.exp(-0.5 * windows)
        largest.append(np.abs(np.exp(1j * np.outer(phase, np.arange(-HALO, HALO + 1))) @ weights).max())
    return float(largest[1] / largest[0])


def central_weights(windows: Array) -> Array:
    """Weights of X for windows of E/kT (…, 7), same shape."""
    r = _amplitudes(windows)
    weights = CENTRAL6 / r
    weights[..., HALO] = r @ CENTRAL6
    return np.asarray(weights)


def dissipation_weights(windows: Array) -> Array:
    """Weights of Y for windows of E/kT (…, 7), same shape."""
    r = _amplitudes(windows)
    curvature = (r[..., 2:] + r[..., :-2]) / r[..., 1:-1]  # Of Δ, at the five inner cells
    middle = curvature[..., HALO - 1]
    ones = np.ones_like(middle)
    adjoint = np.stack((-ones, 2 + middle, -2 - 2 * middle, 2 + middle, -ones), axis=-1)  # Row i of Δᵀδᵀδ
    weights = np.zeros_like(r)
    weights[..., 2:] += adjoint
    weights[..., :-2] += adjoint
    weights[..., 1:-1] -= curvature * adjoint
    return np.asarray(weights / (60 * r))
