"""Rates kept between runs, found again by what they were made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from hpcwigner import __version__
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import NodeShared

LAYOUT = 1
"""To be raised whenever the same input gives other rates."""


def cached(
    directory: Path, ingredients: str, equilibrium: Equilibrium, orders: int, comm: MPI.Intracomm, build: Callable[[], Rates]
) -> Rates:
    """Rates from `directory`, or built and put there. `ingredients` is everything that they follow from. Collective.

    Cached rates are equal to built ones to the last bit. Files appear whole or not at all, so that runs may share a directory.
    """
    content = _content(ingredients, equilibrium, orders)
    path = path_of(directory, ingredients, equilibrium, orders)
    if comm.bcast(path.exists() if comm.rank == 0 else None):
        return _read(path, content, equilibrium, orders, comm)
    rates = build()
    problem = None
    if comm.rank == 0:
        try:
            _write(path, content, rates)
        except OSError as error:
            problem = InputError(f"rates_cache: cannot write in '{directory}' ({error})")
    if problem := comm.bcast(problem):
        raise problem
    return rates


def _content(ingredients: str, equilibrium: Equilibrium, orders: int) -> str:
    cells = equilibrium.cells
    numbers = f"{orders}|{cells.counts}|{cells.tops!r}|{equilibrium.temperature!r}"
    return f"{__version__}|{LAYOUT}|{np.__version__}|{numbers}|{ingredients}"


def path_of(directory: Path, ingredients: str, equilibrium: Equilibrium, orders: int) -> Path:
    """The file that holds, or will hold, the rates of these ingredients."""
    return directory / f"rates-{hashlib.sha256(_content(ingredients, equilibrium, orders).encode()).hexdigest()[:24]}.h5"


def _write(path: Path, content: str, rates: Rates) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with h5py.File(unfinished, "w") as file:
        file.attrs["content"] = content
        file["in_scattering"] = rates.shared.array
        file["formation"] = rates.formation
    unfinished.rename(path)


def _read(path: Path, content: str, equilibrium: Equilibrium, orders: int, comm: MPI.Intracomm) -> Rates:
    shared = NodeShared(comm, (2, orders + 1, equilibrium.cells.size, equilibrium.cells.size))
    formation, problem = np.empty((2, equilibrium.cells.size)), None

    def fill(_part: int) -> None:
        nonlocal problem
        try:
            with h5py.File(path, "r") as file:
                if file.attrs["content"] != content:
                    raise ValueError("it was made from something else")
                file["in_scattering"].read_direct(shared.array)
                formation[...] = file["formation"][()]
        except (OSError, KeyError, ValueError, TypeError) as error:
            problem = InputError(f"rates_cache: '{path}' cannot be used ({error}): remove it")

    shared.fill(1, fill)
    if found := next((p for p in comm.allgather(problem) if p is not None), None):
        raise found
    return Rates(equilibrium, shared, shared.comm.bcast(formation), comm)
