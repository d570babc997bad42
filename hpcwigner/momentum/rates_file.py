"""Rates as a file (DESIGN §8): what the verb `rates` writes, and how rates from elsewhere come in.

`gamma(m, cell_to, cell_from)` [1/ps] is in_m − δ_ij Σ_k in_0[k, i], without radiative loss. `gamma_intervalley` is the part of
it that changes the valley; a file without it counts everything between two valleys of the list as intervalley.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates, generator
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.storage.files import names_dataset

Array = NDArray[np.float64]

TOLERANCE = 1e-6
"""Relative error of detailed balance and of particle number that is accepted, and mended exactly."""
NEGLIGIBLE = 1e-12
"""Rates below this part of the largest one are not judged."""
_MATRIX = ("m", "cell_to", "cell_from")
_COORDINATES = {
    "valley": "exciton valley",
    "cell": "energy cell, valley by valley",
    "m": "angular harmonic",
    "cell_to": "energy cell scattered into",
    "cell_from": "energy cell scattered from",
}


def write(path: Path, rates: Rates, bright_valley: int, attributes: Mapping[str, str | int]) -> None:
    """Writes `rates` to a new file; one rank does it. Raises InputError when it cannot."""
    equilibrium, cells = rates.equilibrium, rates.cells
    per_cell = {
        "energy": (
            equilibrium.kinetic_energy + np.array([v.energy for v in cells.valleys])[cells.valley_of_cell],
            "meV",
            "mean energy",
        ),
        "velocity": (equilibrium.velocity, "nm ps-1", "rms speed"),
        "equilibrium": (equilibrium.population, "1", "Boltzmann population, summing to 1"),
        "valley_of_cell": (cells.valley_of_cell, "1", "index into valley"),
        "formation": (rates.formation.sum(axis=0), "ps-1", "rate from coherent excitons (Q = 0) into the cell"),
        "formation_intervalley": (rates.formation[1], "ps-1", "the part of formation that changes the valley"),
    }
    try:
        with h5py.File(path, "w-") as file:
            file.attrs.update({**attributes, "temperature": equilibrium.temperature, "bright_valley": bright_valley})
            names_dataset(file, "valley", (v.name for v in cells.valleys)).make_scale("valley")
            for name, size in (("cell", cells.size), *zip(_MATRIX, rates.intravalley.shape, strict=True)):
                file[name] = np.arange(size)
                file[name].attrs["units"] = "1"
                file[name].make_scale(name)
            for name, text in _COORDINATES.items():
                file[name].attrs["long_name"] = text
            for name, (values, unit, text) in per_cell.items():
                _variable(file, name, np.asarray(values), ("cell",), unit, text)
            total, intervalley = generator(rates.intravalley + rates.intervalley), generator(rates.intervalley)
            _variable(file, "gamma", total, _MATRIX, "ps-1", "scattering generator per angular harmonic")
            _variable(file, "gamma_intervalley", intervalley, _MATRIX, "ps-1", "the part of gamma that changes the valley")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}), expected the name of a new file") from None


def _variable(file: h5py.File, name: str, values: Array, dimensions: tuple[str, ...], unit: str, text: str) -> None:
    dataset = file.create_dataset(name, data=values)
    for i, dimension in enumerate(dimensions):
        dataset.dims[i].attach_scale(file[dimension])
    dataset.attrs["units"] = unit
    dataset.attrs["long_name"] = text


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What a file holds, as in-scattering rates (2, m, cell, cell) and formation (2, cell)."""

    in_scattering: Array
    formation: Array


