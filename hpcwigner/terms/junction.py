"""Drift through the sharp steps of a landscape: reflection, and refraction onto the states beyond.

The drift's stencils end at such a face (`Landscape.stencils`). This term adds what they miss: ghost cells of the own side, for
directions that leave from the cells inside, for those that arrive from the value at the face that `passage` makes of the
leaving ones of both sides. The nearest ghost is corrected such that the flux through the face is this value's to rounding.
"""

import dataclasses

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.junction import passage
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO
from hpcwigner.space import faces
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.landscape import Jump, Landscape
from hpcwigner.terms.term import State, Term

LARGEST_COURANT = 1.1
"""Courant number |v_n|h/Δx up to which ghost cells beside a face are stable, however fast scattering is."""


class Junction(Term):
    """What the drift in a landscape with jumps misses at them. It goes with a Drift in the same landscape."""

    name, part = "junction", "drift"
    why_not_closed = "the sample has a junction"

    def __init__(self, equilibrium: Equilibrium, angles: Angles, landscape: Landscape) -> None:
        self.equilibrium, self.landscape = equilibrium, landscape
        self.mirrors = frozenset((0, 1)) - {jump.axis for jump in landscape.jumps}
        self._passages = [passage(equilibrium, angles, jump.axis, jump.heights) for jump in landscape.jumps]
        self._angles = angles
        self._faces: list[_Face] = []

    def longest_step(self) -> float:
        angles, spacing = self._angles, self.landscape.grid.spacing
        fastest = float(self.equilibrium.velocity.max())
        normal = [np.abs((angles.cosine, angles.sine)[jump.axis]).max() / spacing[jump.axis] for jump in self.landscape.jumps]
        return LARGEST_COURANT / (fastest * float(max(normal)))

    def distribute(self, decomposition: Decomposition) -> None:
        self.free()
        self._shape = decomposition.local_shape
        for jump, matrix in zip(self.landscape.jumps, self._passages, strict=True):
            self._faces.append(_Face(jump, matrix, self.landscape, self.equilibrium, self._angles, decomposition))

    def free(self) -> None:
        while self._faces:
            self._faces.pop().free()

    def add(self, time: float, state: State, out: State) -> None:
        """Adds it. Collective."""
        u, change = state.u.reshape(self._shape), out.u.reshape(self._shape)
        for face in self._faces:
            face.add(u, change)


@dataclasses.dataclass(frozen=True, eq=False)
class _Stencils:
    """Of the cells on one side of a face, by distance from it, for motion towards or away from the face.

    Where two indices of distance come first, they are those of a cell and of a ghost cell.
    """

    rows: NDArray[np.int64]  # Numbers of the angle cells
    rate: Array  # |v_x|/Δx, shape (angle, cell)
    weights: Array  # Of ghosts in the stencil of cells, shape (3, 3, across, 1, cell)
    flux_inside: Array  # Of cells in the flux through the face, divided by the speed, shape (3, across, 1, cell)
    flux_beyond: Array  # Of ghosts


