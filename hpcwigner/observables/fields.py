"""Quantities of a state u[x, y, angle, cell] on a rank's block, and its spatial moments over all ranks."""

from __future__ import annotations

import dataclasses

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.constants import HBAR2_OVER_M0
from hpcwigner.momentum.grid import Angles, EnergyGrid
from hpcwigner.momentum.scattering import Scattering
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.space.grid import Decomposition

Array = NDArray[np.float64]

CENTRAL_SIX = np.array([3.0, -25.0, 150.0, 150.0, -25.0, 3.0]) / 256
"""Weights of six cells around a face for the value on the face (order 6)."""


def central_weights(cells: int) -> Array:
    """Weights (cells,) that take a row of at least six cells to its middle: with an even number that is a face."""
    weights = np.zeros(cells)
    if cells % 2:
        weights[cells // 2] = 1
    else:
        weights[cells // 2 - 3 : cells // 2 + 3] = CENTRAL_SIX
    return weights


class SpatialMomentSums:
    """M0, M1, M2 of a distributed state in one pass over it."""

    def __init__(self, decomposition: Decomposition, angles: Angles) -> None:
        grid = decomposition.grid
        x, y = grid.centers(0)[decomposition.x], grid.centers(1)[decomposition.y]
        if grid.dimensions == 1:  # ⟨r²⟩ of a centred isotropic density is 2⟨x²⟩
            weights = [np.ones_like(x), 2 * x, 2 * x**2]
        else:
            xx, yy = (a.ravel() for a in np.meshgrid(x, y, indexing="ij"))
            weights = [np.ones_like(xx), xx, xx**2 + yy**2, yy]
        self._weights = np.array(weights) * grid.cell_measure
        self._angles, self._comm = angles, decomposition.comm

    def __call__(self, u: Array) -> SpatialMoments:
        """Moments of u (point, angle, cell). Collective."""
        points, angles, cells = u.shape
        sums = (self._weights @ u.reshape(points, angles * cells)).reshape(-1, angles, cells)
        local = np.stack((sums[0].sum(axis=0), self._angles.cosine @ sums[1], sums[2].sum(axis=0)))
        if len(sums) == 4:
            local[1] += self._angles.sine @ sums[3]
        total = np.empty_like(local)
        self._comm.Allreduce(local, total)
        return SpatialMoments(*total)


@dataclasses.dataclass(frozen=True)
class LocalFields:
    """Fields on a rank's block."""

    density: Array
    """N_v [1/nm²; slab 1/nm], shape (valley, x, y)."""
    pl: Array
    """[1/nm²/ps; slab 1/nm/ps], shape (x, y)."""
    shape_variation: Array
    """η_v = ∂tN_v|scat − c_v N_v [as pl], shape (valley, x, y)."""


def local_fields(u: Array, decomposition: Decomposition, scattering: Scattering, moments: SpatialMoments) -> LocalFields:
    """Fields of u (point, angle, cell); `moments` are those of the same state (for c_v)."""
    grid = scattering.grid
    nx, ny = decomposition.local_shape[:2]
    isotropic = u.sum(axis=1)
    density = grid.valley_sum(isotropic)
    population = grid.valley_sum(moments.zeroth)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.where(population > 0, scattering.valley_transfer @ moments.zeroth / population, 0.0)
    variation = isotropic @ scattering.valley_transfer.T - growth * density

    def shaped(values: Array) -> Array:
        return np.ascontiguousarray(values.T).reshape(-1, nx, ny)

    return LocalFields(shaped(density), (isotropic @ scattering.loss).reshape(nx, ny), shaped(variation))


def undershoot(density: Array, comm: MPI.Intracomm) -> Array:
    """min N_v/max N_v of each valley over the sample (negative: the stencil undershoots), shape (valley,). Collective."""
    extremes = np.stack((-density.min(axis=(1, 2)), density.max(axis=(1, 2))))
    comm.Allreduce(MPI.IN_PLACE, extremes, MPI.MAX)
    with np.errstate(invalid="ignore"):
        return np.where(extremes[1] > 0, -extremes[0] / extremes[1], 0.0)


class WignerCut:
    """N_k^v(x) along y = 0 with k along x, as occupation per state on a common grid of k."""

    POINTS = 401

    def __init__(self, decomposition: Decomposition, angles: Angles, energies: EnergyGrid) -> None:
        self.decomposition, self.energies = decomposition, energies
        mass = np.array([v.mass for v in energies.valleys])
        tops = np.array([energies.energy_max - v.energy for v in energies.valleys])
        largest = float(np.sqrt(2 * mass * tops / HBAR2_OVER_M0).max())
        half = np.linspace(0.0, largest, self.POINTS // 2 + 1)
        self.k = np.concatenate((-half[:0:-1], half))  # symmetric to the last bit, so that ±k fall into the same cell
        """[1/nm]"""
        kinetic = HBAR2_OVER_M0 * self.k**2 / (2 * mass[:, None])
        self._inside = kinetic <= tops[:, None]
        self._cells = np.stack([energies.cell_at(v, row) for v, row in enumerate(kinetic)])
        self._angle = np.where(self.k >= 0, 0, angles.number // 2)
        self._states_per_angle = energies.states / angles.number
        self._row_weights = self._weights_along_y()
        self._column = decomposition.comm.Split(color=decomposition.position[0], key=decomposition.position[1])

    def _weights_along_y(self) -> Array:
        n = self.decomposition.grid.shape[1]
        if self.decomposition.grid.copies[1] == 2:
            weights = np.zeros(n)
            weights[:3] = 2 * CENTRAL_SIX[3:]  # the other three rows are their images, where motion along ±x is the same
        else:
            weights = central_weights(n)
        return weights[self.decomposition.y]

    @property
    def writes(self) -> bool:
        """Whether this rank holds its column's result."""
        return bool(self._column.rank == 0)

    def __call__(self, u: Array) -> Array:
        """Occupation (valley, x, k) of u (point, angle, cell) on the first rank of each column of ranks. Collective."""
        nx, ny = self.decomposition.local_shape[:2]
        cut = np.tensordot(u.reshape(nx, ny, *u.shape[1:]), self._row_weights, axes=(1, 0))
        occupation = np.ascontiguousarray(cut[:, [0, self._half_turn]] / self._states_per_angle)
        total = np.empty_like(occupation)
        self._column.Reduce(occupation, total)
        picked = total[:, (self._angle > 0).astype(int)[None, :], self._cells]  # (x, valley, k)
        at_rest = self.POINTS // 2  # k = 0 belongs to both directions
        picked[:, :, at_rest] = total[:, :, self._cells[:, at_rest]].mean(axis=1)
        return np.ascontiguousarray(np.where(self._inside, picked, np.nan).transpose(1, 0, 2))

    @property
    def _half_turn(self) -> int:
        return int(self._angle.max())
