"""Closed moment equations of a tilted sample: a uniform force F, equal in all valleys, with the real rates and no grid in x.

With h_m = ∫f cos mθ dθ, dε/dt = Fv cosθ and dθ/dt = −F sinθ/(Mv), harmonics m = 0…M of a slab obey

    ∂t h_m = L_m h_m − ½v ∂x (h_{m−1} + h_{m+1}) − ½F [v^m ∂ε(v^{1−m} h_{m−1}) + v^{−m} ∂ε(v^{m+1} h_{m+1})],

h_{−1} = h_1, h_{M+1} = 0. F does not depend on x, so M_k = ∫x^k h dx close: dM_k = (L + force) M_k + k v C M_{k−1}, C = cosθ.
Energy is discretised by central fluxes, exact for vh ∝ ε as a current is near ε = 0. The two parts of the force are each other's
negative adjoints: it neither damps nor excites anything. The error is of second order in the cell width.
"""

import dataclasses

import numpy as np
import scipy.integrate
import scipy.sparse

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import generator
from hpcwigner.runtime.arrays import Array


@dataclasses.dataclass(frozen=True)
class TiltMoments:
    """Moments at some times; the quantities of a valley have shape (time, valley), those of all together (time,)."""

    equilibrium: Equilibrium
    time: Array  # [ps], shape (time,)
    moments: Array  # ∫x^k h_m dx for k = 0, 1, 2 and m = 0, 1 [nm^k], shape (time, k, m, cell)

    @property
    def population(self) -> Array:
        """n_v."""
        return self.equilibrium.cells.valley_sum(self.moments[:, 0, 0])

    @property
    def mean_position(self) -> Array:
        """⟨x⟩ of each valley [nm]."""
        return self._mean(self.moments[:, 1, 0])

    @property
    def mean_square(self) -> Array:
        """⟨x²⟩ of each valley [nm²]."""
        return self._mean(self.moments[:, 2, 0])

    @property
    def kinetic_energy(self) -> Array:
        """⟨ε⟩ of each valley [meV]."""
        return self._mean(self.moments[:, 0, 0] * self.equilibrium.kinetic_energy)

    @property
    def drift_velocity(self) -> Array:
        """d⟨x⟩/dt of all valleys together [nm/ps]."""
        return np.asarray(self.moments[:, 0, 1] @ self.equilibrium.velocity / self.population.sum(axis=1))

    @property
    def diffusion(self) -> Array:
        """D = ½ d(⟨x²⟩ − ⟨x⟩²)/dt of all valleys together [nm²/ps]."""
        number = self.population.sum(axis=1)
        half_growth = self.moments[:, 1, 1] @ self.equilibrium.velocity / number
        return np.asarray(half_growth - self.moments[:, 1, 0].sum(axis=1) / number * self.drift_velocity)

    def _mean(self, values: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.equilibrium.cells.valley_sum(values) / self.population)


class TiltedSample:
    """A slab under a uniform force that is the same in all valleys, without sources and losses."""

    def __init__(self, equilibrium: Equilibrium, in_scattering: Array, force: float) -> None:
        """In-scattering Γ_m[to, from] [1/ps] of the harmonics to keep, shape (m, cell, cell); force F = −dE/dx [meV/nm]."""
        self.equilibrium, velocity, orders = equilibrium, equilibrium.velocity, len(in_scattering)
        cells = equilibrium.cells
        self._middle = np.concatenate([cells.edges(v)[:-1] + 0.5 * cells.width(v) for v in range(len(cells.valleys))])
        lowering, turning = self._lowering(), scipy.sparse.diags(velocity / (2 * self._middle))
        blocks = [[None] * orders for _ in range(orders)]
        for m, block in enumerate(generator(in_scattering)):
            blocks[m][m] = scipy.sparse.csr_matrix(block)
            if m + 1 < orders:
                down = lowering + m * turning  # v^−m ∂ε(v^{m+1} ·), since dv/dε = v/2ε
                blocks[m][m + 1], blocks[m + 1][m] = -force * (0.5 if m else 1.0) * down, 0.5 * force * down.T
        self._local = scipy.sparse.bmat(blocks, format="csr")  # L + force, on (m, cell) in one index
        coupling = 0.5 * (np.eye(orders, k=1) + np.eye(orders, k=-1))
        coupling[0, 1] = 1.0
        self._speed = scipy.sparse.kron(coupling, scipy.sparse.diags(velocity), format="csr")  # v C

    def _lowering(self) -> scipy.sparse.csr_matrix:
        """∂ε(v h_1) from fluxes through the edges: ε_e times the mean of vh_1/ε on both sides; none through zero and the top."""
        cells, blocks = self.equilibrium.cells, []
        for valley, own in enumerate(cells.slices):
            inner, per_energy = cells.edges(valley)[1:-1], 0.5 * self.equilibrium.velocity[own] / self._middle[own]
            shape = len(inner), len(inner) + 1
            flux = scipy.sparse.diags([inner * per_energy[:-1], inner * per_energy[1:]], [0, 1], shape=shape)
            blocks.append(scipy.sparse.diags([1.0, -1.0], [0, -1], shape=shape[::-1]) @ flux / cells.width(valley))
        return scipy.sparse.block_diag(blocks, format="csr")

    def solve(self, start: Array, mean_square: float, times: Array, tolerance: float = 1e-7) -> TiltMoments:
        """Moments at `times` [ps] of excitons without a direction: `start` (cell,) with ⟨x⟩ = 0 and ⟨x²⟩ [nm²] at times[0]."""
        size = self.equilibrium.cells.size
        scale = max(1.0, mean_square**0.5)  # moments of x/scale are of similar size

        def change(_: float, flat: Array) -> Array:
            moments = flat.reshape(-1, 3)
            out = self._local @ moments
            out[:, 1:] += self._speed @ moments[:, :2] * np.array([1.0, 2.0]) / scale
            return np.asarray(out.ravel())

        y = np.zeros((self._local.shape[0], 3))
        y[:size, 0], y[:size, 2] = start, start * mean_square / scale**2
        accuracy = {"rtol": tolerance, "atol": 1e-3 * tolerance * start.max()}
        solved = scipy.integrate.solve_ivp(change, (times[0], times[-1]), y.ravel(), "DOP853", times, **accuracy)
        moments = solved.y.reshape(-1, size, 3, len(times))[:2] * scale ** np.arange(3.0)[:, None]
        return TiltMoments(self.equilibrium, times, np.ascontiguousarray(moments.transpose(3, 2, 0, 1)))
