"""Two run directories over each other, such as the kinetics and its reduced model: `plot RUN --against OTHER`."""

from pathlib import Path
from typing import Any

import numpy as np

from hpcwigner.observables.curves import JUDGED_FROM
from hpcwigner.plotting import maps, style
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import Variables, read

CURVES = (("population", "$n_v$"), ("width_squared", "$w_v^2$"), ("diffusion", "$D_v$"))


def against(directory: Path, other: Path) -> Any:
    """n_v(t), w_v²(t), D_v(t) and profiles at four times: of RUN as lines, of OTHER as dashes. Raises InputError.

    Both need the same valleys, dimensions and units. Profiles are of all excitons, of a plane on y = 0.
    """
    series, others = _both(directory, other, "series.h5")
    fields = _both(directory, other, "fields.h5")
    figure, axes = style.subplots(2, 2, figsize=(11, 8))
    for axis, (name, symbol) in zip(axes.flat, CURVES, strict=False):
        _curves(axis, series, others, name, symbol)
    axes[0, 0].legend(frameon=False, fontsize=9)
    _profiles(axes[1, 1], *fields)
    figure.suptitle(f"lines: {_name(directory, series)}      dashes: {_name(other, others)}")
    return style.lettered(figure, axes)


def _name(directory: Path, file: Variables) -> str:
    """A run's name, and its model where it is not the kinetics."""
    return f"{style.title(directory, file)}  {file.attributes.get('model', '').partition(':')[0]}".strip()


def _both(directory: Path, other: Path, name: str) -> tuple[Variables, Variables]:
    """A file of both runs. Raises InputError where they cannot be laid over each other."""
    files = read(directory / name), read(other / name)
    for file in files:
        file.last_time()
    kinds = [(f.valleys, "y" in f.data, f.units.get("population", "") or f.units.get("density", "")) for f in files]
    if kinds[0] != kinds[1]:
        here, there = ([", ".join(v), "plane" if plane else "slab", unit or "1"] for v, plane, unit in kinds)
        raise InputError(f"--against: found '{other}' with {'; '.join(there)}, expected {'; '.join(here)} as in '{directory}'")
    return files


def _curves(axis: Any, series: Variables, others: Variables, name: str, symbol: str) -> None:
    """A series variable of each valley of both runs, on a scale that fits times from JUDGED_FROM on."""
    shown = []
    for file, options in ((series, {"ls": "-", "lw": 1.2}), (others, {"ls": (0, (4, 3)), "lw": 2.4, "alpha": 0.8})):
        time, values = file.data["time"], file.need(name)
        for v, valley in enumerate(file.valleys):
            label = valley if file is series else None
            axis.plot(time, values[:, v], color=style.COLOURS[v % len(style.COLOURS)], label=label, **options)
        shown.append(values[time >= min(JUDGED_FROM, time[-1])])
    axis.set_xlabel("time (ps)")
    axis.set_xlim(0, min(f.data["time"][-1] for f in (series, others)))
    axis.set_ylabel(style.label(symbol, series.units[name]))
    if name == "population":
        axis.set_yscale("log")
        low, high = (f(np.concatenate(shown)[np.concatenate(shown) > 0]) for f in (np.min, np.max))
        axis.set_ylim(0.3 * low, 3 * high)
    else:
        style.fit_y(axis, np.concatenate(shown))


def _profiles(axis: Any, fields: Variables, others: Variables) -> None:
    """Densities of all excitons along x at four times of the first run, and the other's at the same ones."""
    rows = [row for row in maps.chosen_rows(fields) if _along_x(fields, row).max() > 0]
    for number, row in enumerate(rows):
        time = fields.data["time"][row]
        there = int(np.abs(others.data["time"] - time).argmin())
        colour = style.COLOURS[(number + 2) % len(style.COLOURS)]
        axis.plot(fields.data["x"], _along_x(fields, row), color=colour, lw=1.2, label=f"{time:g} ps")
        if abs(others.data["time"][there] - time) <= 1e-6 * max(time, 1.0):
            axis.plot(others.data["x"], _along_x(others, there), color=colour, lw=2.4, ls=(0, (4, 3)), alpha=0.8)
    axis.set_xlabel("x (µm)")
    axis.set_ylabel(style.label("$\\sum_v N_v$", fields.units["density"]))
    axis.set_ylim(bottom=0)
    axis.set_title(fields.place, fontsize=10)
    axis.legend(frameon=False, fontsize=9)


def _along_x(file: Variables, row: int) -> Array:
    """Density of all excitons along x at a row's time."""
    density = file.need("density")[row].sum(axis=0)
    return style.central_line(density) if "y" in file.data else density
