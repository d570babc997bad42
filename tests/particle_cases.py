"""Landscapes of WS2, and a script that runs single excitons through them: `python tests/particle_cases.py DIR [CASE …]`."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import particle_series
import particles
from particle_series import Particles
from particles import Landscape, Start
from scipy.special import ndtri
from scipy.stats import qmc

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates
from hpcwigner.runtime.arrays import Array

ORDERS = 16  # Harmonics of the angle between the directions before and after a collision


def landscape(
    energies: Sequence[Callable[[Array], Array]], half: float, node: Callable[[Array], Array] | None = None, spacing: float = 2.0
) -> Landscape:
    """From E_v(x) of each valley, between −half and half [nm]."""
    x = spacing * np.arange(-round(half / spacing), round(half / spacing) + 1)
    energy = np.array([np.broadcast_to(np.asarray(e(x), dtype=float), x.shape) for e in energies])
    place = np.zeros_like(x) if node is None else np.asarray(node(x), dtype=float)
    return Landscape(float(x[0]), spacing, energy, -np.gradient(energy, spacing, axis=1, edge_order=2), place)


def hot_spot(number: int, seed: int, width: float, energy: float, spread: float, valley: int = 0) -> Start:
    """Evenly distributed (Sobol) excitons: exp(−x²/width²), Gaussian in kinetic energy, in all directions."""
    x, kinetic, angle = qmc.Sobol(3, seed=seed).random(number).T
    return Start(
        np.zeros(number),
        width * math.sqrt(0.5) * ndtri(x),
        np.full(number, valley),
        np.abs(energy + spread * ndtri(kinetic)),
        2 * np.pi * angle,
    )


@functools.cache
def ws2() -> Couplings:
    """Valleys and phonons of the shipped material."""
    return Couplings.from_material(materials.load("ws2_hbn"))


def equilibrium_at(temperature: float, step: float | None = None, above: float | None = None) -> Equilibrium:
    """WS2 on energy cells of a width and up to an energy over the highest valley [meV], by default those of an input."""
    cells = step or auto_energy_step(temperature), above or auto_energy_above(temperature)
    return Equilibrium(EnergyCells.build(ws2().valleys, *cells), temperature)


def in_scattering(equilibrium: Equilibrium, orders: int = ORDERS, offsets: Sequence[float] = ()) -> Array:
    """Γ_m[to, from] of WS2 [1/ps], shape (m, cell, cell), on the same cells with `offsets` of the valleys' bottoms [meV]."""
    cells, couplings = equilibrium.cells, ws2()
    if len(offsets):
        moved = zip(cells.valleys, offsets, strict=True)
        valleys = tuple(dataclasses.replace(v, given=v.energy + offset) for v, offset in moved)
        couplings = Couplings.from_material(materials.load("ws2_hbn"), valleys)
        equilibrium = Equilibrium(EnergyCells(valleys, cells.counts, cells.tops), equilibrium.temperature)
    rates = Rates.build(couplings, equilibrium, orders, 0)
    total = rates.intravalley + rates.intervalley
    rates.free()
    return total


@dataclasses.dataclass(frozen=True)
class Case:
    """Excitons injected into KK at 25 meV (rms 3 meV) into a Gaussian spot on a Gaussian well of the depths of its valleys."""

    temperature: float  # [K]
    peaks: tuple[float, float, float]  # Of E_v(x) [meV]
    fwhm: float  # Of the well [nm]
    width: float  # w of the spot exp(−x²/w²) [nm]
    at: float = 0.0  # Middle of the well [nm]
    above: float | None = None  # Top of the energy cells over the highest valley [meV]
    center: float = 0.1  # Of the pulse [ps]
    duration: float = 0.05  # FWHM of the pulse's field [ps]
    end: float = 20.0  # [ps]

    def run(self, batches: int, number: int, seed: int = 1, node_step: float = 0.5) -> Particles:
        """`batches` of `number` excitons (a power of 2); `node_step` is the difference of the rates' offsets [meV]."""
        equilibrium = equilibrium_at(self.temperature, above=self.above)
        count = math.ceil(np.ptp(self.peaks) / node_step)  # rates depend on differences between the valleys only
        shares = np.linspace(0, 1, count + 1) if count else np.zeros(1)
        table = particles.collisions(
            equilibrium, [in_scattering(equilibrium, offsets=np.multiply(self.peaks, s)) for s in shares]
        )
        land = landscape(
            [lambda x, peak=peak: peak * self._shape(x) for peak in self.peaks], 4000, lambda x: count * self._shape(x)
        )
        starts = [hot_spot(number, 100 * seed + b, self.width, 25.0, 3.0) for b in range(batches)]
        rng, sigma = np.random.default_rng(seed), self.duration / math.sqrt(16 * math.log(2))  # of the intensity
        starts = [s._replace(time=np.maximum(rng.normal(self.center, sigma, number), 0.0)) for s in starts]
        return particles.run(equilibrium, table, land, starts, np.arange(0, self.end + 0.01, 0.5), seed=seed)

    def potential(self, x: Array) -> Array:
        """Added to the valleys' bottoms [meV], shape (valley, place)."""
        return np.multiply.outer(self.peaks, self._shape(x))

    def _shape(self, x: Array) -> Array:
        return np.exp(-4 * math.log(2) * ((x - self.at) / self.fwhm) ** 2)


WELL, STRAIN = (-20.0, -20.0, -20.0), (-20.0, -20.0, 5.0)
CASES = {
    "well_77K": Case(77.0, WELL, 500.0, 500.0),
    "strain_77K": Case(77.0, STRAIN, 500.0, 500.0),
    "flank_77K": Case(77.0, WELL, 500.0, 150.0, -200.0),
    "strain_flank_77K": Case(77.0, STRAIN, 500.0, 150.0, -200.0),
    "well_20K": Case(20.0, WELL, 500.0, 500.0, above=65.0),
    "strain_20K": Case(20.0, STRAIN, 500.0, 500.0, above=65.0),
    "flank_20K": Case(20.0, WELL, 500.0, 150.0, -200.0, above=65.0),
}

if __name__ == "__main__":
    for name in sys.argv[2:] or CASES:
        case = CASES[name]
        result = case.run(64, 2**13)
        particle_series.save(Path(sys.argv[1], f"{name}.json"), result.time, result.series(), case=dataclasses.asdict(case))
