"""Quantities of a state u[x, y, angle, cell] on a rank's block, its Wigner function on a line, its moments over all ranks."""

import functools

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR2_OVER_M0
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.harmonics import AngularSums
from hpcwigner.observables.budget import PointRates, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition

FAINT = 1e-3
"""Ratios are undefined (NaN) where a density is below this part of its largest value: the stencil's undershoot is there."""
CENTRAL_SIX = np.array([3.0, -25.0, 150.0, 150.0, -25.0, 3.0]) / 256  # Six cells' weights for the face between them (order 6)


def central_weights(cells: int) -> Array:
    """Weights (cells,) for the value in the middle of a row of cells: with an even number (at least six) that is a face."""
    middle = np.ones(1) if cells % 2 else CENTRAL_SIX
    return np.pad(middle, (cells - len(middle)) // 2)


class Directions:
    """Σ_θ u, Σ_θ cos θ u and in a plane Σ_θ sin θ u of a state: all that moments and fields are made of."""

    def __init__(self, angles: Angles) -> None:
        weights = (np.ones(angles.count), angles.cosine) if angles.half else (np.ones(angles.count), angles.cosine, angles.sine)
        self._sums, self._buffer = AngularSums(np.stack(weights)), np.empty((len(weights), 0, 0))

    def __call__(self, u: Array) -> Array:
        """The sums of u (point, angle, cell), shape (2 or 3, point, cell), in one pass over it. Valid until the next call."""
        if self._buffer.shape[1:] != (len(u), u.shape[2]):
            self._buffer = np.empty((len(self._buffer), len(u), u.shape[2]))
        return self._sums(u, self._buffer)


class SpatialMomentSums:
    """M0, M1, M2 of a distributed state, and the moments of single axes."""

    def __init__(self, decomposition: Decomposition) -> None:
        grid = decomposition.grid
        x, y = grid.centers(0)[decomposition.x], grid.centers(1)[decomposition.y]
        self._places = np.stack([a.ravel() for a in np.meshgrid(x, y, indexing="ij")])[: grid.dimensions]
        squares = self._places**2
        # ⟨r²⟩ of a centred isotropic density is 2⟨x²⟩ in a slab. Mirror images lie at −x.
        square = squares.sum(axis=0) * (2 if grid.dimensions == 1 else 1)
        whole = np.array([[1.0 if copies == 1 else 0.0] for copies in grid.copies[: grid.dimensions]])
        self._weights = np.stack((np.ones_like(square), square, *(whole * self._places), *squares)) * grid.cell_measure
        self._along = whole * np.ones_like(square) * grid.cell_measure
        self._places *= grid.cell_measure
        self._factor = 2.0 if grid.dimensions == 1 else 1.0
        self._comm = decomposition.comm

    @property
    def weights(self) -> Array:
        """The weights of SpatialMoments at this rank's points, times the cell's measure: shape (weight, point)."""
        return self._weights

    def __call__(self, directions: Array) -> SpatialMoments:
        """Moments of a state's `Directions`. Collective."""
        values = self._weights @ directions[0]
        pairs = list(zip(self._along, self._places, directions[1:], strict=True))
        flows, spreads = [along @ d for along, _, d in pairs], [place @ d for _, place, d in pairs]
        total = np.stack((values[0], self._factor * sum(spreads), *values[1:], *flows, *(2 * s for s in spreads)))
        self._comm.Allreduce(MPI.IN_PLACE, total)
        zeroth, first, second, *rest = total
        return SpatialMoments(zeroth, first, second, *np.split(np.array(rest), 2))


class LocalState:
    """A state on a rank's block, seen through what fields are made of. Each part is made when it is first asked for."""

    def __init__(
        self, directions: Array, decomposition: Decomposition, rates: PointRates, moments: SpatialMoments,
        transfer: Array | None = None,
    ) -> None:  # fmt: skip
        """`directions` are the state's `Directions`; `moments` are those of the same state (for c_v).

        `transfer` is ∂t N_v by intervalley scattering (point, valley) where that differs from `rates`.
        """
        self.decomposition, self.rates, self._moments, self._transfer = decomposition, rates, moments, transfer
        self.isotropic, self.directed = directions[0], directions[1:]

    def _shaped(self, values: Array) -> Array:
        """(point, valley) → (valley, x, y)"""
        return np.ascontiguousarray(values.T).reshape(-1, *self.decomposition.local_shape[:2])

    @functools.cached_property
    def density(self) -> Array:
        """N_v [1/nm²; slab 1/nm], shape (valley, x, y)."""
        return self._shaped(self.rates.equilibrium.cells.valley_sum(self.isotropic))

    @functools.cached_property
    def pl(self) -> Array:
        """γ times the light-cone population [1/nm²/ps; slab 1/nm/ps], shape (x, y)."""
        return (self.isotropic @ self.rates.light).reshape(self.decomposition.local_shape[:2])

    @functools.cached_property
    def shape_variation(self) -> Array:
        """η_v = ∂tN_v|scat − c_v N_v [as pl], shape (valley, x, y). Collective when first asked for."""
        zeroth, here = self._moments.zeroth, self._transfer
        if here is None:
            here = self.isotropic @ self.rates.valley_transfer.T
        whole = here.sum(axis=0) * self.decomposition.grid.cell_measure
        self.decomposition.comm.Allreduce(MPI.IN_PLACE, whole)
        population = self.rates.equilibrium.cells.valley_sum(zeroth)
        growth = np.divide(whole, population, out=np.zeros_like(population), where=population > 0)
        return self._shaped(here) - growth[:, None, None] * self.density

    @functools.cached_property
    def faint(self) -> NDArray[np.bool_]:
        """Where a valley's density is too small to divide by, shape (valley, x, y). Collective when first asked for."""
        largest = self.density.max(axis=(1, 2))
        self.decomposition.comm.Allreduce(MPI.IN_PLACE, largest, MPI.MAX)
        return self.density <= FAINT * largest[:, None, None]

    def relative_to_centre(self, values: Array, reference: Array) -> Array:
        """`values` over `reference` (both ..., x, y) at the origin; NaN in the dark. Collective."""
        weights = (centre_weights(self.decomposition, axis) for axis in (0, 1))
        here = np.einsum("...xy,x,y->...", reference, *weights)
        centre = np.asarray(self.decomposition.comm.allreduce(here))[..., None, None]
        return np.divide(values, centre, out=np.full_like(values, np.nan), where=centre > 0)

    def kinetic_energy(self) -> Array:
        """Mean kinetic energy [meV] at each place, shape (valley, x, y). Collective."""
        return self._mean(self.isotropic * self.rates.equilibrium.kinetic_energy)

    def anisotropy(self, axis: int) -> Array:
        """⟨cos θ⟩ (`axis` 0) or ⟨sin θ⟩ (1) at each place, shape (valley, x, y). Collective."""
        return self._mean(self.directed[axis])

    def _mean(self, values: Array) -> Array:
        """Sum of `values` (point, cell) over each valley's cells by N_v, NaN where that is faint. Collective."""
        sums = self._shaped(self.rates.equilibrium.cells.valley_sum(values))
        return np.divide(sums, self.density, out=np.full_like(sums, np.nan), where=~self.faint)


def centre_weights(decomposition: Decomposition, axis: int) -> Array:
    """Weights of a rank's cells along an axis for the value at 0 (a face when their number is even: order 6)."""
    n, copies = decomposition.grid.shape[axis], decomposition.grid.copies[axis]
    weights = central_weights(copies * n)[-n:] * copies  # folded: twice those of the half that is held
    return weights[(decomposition.x, decomposition.y)[axis]]


def undershoot(density: Array, comm: MPI.Intracomm) -> Array:
    """min N_v/max N_v of each valley over the sample (negative: the stencil undershoots), shape (valley,). Collective."""
    extremes = np.stack((-density.min(axis=(1, 2)), density.max(axis=(1, 2))))
    comm.Allreduce(MPI.IN_PLACE, extremes, MPI.MAX)
    return np.divide(-extremes[0], extremes[1], out=np.zeros_like(extremes[1]), where=extremes[1] > 0)


class WignerCut:
    """Occupations per state on a momentum grid that all valleys share; NaN above a valley's cutoff."""

    POINTS = 401

    def __init__(self, decomposition: Decomposition, angles: Angles, cells: EnergyCells) -> None:
        self.decomposition = decomposition
        mass, tops = np.array([v.mass for v in cells.valleys]), np.array(cells.tops)
        largest = float(np.sqrt(2 * mass * tops / HBAR2_OVER_M0).max())
        half = np.linspace(0.0, largest, self.POINTS // 2 + 1)
        self.k = np.concatenate((-half[:0:-1], half))  # [1/nm], symmetric to the last bit: ±k fall into the same cell
        kinetic = HBAR2_OVER_M0 * self.k**2 / (2 * mass[:, None])
        self._inside = kinetic <= tops[:, None]
        self._cells = np.stack([cells.slices[v].start + cells.cell_within(v, row) for v, row in enumerate(kinetic)])
        self._states_per_angle, self._angles = cells.states / angles.number, angles
        self._row_weights = centre_weights(decomposition, 1)
        self._column = decomposition.comm.Split(*decomposition.position)

    def free(self) -> None:
        """Frees the communicator. Collective."""
        self._column.Free()

    @property
    def writes(self) -> bool:
        """Whether this rank holds the results of `along_x` for its column of ranks."""
        return bool(self._column.rank == 0)

    def along_x(self, u: Array) -> Array:
        """N_k^v(x) on y = 0, k along x: (valley, x, k) of u (point, angle, cell), on each column's first rank. Collective."""
        nx, ny = self.decomposition.local_shape[:2]
        cut = np.tensordot(u.reshape(nx, ny, *u.shape[1:]), self._row_weights, axes=(1, 0))
        occupation = np.ascontiguousarray(cut[:, [0, self._angles.number // 2]] / self._states_per_angle)
        total = np.empty_like(occupation)
        self._column.Reduce(occupation, total)
        picked = total[:, (self.k < 0).astype(int)[None, :], self._cells]  # (x, valley, k)
        at_rest = self.POINTS // 2  # k = 0 belongs to both directions
        picked[:, :, at_rest] = total[:, :, self._cells[:, at_rest]].mean(axis=1)
        return np.ascontiguousarray(np.where(self._inside, picked, np.nan).transpose(1, 0, 2))

    def by_angle(self, u: Array) -> Array:
        """∫N_Q^v(x, y)dy of a slab in every direction: (valley, x, angle, q) of u (point, angle, cell), q = |Q|."""
        at_rest = self.POINTS // 2
        states = self._states_per_angle * self._angles.multiplicity[:, None]
        picked = (u / states)[:, :, self._cells[:, at_rest:]]  # (x, angle, valley, q)
        return np.ascontiguousarray(np.where(self._inside[:, at_rest:], picked, np.nan).transpose(2, 0, 1, 3))

    @property
    def q(self) -> Array:
        """|Q| [1/nm] of `by_angle`: the part k ≥ 0."""
        return self.k[self.POINTS // 2 :]
