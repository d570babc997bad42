"""The spectrum of the photoluminescence: a direct line and sidebands, as one matrix from energy cells to bins of energy.

Every cell's excitons give a line per sideband (exciton/sidebands.py): its area is the golden-rule rate, its shape the integral
over the cell of a Lorentzian at E = E_v + ε ∓ ħΩ with the half width ħΓ_Q/2, Γ_Q the total rate out of the cell. Light from the
light cone is a Lorentzian at the bright exciton's energy with the half width ħ(γ + Γ_0)/2; that of z dipoles is one at the bottom
of their valley with the width ħΓ_Q/2 of its first cell. All lines are integrated over the bins exactly; what lies outside of them
is in two outer bins, so that the sum over all bins is the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from hpcwigner.exciton.constants import HBAR
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.exciton.sidebands import Sideband, sidebands
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.quadrature import gauss_legendre

POINTS = 8  # Gauss points in an energy cell, over which a golden-rule rate is averaged


@dataclasses.dataclass(frozen=True, eq=False)
class Lines:
    """Rates and shapes of all lines for one set of valley offsets."""

    equilibrium: Equilibrium
    edges: Array  # Of the bins, energies from the bright exciton's [meV], increasing, shape (bin + 1,)
    bands: Sequence[Sideband]
    rates: Array  # Golden-rule rate of each sideband [1/ps], shape (band, cell)
    light: Array  # Rate of the direct line [1/ps], shape (cell,)
    widths: Array  # Half width ħΓ_Q/2 of each cell [meV], shape (cell,)
    direct_width: float  # Half width ħ(γ + Γ_0)/2 of the direct line [meV]
    z_light: Array  # Rate of the light of z dipoles [1/ps], shape (cell,)

    @classmethod
    def build(
        cls, equilibrium: Equilibrium, couplings: Couplings, light_cone: LightCone, formation_rate: float, out_rates: Array,
        light: Array, edges: Array, z_light: Array | None = None,
    ) -> Lines:  # fmt: skip
        """`formation_rate` Γ_0, `out_rates` Γ_Q of each cell, losses included, `light` and that of z dipoles, if any [1/ps]."""
        bands, rates = sideband_rates(equilibrium, couplings, light_cone, formation_rate)
        direct_width, widths = 0.5 * HBAR * (light_cone.rate + formation_rate), 0.5 * HBAR * out_rates
        return cls(
            equilibrium, edges, bands, rates, light, widths, direct_width, np.zeros_like(light) if z_light is None else z_light
        )

    def kernel(self) -> Array:
        """Photons per time from each cell into each bin [1/ps], shape (cell, bin + 2): the first and the last are outside."""
        cells = self.equilibrium.cells
        kernel = np.outer(self.light, point_line(self.edges, self.direct_width))
        for cell in np.flatnonzero(self.z_light):
            kernel[cell] += self.z_light[cell] * point_line(self.edges, self.widths[cell], cells.bottoms[cell])
        for band, rate in zip(self.bands, self.rates, strict=True):
            valley = _number(self.equilibrium, band)
            own, bottom = cells.slices[valley], band.valley.energy + band.shift
            lower = bottom + cells.edges(valley)
            kernel[own] += rate[own, None] * cell_lines(self.edges, lower[:-1], lower[1:], self.widths[own])
        return kernel


def sideband_rates(
    equilibrium: Equilibrium, couplings: Couplings, light_cone: LightCone, formation_rate: float
) -> tuple[Sequence[Sideband], Array]:
    """All sidebands, and the rates of phonon-assisted recombination [1/ps] with them, shape (band, cell)."""
    dephasing = 0.5 * HBAR * (light_cone.rate + formation_rate)
    bands = list(sidebands(couplings, equilibrium.cells.valleys[light_cone.valley].name))
    rates = np.array([_cell_rates(band, equilibrium, light_cone, dephasing) for band in bands])
    return bands, rates.reshape(len(bands), equilibrium.cells.size)


def _cell_rates(band: Sideband, equilibrium: Equilibrium, light_cone: LightCone, dephasing: float) -> Array:
    """Boltzmann-weighted averages over each cell of a sideband's golden-rule rate [1/ps], shape (cell,)."""
    cells, valley = equilibrium.cells, _number(equilibrium, band)
    nodes, weights = gauss_legendre(POINTS)
    edges = cells.edges(valley)
    kinetic = edges[:-1, None] + 0.5 * np.diff(edges)[:, None] * (1 + nodes)
    boltzmann = weights * np.exp(-(kinetic - edges[:-1, None]) / equilibrium.thermal_energy)
    rate = band.rate(kinetic, light_cone, dephasing, equilibrium.temperature)
    result = np.zeros(cells.size)
    result[cells.slices[valley]] = (boltzmann * rate).sum(axis=1) / boltzmann.sum(axis=1)
    return result


def _number(equilibrium: Equilibrium, band: Sideband) -> int:
    """Number of the valley from which a sideband comes."""
    return [valley.name for valley in equilibrium.cells.valleys].index(band.valley.name)


def point_line(edges: Array, width: float, center: float = 0.0) -> Array:
    """Parts of a Lorentzian of half width `width` in bins and beyond them, shape (bin + 2,); their sum is 1."""
    below = 0.5 + np.arctan((edges - center) / width) / np.pi
    return np.diff(below, prepend=0.0, append=1.0)


def cell_lines(edges: Array, lower: Array, upper: Array, widths: Array) -> Array:
    """The same for Lorentzians whose centres fill the intervals from `lower` to `upper` evenly, shape (cell, bin + 2)."""
    span = (upper - lower)[:, None]
    w = widths[:, None]
    below = 0.5 + (_second(edges - lower[:, None], w) - _second(edges - upper[:, None], w)) / span
    return np.diff(below, prepend=0.0, append=1.0, axis=1)


def _second(x: Array, width: Array) -> Array:
    """Second antiderivative of a Lorentzian of area 1, up to constants that cancel: [x atan(x/w) − ½w ln(x² + w²)]/π."""
    return np.asarray((x * np.arctan(x / width) - 0.5 * width * np.log(x**2 + width**2)) / np.pi)
