"""Subnormal numbers count as zero while a run steps, and only then."""

import dataclasses
import platform

import numpy as np
import pytest
from helpers import problem_of
from mpi4py import MPI

from hpcwigner.integrators.petsc import integrate
from hpcwigner.integrators.schedule import Schedule
from hpcwigner.runtime.subnormals import flushed

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 has this register")


def tiny(value=1e-310):
    """Half of it, computed at run time by NumPy, by BLAS and by a compiled kernel."""
    array = np.array([value])
    return float((array * 0.5)[0]), float(array @ np.array([0.5])), float((array.reshape(1, 1) @ np.array([[0.5]]))[0, 0])


def test_only_within_and_put_back():
    assert all(v > 0 for v in tiny())
    with flushed():
        assert tiny() == (0.0, 0.0, 0.0)
        assert tiny(1e-300) == (5e-301, 5e-301, 5e-301)
    assert all(v > 0 for v in tiny())
    with pytest.raises(KeyError), flushed():
        raise KeyError
    assert all(v > 0 for v in tiny())


@pytest.mark.parametrize("rates", [20.0], indirect=True)
def test_time_advances_without_them(rates, light_cone):
    """From a source of 1e-303 come values that a double holds in full, and zeros."""
    moments = problem_of(rates, light_cone, end=2.0).moments
    faint = dataclasses.replace(moments, sources=[dataclasses.replace(moments.sources[0], amplitude=1e-303)])
    plan = faint.plan((0.75, 25), (2.0, 4))
    system = faint.system
    vector = system.create_vector()
    schedule = Schedule(plan, faint.sources)
    generators = [[generator] for generator in faint.generators]
    integrate("etd2", system, generators, schedule, MPI.COMM_SELF, lambda *_: None, vector)
    state = np.abs(system.view(vector).u)
    assert state.max() > 0
    assert state[state > 0].min() >= np.finfo(float).tiny
    vector.destroy()
