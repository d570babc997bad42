"""The equation on the grid with its present number of angles, and the vector of its state."""

from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.problem.builder import Problem
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.term import State


class Solution:
    """What a run advances. Its angles may become fewer while it runs."""

    def __init__(self, problem: Problem, comm: MPI.Intracomm) -> None:
        """With all angles; the state is zero. Collective."""
        self._problem, self._comm = problem, comm
        self.angles = problem.angles
        self.equation: WignerEquation = problem.equation(comm)
        self.vector: Any = self.equation.create_vector()

    @property
    def state(self) -> State:
        """Views of this rank's part of the vector."""
        return self.equation.view(self.vector)

    def set_angles(self, number: int) -> None:
        """Replaces the equation and the vector by those with another number of angles. Collective."""
        if number == self.angles.number:
            return
        new = Solution(self._problem.with_angles(number), self._comm)
        np.matmul(self.angles.resampled(new.angles), self.state.u, out=new.state.u)
        np.copyto(new.state.fields, self.state.fields)
        self.free()
        self.angles, self.equation, self.vector = new.angles, new.equation, new.vector

    def free(self) -> None:
        """Releases the vector, requests and buffers. Collective."""
        self.vector.destroy()
        self.equation.free()
