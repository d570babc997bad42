"""A resonant pulse where the bright exciton's energy, or what coherent excitons scatter into, varies from place to place.

∂t p0(r) = −[iδ(r)/ħ + ½(γ + Γ_0(r))] p0 + A(r, t) at each point by itself, δ(r) = E_KK(r) − ħω_L: forces on coherent excitons,
which would give p0 a momentum −∫∇E_KK dt, are neglected.

Integrals over the sample are sums over a few nodes in the detuning. As a function of δ, |p0(t)|² is the Fourier transform of a
correlation of A that falls at least as exp(−τ²/4σ²), so that its Chebyshev series on an interval of the detuning converges.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcwigner.exciton.constants import HBAR
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.observables.budget import Entry, SpatialMoments
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.terms.pulse import GaussianField, LocalPopulations
from hpcwigner.terms.term import Source

DARK = 1e-30  # Points with less than this part of the profile's peak form nothing
Numbers = NDArray[np.int64]


@dataclasses.dataclass(eq=False)
class DetunedSource(Source):
    """amplitude · |p0(r, t)|² · profile(r) · spectrum(cell), with ∫∫Γ_0(r)|p0|² profile dr dt = 1, isotropic in momentum."""

    equilibrium: Equilibrium
    grid: SpaceGrid
    angular_share: Array  # Share of an isotropic population in each angle cell, shape (angle,)
    field: GaussianField
    radiative_rate: float  # γ [1/ps]
    spectra: Sequence[Sequence[Array]]  # Γ_{Q,0} [1/ps] by class of points, then by stage, each of shape (cell,)
    detuning: Array  # δ [meV] on the held grid, shape (x, y)
    light: Array  # Profile of |A|² on the held grid, in any unit, shape (x, y)
    class_of_point: Numbers | None = None  # On the held grid, shape (x, y); one class without it
    amplitude: float = 1.0  # Population that it generates in all
    switches: tuple[float, ...] = ()  # Times [ps] at which the next stage begins

    name = "source"
    part = "source"
    why_not_closed = "a pulse's detuning varies in space"

    def __post_init__(self) -> None:
        self.window, self.shortest_time = self.field.window, self.field.duration_fwhm
        classes = np.zeros(self.grid.shape, dtype=np.int64) if self.class_of_point is None else self.class_of_point
        self._light = self.light / (math.fsum(self.light.ravel()) * self.grid.cell_measure)
        if not any(self.grid.folded):
            self.mirrors = (
                self.grid.mirrors(self.light) & self.grid.mirrors(self.detuning) & self.grid.mirrors(classes.astype(float))
            )
        self._classes = classes
        self._formation = np.array([math.fsum(by_stage[0]) for by_stage in self.spectra])
        lit = self._lit(self._light)
        measured = self._light[lit] * self.grid.cell_measure
        weights = measured * np.array([values[lit] for values in self._weight_functions()])
        self._nodes = [
            DetuningNodes.choose(np.abs(self.detuning[lit & (classes == c)]), self.field.sigma) for c in range(len(self.spectra))
        ]
        self._node_class = np.repeat(np.arange(len(self.spectra)), [len(nodes.values) for nodes in self._nodes])
        self._weights = np.concatenate(
            [nodes.weights(weights[:, classes[lit] == c]) for c, nodes in enumerate(self._nodes)], axis=1
        )  # Of the integrals over the sample, shape (weight, node)
        self._sample = self._populations(np.concatenate([nodes.values for nodes in self._nodes]), self._node_class)
        everything = self._sample.integral(math.inf)
        number, second = self._weights[:2] @ (everything * self._formation[self._node_class])
        self._scale, self.width_squared = 1 / float(number), float(second / number)
        by_class = self._by_class(everything)[0]
        self._shares = by_class / by_class.sum()
        self.decay = 2 * float(self._sample.dephasing.min())
        self._everything = everything
        self._local: _LocalPart | None = None
        self._last: tuple[tuple[float, float], Array] | None = None

    def _lit(self, light: Array) -> NDArray[np.bool_]:
        return np.asarray(light > DARK * self._light.max())

    def _populations(self, detuning: Array, classes: Numbers) -> LocalPopulations:
        dephasing = 0.5 * (self.radiative_rate + self._formation[classes])
        return LocalPopulations(self.field.center, self.field.duration_fwhm, dephasing, detuning)

    def _by_class(self, values: Array) -> Array:
        """Integrals of f with all weights over each class's points, from f at the nodes (node,): shape (weight, class)."""
        count = len(self.spectra)
        return np.array([np.bincount(self._node_class, w * values, count) for w in self._weights])

    def spectrum(self, stage: int, class_number: int | None = None) -> Array:
        if class_number is not None:
            return self.spectra[class_number][stage]
        return np.asarray(sum(share * by_stage[stage] for share, by_stage in zip(self._shares, self.spectra, strict=True)))

    @property
    def coherent(self) -> bool:
        return True

    def strength(self, time: float) -> float:
        return self.amplitude * self._scale * float(self._weights[0] @ self._sample.course(time))

    def polynomial(self, start: float, size: float) -> Array:
        return self.amplitude * self._scale * (self._weights[0] @ self._sample.polynomial(start, size))

    def local_polynomial(self, start: float, size: float) -> Array:
        assert self._local is not None
        if self._last is None or self._last[0] != (start, size):
            by_place = self._local.populations.polynomial(start, size)
            self._last = (start, size), self.amplitude * self._scale * self._local.spread(by_place)
        return self._last[1]

    def generated(self, time: float) -> float:
        rates = self._formation[self._node_class]
        return self.amplitude * self._scale * float(self._weights[0] @ (rates * self._sample.integral(time)))

    def profile(self) -> Array:
        return self._light

    def formed(self) -> Array:
        """Density of all excitons that it forms [1/nm² or, in a slab, 1/nm], before they move; on the held grid, shape (x, y)."""
        values = np.zeros(self.grid.shape)
        lit = self._lit(self._light)
        for c, nodes in enumerate(self._nodes):
            here = lit & (self._classes == c)
            each = self._everything[self._node_class == c]
            values[here] = self._formation[c] * nodes.interpolate(each, np.abs(self.detuning[here]))
        return self.amplitude * self._scale * self._light * values

    def distribute(self, decomposition: Decomposition) -> None:
        light, detuning = (decomposition.local(values).reshape(-1) for values in (self._light, np.abs(self.detuning)))
        classes = self._classes[decomposition.x, decomposition.y].reshape(-1)
        lit = np.flatnonzero(self._lit(light))
        places, of_point = np.unique([detuning[lit], classes[lit]], axis=1, return_inverse=True)
        populations = self._populations(places[0], places[1].astype(np.int64))
        self._local = _LocalPart(light, classes, lit, of_point.reshape(-1).astype(np.int64), populations)
        self._last = None

    def formation(self, time: float) -> Array:
        assert self._local is not None
        here = self._local
        stage = self._stage(time)
        rates = np.array([by_stage[stage] for by_stage in self.spectra])
        strength = self.amplitude * self._scale * here.light * here.spread(here.populations.course(time)[:, None])[:, 0]
        return strength[:, None] * rates[here.classes]

    def entry(self, time: float, moments: SpatialMoments) -> Entry:
        stage, cells = self._stage(time), self.equilibrium.cells
        now = self.amplitude * self._scale * self._by_class(self._sample.course(time))
        rates = now @ np.array([by_stage[stage] for by_stage in self.spectra])  # (weight, cell)
        return Entry(cells.valley_sum(rates)[: len(moments.values)], float(self.equilibrium.total_energy @ rates[0]))

    def _weight_functions(self) -> list[Array]:
        """The weights of SpatialMoments on the held grid (x, y)."""
        grid = self.grid
        x, y = np.meshgrid(grid.centers(0), grid.centers(1), indexing="ij")
        places = (x, y)[: grid.dimensions]
        whole = [0.0 * place if copies == 2 else place for place, copies in zip(places, grid.copies, strict=False)]
        return [np.ones(grid.shape), grid.squared_distance, *whole, *[np.square(place) for place in places]]

    def _stage(self, time: float) -> int:
        return sum(time > t + 1e-9 for t in self.switches)


