"""The semi-discrete reduced model on a decomposed grid: rates of change of the valleys' densities, and their Jacobian.

    ∂t n_v = −Σ_faces j_v/h + Σ_w k_vw(r) n_w − ℓ_v(r) n_v − annihilation + sources

Densities are arrays (x, y, valley) of a rank's own cells [1/nm²; slab 1/nm].
"""

import functools

import numpy as np

from hpcwigner.problem.builder import Problem
from hpcwigner.problem.equation import repulsion_of
from hpcwigner.reduced.coefficients import thermal_shares
from hpcwigner.reduced.fluxes import Neighbours, bernoulli, bernoulli_slope
from hpcwigner.reduced.local import LocalCoefficients, local_coefficients
from hpcwigner.runtime.arrays import Array
from hpcwigner.space.grid import Decomposition
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.books import Changes
from hpcwigner.terms.radiation import Loss
from hpcwigner.terms.sources import PulseSource
from hpcwigner.terms.term import Source, State

TRANSPORT, WALLS, TRANSFER = ("drift", "drift"), ("walls", "drift"), ("scattering", "interv")
"""Name and part of D_v of the entries that every problem has."""
OVER = 1e-30  # A source below this part of all that it forms in a ps is over


class DriftDiffusion:
    """The terms of a problem as the reduced model has them."""

    def __init__(self, problem: Problem, decomposition: Decomposition) -> None:
        """Collective."""
        self.problem, self.decomposition, self.cells = problem, decomposition, problem.cells
        self.shape = (*decomposition.local_shape[:2], len(self.cells.valleys))
        """Points along x and y, valleys."""
        self.neighbours = Neighbours(decomposition, self.shape[2])
        self.stages: list[LocalCoefficients] = local_coefficients(problem, decomposition, self.neighbours)
        self._squares = [problem.space.spacing[axis] ** 2 for axis, _ in self.neighbours.sides]
        self.heights = problem.potential(decomposition).reshape(self.shape) / problem.equilibrium.thermal_energy
        """E_v(r)/kT without a repulsion."""
        self.strength = repulsion_of(problem.config) / problem.equilibrium.thermal_energy
        """g/kT [nm²; slab nm]."""
        self.annihilation = next((term for term in problem.terms if isinstance(term, Annihilation)), None)
        self.sources: list[Source] = problem.sources
        for source in self.sources:
            source.distribute(decomposition)
        self._profiles = [decomposition.local(source.profile()) for source in self.sources]
        self._of_valley = np.equal.outer(self.cells.valley_of_cell, np.arange(self.shape[2])).astype(float)
        losses = dict.fromkeys((term.name, term.part) for term in problem.terms if isinstance(term, Loss))
        density = [(term.name, term.part) for term in problem.terms if isinstance(term, Annihilation)]
        self.entries = (TRANSPORT, WALLS, TRANSFER, *losses, *density, *((s.name, s.part) for s in self.sources))
        """Name and part of D_v of what `by_entry` returns."""

    @functools.cached_property
    def _fixed(self) -> tuple[list[Array], list[Array]]:
        """Weights of the near and the far cell without a repulsion. Collective when first asked for."""
        return self._weights(self.heights)[1:]

    def _weights(self, heights: Array) -> tuple[list[Array], list[Array], list[Array]]:
        """δ, B(δ)/h² and B(−δ)/h² by side for E_v/kT = `heights`, each (x, y, valley). Collective."""
        rises = [other - heights for other in self.neighbours(heights)]
        pairs = list(zip(rises, self._squares, strict=True))
        return rises, [bernoulli(d) / h for d, h in pairs], [bernoulli(-d) / h for d, h in pairs]

    def heights_with(self, n: Array) -> Array:
        """E_v(r)/kT with the repulsion of these densities."""
        return np.asarray(self.heights + self.strength * n.sum(axis=2, keepdims=True))

    def transport(self, n: Array, stage: int) -> Array:
        """−Σ j/h between cells [per ps]. Collective."""
        near, far = self._weights(self.heights_with(n))[1:] if self.strength else self._fixed
        rate = np.zeros(self.shape)
        for i, other in enumerate(self.neighbours(n)):
            rate -= _product(self.stages[stage].diffusion[i], near[i] * n - far[i] * other)
        return rate

    def through_walls(self, n: Array, stage: int) -> Array:
        """What walls absorb [per ps]."""
        rate = np.zeros(self.shape)
        for i, absorbed in enumerate(self.stages[stage].walls):
            if absorbed is not None:
                edge = self.neighbours.edge(i)
                rate[edge] -= absorbed * n[edge]
        return rate

    def implicit(self, n: Array, stage: int) -> Array:
        """Transport, walls, transfer and losses [per ps]. Collective."""
        here = self.stages[stage]
        return self.transport(n, stage) + self.through_walls(n, stage) + _product(here.transfer, n) - here.loss * n

    def explicit(self, time: float, n: Array, stage: int) -> Array:
        """Sources and annihilation at `time` [ps] [per ps]."""
        return sum((self.formed(i, time, stage) for i in range(len(self.sources))), self._annihilated(n))

    def _annihilated(self, n: Array) -> Array:
        if self.annihilation is None:
            return np.zeros(self.shape)
        partners = n.sum(axis=2, keepdims=True) if self.annihilation.between_valleys else n
        return -self.annihilation.rate * partners * n

    def formed(self, number: int, time: float, stage: int) -> Array:
        """What a source adds at `time` [ps] [per ps]; excitons are thermal in the valley in which they appear."""
        source = self.sources[number]
        strength = source.strength(time)
        if abs(strength) < OVER * source.amplitude:
            return np.zeros(self.shape)
        if isinstance(source, PulseSource):
            by_valley = strength * self.cells.valley_sum(source.spectrum(stage))
            return np.asarray(self._profiles[number][:, :, None] * by_valley)
        return (source.formation(time) @ self._of_valley).reshape(self.shape)

    def jacobian(self, n: Array, stage: int) -> tuple[Array, list[Array]]:
        """∂(implicit)/∂n [1/ps]: blocks (x, y, valley, valley) of each point with itself, and with its neighbours by side.

        Those of neighbours beyond a wall mean nothing. Collective.
        """
        here, valleys = self.stages[stage], np.arange(self.shape[2])
        own = np.zeros((*self.shape, self.shape[2])) + here.transfer
        own[..., valleys, valleys] -= here.loss
        for i, absorbed in enumerate(here.walls):
            if absorbed is not None:
                own[self.neighbours.edge(i)][..., valleys, valleys] -= absorbed
        rises, near, far = self._weights(self.heights_with(n)) if self.strength else ([], *self._fixed)
        beside = []
        for i, other in enumerate(self.neighbours(n)):
            diffusion = here.diffusion[i]
            own -= diffusion * near[i][..., None, :]
            block = diffusion * far[i][..., None, :]
            if self.strength:
                slope = self.strength / self._squares[i] * (bernoulli_slope(rises[i]) * n + bernoulli_slope(-rises[i]) * other)
                change = _product(diffusion, slope)[..., None]
                own += change
                block = block - change
            beside.append(block)
            if self.neighbours.closed[i]:
                edge = self.neighbours.edge(i)
                own[edge] += block[edge]  # the neighbour is the cell itself
        return own, beside

    def by_entry(self, time: float, n: Array, stage: int) -> Array:
        """∂t n_v by each of `entries` [per ps], shape (entry, x, y, valley). Collective."""
        here = self.stages[stage]
        parts = [self.transport(n, stage), self.through_walls(n, stage), _product(here.transfer, n)]
        parts += [-rate * n for rate in here.losses.values()]
        parts += [] if self.annihilation is None else [self._annihilated(n)]
        parts += [self.formed(i, time, stage) for i in range(len(self.sources))]
        return np.array(parts)

    def changes(self, time: float, n: Array, stage: int) -> Changes:
        """The same as a run's output takes it, with the thermal kinetic energy. Collective."""
        rates = self.by_entry(time, n, stage)
        energies = self.cells.valley_sum(thermal_shares(self.problem.equilibrium) * self.problem.equilibrium.kinetic_energy)
        light = (self.stages[stage].light * rates.sum(axis=0)).sum(axis=2).ravel()
        points = rates.reshape(len(rates), -1, self.shape[2])
        return Changes(np.concatenate((points, (points @ energies)[..., None]), axis=2), light)

    def transfer(self, changes: Changes) -> Array:
        """∂t N_v by intervalley scattering at each point, shape (point, valley)."""
        return np.asarray(changes.entries[self.entries.index(TRANSFER), :, :-1])

    def start(self) -> Array:
        """Densities at t = 0. Collective."""
        if self.problem.initial is None:
            return np.zeros(self.shape)
        return self.problem.initial.densities(self.decomposition, self.cells).reshape(self.shape)

    def state(self, n: Array) -> State:
        """Densities as a run's output takes them: (point, 1, valley)."""
        return State(n.reshape(-1, 1, self.shape[2]), np.zeros((n.shape[0] * n.shape[1], 0)))

    def free(self) -> None:
        """Releases requests. Collective."""
        self.neighbours.free()


def _product(matrices: Array, values: Array) -> Array:
    """Σ_w matrices[x, y, v, w] values[x, y, w]; the first two axes of `matrices` may have length 1."""
    if matrices.shape[:2] == (1, 1):
        return np.asarray(values @ matrices[0, 0].T)
    return np.einsum("xyvw,xyw->xyv", matrices, values)
