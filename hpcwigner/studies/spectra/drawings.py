"""Pictures: spectra at the end, spectra against time when cold, and what cooling does to sidebands and diffusion."""

from typing import Any

import numpy as np

from hpcwigner.plotting import style
from hpcwigner.plotting.maps import normalised
from hpcwigner.plotting.spectra import ENERGY, log_map, mark_bands, style_colour
from hpcwigner.studies.spectra.data import Runs

START = 0.5  # First time shown [ps]
SHOWN = (-120.0, 30.0)  # Energies shown [meV]


def spectra_end(runs: Runs, _cold: float) -> Any:
    """The last spectrum of each material and temperature over its largest value."""
    materials = list(dict.fromkeys(name for name, _ in runs))
    figure, axes = style.subplots(1, len(materials), figsize=(1 + 4.4 * len(materials), 4.6), sharey=True, squeeze=False)
    for axis, material in zip(axes[0], materials, strict=True):
        chosen = [run for (name, _), run in runs.items() if name == material]
        for number, run in enumerate(chosen):
            last = run.intensity[-1]
            colour = style_colour(number, len(chosen))
            axis.semilogy(run.energy, last / last.max(), color=colour, label=f"{run.temperature:g} K, {run.time[-1]:g} ps")
        axis.set(xlim=SHOWN, ylim=(1e-5, 2), xlabel=ENERGY)
        axis.annotate(material, (0.04, 0.93), xycoords="axes fraction", fontweight="bold")
        axis.legend(frameon=False, fontsize=8, loc="lower left")
        mark_bands(axis, chosen[0].spectra, SHOWN)
    axes[0, 0].set_ylabel("PL / largest")
    return figure


def spectra_cold(runs: Runs, cold: float) -> Any:
    """Spectra against time at the lowest temperature, each time over its largest value."""
    chosen = [run for (_, temperature), run in runs.items() if temperature == cold]
    figure, axes = style.subplots(1, len(chosen), figsize=(1 + 4.4 * len(chosen), 5.2), sharey=True, squeeze=False)
    for axis, run in zip(axes[0], chosen, strict=True):
        shown = run.time >= START
        image = log_map(axis, run.energy, run.time[shown], normalised(run.intensity[shown]))
        axis.set(xlim=SHOWN, yscale="log", ylim=(START, run.time[-1]), xlabel=ENERGY)
        axis.annotate(run.name, (0.04, 0.95), xycoords="axes fraction", color="white", fontweight="bold")
        mark_bands(axis, run.spectra, SHOWN)
    axes[0, 0].set_ylabel("time (ps)")
    figure.colorbar(image, ax=axes, label="PL / largest at that time")
    return figure


def cooling(runs: Runs, cold: float) -> Any:
    """When cold: mean energy of the sidebands' light, parts of the strongest sidebands, and D of the most populated valley."""
    chosen = [run for (_, temperature), run in runs.items() if temperature == cold]
    figure, axes = style.subplots(2, 2, figsize=(11, 8), sharex=True)
    energy, part, sidebands, diffusion = axes.flat
    for number, run in enumerate(chosen):
        shown = run.time >= START
        options = {**style.curve(number), "label": run.material}
        energy.plot(run.time[shown], run.mean_energy[shown], **options)
        part.plot(run.time[shown], 100 * run.sideband_part[shown], **options)
        options["label"] = f"{run.material}, {run.valleys[run.dark]}"
        diffusion.plot(run.time[shown], run.curves.diffusion[shown, run.dark], **options)
    example = next((run for run in chosen if run.material.startswith("wse2")), chosen[0])
    shares = example.shares[example.late]
    for number, band in enumerate(np.argsort(-shares.max(axis=0))[:6]):
        sidebands.plot(example.time[example.late], 100 * shares[:, band], label=example.bands[band], **style.curve(number))
    energy.set_ylabel("mean energy of the light\nbelow the direct line (meV)")
    part.set(ylabel="part of dark excitons' sidebands in the light (%)", yscale="log")
    sidebands.set(ylabel="part in the light of all sidebands (%)", xlabel="time (ps)", title=example.name, xscale="log")
    diffusion.set(ylabel="D of the most populated valley (cm²/s)", xlabel="time (ps)", yscale="log")
    for axis in axes.flat:
        axis.legend(frameon=False, fontsize=8)
    return style.lettered(figure, axes)
