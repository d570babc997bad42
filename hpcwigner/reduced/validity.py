"""Where the kinetics departs from drift and diffusion: steep profiles, strong forces, energies and valleys that are not thermal.

Excitons move over a mean free path ℓ_v = √⟨v²⟩τ between collisions. Their flux is the first order in ℓq with q = |∇ ln(n/p)|,
p = exp(−E_v/kT) the local equilibrium: 2r/w² in a Gaussian spot. A force heats where ℓF is as much as kT. A rate constant
between valleys exists only where what arrives thermalises before it leaves.
"""

import dataclasses
import math

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.steps import LONGEST_TICK
from hpcwigner.observables.curves import THERMAL, settled
from hpcwigner.problem.builder import Problem
from hpcwigner.reduced.coefficients import mean_free_paths, of_scattering
from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.runtime.arrays import Array
from hpcwigner.terms.scattering import ScatteringStage

STEEP = 0.3  # ℓq beyond which diffusion is off by several percent (its next order is (ℓq)²)
STRONG = 1.0  # ℓF/kT beyond which a force heats
FEW = 0.05  # Part of the excitons that does not count


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """Of a homogeneous sample by the kinetic rates."""

    within: Array  # Slowest relaxation of the energies within each valley [1/ps], shape (valley,)
    leaving: Array  # Rate at which thermal excitons leave each valley for others [1/ps], shape (valley,)
    modes: Array  # Slowest decay rates of the kinetic scattering [1/ps], as many as there are transfer modes and one more
    transfer_modes: Array  # Decay rates of the reduced transfer [1/ps], shape (valley − 1,)
    thermal_from: float  # Energies are thermal to 5 % from then on [ps]; NaN: never
    final: Array  # Populations at the end, for `RunOutput`, shape (valley,)

    @property
    def faster(self) -> list[int]:
        """Valleys that excitons leave faster than they thermalise there: they have no rate constant until then."""
        return [int(v) for v in np.flatnonzero(self.leaving > self.within)]


def relaxation(problem: Problem) -> Relaxation:
    """From the spectrum of L_0 and the solution of the homogeneous sample. On one rank."""
    stage = problem.scattering.stages[0]
    transfer = of_scattering(stage)[1]
    valleys, cells = len(transfer), stage.cells
    weight = cells.valley_sum(stage.equilibrium.population)
    every = problem.moments.output_every
    moments = dataclasses.replace(problem.moments, output_every=every / math.ceil(every / LONGEST_TICK))
    snapshots = moments.snapshots()
    away = []
    for s in snapshots:
        number = s.budget.population
        away.append(float(np.nansum(number * s.energy_distance()) / max(number.sum(), 1e-300)))
    judged = [i for i, s in enumerate(snapshots) if s.budget.population.sum() > 0]
    return Relaxation(
        _within(stage),
        -transfer.diagonal(),
        _decay_rates(stage.blocks[0], stage.equilibrium.population)[1 : valleys + 1],
        _decay_rates(transfer, weight)[1:],
        settled(moments.times[judged], np.array(away)[judged], THERMAL),
        problem.final_scale([s.budget for s in snapshots]),
    )


def _within(stage: ScatteringStage) -> Array:
    """Second smallest decay rate of each valley's own scattering, with what leaves for other valleys left out."""
    rates, cells = [], stage.cells
    for v, own in enumerate(cells.slices):
        block = stage.blocks[0][own, own].copy()
        diagonal = np.arange(len(block))
        leaving = -stage.valley_transfer[v, own]  # what stays in the valley is no part of it
        block[diagonal, diagonal] += leaving
        rates.append(_decay_rates(block, stage.equilibrium.population[own])[1])
    return np.array(rates)


def _decay_rates(generator: Array, population: Array) -> Array:
    """−eigenvalues of a generator with detailed balance [1/ps], in increasing order."""
    root = np.sqrt(population)
    scaled = generator * root / root[:, None]
    return -np.linalg.eigvalsh(0.5 * (scaled + scaled.T))[::-1]


class Departures:
    """Excitons where ℓq or ℓF is large, summed up over the run."""

    def __init__(self, equation: DriftDiffusion) -> None:
        """Collective."""
        self._equation, self._comm = equation, equation.decomposition.comm
        self._lengths = mean_free_paths(equation.problem)
        self._steps = np.array([equation.problem.space.spacing[axis] for axis, side in equation.neighbours.sides if side])
        self._forces = self._slope(equation.neighbours(equation.heights))
        self._last: tuple[float, Array] | None = None
        self.sums = np.zeros(3)  # ∫dt of all excitons, of those where ℓq is large, where ℓF is
        self.until = np.full(2, np.nan)
        """Last times [ps] at which more than a few excitons were there; NaN: never."""

    def _slope(self, beside: list[Array]) -> Array:
        """|∇f| from f at both neighbours along each axis."""
        pairs = [(high - low) / (2 * h) for low, high, h in zip(beside[0::2], beside[1::2], self._steps, strict=True)]
        return np.sqrt(np.sum(np.square(pairs), axis=0))

    def look(self, time: float, n: Array) -> None:
        """Takes a state into account. Collective."""
        equation = self._equation
        heights = equation.heights_with(n)
        steep = self._slope(equation.neighbours(np.log(np.maximum(n, 1e-300)) + heights))
        forces = self._slope(equation.neighbours(heights)) if equation.strength else self._forces
        number = np.maximum(n, 0.0)
        parts = np.array([
            number.sum(), number[steep * self._lengths > STEEP].sum(), number[forces * self._lengths > STRONG].sum()
        ])  # fmt: skip
        self._comm.Allreduce(MPI.IN_PLACE, parts)
        if self._last is not None:
            self.sums += 0.5 * (time - self._last[0]) * (parts + self._last[1])
        self._last = time, parts
        self.until[parts[1:] > FEW * parts[0]] = time

    @property
    def shares(self) -> Array:
        """Parts of excitons and time: with a large ℓq, with a large ℓF."""
        return self.sums[1:] / self.sums[0] if self.sums[0] > 0 else np.zeros(2)
