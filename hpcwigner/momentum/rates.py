"""Scattering rates between energy cells, per angular harmonic, from Boltzmann-weighted cell averages (DESIGN §5).

For the emission of a phonon from source cell i to target cell j the conductance of harmonic m is

    c_m[j, i] = ∫_i dε' ∫_j dε ∫dθ/2π  p(ε') (n + 1) R(Q', Q, θ) cos(mθ) δ(ε' − ε − ħω),

p(ε') the Boltzmann population per energy. Absorption is its reverse, p(ε)·n = p(ε')(n + 1): the same number. So c is
symmetric, and rates Γ_{j←i} = c_0[j, i]/p_i are ≥ 0 and keep the Boltzmann distribution and the particle number exactly,
whatever the accuracy of the quadrature. The quadrature is independent of the cells.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hpcwigner.constants import HBAR, HBAR2_OVER_M0, HBAR_OVER_M0
from hpcwigner.exciton.phonons import AcousticPhonon, Couplings, OpticalPhonon, bose
from hpcwigner.momentum.grid import EnergyGrid

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Quadrature:
    """Points behind the rates; the defaults give them to 1e-3 or better (tests/test_rates.py)."""

    angles: int = 64
    """Angles between 0 and π."""
    points: int = 4
    """Gauss points on each piece of an energy cell."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """In-scattering rates Γ_m[to, from] [1/ps] for harmonics m = 0…N/2, and formation rates from Q = 0 [1/ps]."""

    grid: EnergyGrid
    intravalley: Array
    """shape (m, cell, cell)"""
    intervalley: Array
    """shape (m, cell, cell)"""
    intravalley_formation: Array
    """Γ_{Q,0} into each cell from coherent excitons of the bright valley, shape (cell,)."""
    intervalley_formation: Array
    """The same with a change of valley, shape (cell,)."""

    @classmethod
    def build(
        cls, couplings: Couplings, grid: EnergyGrid, orders: int, bright_valley: int, quadrature: Quadrature | None = None
    ) -> Rates:
        """Rates of all phonons for harmonics 0…`orders`."""
        rule = quadrature or Quadrature()
        intravalley = np.zeros((orders + 1, grid.size, grid.size))
        intervalley = np.zeros_like(intravalley)
        formation = np.zeros((2, grid.size))
        for acoustic in couplings.acoustic:
            _add_acoustic(intravalley, acoustic, grid, rule)
            if acoustic.valley is grid.valleys[bright_valley]:
                formation[0] += _acoustic_formation(acoustic, grid, bright_valley)
        for optical in couplings.optical:
            target = intervalley if optical.intervalley else intravalley
            for process in (optical,) if optical.initial is optical.final else (optical, optical.reversed()):
                _add_optical(target, process, grid, rule)
                if process.initial is grid.valleys[bright_valley]:
                    formation[int(optical.intervalley)] += _optical_formation(process, grid)
        intravalley /= grid.equilibrium
        intervalley /= grid.equilibrium
        return cls(grid, intravalley, intervalley, formation[0], formation[1])


def _add_pairs(conductance: Array, source: NDArray[np.int64], target: NDArray[np.int64], values: Array) -> None:
    """Adds values (m, point) of emission source → target, and the same for the reverse process."""
    size = conductance.shape[1]
    both = np.concatenate((target * size + source, source * size + target))
    for m, row in enumerate(values):
        conductance[m] += np.bincount(both, np.concatenate((row, row)), size * size).reshape(size, size)


def _add_optical(conductance: Array, phonon: OpticalPhonon, grid: EnergyGrid, rule: Quadrature) -> None:
    """Emission of a phonon of constant energy: source and target cells overlap in pieces after a shift by ħω."""
    initial, final = grid.valleys.index(phonon.initial), grid.valleys.index(phonon.final)
    shift = phonon.initial.energy - phonon.energy - phonon.final.energy  # final kinetic − initial kinetic energy
    breaks = np.union1d(grid.edges(initial) + shift, grid.edges(final))
    breaks = breaks[(breaks >= max(shift, 0.0)) & (breaks <= grid.edges(final)[-1])]
    lower, width = breaks[:-1], np.diff(breaks)
    keep = width > 1e-9 * grid.width(final)  # edges that agree up to rounding
    nodes, weights = np.polynomial.legendre.leggauss(rule.points)
    energy = (lower[keep, None] + width[keep, None] * (0.5 + 0.5 * nodes)).ravel()
    weight = (0.5 * width[keep, None] * weights).ravel()
    theta = (np.arange(rule.angles) + 0.5) * np.pi / rule.angles
    rate = phonon.rate(phonon.initial.momentum(energy - shift)[:, None], phonon.final.momentum(energy)[:, None], theta[None, :])
    harmonics = np.cos(np.outer(np.arange(len(conductance)), theta)) @ rate.T / rule.angles
    emission = 1 + bose(np.array(phonon.energy), grid.temperature)
    harmonics *= weight * emission * grid.equilibrium_density(initial, energy - shift)
    _add_pairs(conductance, grid.cell_at(initial, energy - shift), grid.cell_at(final, energy), harmonics)


def _sound_momentum(phonon: AcousticPhonon) -> float:
    """Q_s = Mv/ħ [1/nm], where an exciton is as fast as sound."""
    return phonon.valley.mass * phonon.sound_velocity / HBAR_OVER_M0


def _add_acoustic(conductance: Array, phonon: AcousticPhonon, grid: EnergyGrid, rule: Quadrature) -> None:
    """Inelastic acoustic emission, with energy and momentum conserved exactly.

    Momenta that satisfy both conservation laws, in units of Q_s = Mv/ħ (energies of E_s = ħ²Q_s²/2M):
    Q' = cosh ξ + sin χ, Q = cosh ξ − sin χ, q = 2 cosh ξ sin χ, tan(θ/2) = tanh ξ tan χ with ξ ≥ 0, 0 ≤ χ ≤ π/2, and
    ∫dε' ∫dε ∫dθ/2π δ(ε' − ε − ħvq) … = (4E_s/π) ∫dξ ∫dχ QQ' …: no singularity is left, not even at the threshold
    Q' = 2Q_s. ξ is integrated piecewise between the energies at which Q' or Q enters another cell.
    """
    valley = grid.valleys.index(phonon.valley)
    momentum = _sound_momentum(phonon)
    energy = HBAR2_OVER_M0 * momentum**2 / (2 * phonon.valley.mass)
    nodes, weights = np.polynomial.legendre.leggauss(rule.points)
    chi_nodes, chi_weights = np.polynomial.legendre.leggauss(2 * rule.angles)
    chi = 0.25 * np.pi * (1 + chi_nodes)
    edges = np.sqrt(grid.edges(valley) / energy)
    # cosh ξ at which Q' or Q crosses an edge, up to the grid's top, and a few more for wide cells; shape (χ, break)
    sine = np.sin(chi)[:, None]
    few = np.cosh(np.arange(0.25, np.arccosh(edges[-1] + 1), 0.25)) + 0 * sine
    breaks = np.concatenate((edges - sine, edges + sine, few), axis=1)
    breaks = np.arccosh(np.sort(np.clip(breaks, 1.0, np.maximum(edges[-1] - sine, 1.0)), axis=1))
    width = np.diff(breaks, axis=1)
    xi = (breaks[:, :-1, None] + width[:, :, None] * (0.5 + 0.5 * nodes)).reshape(len(chi), -1)
    weight = (0.5 * width[:, :, None] * weights).reshape(len(chi), -1) * (0.25 * np.pi * chi_weights)[:, None]
    keep = weight > 0
    xi, weight, chi = xi[keep], weight[keep], np.broadcast_to(chi[:, None], keep.shape)[keep]
    source, target = np.cosh(xi) + np.sin(chi), np.cosh(xi) - np.sin(chi)
    transfer = 2 * momentum * np.cosh(xi) * np.sin(chi)
    theta = 2 * np.arctan(np.tanh(xi) * np.tan(chi))
    weight = weight * 4 * energy / np.pi * source * target * phonon.rate(transfer)
    weight *= 1 + bose(HBAR * phonon.sound_velocity * transfer, grid.temperature)
    weight *= grid.equilibrium_density(valley, energy * source**2)
    harmonics = np.cos(np.outer(np.arange(len(conductance)), theta)) * weight
    cells = grid.cell_at(valley, energy * source**2), grid.cell_at(valley, energy * target**2)
    _add_pairs(conductance, *cells, harmonics)


def _acoustic_formation(phonon: AcousticPhonon, grid: EnergyGrid, valley: int) -> Array:
    """Absorption from Q = 0: Q = 2Q_s, where dε/dQ = 2ħv makes the energy delta count twice."""
    momentum = 2 * _sound_momentum(phonon)
    energy = np.array(HBAR * phonon.sound_velocity * momentum)
    rate = 2 * phonon.rate(np.array(momentum)) * bose(energy, grid.temperature)
    return _deposit(grid, valley, float(energy), float(rate))


def _optical_formation(phonon: OpticalPhonon, grid: EnergyGrid) -> Array:
    """Emission and absorption of a phonon of constant energy from Q = 0."""
    final = grid.valleys.index(phonon.final)
    formation = np.zeros(grid.size)
    number = bose(np.array(phonon.energy), grid.temperature)
    for change, occupation in ((-phonon.energy, number + 1), (phonon.energy, number)):
        kinetic = phonon.initial.energy + change - phonon.final.energy
        if 0 <= kinetic < grid.edges(final)[-1]:
            momentum = phonon.final.momentum(np.array(kinetic))
            rate = phonon.rate(np.array(0.0), momentum, np.array(0.0)) * occupation
            formation += _deposit(grid, final, kinetic, float(rate))
    return formation


def _deposit(grid: EnergyGrid, valley: int, kinetic: float, rate: float) -> Array:
    """Puts a rate at one energy into the two nearest cells so that number and mean energy are right.

    Phonon energies often fall on a cell edge; the split makes the result independent of rounding there.
    """
    cells = grid.slices[valley]
    energies = grid.kinetic_energy[cells]
    out = np.zeros(grid.size)
    upper = int(np.clip(np.searchsorted(energies, kinetic), 1, len(energies) - 1))
    share = np.clip((kinetic - energies[upper - 1]) / (energies[upper] - energies[upper - 1]), 0.0, 1.0)
    out[cells.start + upper - 1] = rate * (1 - share)
    out[cells.start + upper] = rate * share
    return out
