"""What happens at the edges of a sample, and the ghost cells beyond walls that return a part of what hits them.

An outgoing direction has the value f = Σ_j c_j u_j on the wall's face, from the three cells inside. What comes in has the value
b = M f there, with

    (M f)(θ', ε) = R (1 − d) f(mirror image of θ', ε) + R d · e(θ', ε)/Σ_in e|v_n| · Σ_out |v_n| f

and sums over a valley's directions and energies: a share d of what a wall of reflectivity R returns is emitted with the
flux-weighted equilibrium e of the discrete speeds and angles. Ghost cells are such that the stencil's flux through the wall
is that of f and b: R times what goes out comes back, to rounding.
"""

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.kernels import HALO, UPWIND5
from hpcwigner.runtime.schema import require
from hpcwigner.space.faces import ARRIVING, LEAVING


@dataclasses.dataclass(frozen=True)
class Surface:
    """A wall that returns a part of what hits it and absorbs the rest."""

    reflectivity: float
    """Part that comes back, from 0 to 1."""
    diffuse: float = 0.0
    """Share of it, from 0 to 1, that is emitted in thermal equilibrium, each valley by itself; the rest is mirrored."""

    def __post_init__(self) -> None:
        require(0 <= self.reflectivity <= 1, "reflectivity", self.reflectivity, "a number from 0 to 1")
        require(0 <= self.diffuse <= 1, "diffuse", self.diffuse, "a number from 0 to 1")


Wall = Literal["periodic", "open", "reflecting"] | Surface


@dataclasses.dataclass(frozen=True)
class Sides:
    """The two edges along an axis."""

    low: Wall
    """At the lower end."""
    high: Wall
    """At the upper end."""

    def __post_init__(self) -> None:
        both = (self.low == "periodic") == (self.high == "periodic")
        require(both, "", f"{_named(self.low)} and {_named(self.high)}", "periodic at both ends or at none")


@dataclasses.dataclass(frozen=True)
class Edges:
    """Edges that differ by axis."""

    x: Wall | Sides = "periodic"
    """Edges along x: one word or wall, or those at either end."""
    y: Wall | Sides | None = None
    """Edges along y of a plane, periodic without it."""

    def wall(self, axis: int, side: int) -> Wall:
        """At the lower (0) or upper (1) end of an axis."""
        sides = (self.x, self.y)[axis]
        if isinstance(sides, Sides):
            return (sides.low, sides.high)[side]
        return "periodic" if sides is None else sides


def _named(wall: Wall) -> str:
    return wall if isinstance(wall, str) else "a wall with a reflectivity"


