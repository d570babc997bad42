"""The verb `rates`: the rates of an input as a file."""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

from hpcwigner.momentum import rates_file
from hpcwigner.problem import kinetics
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import to_yaml
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.storage import provenance


def write_rates(config: Config, comm: MPI.Intracomm, path: Path) -> str:
    """Writes `path` and says what it holds. Raises schema.InputError. Collective."""
    found = kinetics.load(config, comm)

    def write() -> str:
        rates_file.write(
            path, found.rates, found.light_cone.bright_valley, provenance.attributes(to_yaml(found.config), comm.size)
        )
        out = found.rates.intravalley_out + found.rates.intervalley_out
        harmonics, cells = found.rates.intravalley.shape[:2]
        return f"{path}: {harmonics} harmonics of {cells} cells at {found.equilibrium.temperature:g} K, rates out of a cell " \
               f"{out.min():.4g} to {out.max():.4g} /ps"  # fmt: skip

    return on_first_rank(comm, write)
