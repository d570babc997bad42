"""Problems in which excitons meet, states for them, and steps of an equation from a state."""

import numpy as np
from helpers import small_input
from mpi4py import MPI

from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.integrators.steps import plan
from hpcwigner.problem import builder, loading
from hpcwigner.terms.scattering import Scattering
from hpcwigner.terms.term import State

DENSITY = 1e-2
"""Peak density that the pulse of `problem_of` forms [1/nm²]: 1e12 cm⁻²."""
EVERYTHING = (
    "interaction={annihilation: {rate: 0.5 cm^2/s, hot: 0.7, above: 20 meV, delay: 0.3 ps}, repulsion: 3e-13 meV cm^2}",
    "recombination.lifetime={KK: 3 ps, KΛ: 7 ps}",
)


def problem_of(folder, *settings, space="{dimensions: 1, length: 2.4 um, cells: 24, boundary: periodic}"):
    """An interacting problem on a small grid."""
    path = small_input(folder, space=space)
    return builder.build(loading.load(path, ["pump.density=1e12 cm^-2", *settings]), MPI.COMM_SELF)


def cloud(problem, width_squared=6e4, density=DENSITY, seed=3):
    """A smooth positive state (point, angle, cell) in the middle of the sample, different in every cell and direction."""
    rng = np.random.default_rng(seed)
    profile = problem.space.gaussian(width_squared).reshape(-1, 1, 1)
    shape = problem.angles.count, problem.cells.size
    u = profile * rng.random(shape) * problem.equilibrium.population
    return np.ascontiguousarray(u * density / u.sum(axis=(1, 2)).max())


def fields_of(equation, fill=0.0):
    return np.full((equation.shape[0], equation.field_count), fill)


def right_hand_side(term, time, equation, state):
    """(u, fields) of one term; those that act through others must have been prepared by equation.explicit."""
    out = State(np.zeros_like(state.u), np.zeros_like(state.fields))
    term.add(time, state, out)
    return out


def right_hand_sides(problem, time, equation, state):
    """By name, after the densities of `state` have been shown to the terms; scattering with each point's node."""
    equation.explicit(time, state, State(np.zeros_like(state.u), np.zeros_like(state.fields)))
    skipped = [term for term in equation.density_terms if term.acts_through_others]
    listed = [term for term in problem.terms if term not in skipped]
    changes = {term.name: right_hand_side(term, time, equation, state).u for term in listed}
    if problem.offsets is not None and len(problem.offsets.stages) > 1:
        classes, rest = problem.offsets.class_of_point.ravel(), changes["scattering"]
        changes["scattering"] = rest.copy()
        for number, stage in enumerate(problem.offsets.stages):
            at_node = right_hand_side(Scattering(problem.angles, [stage]), time, equation, state).u
            changes["scattering"][classes == number] += at_node[classes == number]
    return changes


def advanced(name, equation, generators, start, end, size, sources=(), monitor=None):
    """State (copies) at `end` [ps] after steps of `size` from `start`, a State or u; `monitor` sees (number, State)."""
    vector = equation.create_vector()
    state = equation.view(vector)
    given = start if isinstance(start, State) else State(start, fields_of(equation))
    state.u[...], state.fields[...] = given.u, given.fields
    schedule = Schedule(plan(end, end, [(end, size)], ()), sources)

    def seen(number, vector):
        if monitor is not None:
            monitor(number, equation.read(vector))

    integrate(name, equation, generators, schedule, MPI.COMM_SELF, seen, vector)
    result = State(equation.view(vector).u.copy(), equation.view(vector).fields.copy())
    vector.destroy()
    return result
