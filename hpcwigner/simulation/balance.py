"""Balances of number and energy over a run, for problems whose moment equations do not close."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import SpatialMoments
from hpcwigner.problem.builder import Problem
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.term import LocalLinearTerm


class Account(NamedTuple):
    """Number [excitons] and energy [meV] that a cause has brought since the start."""

    cause: str
    number: float
    energy: float


class Balance:
    """Running accumulators ∫M0 dt of each energy cell, one for each stage of the scattering (trapezoidal rule over steps).

    What a local linear term has changed follows from them, since it is linear in M0.
    """

    def __init__(
        self, problem: Problem, decomposition: Decomposition, plan: StepPlan, resumed: Mapping[str, Sequence[float]]
    ) -> None:
        """`resumed` are the accumulators of the checkpoint resumed from; none at the start."""
        self.active = bool(problem.not_closed)
        self._problem, self._comm, self._measure = problem, decomposition.comm, problem.space.cell_measure
        self._steps = plan.steps() if self.active else []
        self._sums = np.zeros((len(problem.generators), problem.cells.size))
        self._initial = np.zeros(problem.cells.size)
        self._last: Array | None = None
        self._done = -1
        if self.active and resumed and self._comm.rank == 0:  # the others hold nothing of what was before
            self._sums[...] = np.reshape(resumed["time_integrals"], self._sums.shape)
            self._initial[...] = resumed["initial_populations"]

    def update(self, done: int, u: Array) -> None:
        """Accumulates the step that has just been done; u is (point, angle, cell)."""
        if not self.active or done == self._done:
            return
        now = u.sum(axis=(0, 1)) * self._measure
        if self._last is None:
            self._initial += now if done == 0 else 0.0
        else:
            step = self._steps[done - 1]
            self._sums[step.stage] += 0.5 * step.size * (self._last + now)
        self._last, self._done = now, done

    def accumulators(self) -> dict[str, list[float]]:
        """What a checkpoint keeps. Collective."""
        if not self.active:
            return {}
        return {
            "time_integrals": self._comm.allreduce(self._sums).ravel().tolist(),
            "initial_populations": self._comm.allreduce(self._initial).tolist(),
        }

    def accounts(self) -> list[Account]:
        """Initial state, every source and loss, what is present, and the difference. Collective."""
        problem, zero = self._problem, np.zeros(self._initial.shape)
        energies = problem.equilibrium.total_energy
        sums, initial = self._comm.allreduce(self._sums), self._comm.allreduce(self._initial)
        last = self._comm.allreduce(zero if self._last is None else self._last)
        times = [0.0, *problem.switches]
        accounts = [Account("initial state", float(initial.sum()), float(energies @ initial))]
        for source in problem.sources:
            spectrum, generated = source.spectrum(0), source.generated(problem.config.time.end)
            accounts.append(Account(source.name, generated, generated * float(energies @ spectrum / spectrum.sum())))
        for term in problem.terms:
            if isinstance(term, LocalLinearTerm):
                entries = [
                    term.entry(start + 1e-6, SpatialMoments(part, zero, zero)) for start, part in zip(times, sums, strict=True)
                ]
                number = 0.0 if term is problem.scattering else float(sum(entry.number.sum() for entry in entries))
                accounts.append(Account(term.name, number, sum(entry.power for entry in entries)))
        present = Account("present", float(last.sum()), float(energies @ last))
        number, energy = sum(a.number for a in accounts), sum(a.energy for a in accounts)
        return [*accounts, present, Account("not accounted for", present.number - number, present.energy - energy)]
