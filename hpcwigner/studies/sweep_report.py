"""The results of a sweep: D_v(t) of its finished points as a table, a file and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpcwigner.exciton import materials
from hpcwigner.observables.curves import Curves
from hpcwigner.problem import loading
from hpcwigner.problem.config import Sweep
from hpcwigner.problem.loading import Point
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.simulation.ensure import MOMENTS, SERIES, finished
from hpcwigner.storage import provenance
from hpcwigner.storage.reading import read
from hpcwigner.studies import sweep_file
from hpcwigner.studies.sweep_file import Parameter, SweepSummary
from hpcwigner.studies.sweep_picture import plot_sweep

INPUT = "sweep.yaml"
"""The sweep's complete input, in its directory."""


def collect(directory: Path) -> str:
    """Writes summary.h5, summary.png and summary.pdf into a sweep's directory and returns the table (rank 0 only).

    Points that are not finished are left out. Raises InputError.
    """
    if not (directory / INPUT).exists():
        raise InputError(f"{directory}: found no {INPUT}, expected the directory of a sweep")
    config = loading.load(directory / INPUT)
    config = config.in_directory(str(directory))
    assert config.sweep is not None
    points = loading.points(config)
    summary = _summary(points, config.sweep)
    material = materials.load(config.material)
    bright = material.radiation.bright_valley
    sweep_file.write(directory / "summary.h5", summary, provenance.attributes(loading.to_yaml(config), 1))
    plot_sweep(summary, bright, (directory / "summary.png", directory / "summary.pdf"), directory.resolve().name)
    return table(summary)


def _summary(points: list[Point], sweep: Sweep) -> SweepSummary:
    curves = [_curves(point, sweep.moments) for point in points]
    valleys = list(dict.fromkeys(name for by_valley in curves if by_valley for name in by_valley))
    longest = max((curve.time[-1] for by_valley in curves if by_valley for curve in by_valley.values()), default=math.inf)
    times = [t for t in sweep.diffusion_at if t <= longest]
    directories = [Path(point.config.output.directory).name for point in points]
    return SweepSummary.from_curves([_parameter(key, points) for key in sweep.vary], directories, valleys, times, curves)


def _curves(point: Point, by_moments: bool) -> Mapping[str, Curves] | None:
    """D_v(t) by valley; None if the point is not finished."""
    if not finished(point.config, by_moments):
        return None
    series = read(Path(point.config.output.directory) / (MOMENTS if by_moments else SERIES))
    diffusion = series.need("diffusion")
    return {name: Curves(series.data["time"], diffusion[:, [v]]) for v, name in enumerate(series.valleys)}


def _parameter(key: str, points: list[Point]) -> Parameter:
    shown = [schema.shown(point.config, key) for point in points]
    numbers = [value for value, _ in shown if not isinstance(value, str)]
    if len(numbers) == len(shown):
        return Parameter(key, np.array(numbers), shown[0][1])
    texts = tuple(value if isinstance(value, str) else f"{value:g} {unit}".strip() for value, unit in shown)
    return Parameter(key, texts, "")


def table(summary: SweepSummary) -> str:
    """Text for the terminal: a block per valley, a line per point."""
    missing = [name for name, end in zip(summary.directories, summary.ends, strict=True) if math.isnan(end)]
    names = ["point", *(f"{p.key} [{p.unit}]" if p.unit else p.key for p in summary.parameters)]
    rows = [[name, *(_text(p.values[i]) for p in summary.parameters)] for i, name in enumerate(summary.directories)]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    head = "  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    lines = []
    for v, valley in enumerate(summary.valleys):
        lines.append(f"D_{valley} [cm²/s] at t [ps] =; its peak and its minimum from 1 ps on; D < 0 from, to [ps]")
        titles = [*(f"{t:g}" for t in summary.times), "peak", "at", "min", "at", "from", "to"]
        lines.append(head + "".join(f"{title:>10}" for title in titles))
        for i, row in enumerate(rows):
            f = {name: values[i, v] for name, values in summary.features.items()}
            numbers = [
                *summary.diffusion[i, :, v], f["diffusion_peak"], f["diffusion_peak_time"],
                f["diffusion_minimum"], f["diffusion_minimum_time"], f["window_start"],
            ]  # fmt: skip
            end = _text(f["window_end"])
            text = "".join(f"{_text(x):>10}" for x in numbers) + f"{'>' + end if summary.window_open[i, v] else end:>10}"
            lines.append("  ".join(f"{x:>{width}}" for x, width in zip(row, widths, strict=True)) + text)
        lines.append("")
    but = f", not {', '.join(missing)}" if missing else ""
    return "\n".join([*lines, f"{len(rows) - len(missing)} of {len(rows)} points finished{but}"])


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "—" if math.isnan(value) else f"{value:.4g}"
