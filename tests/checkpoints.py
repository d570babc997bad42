"""Checkpoints and output files that the tests in mpi/ make, on all ranks of COMM_WORLD."""

import dataclasses

import h5py
import numpy as np
from mpi4py import MPI

from hpcwigner.simulation import restart
from hpcwigner.space.grid import Decomposition, SpaceGrid
from hpcwigner.storage.checkpoint import CheckpointStore, Header
from hpcwigner.storage.files import OutputFile

COMM = MPI.COMM_WORLD
PER_POINT = (3, 5)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A variable of an output file."""

    name: str
    dimensions: tuple[str, ...]
    unit: str = "1"
    long_name: str = "text"
    formula: str = "a = b"
    source: str = ""
    scale: float = 1.0


VARIABLES = (Quantity("population", ("time", "valley")), Quantity("total", ("time",)))
CONTENT = (VARIABLES, {"valley": ["A", "B"]}, {"ranks": COMM.size})


def place(comm, shape=(17, 13)):
    dimensions = 1 if shape[1] == 1 else 2
    return Decomposition(SpaceGrid(dimensions, 10.0, shape, "periodic"), comm, PER_POINT)


def whole(shape, seed=0, per_point=PER_POINT):
    return np.random.default_rng(seed).standard_normal((*shape, *per_point))


def header(shape, step=7, **more):
    return Header(step, 0.1 * step, {"undershoot": [0.0, -1e-3]}, "material: x\n", (*shape, *PER_POINT), **more)


def fill(file, rows):
    """Appends rows until there are so many; a NaN is among the numbers."""
    for row in range(file.rows, rows):
        assert file.append(0.5 * row) == row
        file.write(row, "population", [row, np.nan] if COMM.rank == 0 else None)
        file.write(row, "total", 3.0 * row if COMM.rank == 0 else None)
    file.flush()


def rows_of(path):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in ("time", "population", "total")}


def written(folder, steps=(7,), shape=(17, 13), keep=2, layout=None, files=()):
    """Checkpoints after `steps`; each output file has as many rows as the step's number at each."""
    partition = place(COMM, shape)
    store = CheckpointStore(folder / "checkpoints", partition, keep, layout)
    for step in steps:
        for file in files:
            fill(file, step)
        store.write(np.ascontiguousarray(partition.local(whole(shape, step))), header(shape, step), files)
    return store


def restored(folder, store, path="latest", name="series.h5"):
    """The output file as a restart makes it, open, and what it was made from."""
    resumption = restart.load(store, folder, path)[0]
    restart.set_unknown_aside(resumption, folder, COMM)
    return OutputFile.restored(resumption.sources.get(name), folder / name, COMM, *CONTENT), resumption
