"""The equation at one point: scattering, losses and a constant force on the distribution in momentum, without space.

    ∂t u = L u − F·∂u/∂(ħQ),    L: exciton-phonon scattering and the losses of the input

u[angle, cell] is the number of excitons in each momentum cell: an energy cell of a valley, times a direction of motion. The
operators are those of runs (momentum/, terms/), and so is the exponential integrator.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.api import Input, Values, communicator, configured
from hpcwigner.exciton.constants import UM
from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.propagators import phi_functions
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.problem import builder
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.equation import valley_number
from hpcwigner.problem.kinetics import load, whole_grid
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.space.landscape import Landscape
from hpcwigner.space.stencil import stable_step
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.sources import injection_spectrum
from hpcwigner.terms.term import LocalLinearTerm, State

SCHEME = "etd3_dense"  # Exact for L in every harmonic; the force is explicit, of order 3
ROUNDING = 1e-13  # Harmonics below this part of harmonic 0 are none
SAFETY = 0.1  # Part of the stability limit of the force that steps use: errors are 1e-5 then (tests/test_point.py)


class Point:
    """Excitons at one point of a homogeneous sample. Distributions u have shape (angle, cell).

    Attributes: `valleys` (names), `valley_of_cell` (cell,), `energy` (cell,) mean energy from the bright valley [meV],
    `velocity` (cell,) rms speed [nm/ps], `angles` (angle,) directions of motion [rad], `equilibrium` (angle, cell) the Boltzmann
    distribution of one exciton.
    """

    def __init__(self, input: Input, set: Values | None = None) -> None:
        """Of an input: its material, temperature, momentum grid, scattering and losses; what concerns space is not used.

        Raises InputError, also where the sample varies in space. On one rank.
        """
        communicator(MPI.COMM_SELF)
        config = configured(input, set, MPI.COMM_SELF)
        if config.landscape or config.interaction:
            raise InputError(
                "sample, interaction: found a landscape or an interaction, expected a homogeneous sample without one"
            )
        config = dataclasses.replace(config, pump=False, initial="equilibrium")
        kinetics = load(config, MPI.COMM_SELF)
        self.problem: Problem = builder.assemble(kinetics, whole_grid(config))
        kinetics.rates.free()
        if others := [term.name for term in self.problem.terms if not isinstance(term, Drift | Scattering | Loss)]:
            raise InputError(f"extensions: found the term {others[0]}, expected losses only: others may depend on the place")
        equilibrium, cells = self.problem.equilibrium, self.problem.cells
        self.valleys = tuple(valley.name for valley in cells.valleys)
        self.valley_of_cell: NDArray[np.int64] = cells.valley_of_cell
        self.energy, self.velocity = equilibrium.total_energy, equilibrium.velocity
        self._angles = Angles(config.momentum.first_angles, half=False)
        self.angles = self._angles.theta
        self.equilibrium = self.isotropic(equilibrium.population)
        flat = Landscape(np.zeros((len(self.valleys), 1, 1)), equilibrium.thermal_energy, SpaceGrid(2, 1.0, (1, 1), "periodic"))
        self._decomposition = Decomposition(flat.grid, MPI.COMM_SELF, (self._angles.count, cells.size))
        self._force = Force(equilibrium, self._angles, flat)
        self._force.distribute(self._decomposition)
        self._scattering = Scattering(self._angles, self.problem.scattering.stages[:1])

    def isotropic(self, populations: Any) -> Array:
        """The distribution with some populations (cell,) that is the same in all directions."""
        return np.asarray(self._angles.from_harmonics[:, :1] * np.asarray(populations, dtype=float))

    def injected(self, valley: str, above: float, spread: float = 5.0) -> Array:
        """One exciton in a valley, Gaussian in the energy `above` its bottom with the rms width `spread` [meV], isotropic.

        Raises InputError for a valley or an energy that is not on the grid.
        """
        number = valley_number("valley", valley, self.problem.cells)
        try:
            return self.isotropic(injection_spectrum(self.problem.equilibrium, number, above, spread))
        except ValueError as error:
            raise InputError(f"above: found {above:g} meV, expected {error}") from None

    def formed(self) -> Array:
        """One exciton as it is formed from coherent ones: Γ_{Q,0}/Σ_Q Γ_{Q,0}. Raises InputError without scattering."""
        rates = self.problem.formation[0]
        if not rates.any():
            raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
        return self.isotropic(rates / rates.sum())

    def scattering(self, u: Any) -> Array:
        """Σ_{v'Q'} [Γ_{QQ'} u_{Q'} − Γ_{Q'Q} u_Q] [u/ps]: keeps the number of excitons, and `equilibrium`."""
        return self._evaluated(self._scattering, u)

    def losses(self, u: Any) -> Array:
        """Radiative and other losses of the input [u/ps]: −γ u in the light cone, −u/τ."""
        return sum((self._evaluated(loss, u) for loss in self._losses), np.zeros_like(self.equilibrium))

    def acceleration(self, u: Any, force: Sequence[float]) -> Array:
        """−F·∂u/∂(ħQ) [u/ps] by a force (F_x, F_y) [meV/µm] (momentum/acceleration.py): keeps the number of each valley."""
        self._set_force(force)
        return self._evaluated(self._force, u)

    def evolve(self, u: Any, times: Sequence[float], force: Sequence[float] = (0.0, 0.0)) -> Array:
        """u at `times` [ps], which increase from above 0, from u at t = 0: shape (time, angle, cell).

        Without a force by exact exponentials of L, so that small populations are exact as well; a force (F_x, F_y) [meV/µm] is
        advanced by steps of order 3 below its stability limit. Each different interval between times costs matrices of its own.
        Raises ValueError for other times or shapes.
        """
        ends, start = [float(time) for time in times], self._checked(u)
        if not ends or any(b <= a for a, b in itertools.pairwise([0.0, *ends])):
            raise ValueError(f"times: found {ends}, expected increasing ones above 0")
        return self._stepped(start, ends, force) if any(force) else self._exact(start, ends)

    def _exact(self, u: Array, ends: Sequence[float]) -> Array:
        """Harmonics that are there are multiplied by exp(L_m Δt)."""
        generator, states, propagators = self.problem.generators[0], [], dict[tuple[int, float], Array]()
        harmonics = self._angles.to_harmonics @ u
        harmonics[np.abs(harmonics) < ROUNDING * np.abs(harmonics[0])] = 0.0
        for begin, end in itertools.pairwise([0.0, *ends]):
            interval = round(end - begin, 12)
            for row, m in zip(harmonics, self._angles.orders, strict=True):
                if not row.any():
                    continue
                if (m, interval) not in propagators:
                    propagators[m, interval] = phi_functions(generator.block(m), interval, highest=0).full[0]
                row[:] = propagators[m, interval] @ row
            states.append(self._angles.from_harmonics @ harmonics)
        return np.array(states)

    def _stepped(self, u: Array, ends: Sequence[float], force: Sequence[float]) -> Array:
        """By the integrator of a run."""
        rates = self._force.courant_rate_of(np.full(len(self.valleys), UM * math.hypot(*force)))
        step = min(ends[-1], SAFETY * stable_step(SCHEMES[SCHEME].amplification, rates, np.zeros_like(rates)))
        equation = WignerEquation(self._decomposition, self._angles, [self._scattering, *self._losses, self._force])
        self._set_force(force)  # the equation has set that of its landscape, none
        vector = equation.create_vector()
        equation.view(vector).u[0] = u
        steps = plan(ends[-1], ends[-1], [(ends[-1], step)], (), ends[:-1])
        outputs = dict(zip(steps.steps_until(ends).tolist(), range(len(ends)), strict=True))
        states = np.empty((len(ends), *u.shape))

        def monitor(done: int, vector: Any) -> None:
            if done in outputs:
                states[outputs[done]] = equation.read(vector).u[0]

        generators = [[generator] for generator in self.problem.generators[:1]]
        try:
            integrate(SCHEME, equation, generators, Schedule(steps, ()), MPI.COMM_SELF, monitor, vector)
        finally:
            vector.destroy()
            equation.free()
        return states

    def population(self, u: Any) -> Array:
        """Number of excitons of each valley: (…, angle, cell) → (…, valley)."""
        return self.problem.cells.valley_sum(np.asarray(u).sum(axis=-2))

    def mean_velocity(self, u: Any) -> Array:
        """⟨v⟩ of each valley [nm/ps]: (…, angle, cell) → (…, valley, 2); NaN where it is empty."""
        directions = np.stack((self._angles.cosine, self._angles.sine))
        flux = self.problem.cells.valley_sum(np.einsum("da,...ac->...dc", directions, np.asarray(u)) * self.velocity)
        population = self.population(u)[..., None, :]
        ratio = np.divide(flux, population, out=np.full_like(flux, np.nan), where=population > 0)
        return np.moveaxis(ratio, -2, -1)

    @property
    def _losses(self) -> list[LocalLinearTerm]:
        return [term for term in self.problem.terms if isinstance(term, Loss)]

    def _set_force(self, force: Sequence[float]) -> None:
        for axis, strength in enumerate(force):
            self._force.set_force(axis, np.full((len(self.valleys), 1, 1), UM * strength))

    def _checked(self, u: Any) -> Array:
        values = np.ascontiguousarray(u, dtype=float)
        if values.shape != self.equilibrium.shape:
            raise ValueError(f"u: found the shape {values.shape}, expected {self.equilibrium.shape} (angle, cell)")
        return values

    def _evaluated(self, term: Any, u: Any) -> Array:
        nothing = np.zeros((1, 0))
        out = State(np.zeros((1, *self.equilibrium.shape)), nothing)
        term.add(0.0, State(self._checked(u)[None], nothing), out)
        return np.asarray(out.u[0])
