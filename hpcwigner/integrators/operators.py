"""What exponential integrators multiply with: φ functions of the generator, by class of points, stage and step size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.propagators import PhiFunctions, conserve, diagonal_phi, phi_functions
from hpcwigner.integrators.semilinear import SemilinearSystem, apply_blocks, combined
from hpcwigner.momentum.tile import Tile
from hpcwigner.runtime import tile_kernels
from hpcwigner.runtime.arrays import Array, flat
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.terms.generator import FieldDrive, LocalGenerator, harmonics_by_order
from hpcwigner.terms.pulse import SOURCE_DEGREE
from hpcwigner.terms.term import Source, State

if TYPE_CHECKING:
    from hpcwigner.integrators.exponential import ExponentialIntegrator

_NOTHING = np.zeros((0, 0, 0))
Generators = Sequence[Sequence[LocalGenerator]]  # By stage of the scattering, then by class of points


@dataclasses.dataclass(frozen=True)
class Formula:
    """A stage Σ_slots weight(hL)·slot, plus what the sources bring until `source`·h (0: nothing)."""

    weights: Mapping[int, Any]
    """By slot number, in increasing order without gaps: a matrix, the numbers of a diagonal one, or one for the fields."""
    source: float = 0.0

    @property
    def slots(self) -> slice:
        """The slots that it combines."""
        return slice(min(self.weights), max(self.weights) + 1)


_AT_ZERO = tuple(np.array(1 / math.factorial(k)) for k in range(4))
UNCOUPLED = PhiFunctions(full=_AT_ZERO, half=_AT_ZERO)  # φ functions of L = 0, which the auxiliary fields have


class StepOperators:
    """The stages of a scheme for one step size.

    Integrated exactly is L_exact: all of L if the scheme is `dense`, otherwise L_0 and the diagonals of the other L_m, whose
    in-scattering joins the explicit terms then.
    """

    def __init__(
        self, scheme: type[ExponentialIntegrator], generators: Sequence[LocalGenerator], spectra: Sequence[Sequence[Array]],
        size: float, orders: Sequence[int], comm: MPI.Intracomm,
    ) -> None:  # fmt: skip
        """`generators` by class of points, `spectra` (cell,) by source, then by class; `size` [ps]. Collective over `comm`."""
        self.size = size
        self._in_scattering = None if scheme.dense else _InScattering(generators, orders)
        self._classes = [
            _ClassOperators(scheme, generator, [by_class[number] for by_class in spectra], size, orders, comm)
            for number, generator in enumerate(generators)
        ]
        self.stages = [Stage(f, self._classes, number) for number, f in enumerate(scheme.formulas(size, UNCOUPLED))]

    def add_rest(self, tile: Tile) -> None:
        """N(u) of a tile grows by (L − L_exact) u."""
        if self._in_scattering is not None:
            self._in_scattering.add(tile)

    def free(self) -> None:
        """Releases the node's memory. Collective."""
        for operators in self._classes:
            operators.shared.free()
        self._classes.clear()


@dataclasses.dataclass(frozen=True)
class Stage:
    """A formula with its matrices."""

    formula: Formula  # With the numbers that the auxiliary fields take
    classes: Sequence[_ClassOperators]
    number: int

    def apply(
        self, system: SemilinearSystem, tile: Tile, polynomials: Sequence[Array | None],
        onto: int | None = None, minus: State | None = None,
    ) -> None:  # fmt: skip
        """The tile's result = the formula of its slots, with the sources' `polynomials` in this step, plus slot `onto`.

        `minus` holds harmonics that `Tile.save` has stored; they are subtracted from the formula's first slot.
        """
        operators, points, reach = self.classes[tile.class_number], tile.points, self.formula.source
        result, fields = tile.result[:, : len(points)], tile.result_fields[: len(points)]
        operators.multiply(self.number, self.formula.slots, system.orders, tile, onto, minus)
        fields[...] = sum(weight * tile.fields[slot, : len(points)] for slot, weight in self.formula.weights.items())
        if onto is not None:
            fields += tile.fields[onto, : len(points)]
        driven = operators.field_rows[self.number] if operators.driven else ()
        for slot, rows in zip(self.formula.weights, driven, strict=False):
            fields += tile.slots[0, : len(points), slot] @ rows
        for k, polynomial in enumerate(polynomials if reach else ()):
            if polynomial is not None:
                system.add_source(result, k, combined(polynomial, operators.source_vectors[reach][k], points), points)
                if operators.driven:
                    to_fields = combined(polynomial, operators.field_sources[reach][k], points)
                    system.add_source(fields[None], k, to_fields, points)


