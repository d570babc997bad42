"""Balances of number and energy: their rates at one time, and their integrals since the start from the equation's books.

The energy of a repulsion, ½ g ∫n² dr, is no sum over excitons. In a step in which the entries of the books change the density by
Δn_e, entry e changes it by g ∫½(n + n₊) Δn_e dr: all together by ½ g ∫(n₊² − n²) dr, exactly.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from mpi4py import MPI

from hpcwigner.observables.budget import Entry
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.equation import repulsion_of
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.books import Books, Changes
from hpcwigner.terms.term import State

Account = tuple[str, float, float]  # Cause, excitons, energy [meV]


class Balance:
    """Energies count from the bright valley's bottom without strain."""

    def __init__(
        self, problem: Problem, books: Books, decomposition: Decomposition, weights: Array, resumed: Mapping[str, Sequence[float]]
    ) -> None:
        """`weights` (weight, point) are those of SpatialMoments, `resumed` the accumulators of the checkpoint resumed from."""
        self._problem, self._books, self._comm, self._weights = problem, books, decomposition.comm, weights
        self._measure = problem.space.cell_measure
        self._potential = problem.potential(decomposition)
        self._strength = repulsion_of(problem.config)
        self._initial = (resumed["initial"][0], resumed["initial"][1]) if resumed else (0.0, 0.0)
        self._interaction = np.zeros(len(books.entries))  # Energy of the repulsion by entry [meV], this rank's part
        self._last: tuple[Array, Array] | None = None  # Densities, and what each entry has changed them by, at the last update
        if resumed and self._comm.rank == 0:  # the others hold nothing of what was before
            self._interaction[:] = resumed["interaction"]

    def update(self, done: int, state: State) -> None:
        """Notes a state after `done` steps, each once, from 0 or the checkpoint on. Collective at the start."""
        if done == 0 and self._last is None:
            self._initial = self._content(state.u)
        if self._strength:
            density, changed = state.u.sum(axis=(1, 2)), self._books.split(state.fields)[..., :-1].sum(axis=-1)
            if self._last is not None:
                before, changed_before = self._last
                mean = 0.5 * self._strength * self._measure * (before + density)
                self._interaction += (changed - changed_before) @ mean
            self._last = density, changed

    def accumulators(self) -> dict[str, list[float]]:
        """What a checkpoint keeps beside the books, the same on every rank. Collective."""
        return {"initial": [*self._initial], "interaction": self._comm.allreduce(self._interaction).tolist()}

    def entries(self, changes: Changes, densities: Array) -> dict[str, Entry]:
        """Rates of change by part of D_v in a state with these N_v (point, valley). Collective."""
        valleys = self._potential.shape[1]
        numbers = np.einsum("wp,epv->ewv", self._weights, changes.entries[..., :valleys])
        powers = self._energy(changes.entries)
        powers += self._strength * self._measure * changes.entries[..., :valleys].sum(axis=2) @ densities.sum(axis=1)
        self._comm.Allreduce(MPI.IN_PLACE, numbers)
        self._comm.Allreduce(MPI.IN_PLACE, powers)
        entries: dict[str, Entry] = {}
        for (_, part), number, power in zip(self._books.entries, numbers, powers, strict=True):
            entry = Entry(number, float(power))
            entries[part] = entries[part] + entry if part in entries else entry
        return entries

    def _energy(self, entries: Array) -> Array:
        """Kinetic and potential energy [meV] of this rank's part of entries (entry, point, column), shape (entry,)."""
        valleys = self._potential.shape[1]
        potential = np.einsum("epv,pv->e", entries[..., :valleys], self._potential)
        return np.asarray(self._measure * (entries[..., valleys].sum(axis=1) + potential))

    def heat(self, state: State, time: float) -> float:
        """Energy given to phonons until `time` [ps] [meV per generated exciton]. Collective."""
        from_phonons = [i for i, (_, part) in enumerate(self._books.entries) if part == self._problem.scattering.part]
        own = self._energy(self._books.split(state.fields)[from_phonons]) + self._interaction[from_phonons]
        received = self._comm.allreduce(float(own.sum()))
        generated = sum(source.generated(time) for source in self._problem.sources)
        if self._problem.initial is not None:
            generated += self._problem.initial.population
        return -received / generated if generated > 0 else np.nan

    def light_rates(self, changes: Changes) -> Array:
        """∂t ∫w PL dr for the weights of SpatialMoments, shape (weight,). Collective."""
        total = self._weights @ changes.light
        self._comm.Allreduce(MPI.IN_PLACE, total)
        return np.asarray(total)

    def annihilated(self, state: State) -> float:
        """Excitons annihilated since the start. Collective."""
        number = self._books.of_part(self._books.split(state.fields), Annihilation.part)[:, :-1].sum()
        return -self._comm.allreduce(float(self._measure * number))

    def potential_energy(self, densities: Array) -> Array:
        """∫(E_v + g n) N_v dr [meV] of N_v (point, valley), shape (valley,). Collective."""
        height = self._potential + self._strength * densities.sum(axis=1, keepdims=True)
        total = self._measure * (height * densities).sum(axis=0)
        self._comm.Allreduce(MPI.IN_PLACE, total)
        return np.asarray(total)

    def accounts(self, state: State) -> list[Account]:
        """Excitons and energy by cause: initial state and what each term has changed; present; the difference. Collective."""
        fields = self._books.split(state.fields)
        numbers, energies = self._measure * fields[..., :-1].sum(axis=(1, 2)), self._energy(fields) + self._interaction
        self._comm.Allreduce(MPI.IN_PLACE, numbers)
        self._comm.Allreduce(MPI.IN_PLACE, energies)
        by_name: dict[str, tuple[float, float]] = {"initial state": self._initial}
        for (name, _), n, e in zip(self._books.entries, map(float, numbers), map(float, energies), strict=True):
            before = by_name.get(name, (0.0, 0.0))
            by_name[name] = before[0] + n, before[1] + e
        number, energy = self._content(state.u)
        missing = number - sum(n for n, _ in by_name.values()), energy - sum(e for _, e in by_name.values())
        causes = [(name, n, e) for name, (n, e) in by_name.items()]
        return [*causes, ("present", number, energy), ("not accounted for", *missing)]

    def _content(self, u: Array) -> tuple[float, float]:
        """Excitons and their energy [meV] in all. Collective."""
        sums = u.sum(axis=1) @ self._books.sums
        number, energy = self._measure * sums[:, :-1].sum(), float(self._energy(sums[None])[0])
        energy += 0.5 * self._strength * self._measure * float((sums[:, :-1].sum(axis=1) ** 2).sum())
        return self._comm.allreduce(float(number)), self._comm.allreduce(energy)
