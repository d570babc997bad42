"""The Jacobian of a decomposed grid as a PETSc matrix."""

from typing import Any

import numpy as np

from hpcwigner.reduced.equation import DriftDiffusion
from hpcwigner.runtime.arrays import Array


class JacobianMatrix:
    """shift − S⁻¹ J S with scales S of the valleys, in the numbering of a vector (point, valley), rank after rank."""

    def __init__(self, equation: DriftDiffusion) -> None:
        """Collective."""
        from petsc4py import PETSc
        from scipy.sparse import coo_matrix

        decomposition, valleys = equation.decomposition, equation.shape[2]
        own = int(np.prod(equation.shape))
        first = decomposition.comm.scan(own) - own
        self._numbers = first + np.arange(own).reshape(equation.shape)
        blocks = [np.broadcast_to(self._numbers[:, :, None, :], (*equation.shape, valleys))]
        inside = [np.ones((*equation.shape, valleys), dtype=bool)]
        for i, columns in enumerate(equation.neighbours(self._numbers.astype(float))):
            blocks.append(np.broadcast_to(np.rint(columns)[:, :, None, :].astype(np.int64), inside[0].shape))
            held = np.ones_like(inside[0])
            if equation.neighbours.closed[i]:
                held[equation.neighbours.edge(i)] = False
            inside.append(held)
        self._inside = np.array(inside)
        rows = np.broadcast_to((self._numbers - first)[..., None], inside[0].shape)
        rows, columns = np.array([rows] * len(blocks))[self._inside], np.array(blocks)[self._inside]
        total = decomposition.comm.allreduce(own)
        # One number for each value tells where it goes; no pair of cells has two faces in common.
        order = coo_matrix((1 + np.arange(len(rows)), (rows, columns)), shape=(own, total)).tocsr()
        self._order, self._valleys = order.data - 1, valleys
        self._rows, self._columns = order.indptr.astype(PETSc.IntType), order.indices.astype(PETSc.IntType)
        self._diagonal = np.flatnonzero(np.repeat(np.arange(own), np.diff(order.indptr)) + first == order.indices)
        csr = self._rows, self._columns, np.zeros(len(self._order))
        self.mat: Any = PETSc.Mat().createAIJ(size=((own, total), (own, total)), csr=csr, comm=decomposition.comm)

    def fill(self, shift: float, own: Array, beside: list[Array], scales: Array) -> None:
        """From the blocks of `DriftDiffusion.jacobian`. Collective."""
        shape = self._inside.shape[1:]
        values = np.array([np.broadcast_to(block, shape) for block in (own, *beside)])
        values = values * (scales / scales[:, None])
        data = -values[self._inside][self._order]
        data[self._diagonal] += shift
        self.mat.setValuesCSR(self._rows, self._columns, data)
        self.mat.assemble()

    def free(self) -> None:
        """Destroys the matrix. Collective."""
        self.mat.destroy()
