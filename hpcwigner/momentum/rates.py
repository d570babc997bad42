"""Scattering rates between energy cells, per angular harmonic.

Conductances c_m (momentum/conductance.py) are symmetric. Therefore the rates Γ_m[j, i] = c_m[j, i]/p_i conserve particle
number and keep the Boltzmann distribution exactly, whatever the accuracy of the quadrature; at m = 0 they are ≥ 0.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.phonons import Couplings, Phonon
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.conductance import conductance
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import NodeShared


@dataclasses.dataclass(frozen=True)
class Rates:
    """In-scattering rates Γ_m[to, from] [1/ps] for harmonics m = 0…N/2, once per node of `comm`, and formation rates."""

    equilibrium: Equilibrium
    shared: NodeShared  # Intravalley and intervalley rates, shape (2, m, cell, cell)
    formation: Array
    """Γ_{Q,0} [1/ps] from coherent excitons into each cell: within the bright valley, to other valleys; shape (2, cell)."""
    comm: MPI.Intracomm

    @property
    def cells(self) -> EnergyCells:
        """The energy cells."""
        return self.equilibrium.cells

    @property
    def intravalley(self) -> Array:
        """Rates of processes within a valley, shape (m, cell, cell)."""
        return self.shared.array[0]

    @property
    def intervalley(self) -> Array:
        """Rates of processes between valleys, also between equivalent ones, shape (m, cell, cell)."""
        return self.shared.array[1]

    @functools.cached_property
    def out(self) -> Array:
        """Total intravalley and intervalley rate out of each cell [1/ps], shape (2, cell)."""
        return np.asarray(self.shared.array[:, 0].sum(axis=1))

    def free(self) -> None:
        """Releases the shared memory; the rates must not be used afterwards. Collective."""
        self.shared.free()

    @classmethod
    def build(
        cls,
        couplings: Couplings,
        equilibrium: Equilibrium,
        orders: int,
        bright_valley: int,
        within: Rates | None = None,
        comm: MPI.Intracomm = MPI.COMM_SELF,
    ) -> Rates:
        """Rates of all phonons for harmonics 0…`orders`. Collective over `comm`.

        Rates within a valley are copied from `within` if they are at hand: they do not depend on the valleys' offsets.

        The ranks of each node share the work. Processes are summed in a fixed order, so that the result does not depend on the
        number of ranks, to the last bit.
        """
        cells = equilibrium.cells
        blocks: dict[tuple[bool, int, int], list[Phonon]] = {}  # Emission by intervalley, final and initial valley
        for intervalley, final, initial, phonon in couplings.processes():
            if within is not None and not intervalley:
                continue
            blocks.setdefault((intervalley, cells.valleys.index(final), cells.valleys.index(initial)), []).append(phonon)
        shared = NodeShared(comm, (2, orders + 1, cells.size, cells.size))
        matrices = shared.array.reshape(-1, cells.size, cells.size)

        def clear(number: int) -> None:
            matrices[number] = 0.0

        def add_emission(number: int) -> None:
            (intervalley, final, initial), phonons = list(blocks.items())[number]
            conductances = sum(conductance(phonon, equilibrium, orders) for phonon in phonons)
            shared.array[int(intervalley), :, cells.slices[final], cells.slices[initial]] = conductances

        def add_absorption(number: int) -> None:
            matrices[number] += matrices[number].T
            matrices[number] /= equilibrium.population

        def copy_within(number: int) -> None:
            if within is not None:
                shared.array[0, number] = within.intravalley[number]

        for compute, parts in (
            (clear, len(matrices)),
            (add_emission, len(blocks)),
            (add_absorption, len(matrices)),
            (copy_within, orders + 1),
        ):
            shared.fill(parts, compute)
        return cls(equilibrium, shared, formation_rates(couplings, equilibrium, bright_valley), comm)


def generator(in_scattering: Array) -> Array:
    """Γ_m − δ_ij Σ_k Γ_0[k, i] [1/ps], without radiative loss: in_scattering and result have shape (m, cell, cell)."""
    gamma = in_scattering.copy()
    diagonal = np.arange(gamma.shape[1])
    gamma[:, diagonal, diagonal] -= in_scattering[0].sum(axis=0)
    return gamma


def formation_rates(couplings: Couplings, equilibrium: Equilibrium, bright_valley: int) -> Array:
    """Γ_{Q,0} [1/ps] from exactly Q = 0 into each cell: within the bright valley, to other valleys; shape (2, cell)."""
    cells = equilibrium.cells
    formation = np.zeros((2, cells.size))
    for intervalley, final, initial, phonon in couplings.processes():
        if initial is cells.valleys[bright_valley]:
            valley = cells.valleys.index(final)
            reached = [
                (kinetic, rate) for kinetic, rate in phonon.from_rest(equilibrium.temperature) if kinetic < cells.tops[valley]
            ]
            formation[int(intervalley)] += sum(_deposit(equilibrium, valley, *to) for to in reached)
    return formation


def _deposit(equilibrium: Equilibrium, valley: int, kinetic: float, rate: float) -> Array:
    """Distributes a rate at one energy over the two nearest cells, which keeps number and mean energy.

    Phonon energies often coincide with a cell edge; distributed, the result does not depend on rounding there.
    """
    own = equilibrium.cells.slices[valley]
    energies = equilibrium.kinetic_energy[own]
    out = np.zeros(equilibrium.cells.size)
    upper = int(np.clip(np.searchsorted(energies, kinetic), 1, len(energies) - 1))
    share = np.clip((kinetic - energies[upper - 1]) / (energies[upper] - energies[upper - 1]), 0.0, 1.0)
    out[own.start + upper - 1] = rate * (1 - share)
    out[own.start + upper] = rate * share
    return out
