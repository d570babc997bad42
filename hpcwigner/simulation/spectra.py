"""Spectra of a run's states: from the populations at each point to bins of photon energy (observables/spectrum.py)."""

import math
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.exciton.sidebands import Sideband, sidebands
from hpcwigner.observables.instrument import window_weights
from hpcwigner.observables.spectrum import Lines
from hpcwigner.problem.blocks import Spectrum
from hpcwigner.problem.builder import Problem
from hpcwigner.problem.equation import repulsion_of
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition
from hpcwigner.storage.files import Constant
from hpcwigner.terms.radiation import ZDipoleRadiation


class Spectra:
    """Light of the points of a rank by bins of energy. In a landscape the lines of each valley move with its E_v(r).

    Bins are those of the input with one more on either side for all that lies beyond.
    """

    def __init__(self, problem: Problem, decomposition: Decomposition) -> None:
        wanted = problem.config.output.spectrum
        assert wanted is not None
        self._problem, self._comm, self._measure = problem, decomposition.comm, problem.space.cell_measure
        self._edges, self._strength = np.array(wanted.edges), repulsion_of(problem.config)
        self._step = float(self._edges[1] - self._edges[0])
        self._classes = self._points_by_class(decomposition)
        self._fixed = self._shifts(decomposition)  # Of the lines by E_v(r) [meV], shape (point, valley); none without a landscape
        furthest = 0.0 if self._fixed is None else float(np.abs(self._fixed).max(initial=0.0))
        self._make_lines(0 if self._fixed is None else self._bins(furthest))

    def _bins(self, shift: float) -> int:
        """Further bins on either side, from which a shift of lines [meV] may bring light into the bins of the input."""
        return math.ceil(shift / self._step - 1e-9) + 1

    def _make_lines(self, beyond: int) -> None:
        """Kernels with so many bins beyond those of the input."""
        self._beyond, more = beyond, self._step * np.arange(1, beyond + 1)
        lines = lines_of(self._problem, np.concatenate((self._edges[0] - more[::-1], self._edges, self._edges[-1] + more)))
        self._kernels, self._rates = [one.kernel() for one in lines], [one.rates for one in lines]

    def _points_by_class(self, decomposition: Decomposition) -> Sequence[NDArray[np.int64]]:
        offsets = self._problem.offsets
        if offsets is None or len(offsets.stages) == 1:
            return [np.arange(math.prod(decomposition.local_shape[:2]))]
        return offsets.members(decomposition)

    def _shifts(self, decomposition: Decomposition) -> Array | None:
        """E_v(r) less that of the node, which the kernel has [meV]; None where all are zero."""
        problem = self._problem
        if problem.variation is None and not self._strength:
            return None
        shifts = problem.potential(decomposition)
        nodes = [[v.energy for v in problem.cells.valleys]] if problem.offsets is None else problem.offsets.nodes
        for node, members in zip(nodes, self._classes, strict=True):
            shifts[members] -= np.array(node)
        return shifts

    def __call__(self, isotropic: Array) -> Array:
        """Photons per time at each point and in each bin [1/ps per area or length], shape (point, bin + 2).

        `isotropic` is Σ_θ u (point, cell).
        """
        cells = self._problem.cells
        if self._fixed is None:
            return np.asarray(isotropic @ self._kernels[0])
        shifts = self._fixed
        if self._strength:
            shifts = shifts + self._strength * isotropic.sum(axis=1)[:, None]
            if (needed := self._bins(float(np.abs(shifts).max(initial=0.0)))) > self._beyond:
                self._make_lines(needed)
        result = np.zeros((len(isotropic), len(self._edges) + 1))
        for kernel, members in zip(self._kernels, self._classes, strict=True):
            for valley, own in enumerate(cells.slices):
                light = isotropic[members, own] @ kernel[own]
                result[members] += self._shifted(light, shifts[members, valley] / self._step)
        return result

    def _shifted(self, light: Array, shifts: Array) -> Array:
        """Light (point, bin + 2) in the wide bins, moved up by `shifts` [bins] (point,), in those of the input.

        Each bin's light is divided between the two bins that it overlaps then, which keeps area and mean energy.
        """
        count, whole = len(self._edges) - 1, np.floor(shifts).astype(np.int64)
        part, below = (shifts - whole)[:, None], self._beyond + 1  # number of the first bin of the input among the wide ones
        first = below - whole[:, None] + np.arange(count)
        rows = np.arange(len(light))[:, None]
        inside = (1 - part) * light[rows, first] + part * light[rows, first - 1]
        sums = np.cumsum(light, axis=1)  # what lies below a bin's upper end
        start = below - whole
        low = (1 - part[:, 0]) * sums[rows[:, 0], start - 1] + part[:, 0] * sums[rows[:, 0], start - 2]
        high = sums[:, -1] - low - inside.sum(axis=1)
        return np.concatenate((low[:, None], inside, high[:, None]), axis=1)

    def total(self, spectra: Array) -> Array:
        """Spectrum of the whole sample [1/ps], shape (bin + 2,). Collective."""
        total = self._measure * spectra.sum(axis=0)
        self._comm.Allreduce(MPI.IN_PLACE, total)
        return np.asarray(total)

    def by_sideband(self, isotropic: Array) -> Array:
        """Photons of the whole sample in each sideband [1/ps], shape (sideband,). Collective."""
        total = np.zeros(len(self._rates[0]))
        for rates, members in zip(self._rates, self._classes, strict=True):
            total += self._measure * (rates @ isotropic[members].sum(axis=0))
        self._comm.Allreduce(MPI.IN_PLACE, total)
        return total