class _Face:
    """One jump on the ranks that hold cells beside it."""

    def __init__(
        self,
        jump: Jump,
        matrix: sparse.csr_matrix,
        landscape: Landscape,
        equilibrium: Equilibrium,
        angles: Angles,
        decomposition: Decomposition,
    ) -> None:
        self.axis, self._matrix = jump.axis, matrix
        along, across = (decomposition.x, decomposition.y) if jump.axis == 0 else (decomposition.y, decomposition.x)
        first = jump.face - HALO
        self._held = range(max(first, along.start), min(first + 2 * HALO, along.stop))
        self._local, self._first = along.start, first
        color = decomposition.position[1 - jump.axis] if self._held else MPI.UNDEFINED
        self._comm = decomposition.comm.Split(color)
        if not self._held:
            return
        self._layers = np.zeros((2 * HALO, across.stop - across.start, *decomposition.per_point))
        valley = equilibrium.cells.valley_of_cell
        stepped = np.array(jump.heights)[valley] != 0
        near = (slice(None), slice(None), slice(first, first + 2 * HALO), across)
        stencils = landscape.stencils(jump.axis, through_jumps=True)
        energy = landscape.smooth
        if jump.axis == 1:
            stencils, energy = stencils.swapaxes(2, 3), energy.swapaxes(1, 2)
        local = np.moveaxis(stencils[near][:, valley], 1, -1) * stepped  # (2, layer, across, 7, cell)
        energy = np.moveaxis(energy[near[1:]][valley], 0, -1)[:, :, None]  # (layer, across, 1, cell)
        self._boltzmann = np.exp((energy.mean(axis=0) - energy) / landscape.thermal_energy)
        rate = (
            np.multiply.outer((angles.cosine, angles.sine)[jump.axis], equilibrium.velocity) / landscape.grid.spacing[jump.axis]
        )
        self._sides = [self._stencils(side, local, rate) for side in (0, 1)]

    def _stencils(self, side: int, local: Array, rate: Array) -> tuple[_Stencils, _Stencils]:
        """Of leaving and of arriving directions on a side."""
        own, other = _by_distance(local, side, 1), _by_distance(local, 1 - side, 1)

        def reaching(layers: Array, direction: int, sign: int) -> Array:
            """Weights of ghosts, downstream with `sign` 1 and upstream with −1."""
            weights = np.zeros((HALO, HALO, *layers.shape[2:3], 1, layers.shape[-1]))
            for cell in range(HALO):
                for ghost in range(HALO - cell):
                    weights[cell, ghost, :, 0] = layers[direction, cell, :, HALO + sign * (cell + ghost + 1)]
            return weights

        away, into = side, 1 - side  # Number of the stencil for motion out of this side, and into it
        towards = rate[:, 0] > 0 if side == 0 else rate[:, 0] < 0
        from_here = rate[:, 0] < 0 if side == 0 else rate[:, 0] > 0
        leaving, arriving = reaching(own, away, 1), reaching(own, into, -1)
        out = _Stencils(
            np.flatnonzero(towards), np.abs(rate[towards]), leaving, -reaching(other, away, -1).sum(axis=0), leaving.sum(axis=0)
        )
        back = _Stencils(
            np.flatnonzero(from_here), np.abs(rate[from_here]), arriving, reaching(other, into, 1).sum(axis=0),
            -arriving.sum(axis=0),
        )  # fmt: skip
        return out, back

    def add(self, u: Array, change: Array) -> None:
        """Adds what the drift misses in the layers that this rank holds. Collective among those that hold some."""
        if not self._held:
            return
        if self.axis == 1:
            u, change = u.swapaxes(0, 1), change.swapaxes(0, 1)
        own = slice(self._held.start - self._local, self._held.stop - self._local)
        held = slice(self._held.start - self._first, self._held.stop - self._first)
        layers = self._layers
        layers[...] = 0.0
        layers[held] = u[own]
        if self._comm.size > 1:
            self._comm.Allreduce(MPI.IN_PLACE, layers)  # each layer is one rank's, to which the others add zeros
        change[own] += self._missing(layers)[held]

    def _missing(self, layers: Array) -> Array:
        """What the stencils lack (layer, across, angle, cell)."""
        missing, at_face = np.zeros_like(layers), np.zeros((2, *layers.shape[1:]))
        for side, (out, _) in enumerate(self._sides):
            b, beyond = (_by_distance(self._boltzmann, s) for s in (side, 1 - side))
            inside = _by_distance(layers, side)[:, :, out.rows]
            ghosts = faces.leaving(inside / b) * beyond
            at_face[side][:, out.rows] = _face_value(out, inside, ghosts)
            _by_distance(missing, side)[:, :, out.rows] = _lacking(out, ghosts)
        arrived = self._passed(at_face)
        for side, (_, back) in enumerate(self._sides):
            b, beyond = (_by_distance(self._boltzmann, s) for s in (side, 1 - side))
            inside, value = _by_distance(layers, side)[:, :, back.rows], arrived[side][:, back.rows]
            level = _face_value(back, b, beyond)  # of the Boltzmann state
            scaled = np.divide(value, level, out=np.zeros_like(value), where=level != 0)
            ghosts = faces.arriving(scaled, inside / b) * beyond
            short = value - _face_value(back, inside, ghosts)
            nearest = np.broadcast_to(back.flux_beyond[0], short.shape)
            ghosts[0] += np.divide(short, nearest, out=np.zeros_like(short), where=nearest != 0)
            _by_distance(missing, side)[:, :, back.rows] = _lacking(back, ghosts)
        return missing

    def _passed(self, at_face: Array) -> Array:
        """Values of arriving directions at the face from those of leaving ones, (side, across, angle, cell)."""
        states = np.ascontiguousarray(at_face.swapaxes(0, 1)).reshape(at_face.shape[1], -1)
        arrived = (self._matrix @ states.T).T.reshape(at_face.shape[1], 2, *at_face.shape[2:])
        return np.asarray(arrived.swapaxes(0, 1))

    def free(self) -> None:
        if self._comm != MPI.COMM_NULL:
            self._comm.Free()


def _by_distance(layers: Array, side: int, axis: int = 0) -> Array:
    """A view of the three layers on one side of a face, the nearest first."""
    part = slice(HALO - 1, None, -1) if side == 0 else slice(HALO, None)
    return layers[(slice(None),) * axis + (part,)]


def _face_value(stencils: _Stencils, inside: Array, ghosts: Array) -> Array:
    """Flux through the face, divided by the speed (across, angle, cell)."""
    return np.asarray((stencils.flux_inside * inside).sum(axis=0) + (stencils.flux_beyond * ghosts).sum(axis=0))


def _lacking(stencils: _Stencils, ghosts: Array) -> Array:
    """−|v|/Δx times what ghosts are in the stencils of the cells (3, across, angle, cell)."""
    total = [sum(stencils.weights[cell, ghost] * ghosts[ghost] for ghost in range(HALO - cell)) for cell in range(HALO)]
    return np.asarray(-stencils.rate * np.array(total))
