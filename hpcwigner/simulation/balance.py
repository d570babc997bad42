"""Balances of number and energy over a run, from running accumulators."""

from collections.abc import Mapping, Sequence

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import LandscapeMoments, SpatialMoments
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.offsets import LocalScattering
from hpcwigner.terms.term import LocalLinearTerm


class Balance:
    """Running accumulators ∫dt (trapezoidal rule over steps): of scattering's power, and of M0, in a landscape also of ∫E_v u.

    What losses have changed follows from the latter, one set for each stage of the scattering.
    """

    def __init__(
        self, problem: Problem, decomposition: Decomposition, plan: StepPlan, resumed: Mapping[str, Sequence[float]],
        local: LocalScattering | None,
    ) -> None:  # fmt: skip
        """`resumed` are the accumulators of the checkpoint resumed from; none at the start."""
        self.active = bool(problem.not_closed)
        if self.active and resumed and "work" not in resumed:
            raise InputError(
                "--restart: found a checkpoint of an older version without these balances, expected a newer one: start anew"
            )
        self._problem, self._comm, self._measure = problem, decomposition.comm, problem.space.cell_measure
        self._local = local
        self._steps = plan.steps() if self.active else []
        self._sums = np.zeros((len(problem.generators), 2 * problem.cells.size))
        self._initial = np.zeros(2 * problem.cells.size)
        self._last: Array | None = None
        self._power, self._work = np.zeros(0), float(resumed["work"][0]) if resumed and self.active else 0.0
        """Of all ranks: power of each stage's scattering in the last state, and the work done; the same bits on every rank."""
        self._done = -1
        if self.active and resumed and self._comm.rank == 0:  # the others hold nothing of what was before
            self._sums[...] = np.reshape(resumed["time_integrals"], self._sums.shape)
            self._initial[...] = resumed["initial_sums"]

    def update(self, done: int, u: Array) -> None:
        """Accumulates the step that has just been done; u is (point, angle, cell)."""
        if not self.active or done == self._done:
            return
        now, power = self._measured(u)
        self._comm.Allreduce(MPI.IN_PLACE, power)
        if self._last is None:
            self._initial += now if done == 0 else 0.0
        else:
            step = self._steps[done - 1]
            self._sums[step.stage] += 0.5 * step.size * (self._last + now)
            self._work += 0.5 * step.size * float(self._power[step.stage] + power[step.stage])
        self._last, self._power, self._done = now, power, done

    def _measured(self, u: Array) -> tuple[Array, Array]:
        """∫u, then ∫E_v u of each cell (2·cell,), and the power of each stage's scattering (stage,): this rank's part."""
        isotropic = u.sum(axis=1)
        numbers = isotropic.sum(axis=0)
        potential, power = np.zeros_like(numbers), np.array([stage.power @ numbers for stage in self._problem.scattering.stages])
        if self._local is not None:
            potential, power[:] = self._local.potential(isotropic), self._local.transfer(isotropic)[1]
        return np.concatenate((numbers, potential)) * self._measure, power * self._measure

    def accumulators(self) -> dict[str, list[float]]:
        """What a checkpoint keeps. Collective."""
        if not self.active:
            return {}
        return {
            "time_integrals": self._comm.allreduce(self._sums).ravel().tolist(),
            "initial_sums": self._comm.allreduce(self._initial).tolist(),
            "work": [self._work],
        }

    def heat(self, time: float) -> float:
        """Energy given to phonons until `time` [ps], the last one accumulated [meV per generated exciton]."""
        generated = sum(source.generated(time) for source in self._problem.sources)
        if self._problem.initial is not None:
            generated += self._problem.initial.population
        return -self._work / generated if generated > 0 else np.nan

    def accounts(self) -> list[tuple[str, float, float]]:
        """Excitons and energy [meV] by cause: initial state, sources, losses; present; the difference. Collective."""
        problem, cells = self._problem, self._problem.cells.size
        sums, initial = self._comm.allreduce(self._sums), self._comm.allreduce(self._initial)
        last = self._comm.allreduce(np.zeros(len(initial)) if self._last is None else self._last)
        accounts = [("initial state", *self._content(initial))]
        for source in problem.sources:
            accounts.append((source.name, source.generated(problem.config.time.end), source.energy(problem.config.time.end)))
        for term in problem.terms:
            if term is problem.scattering:
                accounts.append((term.name, 0.0, self._work))
            elif isinstance(term, LocalLinearTerm):
                zero, (numbers, potential) = np.zeros(cells), sums.sum(axis=0).reshape(2, cells)
                landscape = LandscapeMoments(potential, zero, zero, np.zeros((2, len(problem.cells.valleys))), 0.0)
                entry = term.entry(0.0, SpatialMoments(numbers, zero, zero, landscape=landscape))
                accounts.append((term.name, float(entry.number.sum()), entry.power))
        number, energy = self._content(last)
        missing = number - sum(n for _, n, _ in accounts), energy - sum(e for _, _, e in accounts)
        return [*accounts, ("present", number, energy), ("not accounted for", *missing)]

    def _content(self, sums: Array) -> tuple[float, float]:
        """Excitons and their energy [meV]."""
        cells = self._problem.cells.size
        energies = self._problem.equilibrium.total_energy
        return float(sums[:cells].sum()), float(energies @ sums[:cells] + sums[cells:].sum())
