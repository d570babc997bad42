"""The matrices of exponential integrators: φ functions of the generator, by class of points, stage and step size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators.propagators import PhiFunctions, conserve, phi_functions
from hpcwigner.integrators.semilinear import SemilinearSystem, apply_blocks
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.pulse import SOURCE_DEGREE

if TYPE_CHECKING:
    from hpcwigner.integrators.exponential import ExponentialIntegrator

Array = NDArray[np.float64]
Generators = Sequence[Sequence[LocalGenerator]]
"""By stage of the scattering, then by class of points."""


@dataclasses.dataclass(frozen=True)
class Formula:
    """A stage Σ_slots weight(hL)·slot, plus what the sources bring until `source`·h (0: nothing)."""

    weights: Mapping[int, Any]
    """By slot number, in increasing order without gaps: a matrix, or a number for the auxiliary fields (L = 0)."""
    source: float = 0.0

    @property
    def slots(self) -> slice:
        """The slots that it combines."""
        return slice(min(self.weights), max(self.weights) + 1)


_AT_ZERO = tuple(np.array(1 / math.factorial(k)) for k in range(4))
UNCOUPLED = PhiFunctions(full=_AT_ZERO, half=_AT_ZERO)
"""φ functions of L = 0, which the auxiliary fields have."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A formula with its matrices."""

    formula: Formula
    """With the numbers that the auxiliary fields take."""
    classes: Sequence[_ClassOperators]
    number: int

    def apply(self, system: SemilinearSystem, slots: Array, out: Array, polynomials: Sequence[Array | None]) -> None:
        """out = the formula of the slots (harmonic, point, slot, cell), with the sources' `polynomials` in this step."""
        reach = self.formula.source
        for operators, points in zip(self.classes, system.classes, strict=True):
            vectors = slots[:, :, self.formula.slots]
            apply_blocks(operators.blocks[self.number], system.orders, vectors, out, operators.parts, points)
            for k, polynomial in enumerate(polynomials if reach else ()):
                if polynomial is not None:
                    system.add_source(out, k, polynomial @ operators.source_vectors[reach][k], points)


class StepOperators:
    """The stages of a scheme for one step size."""

    def __init__(
        self,
        scheme: type[ExponentialIntegrator],
        generators: Sequence[LocalGenerator],
        spectra: Sequence[Array],
        size: float,
        orders: Sequence[int],
        comm: MPI.Intracomm,
    ) -> None:
        """`generators` by class of points, `spectra` of the sources (cell,); `size` [ps]. Collective over `comm`."""
        self.size = size
        self._classes = [_ClassOperators(scheme, generator, spectra, size, orders, comm) for generator in generators]
        self.stages = [Stage(f, self._classes, number) for number, f in enumerate(scheme.formulas(size, UNCOUPLED))]

    def free(self) -> None:
        """Releases the node's memory. Collective."""
        for operators in self._classes:
            operators.shared.free()
        self._classes.clear()


class _ClassOperators:
    """blocks[formula] (m, slot·cell, cell), transposed, and the sources' vectors of one class of points."""

    def __init__(
        self,
        scheme: type[ExponentialIntegrator],
        generator: LocalGenerator,
        spectra: Sequence[Array],
        size: float,
        orders: Sequence[int],
        comm: MPI.Intracomm,
    ) -> None:
        counts = [len(formula.weights) for formula in scheme.formulas(size, UNCOUPLED)]
        cells, harmonics = generator.equilibrium.cells.size, max(orders) + 1
        matrices, vectors = sum(counts) * cells, 2 * len(spectra) * (SOURCE_DEGREE + 1)
        # One window for both; the vectors stand behind the matrices, one harmonic after the other.
        self.shared = NodeShared(comm, (harmonics * matrices * cells + vectors * cells,))
        whole = self.shared.array[: harmonics * matrices * cells].reshape(harmonics, matrices, cells)
        sources = self.shared.array[harmonics * matrices * cells :].reshape(2, len(spectra), SOURCE_DEGREE + 1, cells)

        def compute(m: int) -> None:
            phi = phi_functions(generator.block(m), size)  # keeps parts that do not couple apart, to the last bit
            if m == 0:
                phi = conserve(phi, size, generator.equilibrium.population, generator.loss)
                for k, spectrum in enumerate(spectra):
                    sources[:, k] = _source_vectors(phi, size, spectrum)
            row = 0
            for formula in scheme.formulas(size, phi):
                for matrix in formula.weights.values():
                    whole[m, row : row + cells] = matrix.T
                    row += cells

        self.shared.fill(harmonics, compute)
        ends = np.cumsum(counts) * cells
        self.blocks = [whole[:, end - n * cells : end] for n, end in zip(counts, ends, strict=True)]
        self.parts = generator.parts
        self.source_vectors = {1.0: sources[0], 0.5: sources[1]}


def _source_vectors(phi: PhiFunctions, size: float, spectrum: Array) -> Array:
    """∫₀^c exp((c − s)hL) s^k h ds f = h k! c^(k+1) φ_{k+1}(chL) f for c = 1, ½; shape (2, k, cell)."""
    return np.array(
        [
            [size * math.factorial(k) * c ** (k + 1) * (functions[k + 1] @ spectrum) for k in range(SOURCE_DEGREE + 1)]
            for c, functions in ((1.0, phi.full), (0.5, phi.half))
        ]
    )


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
            spectra = [source.spectrum(stage) for source in self._sources]
            self._made[key] = StepOperators(self.scheme, self.generators[stage], spectra, size, self.orders, self.comm)
        return self._made[key]

    def free(self) -> None:
        """Releases all operators. Collective."""
        for operators in self._made.values():
            operators.free()
        self._made.clear()
