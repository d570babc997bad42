"""The reduced model in time: PETSc's adaptive implicit-explicit Runge–Kutta steps (TSARKIMEX) from one stop to the next.

Transport, transfer and losses are implicit, with the assembled Jacobian; sources and annihilation are explicit. Unknowns are
n_v(r)/S_v with the present peak S_v of each valley: tolerances of steps and of linear solutions, which are norms over all
unknowns, then mean the same in a valley that holds 1e-13 of the excitons.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.reduced.matrix import JacobianMatrix
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import RunError
from hpcwigner.runtime.parallel import readable

PREFIX = "reduced_"
"""Of PETSc's options, such as `-- -reduced_ts_arkimex_type 3`."""
TOLERANCE = 1e-9  # Of a step, relative to each density and, where that is more, to the valley's peak
EMPTIED, SHORTEST = 1e-2, 1e-3  # A valley's peak may fall to this part, unless the time is that short [ps]
REJECTIONS = 100  # In a row, after which the run fails
SOLVED = 1e-13  # Linear equations, relative to the residual before
DEFAULTS = {
    "ts_type": "arkimex", "ts_arkimex_type": "4", "ts_adapt_wnormtype": "infinity", "ksp_type": "gmres",
    "ksp_rtol": SOLVED, "ksp_max_it": 500, "ksp_gmres_restart": 100, "pc_type": "asm", 
    "snes_rtol": 1e-10, "snes_stol": 1e-12, "snes_max_it": 10, "snes_linesearch_type": "basic",
}  # fmt: skip
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)


