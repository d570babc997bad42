"""Requests to a run: all ranks obey after the same step, soon, and without talking after every step."""

import time

import pytest
from mpi4py import MPI

from hpcwigner.simulation import control
from hpcwigner.simulation.control import Control, Request

COMM = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi


class Counted:
    """COMM_WORLD, and how often it has reduced."""

    def __init__(self):
        self.reductions = 0

    def Allreduce(self, *arguments):
        self.reductions += 1
        COMM.Allreduce(*arguments)

    def __getattr__(self, name):
        return getattr(COMM, name)


def stepped(polled, step, steps, asked_after, ask):
    """Number of the step after which a request came, and seconds from asking to then; `step` [s] is how long one takes."""
    asked = 0.0
    for number in range(steps):
        if number == asked_after:
            ask()
            asked = time.monotonic()
        time.sleep(step)
        if polled.poll() is Request.STOP:
            return number, time.monotonic() - asked
    return steps, 0.0


@pytest.mark.parametrize("step", [0.002, 0.3])
def test_all_ranks_stop_after_the_same_step(tmp_path, monkeypatch, step):
    """Also where ranks do not take equal times, and the signal reaches the last one only."""
    monkeypatch.setattr(control, "_received", [])
    comm, last = Counted(), COMM.rank == COMM.size - 1
    polled = Control(comm, tmp_path, every=600.0, walltime=None)
    asked_after = 400 if step < 0.1 else 2
    ask = (lambda: control._received.append("SIGUSR1")) if last else lambda: None
    number, waited = stepped(polled, step * (1 + 0.3 * COMM.rank), 2000, asked_after, ask)
    assert set(COMM.allgather(number)) == {number}
    assert asked_after <= number < 2000
    assert waited < 1.0
    assert polled.reason == "signal SIGUSR1"
    if step < 0.1:
        assert comm.reductions < asked_after / 10


@pytest.mark.parametrize("how", ["a file STOP", "the walltime"])
def test_what_the_first_rank_sees_stops_all_after_the_same_step(folder, monkeypatch, how):
    monkeypatch.setattr(control, "_received", [])
    walltime = 0.4 if how == "the walltime" else None
    polled = Control(COMM, folder, every=600.0, walltime=walltime)
    ask = (folder / "STOP").touch if how == "a file STOP" and COMM.rank == 0 else lambda: None
    number, waited = stepped(polled, 0.002 * (1 + 0.3 * COMM.rank), 5000, 50, ask)
    assert set(COMM.allgather(number)) == {number}
    assert 50 <= number < 5000
    assert waited < 1.0 + (walltime or 0.0)
    assert polled.reason == how


def test_a_checkpoint_after_every_step_where_that_is_asked_for(folder):
    polled = Control(COMM, folder, every=0.0, walltime=None)
    assert [polled.poll() for _ in range(50)] == 50 * [Request.SAVE]