class _InScattering:
    """Γ_m u of a tile's harmonics m ≥ 1."""

    def __init__(self, generators: Sequence[LocalGenerator], orders: Sequence[int]) -> None:
        self._generators = generators
        self._members = harmonics_by_order(orders, max(orders))
        self._unscaled = np.zeros((0, 0))
        self._x = np.zeros((4, generators[0].equilibrium.cells.size + 2 * WIDTH))

    def add(self, tile: Tile) -> None:
        """Slot N grows by Γ_m of slot U."""
        (room, slots), blocks = tile.slots.shape[1:3], self._generators[tile.class_number].in_scattering
        tile_kernels.add_in_scattering(
            len(tile.points), room, slots, self._members, blocks.diagonals, blocks.rest, self._unscaled, self._x, flat(tile.slots)
        )


class _ClassOperators:
    """The matrices of one class of points: blocks[stage] (m, slot·cell, cell), transposed, and of the orders beyond those the
    diagonals[stage] (m, slot, cell); and the sources' vectors."""

    def __init__(
        self, scheme: type[ExponentialIntegrator], generator: LocalGenerator, spectra: Sequence[Array], size: float,
        orders: Sequence[int], comm: MPI.Intracomm,
    ) -> None:  # fmt: skip
        counts = [len(formula.weights) for formula in scheme.formulas(size, UNCOUPLED)]
        cells, harmonics = generator.equilibrium.cells.size, max(orders) + 1
        full = harmonics if scheme.dense else 1
        matrices, drive = sum(counts) * cells, generator.drive
        self.driven, count = drive is not None, 0 if drive is None else len(drive.linear)
        per_source = 2, len(spectra), SOURCE_DEGREE + 1
        shapes = [(full, matrices, cells), (*per_source, cells), (sum(counts), cells, count), (*per_source, count)]
        self.shared = NodeShared(comm, (sum(map(math.prod, shapes)),))  # one window for all
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        whole, sources, rows, to_fields = (
            part.reshape(shape) for part, shape in zip(np.split(self.shared.array, ends), shapes, strict=True)
        )

        def compute(m: int) -> None:
            phi = phi_functions(generator.block(m), size)  # keeps parts that do not couple apart, to the last bit
            if m == 0:
                phi = conserve(phi, size, generator.equilibrium.population, generator.loss)
                for k, spectrum in enumerate(spectra):
                    sources[:, k] = _source_vectors(phi, size, spectrum)
                if drive is not None:
                    _fill_fields(scheme, generator, drive, phi, spectra, size, rows, to_fields)
            row = 0
            for formula in scheme.formulas(size, phi):
                for matrix in formula.weights.values():
                    whole[m, row : row + cells] = matrix.T
                    row += cells

        self.shared.fill(full, compute)
        last = np.cumsum(counts) * cells
        self.blocks = [whole[:, end - n * cells : end] for n, end in zip(counts, last, strict=True)]
        self.parts, self._orders = generator.parts, np.array(orders)
        self.source_vectors = {1.0: sources[0], 0.5: sources[1]}
        self.field_rows = np.split(rows, np.cumsum(counts)[:-1])  # By stage, (slot, cell, field): harmonic 0's part in the fields
        self.field_sources = {1.0: to_fields[0], 0.5: to_fields[1]}
        formulas = () if scheme.dense else scheme.formulas(size, diagonal_phi(-size * generator.out_rates))
        self.diagonals = [np.stack(list(formula.weights.values()), axis=1) for formula in formulas]

    def multiply(
        self, stage: int, slots: slice, orders: Sequence[int], tile: Tile, onto: int | None, minus: State | None
    ) -> None:
        """The tile's result = Σ matrix · slot, plus slot `onto`; where matrices are diagonal, the sum is left pending."""
        count, later = len(tile.points), _NOTHING
        if minus is not None:
            whole = not self.diagonals
            tile.subtract(slots.start, minus.u, minus.fields, None if whole else orders)
            later = _NOTHING if whole else minus.u
        apply_blocks(self.blocks[stage], orders, tile.slots[:, :count, slots], tile.result[:, :count], self.parts)
        tile.pending = None
        if self.diagonals:
            tile.pending = slots.start, self._orders, self.diagonals[stage], -1 if onto is None else onto, later
        elif onto is not None:
            tile.result[:, :count] += tile.slot(onto)


