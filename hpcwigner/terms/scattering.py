"""Exciton-phonon scattering at one point in space: one block per angular harmonic.

In the angular harmonics scattering is block-diagonal, ∂t û_m = L_m û_m with L_m[j, i] = Γ_m[j, i] − δ_ij Σ_k Γ_0[k, i].
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.terms.term import LocalLinearTerm, State

NEGLIGIBLE = 1e-4  # Intervalley in-scattering below this part of the total rate is left out of angular orders m ≥ 2


@dataclasses.dataclass(frozen=True)
class ScatteringStage:
    """The generator of scattering while the same processes act."""

    equilibrium: Equilibrium
    blocks: Array  # L_m [1/ps], shape (m, cell, cell)
    valley_transfer: Array  # Intervalley gain minus loss of each valley per population of each cell [1/ps], shape (valley, cell)
    parts: tuple[tuple[slice, ...], ...]
    """Ranges of cells that do not couple to each other, per m: the valleys where intervalley in-scattering is negligible."""
    shared: NodeShared  # Holds the memory of `blocks`, once per node

    @property
    def cells(self) -> EnergyCells:
        """The energy cells."""
        return self.equilibrium.cells

    @classmethod
    def build(cls, rates: Rates, *, intravalley: bool = True, intervalley: bool = True) -> ScatteringStage:
        """Generator of the processes that are on, from the rates of all of them. Collective over the rates' ranks."""
        cells = rates.equilibrium.cells
        out = intravalley * rates.out[0] + intervalley * rates.out[1]
        parts = _parts(rates, out, intervalley)
        shared = NodeShared(rates.comm, rates.intravalley.shape)
        diagonal = np.arange(cells.size)

        def compute(m: int) -> None:
            block = shared.array[m]
            np.multiply(rates.intravalley[m], float(intravalley), out=block)
            block += float(intervalley) * rates.intervalley[m]
            if len(parts[m]) > 1:
                block[np.not_equal.outer(cells.valley_of_cell, cells.valley_of_cell)] = 0.0
            block[diagonal, diagonal] -= out

        shared.fill(len(shared.array), compute)
        transfer = _valley_transfer(rates) if intervalley else np.zeros((len(cells.valleys), cells.size))
        return cls(rates.equilibrium, shared.array, transfer, parts, shared)

    @functools.cached_property
    def power(self) -> Array:
        """Energy that excitons of each cell receive from phonons [meV/ps], shape (cell,): Σ_j E_j L_0[j, i]."""
        return np.asarray(self.equilibrium.total_energy @ self.blocks[0])


class Scattering(LocalLinearTerm):
    """Σ_{v'Q'} [Γ_{QQ'} N_{Q'} − Γ_{Q'Q} N_Q], with processes that may end at given times."""

    name, part = "scattering", "interv"

    def __init__(self, angles: Angles, stages: Sequence[ScatteringStage], switches: Sequence[float] = ()) -> None:
        """`switches` [ps] are the times at which the next of the `stages` begins."""
        self.angles, self.stages, self.switches = angles, tuple(stages), tuple(switches)

    def stage_at(self, time: float) -> int:
        """Number of the stage that acts at a time [ps]; at a switch, the one that ends there."""
        return sum(time > switch + 1e-9 for switch in self.switches)

    def add(self, time: float, state: State, out: State) -> None:
        blocks = self.stages[self.stage_at(time)].blocks
        for m, to, back in zip(self.angles.orders, self.angles.to_harmonics, self.angles.from_harmonics.T, strict=True):
            harmonic = np.einsum("a,pac->pc", to, state.u) @ blocks[m].T
            populations = out.u
            populations += back[:, None] * harmonic[:, None, :]

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        stage = self.stages[self.stage_at(time)]
        return Entry(moments.values @ stage.valley_transfer.T, float(stage.power @ moments.zeroth))


def _parts(rates: Rates, out: Array, intervalley: bool) -> tuple[tuple[slice, ...], ...]:
    """Valleys apart in those orders m ≥ 2 in which nothing that arrives from another valley counts.

    Judged in the symmetric scaling by √p_eq, where the row sums of what is left out bound the change of every eigenvalue of
    L_m (Weyl, Gershgorin). Orders 0 and 1, which make D_v, are never cut.
    """
    cells = rates.equilibrium.cells
    root = np.sqrt(rates.equilibrium.population)
    other = np.not_equal.outer(cells.valley_of_cell, cells.valley_of_cell)
    together: tuple[slice, ...] = (slice(0, cells.size),)
    parts = [together, together][: len(rates.intervalley)]
    for block in rates.intervalley[2:]:
        arriving = (np.abs(block) * other * (root / root[:, None])).sum(axis=0) if intervalley else np.zeros(cells.size)
        parts.append(cells.slices if (arriving <= NEGLIGIBLE * out).all() else together)
    return tuple(parts)


def _valley_transfer(rates: Rates) -> Array:
    """Column sums of the intervalley rates by final valley; what stays in a valley group cancels and is left out."""
    cells = rates.equilibrium.cells
    inflow = np.stack([rates.intervalley[0][s].sum(axis=0) for s in cells.slices])
    own = cells.valley_of_cell, np.arange(cells.size)
    inflow[own] = 0.0
    inflow[own] = -inflow.sum(axis=0)
    return inflow