@dataclasses.dataclass(frozen=True, eq=False)
class FaceWeights:
    """Weights that tie ghost cells 1, 2, 3 beyond a wall to the cells 1, 2, 3 inside, each (…, place along the wall, 1, cell)."""

    leaving: Array  # c_j of f = Σ_j c_j u_j, (3, …)
    beyond: Array  # Ghost cell g of an outgoing direction from cell j, (3, 3, …)
    from_face: Array  # Ghost cell g of an incoming direction from the value b on the face, (3, …)
    from_inside: Array  # and from cell j, (3, 3, …)

    @classmethod
    def from_stencils(cls, incoming: Array, outgoing: Array, weight: Array) -> "FaceWeights":
        """From the stencils of the three cells inside, in the order of the flow (3, …, 7), and their Boltzmann weight p (3, …).

        The landscape is mirrored beyond the wall, so that columns of the stencils summed over all cells give 0. u/p is
        extrapolated: outgoing directions by a quadratic function, incoming ones by a straight line through b and the first cell.
        """
        upstream = np.array([-sum(incoming[d, ..., 2 - j - d] for d in range(HALO - j)) for j in range(HALO)])
        downstream = np.array([sum(outgoing[d, ..., 4 + j + d] for d in range(HALO - j)) for j in range(HALO)])
        beyond = np.array([[LEAVING[g, j] * weight[g] / weight[j] for j in range(HALO)] for g in range(HALO)])
        leaving = upstream + (downstream[:, None] * beyond).sum(axis=0)
        at_rest = ((upstream + downstream) * weight).sum(axis=0)  # value of p on the face
        from_face, from_inside = np.zeros_like(upstream), np.zeros_like(beyond)
        for g in (1, 2):  # u/p = β − (2g + 1)(u_1/p_1 − β) with β = b/at_rest
            from_face[g] = ARRIVING[g, 0] * weight[g] / at_rest
            from_inside[g, 0] = ARRIVING[g, 1] * weight[g] / weight[0]
        from_face[0] = (1 - upstream[1] * from_face[1] - upstream[2] * from_face[2]) / upstream[0]
        rest = downstream + upstream[1] * from_inside[1] + upstream[2] * from_inside[2]
        from_inside[0] = -rest / upstream[0]
        return cls(leaving, beyond, from_face, from_inside)

    @classmethod
    def uniform(cls) -> "FaceWeights":
        """Those of the stencil without a landscape: c = (11, −7, 2)/6."""
        stencil = np.broadcast_to(np.array([*UPWIND5, 0.0]), (HALO, 1, 1, 1, 2 * HALO + 1))
        return cls.from_stencils(stencil, stencil, np.ones((HALO, 1, 1, 1)))


class WallReturn:
    """Ghost cells of a state beyond a wall."""

    def __init__(
        self, surface: Surface, outward: Array, image: NDArray[np.int64], speed: Array, equilibrium: Array,
        valley_of_cell: NDArray[np.int64], faces: FaceWeights,
    ) -> None:  # fmt: skip
        """`outward` is v·n/|v| of each direction for the normal n out of the sample and `image` its mirror image, (angle,).

        `speed` (cell,) [nm/ps], `equilibrium` (angle, cell) in any unit; a valley's cells are contiguous.
        """
        self.faces = faces
        self._leaving, self._coming = np.flatnonzero(outward > 0), np.flatnonzero(outward < 0)
        place = {int(angle): number for number, angle in enumerate(self._leaving)}
        self._image = np.array([place[int(image[angle])] for angle in self._coming])
        self._starts, self._valley_of_cell = np.unique(valley_of_cell, return_index=True)[1], valley_of_cell
        self._mirrored = surface.reflectivity * (1 - surface.diffuse)
        self._flux = np.abs(outward[self._leaving])[:, None] * speed  # |v_n|
        emitted = np.abs(outward[self._coming])[:, None] * speed * equilibrium[self._coming]
        total = np.add.reduceat(emitted.sum(axis=0), self._starts)[valley_of_cell]
        self._emission = surface.reflectivity * surface.diffuse * equilibrium[self._coming] / total
        self._emits = surface.reflectivity * surface.diffuse > 0

    def fill(self, inside: Array, ghosts: Array) -> None:
        """Fills ghost cells 1, 2, 3 from the cells 1, 2, 3 inside, both (3, place, angle, cell) from the wall on."""
        faces, leaving, coming = self.faces, inside[:, :, self._leaving], inside[:, :, self._coming]
        back = self.returned((faces.leaving * leaving).sum(axis=0))
        for g in range(HALO):
            ghosts[g][:, self._leaving] = (faces.beyond[g] * leaving).sum(axis=0)
            ghosts[g][:, self._coming] = faces.from_face[g] * back + (faces.from_inside[g] * coming).sum(axis=0)

    def returned(self, face: Array) -> Array:
        """M f of the incoming directions from f of the outgoing ones, (place, direction, cell)."""
        back = self._mirrored * face[:, self._image]
        if self._emits:
            flux = np.add.reduceat(np.einsum("tac,ac->tc", face, self._flux), self._starts, axis=1)
            back += self._emission * flux[:, None, self._valley_of_cell]
        return np.asarray(back)
