"""The verb `sensitivity`: change of D_v(t) by each uncertain number of the material, from the moment equations."""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.observables.curves import JUDGED_FROM, Curves
from hpcwigner.plotting import style
from hpcwigner.problem import builder, kinetics
from hpcwigner.problem.config import Config
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space.grid import SpaceGrid

CHANGE = 0.1  # Relative change of each parameter, up and down
TIMES = (1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 20.0, 30.0, 50.0, 80.0, 100.0)  # Times [ps] of the table unless others are asked for
MOST_DRAWN = 15  # Parameters in the picture


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
    config = dataclasses.replace(config, momentum=dataclasses.replace(config.momentum, angles=4))  # it needs m = 0 and 1
    if config.landscape:
        raise InputError(
            "sample: found values that vary in space, expected uniform ones: sensitivities follow from moment equations"
        )
    point = kinetics.for_material(config, material, Couplings.from_material(material), MPI.COMM_SELF)
    problem = builder.assemble(point, SpaceGrid(1, config.space.length, (6, 1), config.space.boundary))
    point.rates.free()
    diffusion = np.array([b.diffusion for b in problem.moments.reference()])
    problem.free()
    return Curves(problem.moments.times, diffusion * CM2_PER_S)


def parameters(material: Material, ranged: bool = False) -> list[str]:
    """Keys of the estimated numbers, with `ranged` of all that have a range; without those that D_v does not depend on."""
    keys = [k for k, n in materials.numbers(material) if (n.range is not None if ranged else n.confidence == "estimated")]
    unused = {f"valleys.{name}.splitting" for name, v in material.valleys.items() if v.energy is not None}
    unused |= {f"valleys.{name}.gauge_factor" for name in material.valleys}  # the moment equations know no strain
    return [k for k in keys if k not in unused and not (k.startswith("film.") and material.dielectric is not None)]


def analyse(config: Config, comm: MPI.Intracomm, ranged: bool) -> Sensitivity:
    """Curves with every parameter raised and lowered, shared out among the ranks. Raises InputError. Collective."""
    if config.rates != "auto":
        raise InputError(f"rates: found '{config.rates}', expected auto: a file's rates do not follow from the material")
    material = on_first_rank(comm, lambda: materials.load(config.material))
    keys, values = parameters(material, ranged), dict(materials.numbers(material))
    tasks = [("input", 1.0), *itertools.product(keys, (1 - CHANGE, 1 + CHANGE))]
    mine: dict[tuple[str, float], Any] = {}
    for key, factor in tasks[comm.rank :: comm.size]:
        try:
            varied = materials.with_value(material, key, values[key].value * factor) if key in values else material
            mine[key, factor] = curves(config, varied)
        except InputError as error:
            mine[key, factor] = error
    results = {task: result for part in comm.allgather(mine) for task, result in part.items()}
    for key, factor in tasks:
        if isinstance(result := results[key, factor], InputError):
            raise InputError(f"{key} × {factor:g}: {result}")
    pairs = {key: (results[key, 1 - CHANGE], results[key, 1 + CHANGE]) for key in keys}
    bright = list(material.valleys).index(material.radiation.bright_valley)
    return Sensitivity(material.name, tuple(material.valleys), bright, results["input", 1.0], pairs)


def report(config: Config, comm: MPI.Intracomm, ranged: bool, times: Sequence[float] | None, output: str | None) -> str:
    """Text of the verb; with `output` also OUTPUT/sensitivity.txt and .png. Raises InputError. Collective."""
    analysis = analyse(config, comm, ranged)

    def write() -> str:
        text = table(analysis, TIMES if times is None else times)
        if output is not None:
            folder = Path(output)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "sensitivity.txt").write_text(text, encoding="utf-8")
            _draw(analysis, folder / "sensitivity.png", f"{config.temperature:g} K")
        return text

    return on_first_rank(comm, write)


def label(key: str) -> str:
    """Short name of a key."""
    return re.sub(r"^(valleys|intravalley_phonons|intervalley_phonons)\.", "", key).replace(".", " ")


def _ranked(changes: dict[str, Array]) -> list[str]:
    """Keys, the largest change first."""
    return sorted(changes, key=lambda key: -float(np.nanmax(np.abs(changes[key]), initial=0.0)))


def table(analysis: Sensitivity, times: Sequence[float]) -> str:
    """Text of the verb: a block per valley, the bright one with its negative window; largest effects first."""
    shown = [t for t in times if t <= analysis.base.time[-1]]
    width = max(map(len, [*map(label, analysis.varied), "base value"])) + 2
    slopes = analysis.slopes(shown)
    order = _ranked({key: slope[:, analysis.bright] for key, slope in slopes.items()})
    lines = []
    for v, valley in enumerate(analysis.valleys):
        bright = v == analysis.bright
        base, window = analysis.base.at(shown)[:, v], analysis.base.window(v) if bright else ()
        lines.append(f"D_{valley} [cm²/s]: value, then change per +10 % of each parameter, at t [ps] =")
        lines.append(" " * width + style.columns(shown, "10g") + "   D < 0 from      to" * bright)
        lines.append("base value".ljust(width) + style.columns(base, "10.4g") + style.columns(window, "10.2f"))
        for key in order:
            low, high = (np.array(c.window(v) if bright else ()) for c in analysis.varied[key])
            row = style.columns(slopes[key][:, v], "+10.3g") + style.columns(0.5 * (high - low), "+10.2f")
            lines.append(f"{label(key):<{width}}{row}")
        lines.append("")
    return "\n".join(lines)


def _draw(analysis: Sensitivity, path: Path, temperature: str) -> None:
    """D(t) of the bright valley and its change per +10 % of the most effective parameters. Raises InputError."""
    style.pyplot()
    bright, late = analysis.bright, analysis.base.time >= JUDGED_FROM
    time, base = analysis.base.time[late], analysis.base.diffusion[late, bright]
    changes = {label(key): slope[:, bright] for key, slope in analysis.slopes(time.tolist()).items()}
    ranked = _ranked(changes)[:MOST_DRAWN]
    size, ratios = (9, 3 + 0.3 * len(ranked)), (1, max(1, len(ranked) / 5))
    figure, (above, below) = style.subplots(2, 1, figsize=size, sharex=True, height_ratios=ratios)
    above.plot(time, base, color=style.COLOURS[1])
    above.axhline(0, **style.ZERO_LINE)
    above.set(ylabel="$D$ (cm²/s)", title=f"D of {analysis.valleys[bright]}, {analysis.material}, {temperature}")
    values = 100 * np.array([changes[name] for name in ranked]) / np.nanmax(np.abs(base))
    limit = max(float(np.nanmax(np.abs(values))), 1e-9)
    options = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "shading": "nearest", "rasterized": True}
    image = below.pcolormesh(time, np.arange(len(ranked)), values, **options)
    below.set_yticks(np.arange(len(ranked)), ranked)
    below.invert_yaxis()
    below.set(xlabel="time (ps)", xscale="log", xlim=(time[0], time[-1]))
    figure.colorbar(image, ax=below, label="change of $D$ per +10 %\n(% of the largest |D|)")
    style.save(figure, path)
