"""The verb `report`: a run as one web page that needs nothing but a browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpcwigner
from hpcwigner.observables.curves import negative_windows
from hpcwigner.plotting import report_landscape, report_plots, report_spectra, style
from hpcwigner.plotting.report_plots import Plot, budget, curves, moving, space_time
from hpcwigner.plotting.spectra import Look, Spectra
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Quantity, read_yaml
from hpcwigner.storage.provenance import describe_history
from hpcwigner.storage.reading import Variables, read, read_summary

PROVENANCE = ("source", "git_revision", "libraries", "machine", "ranks")


def write_report(directory: Path, output: Path | None = None) -> Path:
    """Writes `output` (default RUN/report.html), also for a run that is not finished yet. Raises InputError."""
    path = output or directory / "report.html"
    style.check_suffix(path, (".html", ".htm"))
    page = _page(directory)
    with style.replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _page(directory: Path) -> str:
    from plotly.offline import get_plotlyjs

    series, fields = read(directory / "series.h5"), read(directory / "fields.h5")
    wigner = read(directory / "wigner.h5") if (directory / "wigner.h5").exists() else None
    spectra = Spectra(directory, Look()) if (directory / "spectra.h5").exists() else None
    asked = read_yaml(directory / "input.yaml")
    reached, end = series.last_time(), float(Quantity("ps").parse(asked["time"]["end"]))
    history, summaries = json.loads(series.attributes.get("history", "[]")), read_summary(series.path)
    closing = summaries.get(len(history), {})  # of the latest start; there is none while it runs, or if it was killed
    log = directory / "run.log"
    return style.render(
        "plotting/report.html.j2",
        name=directory.resolve().name,
        version=hpcwigner.__version__,
        temperature=asked["temperature"],
        material=asked["material"],
        geometry="plane" if "y" in fields.data else f"slab, {fields.attributes['slab']}",
        reached=reached,
        end=end,
        finished=reached > end - 1e-9,
        last=_last_numbers(series),
        zip=zip,
        sections=_sections(series, fields, wigner, spectra),
        valleys=series.valleys,
        performance=closing.get("performance", {}),
        checks=closing.get("checks", {}),
        warnings=[entry for summary in summaries.values() for entry in summary["warnings"].values()],
        log=log.read_text(encoding="utf-8", errors="replace") if log.exists() else "",
        provenance={key: series.attributes.get(key, "?") for key in PROVENANCE},
        starts=describe_history(history),
        input=(directory / "input.yaml").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )


def _last_numbers(series: Variables) -> dict[str, list[str]]:
    """Columns of the table of valleys: values at the last time and intervals of negative D_v, of the quantities written."""
    columns = {"valley": list(series.valleys)}
    for name, symbol in (("population", "n"), ("width_squared", "w²"), ("diffusion", "D")):
        if name in series.data:
            columns[style.label(symbol, series.units[name])] = [f"{value:.6g}" for value in series.data[name][-1]]
    for n, axis in enumerate("xy" if "mean_position" in series.data else ""):
        if n < series.data["mean_position"].shape[2]:
            unit = series.units["mean_position"]
            columns[style.label(f"⟨{axis}⟩", unit)] = [f"{value:.6g}" for value in series.data["mean_position"][-1, :, n]]
    if "diffusion" in series.data:
        windows = [negative_windows(series.data["time"], values) for values in series.data["diffusion"].T]
        columns["D < 0 (from 1 ps on)"] = [", ".join(f"{a:g} to {b:g} ps" for a, b in w) or "never" for w in windows]
    return columns


def _sections(
    series: Variables, fields: Variables, wigner: Variables | None, spectra: Spectra | None
) -> list[dict[str, Any]]:  # fmt: skip
    cut = fields.place
    light: tuple[tuple[Any, ...], ...] = (
        ("spectra", "Spectra", "of the whole sample; dotted: where the strong sidebands begin; move the slider",
         report_spectra.moving, (spectra,)),
        ("spectrum", "Spectra against time", "of the whole sample, each time relative to its largest value",
         report_spectra.against_time, (spectra,)),
        ("sidebands", "Light in each sideband", "photons per time of all energies", report_spectra.by_sideband, (spectra,)),
    )  # fmt: skip
    landscape: tuple[tuple[Any, ...], ...] = (
        ("positions", "Mean positions", "⟨r⟩ of each valley", report_landscape.positions, (series,)),
        ("energies", "Energies", "of an exciton in each valley, and what phonons have received",
         report_landscape.energies, (series, fields)),
        ("landscape", "Landscape", "energy Eᵥ(r) of each valley's bottom, above its lowest value in the sample",
         report_landscape.landscape, (fields,)),
    )  # fmt: skip
    plots: tuple[tuple[Any, ...], ...] = (
        ("diffusion", "Diffusion coefficients", "Dᵥ = ¼ ∂wᵥ²/∂t", curves, (series, "diffusion", "D<sub>v</sub>")),
        ("widths", "Squared widths", "wᵥ² = ⟨r²⟩ of each valley", curves, (series, "width_squared", "w<sub>v</sub>²")),
        ("populations", "Excitons in each valley", "nᵥ on a logarithmic scale",
         curves, (series, "population", "n<sub>v</sub>", True)),
        ("PL", "Photoluminescence", "light emitted by the whole sample per time, on a logarithmic scale",
         curves, (series, "pl_total", "PL", True)),
        ("budget", "What makes the diffusion coefficients", "Dᵥ and its parts by cause; they sum up to Dᵥ exactly",
         budget, (series,)),
        *(landscape if "landscape" in fields.data else ()),
        *(light if spectra is not None else ()),
        ("evolution", "Density and PL against position and time", f"{cut}, each time relative to its largest value",
         space_time, (fields,)),
        ("snapshots", "Density and PL in space", "at one time, relative to the largest value; move the slider",
         moving, (fields,)),
        ("Wigner", "Wigner function",
         f"occupation of states with momentum k along x, {cut}, relative to the largest value; move the slider",
         report_plots.wigner, (wigner,)),
    )  # fmt: skip
    return [_section(*words) for words in plots]


def _section(key: str, title: str, text: str, draw: Callable[..., Plot], words: tuple[Any, ...]) -> dict[str, Any]:
    """One plot of the page for the template, or why there is none."""
    markup, note = "", ""
    try:
        figure, note = draw(*words)
        options = {"displaylogo": False, "responsive": True}
        markup = figure.to_html(full_html=False, include_plotlyjs=False, div_id=key, config=options, auto_play=False)
    except InputError as error:  # a quantity that the run was not asked to write
        text = str(error)
    return {"key": key, "title": title, "text": text, "plot": markup, "note": note, "wide": draw is not curves}
