"""The numbers on transport of a material from its moment equations at 300, 77 and 20 K, in about a second."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import CM2_PER_S, HBAR
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.problem.config import Config
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.studies.paper.transport import Transport, ValleySeries

STEPS = {"300 K": 10.0, "77 K": 2.0, "20 K": 1.0}
"""Energy cells [meV] by temperature: wide enough for a second, fine enough for the peak (README.md)."""
ENDS = {"300 K": 20.0, "77 K": 40.0, "20 K": 120.0}  # [ps]
EVERY = 0.25  # Output interval [ps]


@dataclasses.dataclass(frozen=True)
class Solved:
    """Numbers on transport of a material, and ħγ and ħΓ_0 at 20 K [meV]."""

    transport: Transport
    radiative: float  # ħγ
    inside: float  # ħΓ_0 by phonons within the bright valley
    between: float  # and by phonons to other valleys, ħΓ_interv
    share_at_rise: float  # Share of KK in all excitons when D_KK has risen to half of its peak

    @property
    def product(self) -> float:
        """Time of the rise of D_KK times Γ_interv."""
        return self.transport.rise_time * self.between / HBAR

    @property
    def remaining(self) -> float:
        """−ln(n_KK/n) at the rise of D_KK."""
        return -float(np.log(self.share_at_rise))

    @property
    def lag(self) -> float:
        """Time of the peak of D_KK over that of the rise."""
        return self.transport.peak_time / self.transport.rise_time


def configs(name: str, overrides: Sequence[str] = ()) -> dict[str, Config]:
    """Inputs by temperature for a shipped material or a file, changed by `overrides` (key=value). Raises InputError."""
    return {
        key: loading.from_data(
            {
                "material": name,
                "temperature": key,
                "space": {"dimensions": 1, "length": "12 um", "cells": 8},
                "momentum": {"angles": 4, "energy_step": f"{step} meV"},
                "time": {"end": f"{ENDS[key]} ps"},
                "output": {"series_every": f"{EVERY} ps"},
            },
            overrides,
            f"scan at {key}",
            Path.cwd(),
        )
        for key, step in STEPS.items()
    }


def solve(inputs: Mapping[str, Config], material: Material) -> Solved:
    """Moment equations at the three temperatures. Raises InputError, as where a number binds no exciton."""
    couplings = Couplings.from_material(material)
    series, lifetimes, at_20 = {}, {}, (np.nan, np.nan, np.nan)
    for key, config in inputs.items():
        point = kinetics.for_material(config, material, couplings, MPI.COMM_SELF)
        inside, between = (HBAR * float(rates.sum()) for rates in point.rates.formation)
        problem = builder.assemble(point, SpaceGrid(1, config.space.length, (6, 1), config.space.boundary))
        point.rates.free()
        at_20 = HBAR * problem.radiative_rate, inside, between
        lifetimes[key] = 1e3 * HBAR / sum(at_20)
        budgets = problem.moments.reference()
        series[key] = ValleySeries(
            tuple(valley.name for valley in problem.cells.valleys),
            point.light_cone.valley,
            problem.moments.times,
            CM2_PER_S * np.array([b.diffusion for b in budgets]),
            CM2_PER_S * np.array([b.parts["interv"] for b in budgets]),
            1e-6 * np.array([b.width_squared for b in budgets]),
            np.array([b.population for b in budgets]),
        )
        problem.free()
    cold = series["20 K"]
    transport = Transport.of(series, lifetimes)
    logarithm = np.log(cold.population[cold.late, cold.bright] / cold.population[cold.late].sum(axis=1))
    at_rise = float(np.exp(np.interp(transport.rise_time, cold.time[cold.late], logarithm)))
    return Solved(transport, *at_20, share_at_rise=at_rise)
