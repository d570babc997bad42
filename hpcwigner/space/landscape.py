"""A landscape E_v(r) on the grid, and the stencils that keep its Boltzmann distribution stationary.

For a point i, in units of kT, r_k = exp[−(E_(i+k) − E_i)/2kT] and c_k the central differences of order 6,

    (Xu)_i = Σ_k c_k (u_(i+k)/r_k + r_k u_i),    F_i Δx/kT = 2 Σ_k c_k r_k,    Y = r Δᵀδᵀδ Δ r⁻¹/60,

with (Δg)_j = g_(j+1) + g_(j−1) − g_j (r_(j+1) + r_(j−1))/r_j and the forward difference δ. Both conserve number. On
p ∝ exp(−E/kT) X gives F_i Δx/kT · p, the discrete force that balances the drift to rounding, and Y gives nothing. Where E is
constant X + Y is the upwind stencil of order 5.
"""

import dataclasses

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space.grid import SpaceGrid

CENTRAL6 = np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0]) / 60


@dataclasses.dataclass(frozen=True, eq=False)
class Landscape:
    """Energies of the valleys at the centres of the cells held."""

    energy: Array  # E_v(r) [meV], shape (valley, x, y)
    thermal_energy: float  # kT [meV]
    grid: SpaceGrid

    def __post_init__(self) -> None:
        assert self.energy.shape[1:] == self.grid.shape

    @property
    def uniform(self) -> bool:
        """Whether there is no force."""
        return bool(np.ptp(self.energy.reshape(len(self.energy), -1), axis=1).max() == 0)

    def windows(self, axis: int) -> Array:
        """E/kT at each cell and the three on either side along an axis, shape (valley, x, y, 7).

        Beyond a reflecting wall the landscape is mirrored, beyond an open edge its last value continues.
        """
        kinds = {"periodic": "wrap", "reflecting": "symmetric", "open": "edge"}
        extended = self.energy / self.thermal_energy
        lower, upper = (np.pad(extended, _pads(axis, side), kinds[self.grid.wall(side)]) for side in (0, 1))  # type: ignore[call-overload]
        below = lower.take(range(HALO), axis + 1)
        above = upper.take(range(-HALO, 0), axis + 1)
        extended = np.concatenate((below, extended, above), axis + 1)
        return np.lib.stride_tricks.sliding_window_view(extended, 2 * HALO + 1, axis=axis + 1)

    def steepness(self) -> Array:
        """|E_(i+1) − E_i|/kT, the largest over valleys and the axes, shape (x, y)."""
        steps = [np.abs(np.diff(self.windows(axis), axis=-1)[..., HALO - 1 : HALO + 1]) for axis in range(self.grid.dimensions)]
        return np.asarray(np.max([step.max(axis=(0, -1)) for step in steps], axis=0))

    def forces(self) -> Array:
        """The discrete force F = −∇E [meV/nm] along each axis, shape (axis, valley, x, y)."""
        spacing = self.grid.spacing
        slopes = [2 * (_amplitudes(self.windows(axis)) @ CENTRAL6) / spacing[axis] for axis in range(self.grid.dimensions)]
        return np.asarray(self.thermal_energy * np.array(slopes))

    def stencils(self, axis: int) -> Array:
        """X + Y and −X + Y times Δx for motion towards larger and smaller coordinates, shape (2, valley, x, y, 7).

        Weights stand in the order of the flow, from the farthest cell upstream on.
        """
        windows = self.windows(axis)
        central, dissipation = central_weights(windows), dissipation_weights(windows)
        return np.stack((central + dissipation, (dissipation - central)[..., ::-1]))


def _pads(axis: int, side: int) -> list[tuple[int, int]]:
    """Ghost cells on one side of an axis, for numpy.pad of (valley, x, y)."""
    return [((HALO, 0) if side == 0 else (0, HALO)) if i == axis + 1 else (0, 0) for i in range(3)]


def _amplitudes(windows: Array) -> Array:
    """r_k for windows of E/kT (…, 7)."""
    return np.asarray(np.exp(-0.5 * (windows - windows[..., HALO, None])))


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
