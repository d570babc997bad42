"""The files of a case: an input with what it reads, made from a seed and the case's number alone."""

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzzing import data_files
from fuzzing.trees import as_bytes, changed
from hpcwigner.exciton.materials import SHIPPED

INPUTS = Path(__file__).resolve().parents[2] / "inputs"
KINDS = ("input", "material", "rates", "map")
SMALL = """\
material: ws2_hbn
temperature: 77 K
momentum: {energy_max: 62 meV, energy_step: 4 meV, angles: 8}
space: {dimensions: 1, length: 6 um, cells: 48, boundary: periodic}
time: {end: 3 ps, integrator: etd3, tolerance: 1e-2, steps: [{size: 10 fs, until: 0.75 ps}, {size: 50 fs, until: 2 ps}, {size: 125 fs}]}
output: {directory: run, series_every: 0.25 ps, fields_every: 1 ps, wigner_at: [2 ps]}
"""
FURTHER = """\
pump: [{density: 1e11 cm^-2, energy: {valley: KK, above: 20 meV, spread: 5 meV}}, {center: 1 ps, spot_fwhm: 1 um, density: 1e10 cm^-2}]
{pump: {density: 1e11 cm^-2}, interaction: {annihilation: {rate: 0.02 cm^2/s, hot: 0.5, above: 20 meV, spread: 5 meV, delay: 0.5 ps}}}
{pump: {density: 1e11 cm^-2}, interaction: {repulsion: 1e-12 meV cm^2}}
recombination: {lifetime: {KK: 1 ns, KΛ: 0.2 ns}}
radiation: {phonon_assisted: off}
scattering: {intravalley: on, intervalley: {off_at: 2 ps}}
{space: *open, sample: {strain: {xx: {gaussian: {peak: 0.1 %, fwhm: 2 um}}, yy: 0.2 %}}}
{space: *open, sample: {energy: {all: {linear: {gradient: [2 meV/um, 0 meV/um]}}, KK: {step: {height: 1 meV, width: 1 um}}}}}
sample: {energy: {all: [{random: {rms: 1 meV, correlation_length: 1 um, seed: 3}}, {cosine: {amplitude: 1 meV, period: 3 um, phase: 30 degree}}]}}
{space: *open, sample: {energy: {KK: {quadratic: {curvature: [0.1 meV/um^2, 0.1 meV/um^2]}}, all: {ring: {peak: 1 meV, radius: 1 um, fwhm: 1 um}}}}}
pump: {profile: [1, {gaussian: {fwhm: 1 um}}, {cosine: {amplitude: 0.5, period: 2 um}}]}
space: {dimensions: 2, length: 6 um, cells: [20, 16], boundary: {x: open, y: {low: reflecting, high: open}}}
space: {dimensions: 1, length: 6 um, cells: 48, boundary: {x: {low: {reflectivity: 0.5}, high: {reflectivity: 1, diffuse: 0.5}}}}
momentum: {energy_max: 62 meV, energy_step: 4 meV, angles: {start: 16, reduce: [{at: 1 ps, to: 8}]}}
output: {directory: run, spectrum: {from: -60 meV, to: 20 meV, step: 1 meV, every: 1 ps, place: resolved, psf_fwhm: 0.5 um, time_fwhm: 1 ps}}
output: {directory: run, observables: [default, fit_width_squared, ring_radius, temperature]}
checkpoint: {every: 1 min, keep: 1, writes: independent, compression: gzip, alignment: 1 MiB, hints: {romio_cb_write: enable}}
sweep: {vary: {temperature: [77 K, 70 K], space.cells: [32, 48]}, combine: zip, moments: true, diffusion_at: [1 ps]}
sweep: {vary: {pump.spot_fwhm: [1 um, 2 um], momentum.angles: [4, 8]}}
initial: equilibrium
time: {end: 2 ps, walltime: 1 h, integrator: ars443, steps: [{size: 50 fs}]}
"""
"""Lines that replace or add blocks of SMALL; *open is a slab with open ends."""
OPEN = "{dimensions: 1, length: 6 um, cells: 48, boundary: open}"
UNFIT = ("ws2_20K_hot_injection.yaml", "ws2_77K_disorder.yaml")  # Need a finer grid than all the others


@functools.cache
def bases() -> tuple[dict[str, Any], ...]:
    """Inputs to start from: SMALL, SMALL with each line of FURTHER, and the shipped ones on coarse grids."""
    small = yaml.safe_load(SMALL)
    made = [small] * 10 + [small | yaml.safe_load(line.replace("*open", OPEN)) for line in FURTHER.splitlines()]
    for path in sorted(path for path in INPUTS.glob("*.yaml") if path.name not in UNFIT):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        plane = data.setdefault("space", {}).get("dimensions") == 2
        data["space"]["cells"] = 16 if plane else 40
        data["momentum"] = {"energy_step": "6 meV", "angles": 4}
        data["time"] = {"end": "2 ps", "integrator": "etd2", "steps": [{"size": "10 fs"}]}
        data["output"] = {"directory": "run", "series_every": "0.5 ps", "fields_every": "1 ps"}
        for key, values in data.get("sweep", {}).get("vary", {}).items():
            data["sweep"]["vary"][key] = values[:2]
        made.append(data)
    return tuple(made)


@functools.cache
def material_bases() -> tuple[dict[str, Any], ...]:
    """The shipped materials; files based on another one name it by its shipped name."""
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(SHIPPED.glob("*.yaml")))


def write_case(seed: int, number: int, folder: Path, rates: Path) -> str:
    """Writes input.yaml and what it reads to an existing, empty folder; `rates` is a good file of SMALL's. Returns the kind."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[rng.choice(4, p=[0.5, 0.25, 0.12, 0.13])]
    data: dict[str, Any] = yaml.safe_load(SMALL)
    if kind == "input":
        content = as_bytes(rng, changed(rng, bases()[rng.integers(len(bases()))]))
    else:
        content = _write_companion(rng, kind, data, folder, rates)
    (folder / "input.yaml").write_bytes(content)
    return kind


def _write_companion(rng: np.random.Generator, kind: str, data: dict[str, Any], folder: Path, rates: Path) -> bytes:
    """Writes the file that the case damages; returns the input that names it."""
    if kind == "material":
        base = material_bases()[rng.integers(len(material_bases()))]
        (folder / "material.yaml").write_bytes(as_bytes(rng, changed(rng, base)))
        data["material"] = "material.yaml"
    elif kind == "rates":
        shutil.copy(rates, folder / "rates.h5")
        data_files.damage(folder / "rates.h5", rng)
        data["rates"] = "rates.h5"
    elif rng.integers(4) == 0:
        data_files.write_picture(folder / "spot.tiff", rng)
        if rng.integers(2):
            data_files.damage(folder / "spot.tiff", rng)
        data["pump"] = {
            "profile": {
                "file": "spot.tiff",
                "pixel": ["0.6 um", "0.1 um", "1e-300 um", "1e300 um"][rng.choice(4, p=[0.7, 0.1, 0.1, 0.1])],
            }
        }
    else:
        data_files.write_map(folder / "map.h5", rng)
        data_files.damage(folder / "map.h5", rng)
        if rng.integers(2):
            data["sample"] = {"energy": {"all": {"file": "map.h5", "dataset": "energy"}}}
        else:
            data["pump"] = {"profile": {"file": "map.h5", "dataset": "weight"}}
        data["space"]["dimensions"], data["space"]["cells"] = [(1, 48), (2, 16)][rng.integers(2)]
    return yaml.safe_dump(data, allow_unicode=True).encode()
