"""Books: what each term has done at each point since the start, accumulated by the integrator itself.

For every entry there are auxiliary fields ∫∂t N_v dt of each valley and ∫∂t(Σ ε u) dt of the kinetic energy. Terms that are
explicit are booked when they are evaluated; local linear terms and sources drive their fields as they drive u. A step
advances the fields with the weights that it has for u, so that all entries together are the change of N_v and of the kinetic
energy, to rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.tile import N, Tile
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.generator import FieldDrive
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.term import HarmonicTerm, LocalLinearTerm, Source, Term

TRANSPORT = "drift"
"""Entry of all explicit terms that are not evaluated on harmonics: drift, with what happens at walls and junctions."""


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """What the terms do to a state at one time, at each point of a rank."""

    entries: Array  # ∂t N_v [1/ps per area or length] and ∂t of the kinetic energy [meV/ps, likewise], (entry, point, column)
    light: Array  # ∂t of γ times the light-cone population [1/ps², likewise], shape (point,)


@dataclasses.dataclass(frozen=True, eq=False)
class Books:
    """The entries of an equation and their place among the auxiliary fields."""

    sums: Array  # What is booked of a cell's change: one column per valley, kinetic energy [meV]; shape (cell, column)
    entries: tuple[tuple[str, str], ...]  # Name and part (of D_v) of each entry
    terms: tuple[Term, ...]  # Those of the entries after the first, in their order
    first: int  # Number of the first column among the auxiliary fields

    @classmethod
    def for_terms(cls, terms: Sequence[Term], equilibrium: Equilibrium) -> Books:
        """Books of an equation with these terms."""
        cells = equilibrium.cells
        valley = np.equal.outer(cells.valley_of_cell, np.arange(len(cells.valleys))).astype(float)
        kinds = HarmonicTerm, LocalLinearTerm, Source
        booked = tuple(term for kind in kinds for term in terms if isinstance(term, kind))
        entries = ((TRANSPORT, TRANSPORT), *((term.name, term.part) for term in booked))
        sums = np.column_stack((valley, equilibrium.kinetic_energy))
        return cls(sums, entries, booked, sum(term.field_count for term in terms))

    @property
    def columns(self) -> int:
        """Columns of an entry."""
        return int(self.sums.shape[1])

    @property
    def count(self) -> int:
        """Auxiliary fields of all entries."""
        return len(self.entries) * self.columns

    @property
    def names(self) -> list[str]:
        """Names of the auxiliary fields."""
        return [f"books.{i}.{name}.{k}" for i, (name, _) in enumerate(self.entries) for k in range(self.columns)]

    def place(self, entry: int) -> slice:
        """Columns of an entry among the auxiliary fields."""
        start = self.first + entry * self.columns
        return slice(start, start + self.columns)

    def entry_of(self, term: Term) -> int:
        """Number of a term's entry."""
        return 1 + next(i for i, booked in enumerate(self.terms) if booked is term)

    def split(self, fields: Array) -> Array:
        """The entries in auxiliary fields (point, field): shape (entry, point, column)."""
        own = fields[:, self.first : self.first + self.count]
        return np.moveaxis(own.reshape(len(fields), len(self.entries), self.columns), 1, 0)

    def of_part(self, entries: Array, part: str) -> Array:
        """Sum of the entries (entry, …) of one part."""
        return np.asarray(sum(entries[i] for i, (_, own) in enumerate(self.entries) if own == part))

    def record(self, tile: Tile, entry: int, before: Array | None) -> Array:
        """Books what slot N of a tile has gained since `before`; returns what is to be passed for the next entry."""
        count = len(tile.points)
        now = tile.slots[0, :count, N] @ self.sums
        tile.fields[N, :count, self.place(entry)] = now if before is None else now - before
        return now

    def drive(self, scattering: ScatteringStage, spectra: Sequence[Array], class_number: int) -> FieldDrive:
        """What the fields take from the populations at the points of a class, with its scattering and spectra of sources."""
        total, sources = self.first + self.count, list[Array]()
        linear = np.zeros((total, len(self.sums)))
        for i, term in enumerate(self.terms, start=1):
            if isinstance(term, Scattering):
                linear[self.place(i)] = self.sums.T @ scattering.blocks[0]
            elif isinstance(term, Loss):
                linear[self.place(i)] = -self.sums.T * term.rate_in(class_number)
            elif isinstance(term, Source):
                row = np.zeros(total)
                row[self.place(i)] = spectra[len(sources)] @ self.sums
                sources.append(row)
        return FieldDrive(linear, sources)
