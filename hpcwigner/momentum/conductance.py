"""Conductances between energy cells of one phonon process: Boltzmann-weighted averages over source and target cell.

For the emission of a phonon from source cell i to target cell j the conductance of harmonic m is

    c_m[j, i] = ∫_i dε' ∫_j dε ∫dθ/2π  p(ε') (n + 1) R(Q', Q, θ) cos(mθ) δ(ε' − ε − ħω),

p(ε') the Boltzmann population per energy and R the spontaneous rate (exciton/phonons.py). Since p(ε) n = p(ε')(n + 1), the
reverse absorption has the same conductance. The quadrature is independent of the cells.
"""

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR, HBAR2_OVER_M0
from hpcwigner.exciton.phonons import AcousticPhonon, OpticalPhonon, Phonon, bose
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.quadrature import gauss_legendre

ANGLES = 64  # Angles between 0 and π; with these numbers of points rates are good to 1e-3 or better (tests/test_rates.py)
POINTS = 4  # Gauss points on each piece of an energy cell


def conductance(phonon: Phonon, equilibrium: Equilibrium, orders: int) -> Array:
    """c_m[to, from] of one emission process for harmonics 0…`orders`: shape (m, cell of final, cell of initial valley)."""
    if isinstance(phonon, AcousticPhonon):
        return _acoustic(phonon, equilibrium, orders)
    return _optical(phonon, equilibrium, orders)


def _cell_sums(target: NDArray[np.int64], source: NDArray[np.int64], values: Array, shape: tuple[int, int]) -> Array:
    """Sums of values (m, point) over the points of each pair of cells, shape (m, target, source)."""
    pair = target * shape[1] + source
    return np.stack([np.bincount(pair, row, shape[0] * shape[1]).reshape(shape) for row in values])


def _optical(phonon: OpticalPhonon, equilibrium: Equilibrium, orders: int) -> Array:
    """Emission of a phonon of constant energy, integrated over the overlaps of the target cells with the shifted source cells."""
    cells = equilibrium.cells
    initial, final = cells.valleys.index(phonon.initial), cells.valleys.index(phonon.final)
    shift = phonon.initial.energy - phonon.energy - phonon.final.energy  # final kinetic − initial kinetic energy
    breaks = np.union1d(cells.edges(initial) + shift, cells.edges(final))
    breaks = breaks[(breaks >= max(shift, 0.0)) & (breaks <= cells.edges(final)[-1])]
    lower, width = breaks[:-1], np.diff(breaks)
    keep = width > 1e-9 * cells.width(final)  # drops overlaps due to rounding of coinciding edges
    nodes, weights = gauss_legendre(POINTS)
    energy = (lower[keep, None] + width[keep, None] * (0.5 + 0.5 * nodes)).ravel()
    weight = (0.5 * width[keep, None] * weights).ravel()
    theta = (np.arange(ANGLES) + 0.5) * np.pi / ANGLES
    rate = phonon.rate(phonon.initial.momentum(energy - shift)[:, None], phonon.final.momentum(energy)[:, None], theta[None, :])
    harmonics = np.cos(np.outer(np.arange(orders + 1), theta)) @ rate.T / ANGLES
    emission = 1 + bose(np.array(phonon.energy), equilibrium.temperature)
    harmonics *= weight * emission * equilibrium.density(initial, energy - shift)
    shape = cells.counts[final], cells.counts[initial]
    return _cell_sums(cells.cell_within(final, energy), cells.cell_within(initial, energy - shift), harmonics, shape)


