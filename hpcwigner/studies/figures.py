"""The verb `figures`: Figures 2 to 5 of Rosati et al. (2020) and the paper's statements; missing runs are made first."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from hpcwigner import __version__
from hpcwigner.observables.transport import intrinsic_diffusion
from hpcwigner.plotting import style
from hpcwigner.problem import builder, kinetics, loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.run import ensure
from hpcwigner.storage.files import write_whole
from hpcwigner.studies.paper import drawings
from hpcwigner.studies.paper.data import SWITCHED_AT, PaperData, PaperRun
from hpcwigner.studies.paper.profiles import Profiles
from hpcwigner.studies.paper.statements import statements

SERIES = ("energy_distance", "relative_population", "diffusion_adiabatic", "pl_width_squared")
"""Series that the statements need besides the default ones."""

SLAB_ANGLES, PLANE_ANGLES = 32, 16  # Directions of motion: inverted profiles of a slab converge more slowly in them
JOBS = {"300K": (300, 20, 6), "77K": (77, 40, 6), "20K": (20, 120, 12), "300K_off": (300, 20, 6)}
"""Temperature [K], end [ps] and length of the sample [µm] of the four runs."""
TEMPERATURES = ("300 K", "77 K", "20 K")  # Runs with all scattering
FIGURES = (drawings.figure2, drawings.figure3, drawings.figure4, drawings.figure5, drawings.figure_s1)
IN_PRINT = {"font.size": 9, "axes.linewidth": 0.7, "lines.linewidth": 1.4, "pdf.fonttype": 42}  # 42: embedded fonts


def jobs(material: str, folder: Path, plane: bool, overrides: Sequence[str] = ()) -> dict[str, Config]:
    """Inputs of the four runs by name; `overrides` (key=value) changes each of them. Raises InputError."""
    configs = {}
    for name, (temperature, end, length) in JOBS.items():
        output = {
            "directory": str(folder / (f"{name}_2d" if plane else name)),
            "series_every": "0.125 ps",
            "fields_every": "0.5 ps",
            "observables": ["default", *SERIES, *([] if plane else ["wigner_angles"])],
            "wigner_at": [f"{t} ps" for t in drawings.WIGNER_TIMES if name == "20K"],
        }
        data = {
            "material": material,
            "temperature": f"{temperature} K",
            "scattering": {"intervalley": {"off_at": f"{SWITCHED_AT} ps"} if name.endswith("off") else True},
            "space": {"dimensions": 2 if plane else 1, "length": f"{length} um", "cells": 128 if plane or length < 12 else 192},
            "momentum": {"angles": PLANE_ANGLES if plane else SLAB_ANGLES},
            "time": {"end": f"{end} ps"},
            "output": output,
        }
        configs[name] = loading.from_data(data, overrides, f"figures, run {name}", Path.cwd())
    return configs


def figures(
    material: str, folder: Path, comm: MPI.Intracomm, plane: bool = False, quiet: bool = False, overrides: Sequence[str] = ()
) -> str | None:
    """Draws everything into `folder` from runs in folder/runs, of which missing ones are made first. Collective.

    Returns a summary, None when a run was stopped on request. Raises InputError and RunError.
    """
    configs = on_first_rank(comm, lambda: jobs(material, folder / "runs", plane, overrides))
    for number, config in enumerate(configs.values(), start=1):
        if comm.rank == 0 and not quiet:
            print(f"run {number} of {len(configs)}: {config.output.directory}", flush=True)
        if not ensure(config, comm, quiet):
            return None
    warm = kinetics.load(configs["300K_off"], comm)
    intrinsic, bright = intrinsic_diffusion(warm.equilibrium, warm.rates.intravalley), warm.light_cone.valley
    masses = tuple(valley.mass for valley in warm.equilibrium.cells.valleys)
    warm.rates.free()
    lifetimes, losses = {}, {}
    for key in TEMPERATURES:
        problem = builder.build(configs[key.replace(" ", "")], comm)
        lifetimes[key] = 1 / (problem.formation_rate + problem.radiative_rate)  # of |p0|² after the pulse
        losses[key] = float(problem.peak_loss(on_first_rank(comm, problem.moments.reference)).max())
        problem.free()

    def finish() -> str:
        runs = {name: PaperRun(Path(config.output.directory), bright) for name, config in configs.items()}
        ours = {key: runs[key.replace(" ", "")] for key in TEMPERATURES}
        data = PaperData(ours, runs["300K_off"], intrinsic, lifetimes, masses)
        return draw(data, folder, configs["20K"].momentum.first_angles, losses.values())

    return on_first_rank(comm, finish)


def draw(data: PaperData, folder: Path, angles: int, peak_losses: Iterable[float]) -> str:
    """Writes the figures and figures.md (captions and statements); returns a summary. On one rank. Raises InputError.

    For the captions: number of directions of motion, predicted relative loss of the profiles' peak at each temperature.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with style.pyplot().rc_context(IN_PRINT):
        for make in FIGURES:
            style.save(make(data), folder / f"{make.__name__}.pdf", folder / f"{make.__name__}.png", dpi=300)
    cold, judged = data.cold, statements(data.transport, Profiles.of(data))
    errors: dict[str, Any] = {}  # Relative errors that inversions of slab profiles add
    if not cold.in_plane:
        errors["light"] = [run.line_error("pl", 10.0) for run in data.by_temperature.values()]
        errors["maps"] = [cold.wigner_error(cold.dark, t) for t in drawings.WIGNER_TIMES]
        errors["variation"] = {t: cold.line_error("shape_variation", t) for t in drawings.SHAPE_TIMES}
    material = cold.series.attributes["input"].splitlines()[0].split(": ", 1)[1]
    page = style.render(
        "studies/paper/figures.md.j2", data=data, statements=judged, version=__version__, material=material, angles=angles,
        peak_losses=peak_losses, switched_at=SWITCHED_AT, errors=errors,
    )  # fmt: skip
    write_whole(folder / "figures.md", page)
    failed = [s for s in judged if not s.holds]
    lines = [
        f"{folder}: {', '.join(make.__name__ for make in FIGURES)} (PDF, PNG), figures.md",
        f"{len(judged) - len(failed)} of {len(judged)} statements hold ({sum(s.held for s in judged)} by the earlier criteria)",
    ]
    return "\n".join([*lines, *(f"does not hold: {s.paper}; here: {s.ours}" for s in failed)])
