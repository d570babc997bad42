"""The verb `figures --spectra`: solves what is missing, draws the pictures and judges the statements."""

from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from hpcwigner import __version__
from hpcwigner.exciton.constants import CM2_PER_S
from hpcwigner.momentum.rates import generator
from hpcwigner.observables.transport import chapman_enskog
from hpcwigner.plotting import style
from hpcwigner.problem import kinetics, loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError, RunError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.simulation.restart import SPECTRA
from hpcwigner.simulation.run import MOMENTS, finished, put_aside, require_same_input
from hpcwigner.storage.files import write_whole
from hpcwigner.studies.spectra import drawings
from hpcwigner.studies.spectra.data import Runs, SpectraRun
from hpcwigner.studies.spectra.statements import LIMIT, Statement, statements
from hpcwigner.studies.sweep import moments_run

MATERIALS = ("ws2_hbn", "wse2_hbn", "mose2_hbn")
ENDS = {20.0: (300, 0.5), 77.0: (60, 0.25), 300.0: (20, 0.25)}  # By temperature [K]: end and interval of the outputs [ps]
LIMIT_TEMPERATURES = (5.0, 10.0, 20.0, 40.0)  # At which D in equilibrium is given [K]
FIGURES = (drawings.spectra_end, drawings.spectra_cold, drawings.cooling)


def jobs(materials: Sequence[str], folder: Path, temperatures: Sequence[float], overrides: Sequence[str] = ()) -> dict[
    tuple[str, float], Config
]:  # fmt: skip
    """Inputs by material and temperature [K]; `overrides` (key=value) changes each of them. Raises InputError."""
    configs = {}
    for material in materials:
        for temperature in temperatures:
            end, every = ENDS[temperature]
            spectrum = {"from": "-150 meV", "to": "50 meV", "step": "0.5 meV"}
            data = {
                "material": material, "temperature": f"{temperature:g} K", "time": {"end": f"{end} ps"},
                "output": {
                    "directory": str(folder / f"{Path(material).stem}_{temperature:g}K"), "series_every": f"{every} ps",
                    "spectrum": spectrum,
                },
            }  # fmt: skip
            origin = f"figures, {material} at {temperature:g} K"
            configs[material, temperature] = loading.from_data(data, overrides, origin, Path.cwd())
    return configs


def figures_of_spectra(
    folder: Path, comm: MPI.Intracomm, materials: Sequence[str] = MATERIALS, temperatures: Sequence[float] = tuple(ENDS),
    overrides: Sequence[str] = (), quiet: bool = False,
) -> str:  # fmt: skip
    """Draws everything into `folder` and judges the statements, from solutions in folder/spectra, of which missing ones are made.

    Solutions are shared out among the ranks. Returns a summary. Raises InputError and RunError. Collective.
    """
    configs = on_first_rank(comm, lambda: jobs(materials, folder / "spectra", temperatures, overrides))
    missing = on_first_rank(comm, lambda: [key for key, config in configs.items() if not _ready(config)])
    if comm.rank == 0 and not quiet and missing:
        print(f"solving {', '.join(f'{material} at {t:g} K' for material, t in missing)}", flush=True)
    problem = ""
    for key in missing[comm.rank :: comm.size]:
        try:
            material, couplings = kinetics.solve(configs[key].material)
            moments_run(configs[key], material, couplings)
        except (InputError, RunError) as error:
            problem = problem or f"{key[0]} at {key[1]:g} K: {error}"
    if problems := [text for text in comm.allgather(problem) if text]:
        raise RunError("; ".join(problems))

    def finish() -> str:
        runs: Runs = {
            (Path(name).stem, t): SpectraRun(Path(config.output.directory), Path(name).stem, t)
            for (name, t), config in configs.items()
        }
        cold = min(temperatures)
        tungsten = next((name for name in materials if Path(name).stem.startswith("wse2")), None)
        equilibrium = {} if tungsten is None else {t: _diffusion(tungsten, t) for t in LIMIT_TEMPERATURES}
        return draw(runs, statements(runs, equilibrium, cold), folder, cold)

    return on_first_rank(comm, finish)


def _ready(config: Config) -> bool:
    """Whether a solution is there; one that is not complete is put aside. Raises InputError where there is another input's."""
    directory = Path(config.output.directory)
    require_same_input(config)
    if (directory / SPECTRA).exists() and (directory / MOMENTS).exists() and finished(config, by_moments=True):
        return True
    if (directory / MOMENTS).exists():
        put_aside(directory)
    return False


def _diffusion(material: str, temperature: float) -> float:
    """D in equilibrium of all valleys together [cm²/s]."""
    data = {"material": material, "temperature": f"{temperature:g} K"}
    solved = kinetics.load(loading.from_data(data, (), f"figures, {material}", Path.cwd()), MPI.COMM_SELF)
    relaxation = generator(solved.rates.intravalley[:2] + solved.rates.intervalley[:2])[1]
    result = CM2_PER_S * chapman_enskog(solved.equilibrium, relaxation)
    solved.rates.free()
    return result


def draw(runs: Runs, judged: Sequence[Statement], folder: Path, cold: float) -> str:
    """Writes the pictures and spectra.md; returns a summary. On one rank. Raises InputError."""
    folder.mkdir(parents=True, exist_ok=True)
    style.pyplot()
    for make in FIGURES:
        style.save(make(runs, cold), folder / f"{make.__name__}.pdf", folder / f"{make.__name__}.png", dpi=200)
    page = style.render(
        "studies/spectra/spectra.md.j2", statements=judged, version=__version__, runs=runs, cold=cold, limit=LIMIT
    )
    write_whole(folder / "spectra.md", page)
    holding, failed = ([s for s in judged if s.verdict == verdict] for verdict in ("yes", "no"))
    lines = [
        f"{folder}: {', '.join(make.__name__ for make in FIGURES)} (PDF, PNG), spectra.md",
        f"{len(holding)} of {len(holding) + len(failed)} statements hold",
        *(f"does not hold: {s.paper}; here: {s.ours}" for s in failed),
        *(f"declared limit: {s.paper}; here: {s.ours}" for s in judged if s.verdict == LIMIT),
    ]
    return "\n".join(lines)
