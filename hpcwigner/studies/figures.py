"""The verb `figures`: Figures 2 to 5 of Rosati et al. (2020) and the paper's statements; missing runs are made first."""

from collections.abc import Iterable, Sequence
from pathlib import Path

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
from hpcwigner.studies.paper.data import PaperData, PaperRun
from hpcwigner.studies.paper.statements import statements

SWITCHED_AT = 10.0  # End of intervalley scattering in the run of Figure 4 [ps]
SERIES = ("energy_distance", "relative_population", "diffusion_adiabatic", "pl_width_squared")
"""Series that the statements need besides the default ones."""

SLAB_ANGLES, PLANE_ANGLES = 32, 16  # Directions of motion: inverted profiles of a slab converge more slowly in them
ANGLE_ERRORS = "a slab is 5 % off with 16, 0.4 % with 24, 0.1 % with 32 of them, against 64; a plane 1.3 % with 16"
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
    intrinsic, bright = intrinsic_diffusion(warm.equilibrium, warm.rates.intravalley), warm.light_cone.bright_valley
    warm.rates.free()
    lifetimes, flattening = {}, {}
    for key in TEMPERATURES:
        problem = builder.build(configs[key.replace(" ", "")], comm)
        lifetimes[key] = 1 / (problem.formation_rate + problem.radiative_rate)  # of |p0|² after the pulse
        flattening[key] = float(problem.peak_loss(on_first_rank(comm, problem.moments.reference)).max())
        problem.free()

    def finish() -> str:
        runs = {name: PaperRun(Path(config.output.directory), bright) for name, config in configs.items()}
        angles, ours = configs["20K"].momentum.angles, {key: runs[key.replace(" ", "")] for key in TEMPERATURES}
        return draw(PaperData(ours, runs["300K_off"], SWITCHED_AT, intrinsic, lifetimes, flattening, angles), folder)

    return on_first_rank(comm, finish)


def draw(data: PaperData, folder: Path) -> str:
    """Writes the figures and figures.md (captions and statements); returns a summary. On one rank. Raises InputError."""
    folder.mkdir(parents=True, exist_ok=True)
    with style.pyplot().rc_context(IN_PRINT):
        for make in FIGURES:
            style.save(make(data), folder / f"{make.__name__}.pdf", folder / f"{make.__name__}.png", dpi=300)
    judged = statements(data)
    failed = [s for s in judged if not s.holds]
    cells = [(s.paper, s.ours, s.criterion, "yes" if s.holds else "**no**") for s in judged]
    rows = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in cells]
    table = ["| the paper | here | holds if | holds |", "|---|---|---|---|", *(f"| {row} |" for row in rows), ""]
    title = "# Figures 2 to 5 of Rosati et al., Nanoscale 12, 356 (2020)"
    write_whole(folder / "figures.md", "\n".join([title, "", *_captions(data), "", *table]))
    lines = [
        f"{folder}: {', '.join(make.__name__ for make in FIGURES)} (PDF, PNG), figures.md",
        f"{len(judged) - len(failed)} of {len(judged)} statements hold",
    ]
    lines += [f"does not hold: {s.paper}; here: {s.ours}" for s in failed]
    return "\n".join(lines)


def _captions(data: PaperData) -> list[str]:
    def percent(errors: Iterable[float]) -> str:
        return ", ".join(f"{100 * e:.2g} %" for e in errors)

    low, temperatures = percent(data.flattening.values()), ", ".join(data.flattening)
    grid = (
        f"Numerical dissipation lowers the peak of the profiles by up to about {low} at {temperatures}. "
        f"Excitons move in {data.angles} directions (PL at 20 K and 8 ps: {ANGLE_ERRORS})."
    )
    if data.cold.in_plane:
        origin = wigner = f"Line y = 0 of two-dimensional runs (six-point interpolation). {grid}"
    else:
        light = [run.line_error("pl", 10.0) for run in data.by_temperature.values()]
        maps = [data.cold.wigner_error(data.cold.dark, t) for t in drawings.WIGNER_TIMES]
        variation = [data.cold.line_error("shape_variation", t) for t in drawings.SHAPE_TIMES]
        origin = (
            f"Line y = 0 by the inverse Abel transform of slab profiles; the inversion adds less than {percent(light)} of the "
            f"largest value at {', '.join(data.by_temperature)} (10 ps). {grid}"
        )
        wigner = (
            f"b, c: line y = 0 by inverting the slab's projections in all directions (Cormack); the inversion adds less than "
            f"{percent(maps)} of the largest value. d: inverse Abel transform; less than {percent(variation)} at "
            f"{', '.join(f'{t:g}' for t in drawings.SHAPE_TIMES)} ps. Grid and directions as in Figure 2."
        )
    return [
        f"hpcwigner {__version__}, material {data.cold.series.attributes['input'].splitlines()[0].split(': ', 1)[1]}.",
        "",
        f"- Figure 2. PL(x, t)/PL(0, t); the white line is 1/e. {origin}",
        "- Figure 3. w_v² and D_v; dashed: total PL (right axis). Shaded: phase I (until every D_v has reached 95 % of its "
        "largest value), II, and III (D_v within 10 % of each other from then on).",
        f"- Figure 4. D_v at 300 K, intervalley scattering off after {data.switched_at:g} ps; lines: D of each valley by itself.",
        f"- Figure 5. a: D of the bright valley and its intervalley part. {wigner} Dotted: momentum from which the most "
        "energetic acoustic phonon takes an exciton to the bright valley.",
        "- Figure S1. |n_v D_v^interv|, equal for two valleys where η_1 = −η_2, as the paper assumes.",
    ]
