"""Runs a problem through its planned steps under PETSc TS, with any of the integrators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.integrators import exponential as etd
from hpcwigner.integrators import imex
from hpcwigner.integrators.semilinear import SemilinearSystem
from hpcwigner.integrators.steps import StepPlan
from hpcwigner.runtime.subnormals import flushed
from hpcwigner.terms.pump import Pump
from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

NEGLIGIBLE_SOURCE = 1e-30
"""Steps that form less than this part of all excitons have no source."""

Monitor = Callable[[int, Any], None]
"""Called with the number of finished steps and the state's vector, also before the first step."""
AfterStep = Callable[[int, Any], bool]
"""Called with the same after each step; True ends the integration there."""


class Schedule:
    """The planned steps and the source's polynomial in each of them."""

    def __init__(self, plan: StepPlan, pump: Pump, amplitude: float = 1.0) -> None:
        """`amplitude` multiplies |p0|²: the total generated population."""
        self.steps = plan.steps()
        self.end = plan.end
        self.pump, self.amplitude = pump, amplitude
        self.source = functools.lru_cache(maxsize=4)(self._source)

    def _source(self, number: int) -> Array | None:
        """Polynomial of |p0|² in a step, None when nothing is formed."""
        step = self.steps[number]
        polynomial = self.amplitude * self.pump.polynomial(step.start, step.size)
        formed = np.abs(polynomial).max() * step.size * self.pump.formation_rate
        return polynomial if formed > NEGLIGIBLE_SOURCE * self.amplitude else None

    def time_after(self, number: int) -> float:
        """Time at the end of a step [ps]."""
        return self.steps[number + 1].start if number + 1 < len(self.steps) else self.end

    def size_after(self, number: int) -> float:
        """Size of the step that follows [ps]."""
        return self.steps[min(number + 1, len(self.steps) - 1)].size


def integrate(
    name: str,
    system: SemilinearSystem,
    scatterings: Sequence[Scattering],
    schedule: Schedule,
    comm: MPI.Intracomm,
    monitor: Monitor,
    vector: Any,
    first_step: int = 0,
    cache: etd.OperatorCache | None = None,
    after_step: AfterStep | None = None,
) -> None:
    """Advances `vector` through the schedule with the integrator `name`. Collective over `comm`.

    `cache` keeps exponential operators between calls; without one they are made here and given back at the end.
    """
    from petsc4py import PETSc

    ts = PETSc.TS().create(comm)
    ts.setSolution(vector)
    ts.setTime(schedule.steps[first_step].start)
    ts.setTimeStep(schedule.steps[first_step].size)
    ts.setMaxSteps(len(schedule.steps))
    ts.setMaxTime(1e300)  # the number of steps ends the run, exactly at schedule.end
    ts.setStepNumber(first_step)
    ts.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
    ts.setMonitor(lambda _ts, number, _t, u: monitor(number, u))
    if name in etd.SCHEMES:
        own = cache if cache is not None else etd.OperatorCache(etd.SCHEMES[name], scatterings, system.orders, comm)
        ts.setType("python")
        ts.setPythonContext(etd.python_context(etd.SCHEMES[name](system), own, schedule))
        finish: Callable[[], None] = own.free if cache is None else _nothing
    else:
        implicit = imex.ImplicitScattering(system, scatterings, comm, schedule)
        _set_up_arkimex(ts, name, implicit, vector, schedule)
        finish = implicit.free
    if after_step is not None:
        _add_post_step(ts, after_step)
    ts.setFromOptions()
    try:
        with flushed():
            ts.solve(vector)
    except PETSc.Error as error:  # newer petsc4py wraps what Python callbacks raise
        raise error.__cause__ or error from None
    finally:
        ts.destroy()
    finish()


def _set_up_arkimex(ts: Any, name: str, implicit: imex.ImplicitScattering, vector: Any, schedule: Schedule) -> None:
    from petsc4py import PETSc

    options = PETSc.Options()
    for key, value in {"ts_adapt_type": "none", "snes_type": "ksponly", "ksp_type": "preonly", "pc_type": "python"}.items():
        if not options.hasName(key):
            options.setValue(key, value)
    ts.setType("arkimex")
    ts.setARKIMEXType(imex.TYPES[name])
    ts.setIFunction(implicit.function, vector.duplicate())
    ts.setRHSFunction(implicit.explicit, vector.duplicate())
    jacobian = PETSc.Mat().createPython((vector.getSizes(), vector.getSizes()), context=_ShiftedOperator(), comm=vector.comm)
    jacobian.setUp()
    ts.setIJacobian(implicit.jacobian, jacobian, jacobian)
    pc = ts.getSNES().getKSP().getPC()
    pc.setType("python")
    pc.setPythonContext(implicit)

    def before(ts: Any) -> None:
        implicit.number = ts.getStepNumber()
        ts.setTimeStep(schedule.steps[implicit.number].size)

    def after(ts: Any) -> None:
        ts.setTime(schedule.time_after(ts.getStepNumber() - 1))

    ts.setPreStep(before)
    ts.setPostStep(after)


def _add_post_step(ts: Any, after_step: AfterStep) -> None:
    """Asks `after_step` after each step, and whatever was asked before."""
    from petsc4py import PETSc

    earlier = ts.getPostStep()

    def post_step(ts: Any) -> None:
        if earlier is not None:
            function, args, keywords = earlier
            function(ts, *args, **keywords)
        if after_step(ts.getStepNumber(), ts.getSolution()):
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_USER)

    ts.setPostStep(post_step)


def _nothing() -> None:
    """What is left to do after a run whose operators belong to somebody else."""


class _ShiftedOperator:
    """σ − L for PETSc, which asks for an object but, with `ksp preonly`, never for its product with a vector."""

    def mult(self, _matrix: Any, _x: Any, _y: Any) -> None:
        raise RuntimeError("this run solves by the exact resolvent; use -ksp_type preonly")
