"""What a term of the equation is: its right-hand side, its limits on the step, its symmetries and its place in the budgets."""

import abc
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.harmonics import AngularTransform
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition

POINTS = 32  # Points of which a HarmonicTerm takes the harmonics at a time


@dataclasses.dataclass(frozen=True)
class State:
    """Views of the state on one rank; terms never keep them."""

    u: Array  # Excitons per area (slab: per length) in each momentum cell, shape (point, angle, cell)
    fields: Array  # Auxiliary local fields of the terms that own some, shape (point, field)


class Term(abc.ABC):
    """One summand of the equation ∂t u = Σ terms.

    A term is built from plain numbers and knows nothing of ranks until `distribute` is called. It holds no state, and serves one
    distributed equation at a time.
    """

    name: str  # Of the term, for messages
    part: str  # Of its contribution to the budgets: D_v = Σ diffusion_<part>
    why_not_closed: str = ""
    """Why the moments M0, M1, M2 of each momentum cell obey no closed equations in its presence; empty where they do."""
    mirrors: frozenset[int] = frozenset((0, 1))
    """Axes whose mirror images (x → −x with θ → π − θ, y → −y with θ → −θ) map solutions to solutions."""
    field_count: int = 0  # Number of auxiliary local fields that it owns
    first_field: int = 0  # Column of its first auxiliary field in `State.fields`; set by the equation that lists it

    @abc.abstractmethod
    def add(self, time: float, state: State, out: State) -> None:
        """Adds the term's right-hand side [1/ps] at `time` [ps] to `out.u`, and of its own fields to `out.fields`."""

    def entry(self, time: float, moments: SpatialMoments) -> Entry | None:
        """Its contribution to the rates of change of n_v, ∫r²N_v dr and of the energy at `time` [ps], from moments.

        None for a term without which the moment equations are closed: what it does is booked at each point (terms/books.py).
        """
        return None

    def courant_rate(self) -> Array | float:
        """Rate [1/ps] that limits explicit steps in each cell, shape (cell,); 0 where it sets no limit."""
        return 0.0

    def longest_step(self) -> float:
        """Longest stable step [ps] where it sets a limit that no damping by scattering relieves."""
        return math.inf

    def relaxation_rate(self, density: float) -> float:
        """Largest rate [1/ps] at which it relaxes a state explicitly where all excitons have this `density` [1/nm²]."""
        return 0.0

    def distribute(self, decomposition: Decomposition) -> None:
        """Allocates what depends on the decomposition. Collective."""
        return

    def free(self) -> None:
        """Releases what `distribute` allocated. Collective."""
        return


class LocalLinearTerm(Term):
    """A term that is linear and local in space: it goes into the generator L that exponentials integrate exactly."""


class HarmonicTerm(Term):
    """An explicit term, local in space, that is evaluated on the angular harmonics of a tile."""

    members: Sequence[NDArray[np.int64]] = ()
    """This rank's points by class, set by `distribute` where what the term does depends on the class; else all are alike."""

    def __init__(self, angles: Angles, cells: EnergyCells) -> None:
        self._transform = AngularTransform(angles, cells.size)

    @abc.abstractmethod
    def add_to(self, tile: Tile) -> None:
        """Slot N of the tile, and of its fields, grows by the term's right-hand side for slot U, at the tile's points."""

    def add(self, time: float, state: State, out: State) -> None:
        points, rows, cells = state.u.shape
        room = min(points, POINTS)
        tile, change = Tile(rows, room, 2, cells, state.fields.shape[1]), np.empty((room, rows, cells))
        for tile.class_number, members in enumerate(self.members or [np.arange(points)]):
            for first in range(0, len(members), POINTS):
                tile.points = members[first : first + POINTS]
                self._transform.forward(state.u, tile.slots, U, tile.points)
                tile.slots[:, :, N], tile.fields[N] = 0.0, 0.0
                tile.fields[U, : len(tile.points)] = state.fields[tile.points]
                self.add_to(tile)
                tile.result[...] = tile.slots[:, :, N]
                self._transform.backward(tile.result, change)
                out.u[tile.points] += change[: len(tile.points)]
                out.fields[tile.points] += tile.fields[N, : len(tile.points)]


class DensityTerm(Term):
    """An explicit term that depends on the densities N_v around a point."""

    cells: EnergyCells  # Whose valleys the densities are of
    acts_through_others = False  # Whether it only changes what other terms do; `add` is not called then

    @abc.abstractmethod
    def prepare(self, densities: Array) -> None:
        """Takes note of a state's N_v, before any term is evaluated for it.

        `densities` (x, y, valley) has three ghost cells on each side of a distributed axis and is valid until the next call.
        """


class Source(Term):
    """A term that does not depend on the state: strength(t) × profile(r) × spectrum(cell).

    Integrators take it as a polynomial of each step with its exact moments. The strength may differ from point to point, and
    the spectrum from class to class of points; `strength`, `polynomial` and `generated` are integrals over the sample then.
    """

    angular_share: Array  # Share of an isotropic population in each angle cell, shape (angle,)
    amplitude: float  # Population that it generates in all, if nothing switches it off
    width_squared: float  # ⟨r²⟩ of its profile [nm²]
    window: tuple[float, float]  # Times [ps] between which it varies fast; steps are short there
    shortest_time: float  # Time scale on which it varies within the window [ps]
    decay: float  # Rate [1/ps] at which the strength decays after the window, the slowest; infinite: it is zero there

    @abc.abstractmethod
    def spectrum(self, stage: int, class_number: int | None = None) -> Array:
        """Rate [1/ps] into each cell per unit of strength while the scattering of `stage` acts, shape (cell,).

        At the points of a class; without one, the mean of all that the source forms.
        """

    @abc.abstractmethod
    def strength(self, time: float) -> float:
        """Strength at `time` [ps]: a population, or 1 where the spectrum holds the rates."""

    @abc.abstractmethod
    def polynomial(self, start: float, size: float) -> Array:
        """Coefficients a_k, k ≤ SOURCE_DEGREE, of Σ a_k s^k, s = (t − start)/size, with the step's exact moments."""

    def local_polynomial(self, start: float, size: float) -> Array | None:
        """The same for each point of this rank, shape (point, k); None where the strength is the same at all points."""
        return None

    @abc.abstractmethod
    def generated(self, time: float) -> float:
        """Population generated until `time` [ps]."""

    def formed(self) -> Array:
        """Density of all excitons that it forms [1/nm² or, in a slab, 1/nm], before they move; on the held grid, shape (x, y)."""
        return self.amplitude * self.profile()

    @abc.abstractmethod
    def formation(self, time: float) -> Array:
        """What it forms at this rank's points at `time` [1/ps per area or length], shape (point, cell)."""

    def add(self, time: float, state: State, out: State) -> None:
        out.u[...] += self.angular_share[:, None] * self.formation(time)[:, None, :]

    @property
    def coherent(self) -> bool:
        """Whether its strength is a population of coherent excitons."""
        return False

    @abc.abstractmethod
    def profile(self) -> Array:
        """Normalised profile on the whole grid held [1/nm² or, in a slab, 1/nm], shape (x, y)."""
