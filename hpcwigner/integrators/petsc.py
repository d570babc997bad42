"""Advances a problem through its planned steps under PETSc TS, with any of the integrators."""

from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from hpcwigner.integrators import imex
from hpcwigner.integrators.exponential import SCHEMES, ExponentialIntegrator
from hpcwigner.integrators.operators import Generators, OperatorCache
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.semilinear import SemilinearSystem
from hpcwigner.runtime.parallel import CollectiveStack
from hpcwigner.runtime.subnormals import flushed

Monitor = Callable[[int, Any], None]
"""Called with the number of finished steps and the state's vector, also before the first step."""
AfterStep = Callable[[int, Any], bool]  # Called with the same after each step; True ends the integration there


def integrate(
    name: str,
    system: SemilinearSystem,
    generators: Generators,
    schedule: Schedule,
    comm: MPI.Intracomm,
    monitor: Monitor,
    vector: Any,
    first_step: int = 0,
    cache: OperatorCache | None = None,
    after_step: AfterStep | None = None,
    end_step: int | None = None,
) -> None:
    """Advances `vector` through the schedule, or its steps from `first_step` to before `end_step`. Collective over `comm`.

    `generators` are by stage of the scattering, then by class of points. `cache` keeps exponential operators between calls;
    the caller owns it. Without one the operators are made here and released at the end.
    """
    from petsc4py import PETSc

    with CollectiveStack() as stack:
        ts = PETSc.TS().create(comm)
        stack.callback(ts.destroy)
        ts.setSolution(vector)
        ts.setTime(schedule.steps[first_step].start)
        ts.setTimeStep(schedule.steps[first_step].size)
        ts.setMaxSteps(len(schedule.steps) if end_step is None else end_step)
        ts.setMaxTime(1e300)  # the number of steps ends the run, exactly at schedule.end
        ts.setStepNumber(first_step)
        ts.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
        ts.setMonitor(lambda _ts, number, _t, u: monitor(number, u))
        if name in SCHEMES:
            if cache is None:
                cache = OperatorCache(SCHEMES[name], generators, system, comm)
                stack.callback(cache.free)
            ts.setType("python")
            ts.setPythonContext(_ExponentialSteps(SCHEMES[name](system), cache, schedule))
        else:
            implicit = imex.ImplicitLocalTerms(system, generators, comm, schedule)
            stack.callback(implicit.free)
            _set_up_arkimex(ts, name, implicit, vector, schedule)
        if after_step is not None:
            _add_post_step(ts, after_step)
        ts.setFromOptions()
        try:
            with flushed():
                ts.solve(vector)
        except PETSc.Error as error:  # newer petsc4py wraps what Python callbacks raise
            raise error.__cause__ or error from None


class _ExponentialSteps:
    """What PETSc's TSPYTHON drives: one exponential step per call, on the planned steps."""

    def __init__(self, integrator: ExponentialIntegrator, cache: OperatorCache, schedule: Schedule) -> None:
        self.integrator, self.cache, self.schedule = integrator, cache, schedule

    def create(self, ts: Any) -> None:
        """Nothing to make: PETSc asks for this method."""

    def step(self, ts: Any) -> None:
        """Advances the solution by the step that is due."""
        number = ts.getStepNumber()
        step = self.schedule.steps[number]
        vector = ts.getSolution()
        operators = self.cache.get(step.stage, step.size)
        system = self.integrator.system
        polynomials = system.local_polynomials(self.schedule.sources(number), step.start, step.size)
        self.integrator.step(system.view(vector), step.start, operators, polynomials)
        vector.stateIncrease()
        ts.setTime(self.schedule.time_after(number))
        ts.setTimeStep(self.schedule.size_after(number))


def _set_up_arkimex(ts: Any, name: str, implicit: imex.ImplicitLocalTerms, vector: Any, schedule: Schedule) -> None:
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


class _ShiftedOperator:
    """σ − L for PETSc, which asks for an object but, with `ksp preonly`, never for its product with a vector."""

    def mult(self, _matrix: Any, _x: Any, _y: Any) -> None:
        raise RuntimeError("this run solves by the exact resolvent; use -ksp_type preonly")
