"""The Wigner equation on a decomposed grid: a list of terms, as the integrators see it."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.harmonics import AngularTransform
from hpcwigner.momentum.tile import N, Tile, U
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import huge_zeros, readable
from hpcwigner.space.grid import Decomposition
from hpcwigner.space.halo import Face
from hpcwigner.terms.books import Books, Changes
from hpcwigner.terms.densities import GhostedDensities
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import POINTS, DensityTerm, HarmonicTerm, LocalLinearTerm, Source, State, Term

Points = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Points that are processed together."""

    class_number: int
    points: Points
    faces: tuple[Face, ...] = ()  # To other ranks, of which the points need ghost cells
    completes: tuple[Face, ...] = ()  # Faces whose layers are known when this chunk and all before are done


class WignerEquation:
    """∂t u = Σ terms for u[x, y, angle, cell], excitons per area (slab: per length) in a momentum cell.

    A vector of the state holds u and behind it the auxiliary local fields of the terms. Rows are angles.
    """

    def __init__(
        self, decomposition: Decomposition, angles: Angles, terms: Sequence[Term],
        class_of_point: NDArray[np.int64] | None = None,
        books: Books | None = None,
    ) -> None:  # fmt: skip
        """`class_of_point` (x, y) on the whole grid tells which local generator acts where; one class without it."""
        self.decomposition, self.terms, self.books = decomposition, tuple(terms), books
        self.orders = angles.orders
        nx, ny, rows, cells = decomposition.local_shape
        self.shape = (nx * ny, rows, cells)
        self.sources: Sequence[Source] = [term for term in terms if isinstance(term, Source)]
        explicit = [term for term in terms if not isinstance(term, Source | LocalLinearTerm)]
        self.harmonic_terms = [term for term in explicit if isinstance(term, HarmonicTerm)]
        self.density_terms = [term for term in explicit if isinstance(term, DensityTerm)]
        through_others = [term for term in self.density_terms if term.acts_through_others]
        self.other_terms = [term for term in explicit if not isinstance(term, HarmonicTerm) and term not in through_others]
        self.field_count = 0
        for term in self.terms:
            term.first_field = self.field_count
            self.field_count += term.field_count
            term.distribute(decomposition)
        self.field_count += books.count if books else 0
        self._transform = AngularTransform(angles, cells)
        self._profiles = [np.ascontiguousarray(decomposition.local(s.profile())).reshape(-1) for s in self.sources]
        self.classes: Sequence[Points] = _classes(decomposition, class_of_point)
        self._densities = GhostedDensities(decomposition, self.density_terms[0].cells) if self.density_terms else None
        # A drift alone goes straight into harmonics; several terms are summed in an array first.
        first, *others = self.other_terms or (None,)
        self._drift = first if isinstance(first, Drift) and not others else None
        self._sum = State(
            huge_zeros(self.shape if self._drift is None else (0, rows, cells)), np.zeros((nx * ny, self.field_count))
        )
        self._halo = next((term.halo for term in self.other_terms if isinstance(term, Drift)), None)
        self._chunks: dict[int, tuple[list[_Chunk], list[_Chunk]]] = {}

    def create_vector(self) -> Any:
        """A PETSc vector of zeros for the state, in huge pages."""
        from petsc4py import PETSc

        size = math.prod(self.shape) + self.shape[0] * self.field_count
        return PETSc.Vec().createWithArray(huge_zeros((size,)), comm=self.decomposition.comm)

    def view(self, vector: Any) -> State:
        """A vector's local part, without a copy."""
        return self._state(np.asarray(vector.getArray()))

    def read(self, vector: Any) -> State:
        """The same for reading only, also while PETSc holds a read lock on the vector."""
        return self._state(readable(vector))

    def _state(self, array: Array) -> State:
        size = math.prod(self.shape)
        return State(array[:size].reshape(self.shape), array[size:].reshape(self.shape[0], self.field_count))

    def to_harmonics(self, u: Array, slots: Array, index: int) -> None:
        """slots[:, :, index] = harmonics of u, for slots (harmonic, point, slot, cell)."""
        self._transform.forward(u, slots, index)

    def from_harmonics(self, harmonics: Array, out: Array) -> None:
        """`out` becomes the state with the given harmonics (contiguous)."""
        self._transform.backward(harmonics, out)

    def explicit(self, time: float, state: State, out: State) -> None:
        """out = right-hand side of all terms that are neither local and linear nor sources. Collective."""
        out.u[...] = 0.0
        out.fields[...] = 0.0
        if self.books is None:
            self._prepare(state.u)
            self._add([*self.other_terms, *self.harmonic_terms], time, state, out)
            return
        for tile in self.tiles(self._own_tile(), time, state):
            tile.result[...] = tile.slots[:, :, N]
            self._transform.backward(tile.result, out.u, tile.points)
            out.fields[tile.points] = tile.fields[N, : len(tile.points)]

    def _own_tile(self) -> Tile:
        """A tile with slots U and N."""
        points, rows, cells = self.shape
        return Tile(rows, max(1, min(points, POINTS)), 2, cells, self.field_count)

    def tiles(self, tile: Tile, time: float, state: State, out: State | None = None) -> Iterator[Tile]:
        """Fills `tile` with the harmonics of `explicit` and of u, some points at a time, until all had their turn.

        `out` is what the caller fills at the tile's points, if it is the state of the next call: its outermost layers are then
        sent as soon as they are known, and travel while the other points have their turn. Collective.
        """
        self._prepare(state.u)
        if self._drift is None:
            self._sum.u[...], self._sum.fields[...] = 0.0, 0.0
            self._add(self.other_terms, time, state, self._sum)
        elif self._halo is not None:
            self._halo.start(self._on_block(state.u))
        for chunk in self._in_turn(tile.room):
            tile.class_number, tile.points = chunk.class_number, chunk.points
            self._fill(tile, state)
            yield tile
            if out is not None and chunk.completes and self._halo is not None:
                self._halo.send(self._on_block(out.u), chunk.completes)
                if self._densities is not None:
                    self._densities.send(self._on_block(out.u), chunk.completes)

    def _fill(self, tile: Tile, state: State) -> None:
        """Slots U and N of a tile."""
        count = len(tile.points)
        if self._drift is not None:
            self._drift.to_harmonics(state.u, tile.points, self._transform, tile.slots)
        else:
            self._transform.forward(self._sum.u, tile.slots, N, tile.points)
            self._transform.forward(state.u, tile.slots, U, tile.points)
        tile.fields[N, :count], tile.fields[U, :count] = self._sum.fields[tile.points], state.fields[tile.points]
        booked = None if self.books is None else self.books.record(tile, 0, None)
        for entry, term in enumerate(self.harmonic_terms, start=1):
            term.add_to(tile)
            if self.books is not None:
                booked = self.books.record(tile, entry, booked)

    def _on_block(self, u: Array) -> Array:
        return u.reshape(self.decomposition.local_shape)

    def _in_turn(self, room: int) -> Iterator[_Chunk]:
        """Chunks beside faces as soon as their ghost cells have arrived, and the others meanwhile and afterwards."""
        if room not in self._chunks:
            self._chunks[room] = self._divided(room)
        outer, inner = self._chunks[room]
        others, halo = iter(inner), self._halo
        for chunk in outer:
            assert halo is not None
            while not halo.arrived(chunk.faces) and (other := next(others, None)) is not None:
                yield other
            halo.wait(chunk.faces)
            yield chunk
        for other in others:
            if halo is not None:
                halo.arrived(())  # Moves messages on
            yield other

    def _divided(self, room: int) -> tuple[list[_Chunk], list[_Chunk]]:
        """Points in chunks of one class: those beside faces to other ranks, first to other nodes, and those in between.

        What a chunk holds does not depend on the places of ranks on nodes, since its size shows in the last bits.
        """
        halo = self._halo
        if halo is None:
            return [], self._in_classes(np.arange(self.shape[0]), room)
        inner, outer = halo.points
        chunks = [c for points in _merged(outer, room) for c in self._in_classes(points, room)]
        chunks = [dataclasses.replace(c, faces=halo.faces_of(c.points)) for c in chunks]
        chunks.sort(key=lambda chunk: not halo.of_other_nodes(chunk.faces))
        last = {face: number for number, chunk in enumerate(chunks) for face in chunk.faces}
        by_chunk = [tuple(face for face, number in last.items() if number == n) for n in range(len(chunks))]
        done = [dataclasses.replace(c, completes=faces) for c, faces in zip(chunks, by_chunk, strict=True)]
        return done, self._in_classes(inner, room)

    def _in_classes(self, points: Points, room: int) -> list[_Chunk]:
        chunks = []
        for number, members in enumerate(self.classes):
            own = points if len(self.classes) == 1 else points[np.isin(points, members)]
            chunks += [_Chunk(number, own[first : first + room].copy()) for first in range(0, len(own), room)]
        return chunks

    def load(self, tile: Tile, number: int, state: State) -> None:
        """Slot of the tile = harmonics of `state` at its points."""
        self._transform.forward(state.u, tile.slots, number, tile.points)
        tile.fields[number, : len(tile.points)] = state.fields[tile.points]

    def store(self, tile: Tile, state: State) -> None:
        """`state` takes the tile's result at its points."""
        self._transform.store(tile, state.u)
        state.fields[tile.points] = tile.result_fields[: len(tile.points)]

    def changes(self, time: float, state: State, generators: Sequence[LocalGenerator], light: Array) -> Changes:
        """What each entry of the books does to a state at `time` [ps], with the generators of its classes.

        `light` is the radiative loss of each cell [1/ps]. Collective.
        """
        assert self.books is not None
        points, fields = self.shape[0], self.field_count
        rates, formed = np.zeros((points, fields)), [source.formation(time) for source in self.sources]
        light_rate = sum((each @ light for each in formed), np.zeros(points))
        for tile in self.tiles(self._own_tile(), time, state):
            here, count = tile.points, len(tile.points)
            rates[here] = tile.fields[N, :count]
            light_rate[here] += tile.slots[0, :count, N] @ light
        for generator, members in zip(generators, self.classes, strict=True):
            assert generator.drive is not None
            isotropic = state.u[members].sum(axis=1)
            rates[members] += isotropic @ generator.drive.linear.T
            light_rate[members] += isotropic @ (light @ generator.block(0))
        by_entry = self.books.split(rates).copy()
        for source, each in zip(self.sources, formed, strict=True):
            by_entry[self.books.entry_of(source)] = each @ self.books.sums
        return Changes(by_entry, light_rate)

    def transfer(self, changes: Changes) -> Array:
        """∂t N_v by intervalley scattering at each point, shape (point, valley)."""
        assert self.books is not None
        return self.books.of_part(changes.entries, Scattering.part)[:, :-1]

    def _add(self, terms: Sequence[Term], time: float, state: State, out: State) -> None:
        for term in terms:
            term.add(time, state, out)

    def _prepare(self, u: Array) -> None:
        """Shows the densities of u to the terms that need them. Collective."""
        if self._densities is not None:
            densities = self._densities.exchange(u)
            for term in self.density_terms:
                term.prepare(densities)

    def add_source(self, harmonics: Array, number: int, per_cell: Array, points: Points) -> None:
        """Adds the profile of source `number` at some points times `per_cell`, (cell,) or (point, cell), to their harmonic 0."""
        harmonics[0] += self._profiles[number][points, None] * per_cell

    def local_polynomials(self, polynomials: Sequence[Array | None], start: float, size: float) -> list[Array | None]:
        """The sources' polynomials in a step, (k,), as they are or, where a source differs from point to point, (point, k)."""
        local: list[Array | None] = []
        for source, whole in zip(self.sources, polynomials, strict=True):
            by_point = None if whole is None else source.local_polynomial(start, size)
            local.append(whole if by_point is None else by_point)
        return local

    @property
    def unknowns(self) -> int:
        """Unknowns on all ranks, without auxiliary fields."""
        return math.prod(self.decomposition.grid.shape) * math.prod(self.decomposition.per_point)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the auxiliary fields."""
        own = [f"{term.name}.{i}" for term in self.terms for i in range(term.field_count)]
        return (*own, *(self.books.names if self.books else ()))

    def discard_sent(self) -> None:
        """To be called when a state is changed between steps: ghost cells that were sent ahead are void. Collective."""
        for ghosts in (self._halo, self._densities):
            if ghosts is not None:
                ghosts.discard()

    def free(self) -> None:
        """Releases requests and buffers of the terms' distribution. Collective."""
        for term in self.terms:
            term.free()
        if self._densities is not None:
            self._densities.free()


def _merged(groups: Sequence[Points], room: int) -> list[Points]:
    """Consecutive groups of points together where they fit into one chunk: each chunk reads all matrices."""
    merged: list[Points] = []
    for points in groups:
        if merged and len(merged[-1]) + len(points) <= room:
            merged[-1] = np.concatenate([merged[-1], points])
        else:
            merged.append(points)
    return merged


def _classes(decomposition: Decomposition, class_of_point: NDArray[np.int64] | None) -> list[Points]:
    """Points of this rank that belong to each class."""
    if class_of_point is None:
        return [np.arange(math.prod(decomposition.local_shape[:2]))]
    local = class_of_point[decomposition.x, decomposition.y].reshape(-1)
    return [np.flatnonzero(local == number) for number in range(int(class_of_point.max()) + 1)]
