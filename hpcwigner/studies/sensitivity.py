"""The verb `sensitivity`: change of D_v(t) by each uncertain number of the material, from the moment equations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.exciton.materials import Material
from hpcwigner.observables.curves import Curves
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import SpaceGrid

Array = NDArray[np.float64]

CHANGE = 0.1
"""Relative change of each parameter, up and down."""
TIMES = (1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 20.0, 30.0, 50.0, 80.0, 100.0)
"""Times [ps] of the table unless others are asked for."""


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Base curves, and those with each parameter lowered and raised by CHANGE."""

    material: str
    valleys: tuple[str, ...]
    bright: int
    base: Curves
    varied: dict[str, tuple[Curves, Curves]]

    def slopes(self, times: Sequence[float]) -> dict[str, Array]:
        """Change of D_v [cm²/s] per +10 % of each parameter, central difference, shape (time, valley)."""
        return {key: 0.5 * (high.at(times) - low.at(times)) for key, (low, high) in self.varied.items()}


def curves(config: Config, material: Material) -> Curves:
    """D_v(t) of an input with `material` instead of its own. Raises InputError."""
    momentum = dataclasses.replace(config.momentum, angles=4)  # the moment equations need m = 0 and 1
    config = dataclasses.replace(config, momentum=momentum)
    point = kinetics.for_material(config, material, kinetics.exciton_valleys(material), MPI.COMM_SELF)
    problem = builder.assemble(point, SpaceGrid(1, config.space.length, (6, 1), config.space.boundary))
    point.rates.free()
    diffusion = np.array([b.diffusion for b in problem.moments.reference()])
    problem.free()
    return Curves(problem.moments.times, diffusion * CM2_PER_S)


def parameters(material: Material, ranged: bool = False) -> list[str]:
    """Keys of the estimated numbers, with `ranged` of all that have a range; without those that D_v does not depend on."""
    keys = [k for k, n in materials.numbers(material) if (n.range is not None if ranged else n.confidence == "estimated")]
    unused = {f"valleys.{name}.splitting" for name, v in material.valleys.items() if v.energy is not None}
    return [k for k in keys if k not in unused and not (k.startswith("film.") and material.dielectric is not None)]


def analyse(config: Config, comm: MPI.Intracomm, ranged: bool) -> Sensitivity:
    """Curves with every parameter raised and lowered, shared out among the ranks. Raises InputError. Collective."""
    if config.rates != "auto":
        raise InputError(f"rates: found '{config.rates}', expected auto: a file's rates do not follow from the material")
    material = on_first_rank(comm, lambda: materials.load(config.material))
    keys = parameters(material, ranged)
    values = {key: number.value for key, number in materials.numbers(material)}
    tasks = [(None, 1.0), *((key, factor) for key in keys for factor in (1 - CHANGE, 1 + CHANGE))]
    mine: dict[int, Curves | InputError] = {}
    for number in range(comm.rank, len(tasks), comm.size):
        key, factor = tasks[number]
        try:
            varied = material if key is None else materials.with_value(material, key, values[key] * factor)
            mine[number] = curves(config, varied)
        except InputError as error:
            mine[number] = error
    results: dict[int, Any] = {}
    for part in comm.allgather(mine):
        results |= part
    for number, (key, factor) in enumerate(tasks):
        if isinstance(results[number], InputError):
            raise InputError(f"{key or 'input'} × {factor:g}: {results[number]}")
    pairs = {key: (results[2 * i + 1], results[2 * i + 2]) for i, key in enumerate(keys)}
    bright = list(material.valleys).index(material.radiation.bright_valley)
    return Sensitivity(material.name, tuple(material.valleys), bright, results[0], pairs)


def report(config: Config, comm: MPI.Intracomm, ranged: bool, times: Sequence[float] | None, output: str | None) -> str:
    """Text of the verb; with `output` also OUTPUT/sensitivity.txt and .png. Raises InputError. Collective."""
    analysis = analyse(config, comm, ranged)

    def write() -> str:
        text = table(analysis, TIMES if times is None else times)
        if output is not None:
            from hpcwigner.studies.sensitivity_picture import plot_sensitivity

            folder = Path(output)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "sensitivity.txt").write_text(text, encoding="utf-8")
            b = analysis.bright
            changes = {label(key): 0.5 * (high.diffusion - low.diffusion)[:, b] for key, (low, high) in analysis.varied.items()}
            title = f"D of {analysis.valleys[b]}, {analysis.material}, {config.temperature:g} K"
            plot_sensitivity(folder / "sensitivity.png", analysis.base.time, analysis.base.diffusion[:, b], changes, title)
        return text

    return on_first_rank(comm, write)


def label(key: str) -> str:
    """Short name of a key."""
    return (
        key.removeprefix("valleys.").removeprefix("intravalley_phonons.").removeprefix("intervalley_phonons.").replace(".", " ")
    )


def table(analysis: Sensitivity, times: Sequence[float]) -> str:
    """Text of the verb: a block per valley, the bright one with its negative window; largest effects first."""
    shown = [t for t in times if t <= analysis.base.time[-1]]
    names = {key: label(key) for key in analysis.varied}
    width = max(map(len, [*names.values(), "base value"])) + 2
    slopes = analysis.slopes(shown)
    order = sorted(slopes, key=lambda key: -float(np.nanmax(np.abs(slopes[key][:, analysis.bright]), initial=0.0)))
    lines = []
    for v, valley in enumerate(analysis.valleys):
        bright = v == analysis.bright
        lines.append(f"D_{valley} [cm²/s]: value, then change per +10 % of each parameter, at t [ps] =")
        lines.append(" " * width + "".join(f"{t:>10g}" for t in shown) + ("   D < 0 from      to" if bright else ""))
        base = "".join(f"{d:10.4g}" for d in analysis.base.at(shown)[:, v])
        lines.append(f"{'base value':<{width}}{base}" + (_window(analysis.base.window(v)) if bright else ""))
        for key in order:
            row = "".join(f"{d:+10.3g}" for d in slopes[key][:, v])
            low, high = (np.array(c.window(v)) for c in analysis.varied[key])
            lines.append(f"{names[key]:<{width}}{row}" + (_window(0.5 * (high - low), sign=True) if bright else ""))
        lines.append("")
    return "\n".join(lines)


def _window(window: Any, sign: bool = False) -> str:
    return "".join(f"{'—':>10}" if math.isnan(t) else (f"{t:+10.2f}" if sign else f"{t:10.2f}") for t in window)