def _acoustic(phonon: AcousticPhonon, equilibrium: Equilibrium, orders: int) -> Array:
    """Inelastic acoustic emission, with energy and momentum conserved exactly.

    In units of Q_s = Mv/ħ (energies: E_s = ħ²Q_s²/2M) both conservation laws hold for
    Q' = cosh ξ + sin χ, Q = cosh ξ − sin χ, q = 2 cosh ξ sin χ, tan(θ/2) = tanh ξ tan χ with ξ ≥ 0, 0 ≤ χ ≤ π/2, and
    ∫dε' ∫dε ∫dθ/2π δ(ε' − ε − ħvq) … = (4E_s/π) ∫dξ ∫dχ QQ' …, without a singularity, also at the threshold Q' = 2Q_s.
    ξ is integrated piecewise between the values at which Q' or Q crosses a cell edge.
    """
    cells = equilibrium.cells
    valley = cells.valleys.index(phonon.valley)
    momentum = phonon.sound_momentum
    energy = HBAR2_OVER_M0 * momentum**2 / (2 * phonon.valley.mass)
    nodes, weights = gauss_legendre(POINTS)
    chi_nodes, chi_weights = gauss_legendre(2 * ANGLES)
    chi = 0.25 * np.pi * (1 + chi_nodes)
    edges = np.sqrt(cells.edges(valley) / energy)
    # cosh ξ at which Q' or Q crosses an edge, and more breaks for wide cells; shape (χ, break)
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
    weight *= 1 + bose(HBAR * phonon.sound_velocity * transfer, equilibrium.temperature)
    weight *= equilibrium.density(valley, energy * source**2)
    harmonics = np.cos(np.outer(np.arange(orders + 1), theta)) * weight
    pairs = cells.cell_within(valley, energy * target**2), cells.cell_within(valley, energy * source**2)
    shape = cells.counts[valley], cells.counts[valley]
    jump = HBAR * phonon.sound_velocity * transfer / cells.width(valley)
    sums = _cell_sums(*pairs, harmonics, shape)
    return _without_cell_diffusion(sums, _cell_sums(*pairs, harmonics * jump**2, shape))


def _without_cell_diffusion(sums: Array, squared: Array) -> Array:
    """Removes the spurious energy diffusion of cells wider than the phonon energy.

    Cell averages represent a phonon of δ < 1 cell widths by a jump of a whole cell with probability δ. The mean energy loss is
    right, but the mean square is δ instead of δ² squared cell widths: diffusion is too large by 1/δ. `squared` is the sum over
    δ², so the excess of every pair of cells is known; it is subtracted from the conductances between neighbouring cells at
    the edges between the pair. Detailed balance and particle number stay exact, since conductances stay symmetric; rates stay
    ≥ 0 and all harmonics damped (`_largest_share`).
    """
    count = sums.shape[1]
    steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    excess = steps**2 * sums - squared
    per_edge = excess / np.maximum(steps, 1)
    diagonal = np.arange(count)
    within = per_edge[:, diagonal, diagonal]
    per_edge[:, diagonal, diagonal] = 0.0
    # Emission goes down in energy: between target and source lie the edges above the target, edge k being above cell k.
    # Summed from the top, where the Boltzmann weight is smallest, to limit rounding errors.
    taken = np.cumsum((per_edge.sum(axis=1) - per_edge.sum(axis=2))[:, :0:-1], axis=1)[:, ::-1]
    taken += 0.5 * (within[:, :-1] + within[:, 1:])
    lower, upper = diagonal[:-1], diagonal[1:]
    taken *= _largest_share(sums, taken)
    # The transpose is added later: here go half of the diagonal entries and one of the two off-diagonal ones.
    corrected = sums.copy()
    corrected[:, lower, upper] -= taken
    corrected[:, lower, lower] += 0.5 * taken
    corrected[:, upper, upper] += 0.5 * taken
    return corrected


def _largest_share(sums: Array, taken: Array) -> Array:
    """Fraction 0…1 of `taken` (m, edge) that can be subtracted at each edge.

    The isotropic conductance across the edge must stay ≥ 0. In harmonic m the edge contributes to the damping the form
    (c_0 + s − a)(g² + g'²) − 2(c_m − a)gg', s ≥ 0 the loss within its cells, a the amount subtracted. It is ≥ 0 for all g, g'
    as long as 2a ≤ c_0 + c_m + s.
    """
    between = sums.diagonal(1, 1, 2) + sums.diagonal(-1, 1, 2)
    inside = sums[0].diagonal() - sums.diagonal(axis1=1, axis2=2)
    available = 0.5 * (between[0] + between + np.minimum(inside[:, :-1], inside[:, 1:]))
    available[0] = between[0]
    available *= 1 - 1e-12
    short = taken > available
    return np.where(short, np.maximum(available, 0.0) / np.where(short, taken, 1.0), 1.0).min(axis=0)