class Stepper:
    """Advances densities, and sums up what each entry that takes excitons has taken."""

    def __init__(self, equation: DriftDiffusion) -> None:
        """Collective."""
        from petsc4py import PETSc

        self.equation, self._comm = equation, equation.decomposition.comm
        self.lost = np.zeros(len(equation.entries))
        """What each entry has added since the start, this rank's part [excitons]."""
        self.steps = self.iterations = 0
        self._matrix = JacobianMatrix(equation)
        self._x: Any = PETSc.Vec().createMPI((int(np.prod(equation.shape)), None), comm=self._comm)
        self._scales, self._stage = np.ones(equation.shape[2]), 0
        self._jacobian: tuple[int, tuple[Array, list[Array]]] | None = None  # Of a linear problem, by stage
        self._filled: tuple[float, int, tuple[float, ...]] | None = None  # Shift, stage and scales that the matrix has
        self._ts = self._make(PETSc)
        self._dt = np.inf

    def _make(self, petsc: Any) -> Any:
        options = petsc.Options(PREFIX)
        defaults: dict[str, Any] = dict(DEFAULTS)
        defaults["snes_type"] = "newtonls" if self.equation.strength else "ksponly"
        plane = self.equation.decomposition.grid.dimensions == 2
        defaults |= {"sub_pc_type": "ilu", "sub_pc_factor_levels": 1} if plane else {"sub_pc_type": "lu"}
        for key, value in defaults.items():
            if not options.hasName(key):
                options.setValue(key, value)
        ts = petsc.TS().create(self._comm)
        ts.setOptionsPrefix(PREFIX)
        ts.setIFunction(self._implicit, self._x.duplicate())
        ts.setRHSFunction(self._explicit, self._x.duplicate())
        ts.setIJacobian(self._fill, self._matrix.mat, self._matrix.mat)
        ts.setTolerances(rtol=TOLERANCE, atol=TOLERANCE)
        ts.setExactFinalTime(petsc.TS.ExactFinalTime.MATCHSTEP)
        ts.setMaxSteps(10**9)
        ts.setMaxSNESFailures(REJECTIONS)
        ts.setMaxStepRejections(REJECTIONS)
        ts.setPostStep(self._sum_up)
        ts.setFromOptions()
        return ts

    def _densities(self, vector: Any) -> Array:
        return readable(vector).reshape(self.equation.shape) * self._scales

    def _implicit(self, _ts: Any, _time: float, x: Any, rate: Any, residual: Any) -> None:
        change = self.equation.implicit(self._densities(x), self._stage) / self._scales
        residual.setArray(readable(rate) - change.ravel())

    def _explicit(self, _ts: Any, time: float, x: Any, out: Any) -> None:
        out.setArray((self.equation.explicit(time, self._densities(x), self._stage) / self._scales).ravel())

    def _fill(self, _ts: Any, _time: float, x: Any, _rate: Any, shift: float, _jacobian: Any, _for_pc: Any) -> None:
        key = shift, self._stage, tuple(self._scales)
        if not self.equation.strength and key == self._filled:
            return  # PETSc sees that the matrix is the same and keeps its factors
        if self._jacobian is None or self._jacobian[0] != self._stage or self.equation.strength:
            self._jacobian = self._stage, self.equation.jacobian(self._densities(x), self._stage)
        self._matrix.fill(shift, *self._jacobian[1], self._scales)
        self._filled = key

    def _sum_up(self, ts: Any) -> None:
        """Integrals over the step that was just done, by Gauss nodes on the step's polynomial."""
        begin, end = ts.getPrevTime(), ts.getTime()
        between = self._x.duplicate()
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            time = begin + 0.5 * (end - begin) * (1 + node)
            ts.interpolate(time, between)
            by_entry = self.equation.by_entry(time, self._densities(between), self._stage)
            self.lost += 0.5 * (end - begin) * weight * self.equation.problem.space.cell_measure * by_entry.sum(axis=(1, 2, 3))
        between.destroy()

    def advance(self, n: Array, begin: float, end: float, stage: int, floors: Array) -> Array:
        """Densities at `end` from those at `begin` [ps]; `floors` (valley,) are densities that count as small. Collective.

        Where a valley empties meanwhile, so that tolerances have become too large for it, the same is done in two parts.
        Raises RunError.
        """
        scales, lost = np.maximum(self._peaks(n), floors), self.lost.copy()
        result = self._solve(n, begin, end, stage, scales)
        kept = np.maximum(self._peaks(result), floors) / scales
        if kept.min() > EMPTIED or end - begin < SHORTEST:
            return result
        self.lost, middle = lost, 0.5 * (begin + end)
        return self.advance(self.advance(n, begin, middle, stage, floors), middle, end, stage, floors)

    def _peaks(self, n: Array) -> Array:
        """Largest density of each valley, (valley,). Collective."""
        peaks = np.empty(n.shape[2])
        np.abs(n).max(axis=(0, 1), out=peaks)
        self._comm.Allreduce(MPI.IN_PLACE, peaks, MPI.MAX)
        return peaks

    def _solve(self, n: Array, begin: float, end: float, stage: int, scales: Array) -> Array:
        self._scales, self._stage = scales, stage
        self._x.setArray((n / scales).ravel())
        ts = self._ts
        ts.setTime(begin)
        ts.setMaxTime(end)
        ts.setStepNumber(0)
        ts.setTimeStep(min(self._dt, end - begin))
        ts.restartStep()
        ts.solve(self._x)
        if ts.getConvergedReason() <= 0:
            raise RunError(f"the reduced model's steps failed at {ts.getTime():g} ps (PETSc's reason {ts.getConvergedReason()})")
        self.steps += ts.getStepNumber()
        self.iterations += ts.getKSPIterations()
        self._dt = ts.getTimeStep()
        return self._densities(self._x)

    def taken(self) -> Array:
        """What each entry has added since the start [excitons], shape (entry,). Collective."""
        return np.asarray(self._comm.allreduce(self.lost))

    def free(self) -> None:
        """Destroys PETSc's objects. Collective."""
        for made in (self._ts, self._x):
            made.destroy()
        self._matrix.free()


def pieces(begin: float, end: float, windows: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """A part of the run cut so that no step passes over a pulse: `windows` are (begin, end, shortest time) of sources [ps]."""
    inside = {t for a, b, _ in windows for t in (a, b) if begin < t < end}
    cuts: list[float] = [begin]
    for start, stop in itertools.pairwise(sorted({begin, end, *inside})):
        longest = min((short / 2 for a, b, short in windows if start < b and stop > a), default=stop - start)
        cuts += np.linspace(start, stop, math.ceil((stop - start) / longest - 1e-9) + 1)[1:].tolist()
    return list(itertools.pairwise(cuts))