def read(path: Path, equilibrium: Equilibrium, orders: int, comm: MPI.Intracomm) -> Rates:
    """Rates of a file for harmonics 0…`orders` on these cells; one rank of each node reads. Collective.

    Raises InputError with the worst offender when the file does not fit the equilibrium, or breaks positivity, particle number
    or detailed balance beyond TOLERANCE.
    """
    shared = NodeShared(comm, (2, orders + 1, equilibrium.cells.size, equilibrium.cells.size))
    problem, formation = None, np.empty((2, equilibrium.cells.size))

    def fill(_part: int) -> None:
        nonlocal problem
        try:
            contents = _load(path, equilibrium, orders)
            shared.array[...], formation[...] = contents.in_scattering, contents.formation
        except InputError as error:
            problem = error

    shared.fill(1, fill)
    if found := next((p for p in comm.allgather(problem) if p is not None), None):
        raise found
    return Rates(equilibrium, shared, shared.comm.bcast(formation), comm)


def _load(path: Path, equilibrium: Equilibrium, orders: int) -> _Contents:
    try:
        with h5py.File(path, "r") as file:
            _fits(path, file, equilibrium, orders)
            gamma = file["gamma"][: orders + 1]
            formation = file["formation"][()]
            if "gamma_intervalley" in file:
                intervalley = file["gamma_intervalley"][: orders + 1]
                formation_out = file["formation_intervalley"][()]
            else:
                other = np.not_equal.outer(equilibrium.cells.valley_of_cell, equilibrium.cells.valley_of_cell)
                intervalley = generator(np.where(other, gamma, 0.0))
                formation_out = np.where(_outside_bright_valley(equilibrium, file), formation, 0.0)
    except FileNotFoundError:
        raise InputError(f"rates: found '{path}', expected a file that exists") from None
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"rates: '{path}' cannot be read as a file of rates ({error})") from None
    if not all(np.isfinite(a).all() for a in (gamma, intervalley, formation, formation_out)):
        raise InputError(f"{path}: found numbers that are not finite, expected finite rates")
    if (worst := int(formation.argmin())) >= 0 and formation[worst] < 0:
        raise InputError(
            f"{path}: formation: found {formation[worst]:g} /ps into {_name(equilibrium, worst)}, expected rates ≥ 0"
        )
    parts = [_in_scattering(path, name, g, equilibrium) for name, g in (("gamma", gamma), ("gamma_intervalley", intervalley))]
    intravalley = parts[0] - parts[1]
    intravalley[np.abs(intravalley) < NEGLIGIBLE * np.abs(parts[0])] = 0.0
    between = np.where(np.eye(equilibrium.cells.size, dtype=bool), 0.0, intravalley[0])
    if between.min() < -TOLERANCE * parts[0][0].max():
        to, source = _worst(-between)
        raise InputError(f"{path}: gamma_intervalley[0]: found more than gamma from {_name(equilibrium, source)} to "
                         f"{_name(equilibrium, to)}, expected a part of it")  # fmt: skip
    intravalley[0] -= np.minimum(between, 0.0)
    return _Contents(np.stack((intravalley, parts[1])), np.stack((formation - formation_out, formation_out)))


def _outside_bright_valley(equilibrium: Equilibrium, file: h5py.File) -> NDArray[np.bool_]:
    """Cells outside the bright valley (the file's attribute `bright_valley`, else the first), shape (cell,)."""
    return np.asarray(equilibrium.cells.valley_of_cell != int(file.attrs.get("bright_valley", 0)))


def _fits(path: Path, file: h5py.File, equilibrium: Equilibrium, orders: int) -> None:
    """Whether the file belongs to this grid."""
    temperature = float(file.attrs.get("temperature", equilibrium.temperature))
    if temperature != equilibrium.temperature:
        raise InputError(
            f"temperature: found {equilibrium.temperature:g} K, expected {temperature:g} K, that of the rates in {path}"
        )
    cells, harmonics = len(file["equilibrium"]), file["gamma"].shape[0]
    if cells != equilibrium.cells.size or file["gamma"].shape[1:] != (equilibrium.cells.size, equilibrium.cells.size):
        raise InputError(
            f"momentum: found a grid of {equilibrium.cells.size} energy cells, expected the {cells} cells of {path}: take the "
            f"material, energy_step and energy_max it was made with"
        )
    if harmonics <= orders:
        raise InputError(f"momentum.angles: found {2 * orders}, expected at most {2 * (harmonics - 1)}, as {path} has "
                         f"{harmonics} harmonics")  # fmt: skip
    for name, expected in (("velocity", equilibrium.velocity), ("equilibrium", equilibrium.population)):
        found = file[name][()]
        error = np.abs(found / expected - 1)
        if not error.max() < TOLERANCE:
            worst = int(np.nanargmax(np.where(np.isfinite(error), error, np.inf)))
            raise InputError(
                f"{path}: {name}: found {found[worst]:.9g} in {_name(equilibrium, worst)}, expected {expected[worst]:.9g}, as of "
                f"the material and the momentum grid of the input"
            )


