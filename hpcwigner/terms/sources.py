"""Sources: excitons formed from coherent ones after a resonant pulse, and incoherent injection above resonance."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.pulse import CoherentPopulation, Intensity, Pulse
from hpcwigner.terms.term import Source

EDGE = 1e-6  # Density at the sample's edges relative to its peak from which spatial moments mean nothing


@dataclasses.dataclass(eq=False)
class PulseSource(Source):
    """amplitude · course(t) · profile(r) · spectrum(cell), isotropic in momentum."""

    equilibrium: Equilibrium
    grid: SpaceGrid
    angular_share: Array  # Share of an isotropic population in each angle cell, shape (angle,)
    pulse: Pulse
    spectra: Sequence[Array]  # By stage of the scattering, each of shape (cell,) [1/ps per unit of strength]
    width_squared: float  # ⟨r²⟩ of the density [nm²], in a slab 2⟨x²⟩: w0² of exp(−r²/w0²)
    amplitude: float = 1.0
    shape: Array | None = None  # Of the density on the held grid, shape (x, y); a Gaussian without it
    switches: tuple[float, ...] = ()  # Times [ps] at which the next stage begins

    name = "source"
    part = "source"

    def __post_init__(self) -> None:
        self.window = self.pulse.window
        self.shortest_time = self.pulse.duration_fwhm
        self.decay = self.pulse.decay
        self._local_profile: Array | None = None
        if self.shape is not None:
            self.mirrors = self.mirrors if any(self.grid.folded) else self.grid.mirrors(self.shape)
            if self.grid.at_edges(self.shape) >= EDGE * self.shape.max():
                self.why_not_closed = "a pulse's density reaches the edges of the sample"

    def spectrum(self, stage: int, class_number: int | None = None) -> Array:
        return self.spectra[stage]

    def strength(self, time: float) -> float:
        return self.amplitude * float(self.pulse.course(np.array(time)))

    def polynomial(self, start: float, size: float) -> Array:
        return self.amplitude * self.pulse.polynomial(start, size)

    def generated(self, time: float) -> float:
        return self.amplitude * float(self.spectra[0].sum()) * self.pulse.integral(time)

    def profile(self) -> Array:
        if self.shape is None:
            return self.grid.gaussian(self.width_squared)
        return np.asarray(self.shape / (math.fsum(self.shape.ravel()) * self.grid.cell_measure))

    def distribute(self, decomposition: Decomposition) -> None:
        self._local_profile = np.ascontiguousarray(decomposition.local(self.profile())).reshape(-1)

    def formation(self, time: float) -> Array:
        assert self._local_profile is not None
        return np.outer(self._local_profile, self.strength(time) * self._spectrum_at(time))

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        rate = self.strength(time) * self._spectrum_at(time)
        number = self.equilibrium.cells.valley_sum(rate)
        return Entry(np.outer(self._means[: len(moments.values)], number), float(self.equilibrium.total_energy @ rate))

    @functools.cached_property
    def _means(self) -> Array:
        """Means of the weights of SpatialMoments over the profile, shape (weight,)."""
        axes, profile = range(self.grid.dimensions), self.profile() * self.grid.cell_measure
        sums = [profile.sum(axis=1 - axis) for axis in axes]
        places = [self.grid.centers(axis) for axis in axes]
        first = [0.0 if self.grid.copies[a] == 2 else float(places[a] @ sums[a]) for a in axes]
        second = [0.5 * self.width_squared] * len(axes) if self.shape is None else [float(places[a] ** 2 @ sums[a]) for a in axes]
        return np.array([1.0, self.width_squared, *first, *second])

    def _spectrum_at(self, time: float) -> Array:
        return self.spectra[sum(time > t + 1e-9 for t in self.switches)]


class CoherentSource(PulseSource):
    """Γ_{Q,0}|p0(r, t)|²: coherent excitons scatter into incoherent states."""

    pulse: CoherentPopulation

    @property
    def coherent(self) -> bool:
        return True


class Injection(PulseSource):
    """Incoherent excitons appear in a valley around an energy, with the pulse's intensity and profile."""

    pulse: Intensity
    name = "injection"


def injection_spectrum(equilibrium: Equilibrium, valley: int, above: float, spread: float) -> Array:
    """Gaussian in the kinetic energy around `above` with standard deviation `spread` [meV], in cells: shape (cell,), sum 1.

    Each cell gets the integral of the Gaussian over it; what lies below the valley's bottom is left out. Raises ValueError
    when more than 1e-3 of it lies above the grid's top.
    """
    cells = equilibrium.cells
    edges = cells.edges(valley)
    scaled = (edges - above) / (math.sqrt(2) * spread)
    cumulative = np.array([0.5 * math.erfc(-x) for x in scaled])
    if 1 - cumulative[-1] > 1e-3:
        raise ValueError(f"an energy below {edges[-1] - 3 * spread:.4g} meV, so that the injected excitons lie on the grid")
    share = np.diff(cumulative)
    spectrum = np.zeros(cells.size)
    spectrum[cells.slices[valley]] = share / share.sum()
    return spectrum