def shown(wanted: Spectrum, spectra: Array) -> Array:
    """What is written of spectra (…, bin + 2): per energy [1/meV] in the bins of the input, or their sums in windows."""
    inside, edges = spectra[..., 1:-1], np.array(wanted.edges)
    return inside @ window_weights(edges, wanted.windows) if wanted.windows else np.asarray(inside / np.diff(edges))


def lines_of(problem: Problem, edges: Array) -> list[Lines]:
    """Lines of each class of points, in bins with these `edges` [meV]."""
    generators, offsets, wanted = problem.local_generators[0], problem.offsets, problem.config.output.spectrum
    z_light = np.zeros(problem.cells.size)
    if wanted is not None and wanted.z_dipoles:
        z_light += sum(term.rate for term in problem.terms if isinstance(term, ZDipoleRadiation))
    lines = []
    for number, generator in enumerate(generators):
        couplings, formation = problem.couplings, problem.formation_rate
        if offsets is not None and problem.variation is not None:
            couplings = problem.variation.couplings_at(number, problem.material, problem.couplings.valleys)
            formation = math.fsum(offsets.formation[number])
        rates = formation, generator.out_rates[0], generator.light
        lines.append(Lines.build(generator.equilibrium, couplings, problem.light_cone, *rates, edges, z_light))
    return lines


def of_moments(problem: Problem, zeroth: Array) -> tuple[Array, Array]:
    """Spectra of the whole sample by bins (time, bin + 2) [1/ps] from the number of excitons (time, cell), and by sideband.

    For a homogeneous sample, as the closed moment equations describe it: no grid is needed.
    """
    assert problem.config.output.spectrum is not None
    lines = lines_of(problem, np.array(problem.config.output.spectrum.edges) - origin_shift(problem))[0]
    return zeroth @ lines.kernel(), zeroth @ lines.rates.T


def origin_shift(problem: Problem) -> float:
    """Energy of the bright exciton at the origin, counted from that without strain [meV]."""
    if problem.variation is None:
        return 0.0
    energy = problem.variation.energy[problem.light_cone.valley]
    return float(energy[energy.shape[0] // 2, energy.shape[1] // 2])


def coordinates(problem: Problem) -> dict[str, Array | Sequence[str]]:
    """Coordinates of spectra.h5 beside those of time and place."""
    wanted = problem.config.output.spectrum
    assert wanted is not None
    edges, windows = np.array(wanted.edges), [f"{low:g} – {high:g}" for low, high in wanted.windows]
    bins: dict[str, Array | Sequence[str]] = {"window": windows} if windows else {"energy": 0.5 * (edges[1:] + edges[:-1])}
    return bins | {"sideband": [band.name for band in bands_of(problem)]}


def bands_of(problem: Problem) -> list[Sideband]:
    """All sidebands of a problem, with the valley offsets at the origin."""
    return list(sidebands(problem.couplings, problem.bright))


def sideband_constants(problem: Problem) -> tuple[Constant, ...]:
    """Where the lines begin at the origin: variables of spectra.h5 that do not depend on time."""
    shift, text = origin_shift(problem), "counted from the bright exciton without strain, at the origin"
    energies = np.array([band.valley.energy + band.shift for band in bands_of(problem)]) + shift
    return (
        ("sideband_energy", energies, ("sideband",), "meV", f"photon energy of an exciton at rest, {text}"),
        ("direct_energy", np.array(shift), (), "meV", f"photon energy of the direct line, {text}"),
    )