def _in_scattering(path: Path, name: str, gamma: Array, equilibrium: Equilibrium) -> Array:
    """In-scattering rates from the generator; refuses what breaks an exact property, mends rounding."""
    diagonal = np.arange(equilibrium.cells.size)
    out = -gamma[0, diagonal, diagonal]
    rates = gamma.copy()
    rates[:, diagonal, diagonal] += out
    largest = max(float(rates[0].max()), 1e-300)

    def refuse(m: int, pair: tuple[int, int], what: str) -> InputError:
        to, source = pair
        where = f"from {_name(equilibrium, source)} to {_name(equilibrium, to)} (cell_to {to}, cell_from {source})"
        return InputError(f"{path}: {name}[{m}]: found {what} {where}")

    if rates[0].min() < -TOLERANCE * largest:
        pair = _worst(-rates[0])
        raise refuse(0, pair, f"a rate of {rates[0][pair]:.3g} /ps, expected rates ≥ 0,")
    lost = np.abs(rates[0].sum(axis=0) - out)
    if (lost > TOLERANCE * np.maximum(out, NEGLIGIBLE * largest)).any():
        worst = int(lost.argmax())
        raise InputError(f"{path}: {name}[0]: found a column that sums to {gamma[0, :, worst].sum():.3g} /ps from "
                         f"{_name(equilibrium, worst)}, expected 0: every exciton that leaves a cell arrives in "
                         f"another")  # fmt: skip
    # γ_ji √(p_i/p_j) is symmetric in detailed balance, and spans no large range.
    root = np.sqrt(equilibrium.population)
    for m in range(len(rates)):
        scaled = rates[m] * (root / root[:, None])
        judged = np.maximum(np.abs(rates[m]), np.abs(rates[m].T)) > NEGLIGIBLE * largest
        scale = np.maximum(np.abs(rates[0] * (root / root[:, None])), np.abs(scaled))
        skew = np.where(judged, np.abs(scaled - scaled.T) / np.where(judged, np.maximum(scale, scale.T), 1.0), 0.0)
        if skew.max() > TOLERANCE:
            pair = _worst(skew)
            there, back = scaled[pair], scaled.T[pair]
            rates_of_pair = f"scaled by √equilibrium {there:.6g} /ps there, {back:.6g} /ps back"
            expected = f"expected at most {TOLERANCE:g}"
            raise refuse(m, pair, f"detailed balance broken by {skew.max():.2g} ({rates_of_pair}), {expected},")
        rates[m] = 0.5 * (scaled + scaled.T) * (root[:, None] / root)
        growth = float(np.linalg.eigvalsh(0.5 * (scaled + scaled.T) - np.diag(out))[-1])
        if growth > TOLERANCE * largest:
            raise InputError(f"{path}: {name}[{m}]: found a mode that grows at {growth:.3g} /ps, expected decay")
    np.maximum(rates[0], 0.0, out=rates[0])
    return rates


def _worst(values: Array) -> tuple[int, int]:
    to, source = np.unravel_index(int(values.argmax()), values.shape)
    return int(to), int(source)


def _name(equilibrium: Equilibrium, cell: int) -> str:
    return (
        f"{equilibrium.cells.valleys[equilibrium.cells.valley_of_cell[cell]].name} at {equilibrium.kinetic_energy[cell]:.4g} meV"
    )
