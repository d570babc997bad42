"""The generator of scattering and radiative loss at one point in space: one block per angular harmonic.

In the harmonics of angle (momentum/cells.py) scattering is block-diagonal: ∂t û_m = L_m û_m with
L_m[j, i] = Γ_m[j, i] − δ_ij (Σ_k Γ_0[k, i] + ℓ_i), ℓ the radiative loss, the same in every harmonic.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.runtime.parallel import NodeShared

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-4
"""Intervalley in-scattering below this part of the total rate is left out of angular orders m ≥ 2."""


@dataclasses.dataclass(frozen=True)
class Scattering:
    """What acts at one point in space while the same processes are switched on."""

    equilibrium: Equilibrium
    blocks: Array
    """L_m [1/ps], shape (m, cell, cell), radiative loss included."""
    loss: Array
    """ℓ [1/ps], shape (cell,)."""
    valley_transfer: Array
    """Intervalley gain minus loss of each valley per population of each cell [1/ps], shape (valley, cell)."""
    formation: Array
    """Γ_{Q,0} from coherent excitons into each cell [1/ps], shape (cell,)."""
    parts: tuple[tuple[slice, ...], ...]
    """Ranges of cells that do not couple to each other, per m: the valleys where intervalley in-scattering is negligible."""
    shared: NodeShared
    """Holds the memory of `blocks`, once per node."""

    @classmethod
    def build(cls, rates: Rates, light_cone: LightCone, *, intravalley: bool = True, intervalley: bool = True) -> Scattering:
        """Generator of the processes that are on, from the rates of all of them. Collective over the rates' ranks."""
        cells = rates.cells
        loss = radiative_loss(rates.equilibrium, light_cone)
        out = loss + intravalley * rates.intravalley_out + intervalley * rates.intervalley_out
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
        formation = intravalley * rates.formation[0] + intervalley * rates.formation[1]
        transfer = _valley_transfer(rates) if intervalley else np.zeros((len(cells.valleys), cells.size))
        return cls(rates.equilibrium, shared.array, loss, transfer, formation, parts, shared)

    @property
    def cells(self) -> EnergyCells:
        """The energy cells."""
        return self.equilibrium.cells

    @property
    def fastest_rate(self) -> float:
        """Largest total rate out of a cell [1/ps]."""
        return float(-self.blocks[0].diagonal().min())

    @functools.cached_property
    def adiabatic_response(self) -> Array:
        """½ Σ_{i∈v} v_i (−L_1⁻¹)_ij [nm], shape (valley, cell): what a source v·n of the first harmonic adds to n_v D_v.

        NaN where momentum does not relax (all scattering off).
        """
        own = np.equal.outer(np.arange(len(self.cells.valleys)), self.cells.valley_of_cell)
        try:
            return np.asarray(-0.5 * np.linalg.solve(self.blocks[1].T, (own * self.equilibrium.velocity).T).T)
        except np.linalg.LinAlgError:
            return np.full(own.shape, np.nan)


def _parts(rates: Rates, out: Array, intervalley: bool) -> tuple[tuple[slice, ...], ...]:
    """Valleys apart in those orders m ≥ 2 in which nothing that arrives from another valley counts.

    Judged in the symmetric scaling by √p_eq, where the row sums of what is left out bound the change of every eigenvalue of
    L_m (Weyl, Gershgorin). Orders 0 and 1, which make D_v, are never cut.
    """
    cells = rates.cells
    root = np.sqrt(rates.equilibrium.population)
    other = np.not_equal.outer(cells.valley_of_cell, cells.valley_of_cell)
    together: tuple[slice, ...] = (slice(0, cells.size),)
    found = [together, together][: len(rates.intervalley)]
    for block in rates.intervalley[2:]:
        arriving = (np.abs(block) * other * (root / root[:, None])).sum(axis=0) if intervalley else np.zeros(cells.size)
        found.append(cells.slices if (arriving <= NEGLIGIBLE * out).all() else together)
    return tuple(found)


def radiative_loss(equilibrium: Equilibrium, light_cone: LightCone) -> Array:
    """γ times the light-cone fraction in the bright valley's first cell [1/ps], shape (cell,)."""
    cells = equilibrium.cells
    loss = np.zeros(cells.size)
    width = cells.width(light_cone.bright_valley)
    loss[cells.slices[light_cone.bright_valley].start] = light_cone.rate * light_cone.fraction(width, equilibrium.temperature)
    return loss


def _valley_transfer(rates: Rates) -> Array:
    """Column sums of the intervalley rates by final valley; what stays in a valley group cancels and is left out."""
    cells = rates.cells
    inflow = np.stack([rates.intervalley[0][s].sum(axis=0) for s in cells.slices])
    own = cells.valley_of_cell, np.arange(cells.size)
    inflow[own] = 0.0
    inflow[own] = -inflow.sum(axis=0)
    return inflow
