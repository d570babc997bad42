"""Output of the reduced model: the files of a run, from densities with thermal energies in each valley."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.steps import StepPlan
from hpcwigner.observables.budget import Entry
from hpcwigner.problem.builder import Problem
from hpcwigner.reduced.coefficients import thermal_shares
from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.reduced.stepping import Stepper
from hpcwigner.runtime.arrays import Array
from hpcwigner.simulation.balance import Balance
from hpcwigner.simulation.output import RunOutput
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.books import Changes
from hpcwigner.terms.term import State


class ReducedOutput(RunOutput):
    """Writes what is due of densities (point, 1, valley)."""

    def __init__(
        self, problem: Problem, equation: DriftDiffusion, stepper: Stepper, plan: StepPlan, directory: Path,
        attributes: Mapping[str, str | int], final: Array,
    ) -> None:  # fmt: skip
        """As RunOutput; `stepper` knows how many excitons were annihilated."""
        self.reduced, self._stepper = equation, stepper
        self._shares = thermal_shares(problem.equilibrium)
        super().__init__(problem, cast(Any, equation), plan, directory, attributes, final)

    def _balance(self, accumulators: Mapping[str, Any]) -> Balance | None:
        return None

    def _densities(self, state: State) -> Array:
        return state.u.reshape(self.reduced.shape)

    def _summed(self, state: State) -> Array:
        isotropic = state.u[:, 0, self.problem.cells.valley_of_cell] * self._shares
        directed = np.zeros((self.problem.space.dimensions, *isotropic.shape))
        return np.concatenate((isotropic[None], directed))

    def _changes(self, now: float, state: State) -> Changes:
        return self.reduced.changes(now, self._densities(state), self.problem.scattering.stage_at(now))

    def _transfer(self, changes: Changes) -> Array:
        return self.reduced.transfer(changes)

    def _accounts(
        self, now: float, state: State, densities: Array, changes: Changes | None
    ) -> tuple[Mapping[str, Entry] | None, dict[str, Any]]:
        assert changes is not None
        equation, thermal, weights = self.reduced, self.problem.equilibrium.thermal_energy, self._sums.weights
        heights = thermal * equation.heights_with(self._densities(state)).reshape(densities.shape)
        valleys = densities.shape[1]
        measure = self.problem.space.cell_measure
        numbers = np.einsum("wp,epv->ewv", weights, changes.entries[..., :valleys])
        powers = measure * (
            np.einsum("epv,pv->e", changes.entries[..., :valleys], heights) + changes.entries[..., -1].sum(axis=1)
        )
        potential, light = measure * (heights * densities).sum(axis=0), weights @ changes.light
        for sums in (numbers, powers, potential, light):
            self.comm.Allreduce(MPI.IN_PLACE, sums)
        entries: dict[str, Entry] = {}
        for (_, part), number, power in zip(equation.entries, numbers, powers, strict=True):
            entry = Entry(number, float(power))
            entries[part] = entries[part] + entry if part in entries else entry
        more: dict[str, Any] = {"potential": potential, "light_rates": light}
        if equation.annihilation is not None:
            names = [name for name, _ in equation.entries]
            more["annihilated"] = -float(self._stepper.taken()[names.index(Annihilation.name)])
        return entries, more