def _fill_fields(
    scheme: type[ExponentialIntegrator], generator: LocalGenerator, drive: FieldDrive, phi: PhiFunctions,
    spectra: Sequence[Array], size: float, rows: Array, to_fields: Array,
) -> None:  # fmt: skip
    """What driven fields take from each slot, `rows` (weight, cell, field), and from sources, `to_fields` (2, source, k, field).

    With the fields f in the state, φ_k of h[[L, 0], [G, 0]] has the rows h G φ_{k+1}(hL) for f: the scheme then integrates
    ∂t f = G u with the weights that it has for u.
    """
    highest = phi_functions(generator.block(0), size, highest=4)
    full, half = (*phi.full[1:], highest.full[4]), (*phi.half[1:], highest.half[4])
    rows_of_phi = PhiFunctions(
        full=tuple(size * drive.linear @ f for f in full), half=tuple(0.5 * size * drive.linear @ f for f in half)
    )
    weights = [weight for formula in scheme.formulas(size, rows_of_phi) for weight in formula.weights.values()]
    rows[...] = np.array(weights).transpose(0, 2, 1)
    for k, (spectrum, own) in enumerate(zip(spectra, drive.sources, strict=True)):
        to_fields[:, k] = _source_vectors(rows_of_phi, size, spectrum)
        for place, c in enumerate((1.0, 0.5)):
            lengths = np.array([size * c ** (j + 1) / (j + 1) for j in range(SOURCE_DEGREE + 1)])
            to_fields[place, k] += np.outer(lengths, own)


def _source_vectors(phi: PhiFunctions, size: float, spectrum: Array) -> Array:
    """∫₀^c exp((c − s)hL) s^k h ds f = h k! c^(k+1) φ_{k+1}(chL) f for c = 1, ½; shape (2, k, cell)."""
    return np.array(
        [
            [size * math.factorial(k) * c ** (k + 1) * (functions[k + 1] @ spectrum) for k in range(SOURCE_DEGREE + 1)]
            for c, functions in ((1.0, phi.full), (0.5, phi.half))
        ]
    )


def spectra_of(source: Source, stage: int, classes: int) -> list[Array]:
    """A source's spectrum (cell,) in each class of points; its mean where there is one class."""
    return [source.spectrum(stage, number if classes > 1 else None) for number in range(classes)]


class OperatorCache:
    """Step operators by (stage, size): made when first needed, collectively, and kept."""

    def __init__(
        self, scheme: type[ExponentialIntegrator], generators: Generators, system: SemilinearSystem, comm: MPI.Intracomm
    ) -> None:
        """`generators` by stage, then by class of points."""
        self.scheme, self.generators, self.orders, self.comm = scheme, generators, system.orders, comm
        self._sources = system.sources
        self._made: dict[tuple[int, float], StepOperators] = {}

    def get(self, stage: int, size: float) -> StepOperators:
        """Operators of one step size. Collective when they are new."""
        key = (stage, size)
        if key not in self._made:
            generators = self.generators[stage]
            spectra = [spectra_of(source, stage, len(generators)) for source in self._sources]
            self._made[key] = StepOperators(self.scheme, generators, spectra, size, self.orders, self.comm)
        return self._made[key]

    def free(self) -> None:
        """Releases all operators. Collective."""
        for operators in self._made.values():
            operators.free()
        self._made.clear()