@dataclasses.dataclass(frozen=True, eq=False)
class _LocalPart:
    """What a source needs of one rank's points."""

    light: Array  # Profile, shape (point,)
    classes: Numbers  # Shape (point,)
    lit: Numbers  # Points where excitons form
    place: Numbers  # Of each lit point: the one of `populations` that is its own
    populations: LocalPopulations  # At the places that differ

    def spread(self, values: Array) -> Array:
        """Values by place (place, k) at all points (point, k); 0 where nothing forms."""
        result = np.zeros((len(self.light), values.shape[1]))
        result[self.lit] = values[self.place]
        return result


@dataclasses.dataclass(frozen=True, eq=False)
class DetuningNodes:
    """Detunings for which integrals over a set of points are sums: those of the points, or fewer Chebyshev nodes."""

    values: Array  # |δ| [meV], shape (node,)
    interval: tuple[float, float] | None  # Of the Chebyshev nodes [meV]; None: the points' own detunings, in increasing order
    points: Array  # |δ| of the points [meV], shape (point,)

    @classmethod
    def choose(cls, detuning: Array, sigma: float) -> "DetuningNodes":
        """For points with |δ| = `detuning` [meV] and a field with σ = `sigma` [ps]."""
        distinct = np.unique(detuning)
        if len(distinct) == 0:
            return cls(distinct, None, detuning)
        low, high = float(distinct[0]), float(distinct[-1])
        count = _sufficient(0.5 * (high - low) * sigma / HBAR)
        if len(distinct) <= count:
            return cls(distinct, None, detuning)
        angles = math.pi * (np.arange(count) + 0.5) / count
        return cls(0.5 * (low + high) + 0.5 * (high - low) * np.cos(angles), (low, high), detuning)

    def weights(self, of_points: Array) -> Array:
        """Weights W (k, node) with Σ_node W f(δ) = Σ_point w f(δ) for weights w = `of_points` (k, point)."""
        if self.interval is None:
            place = np.searchsorted(self.values, self.points)
            return np.array([np.bincount(place, w, len(self.values)) for w in of_points])
        x, count = self._scaled(self.points), len(self.values)
        before, now = np.zeros_like(x), np.ones_like(x)
        moments = []
        for k in range(count):  # Σ_point w T_k(x)
            moments.append((of_points * now).sum(axis=1))
            before, now = now, (x if k == 0 else 2 * x * now - before)
        moments[0] *= 0.5
        return np.asarray(np.array(moments).T @ self._cosines * (2 / count))

    def interpolate(self, values: Array, detuning: Array) -> Array:
        """Function with the given `values` (node,) at |δ| = `detuning` [meV], the points' own ones in any order."""
        if self.interval is None:
            return np.asarray(values[np.searchsorted(self.values, detuning)])
        coefficients = self._cosines @ values * (2 / len(values))
        coefficients[0] *= 0.5
        return np.asarray(np.polynomial.chebyshev.chebval(self._scaled(detuning), coefficients))

    @property
    def _cosines(self) -> Array:
        """T_k at the nodes, shape (k, node)."""
        orders = np.arange(len(self.values))
        return np.asarray(np.cos(np.pi / len(orders) * np.outer(orders, orders + 0.5)))

    def _scaled(self, detuning: Array) -> Array:
        assert self.interval is not None
        low, high = self.interval
        return np.asarray((2 * detuning - low - high) / (high - low))


def _sufficient(phase: float) -> int:
    """Chebyshev nodes for 1e-16 of the largest value, with `phase` = σ/ħ times half the interval of δ.

    |J_k(phase·τ/σ)| < 1e-16 from there on for τ up to 12.2σ, where the correlation of A is below 1e-16.
    """
    half = max(0.5 * 12.2 * phase, 1e-3)
    count = math.ceil(half) + 1
    while count * math.log(half) - math.lgamma(count + 1) > math.log(1e-16):  # |J_k(z)| ≤ (z/2)^k/k!
        count += 1
    return count + 2
