"""Scattering rates as a file: written by the verb `rates`, read by `rates: FILE` of an input. Format in README.md here."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates, generator
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import NodeShared
from hpcwigner.storage.files import add_variable

TOLERANCE = 1e-6  # Accepted relative error of detailed balance and particle number; errors below it are corrected exactly
LARGEST = 1e6  # Rate [1/ps] that no scattering has: ħ times it is 658 eV
SPEED_OF_LIGHT = 299792.458  # [nm/ps]
NEGLIGIBLE = 1e-12  # Detailed balance is not checked for rates below this fraction of the largest one
REMEDY = "take the material, energy_step and energy_max it was made with"
_AXES = {
    "cell": "energy cell, valley by valley",
    "m": "angular harmonic",
    "cell_to": "energy cell scattered into",
    "cell_from": "energy cell scattered from",
}


def write(path: Path, rates: Rates, bright_valley: int, attributes: Mapping[str, str | int]) -> None:
    """Writes `rates` to a new file, on one rank. Raises InputError when that fails."""
    equilibrium, cells = rates.equilibrium, rates.cells
    per_cell = {
        "energy": (equilibrium.total_energy, "meV", "mean energy"),
        "width": (cells.per_cell(map(cells.width, range(len(cells.valleys)))), "meV", "width in energy"),
        "velocity": (equilibrium.velocity, "nm ps-1", "rms speed"),
        "equilibrium": (equilibrium.population, "1", "Boltzmann population, summing to 1"),
        "valley_of_cell": (cells.valley_of_cell, "1", "index into valley"),
        "formation": (rates.formation.sum(axis=0), "ps-1", "rate from coherent excitons (Q = 0) into the cell"),
        "formation_intervalley": (rates.formation[1], "ps-1", "part of formation that changes the valley"),
    }
    try:
        with h5py.File(path, "w-") as file:
            file.attrs.update({**attributes, "temperature": equilibrium.temperature, "bright_valley": bright_valley})
            add_variable(file, "valley", [v.name for v in cells.valleys], ("valley",), "", "exciton valley")
            for (name, text), size in zip(_AXES.items(), (cells.size, *rates.intravalley.shape), strict=True):
                add_variable(file, name, np.arange(size), (name,), "1", text)
            for name, (values, unit, text) in per_cell.items():
                add_variable(file, name, values, ("cell",), unit, text)
            total, intervalley = generator(rates.intravalley + rates.intervalley), generator(rates.intervalley)
            matrix = ("m", "cell_to", "cell_from")
            add_variable(file, "gamma", total, matrix, "ps-1", "scattering generator per angular harmonic")
            add_variable(file, "gamma_intervalley", intervalley, matrix, "ps-1", "part of gamma that changes the valley")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}), expected the name of a new file") from None


def read(path: Path, equilibrium: Equilibrium, orders: int, comm: MPI.Intracomm) -> Rates:
    """Rates of a file for harmonics 0…`orders`, with the file's populations, speeds and energies. Collective.

    One rank of each node reads. Raises InputError, naming the worst entry, when the file belongs to other cells or another
    temperature, or breaks positivity, particle number or detailed balance by more than TOLERANCE.
    """
    size = equilibrium.cells.size
    shared = NodeShared(comm, (2, orders + 1, size, size))
    problem, vectors = None, None

    def fill(_part: int) -> None:
        nonlocal problem, vectors
        try:
            shared.array[...], *vectors = _load(path, equilibrium, orders)
        except InputError as error:
            problem = error

    shared.fill(1, fill)
    problem = next((p for p in comm.allgather(problem) if p is not None), None)
    if problem is not None:
        shared.free()
        raise problem
    formation, per_cell = shared.comm.bcast(vectors)
    return Rates(equilibrium.with_values(**per_cell), shared, formation, comm)


def _load(path: Path, equilibrium: Equilibrium, orders: int) -> tuple[Array, Array, dict[str, Array]]:
    """In-scattering rates (2, m, cell, cell), formation (2, cell), and the arguments of `Equilibrium.with_values`."""
    valley = equilibrium.cells.valley_of_cell
    try:
        with h5py.File(path, "r") as file:
            _check_layout(path, file, equilibrium, orders)
            per_cell = _per_cell(path, file, equilibrium)
            gamma, formation = file["gamma"][: orders + 1].astype(float), file["formation"][()].astype(float)
            if "gamma_intervalley" in file:
                intervalley = file["gamma_intervalley"][: orders + 1].astype(float)
                formation_out = file["formation_intervalley"][()].astype(float)
            else:
                intervalley = generator(np.where(np.not_equal.outer(valley, valley), gamma, 0.0))
                formation_out = np.where(valley != int(_attribute(path, file, "bright_valley", 0)), formation, 0.0)
    except FileNotFoundError:
        raise InputError(f"rates: found '{path}', expected a file that exists") from None
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"rates: '{path}' cannot be read as a file of rates ({' '.join(str(error).split())})") from None
    if not all(np.isfinite(a).all() for a in (gamma, intervalley, formation, formation_out)):
        raise InputError(f"{path}: found numbers that are not finite, expected finite rates")
    if (largest := max(float(np.abs(a).max()) for a in (gamma, intervalley, formation, formation_out))) > LARGEST:
        raise InputError(f"{path}: found a rate of {largest:.3g} /ps, expected at most {LARGEST:g} /ps: are they in 1/ps?")
    _require(path, "formation", formation, formation >= 0, "a rate ≥ 0", equilibrium)
    given = equilibrium.with_values(**per_cell)
    total, between = (_in_scattering(path, *part, given) for part in (("gamma", gamma), ("gamma_intervalley", intervalley)))
    within = total - between
    within[np.abs(within) < NEGLIGIBLE * np.abs(total)] = 0.0
    off_diagonal = np.where(np.eye(len(valley), dtype=bool), 0.0, within[0])
    if off_diagonal.min() < -TOLERANCE * total[0].max():
        where = _from_to(given, _worst(-off_diagonal))
        raise InputError(f"{path}: gamma_intervalley[0]: found more than gamma {where}, expected a part of it")
    within[0] -= np.minimum(off_diagonal, 0.0)
    return np.stack((within, between)), np.stack((formation - formation_out, formation_out)), per_cell


def _check_layout(path: Path, file: h5py.File, equilibrium: Equilibrium, orders: int) -> None:
    """Raises InputError unless the file has the input's temperature, valleys, cells, and enough harmonics, all as numbers."""
    cells, temperature = equilibrium.cells, equilibrium.temperature
    if (given := _attribute(path, file, "temperature", temperature)) != temperature:
        raise InputError(f"temperature: found {temperature:g} K, expected {given:g} K, that of the rates in {path}")
    _shape(path, file, "valley", "SO")
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in file["valley"][()]]
    expected = [v.name for v in cells.valleys]
    if names != expected:
        raise InputError(f"{path}: valley: found {', '.join(names)}, expected {', '.join(expected)}, as in the material")
    size, (harmonics, *shape) = _shape(path, file, "energy")[0], _shape(path, file, "gamma", axes=3)
    if size != cells.size or shape != [size, size]:
        raise InputError(f"momentum: found a grid of {cells.size} energy cells, expected the {size} cells of {path}: {REMEDY}")
    if harmonics <= orders:
        raise InputError(f"momentum.angles: found {2 * orders}, expected at most {2 * (harmonics - 1)}, as {path} has "
                         f"{harmonics} harmonics")  # fmt: skip
    needed: dict[str, tuple[int, ...]] = dict.fromkeys(("velocity", "equilibrium", "formation"), (size,))
    needed |= {"width": (size,)} if "width" in file else {}
    needed |= (
        {"gamma_intervalley": (harmonics, size, size), "formation_intervalley": (size,)} if "gamma_intervalley" in file else {}
    )
    for name, wanted in needed.items():
        if (given_shape := _shape(path, file, name, axes=len(wanted))) != wanted:
            raise InputError(f"{path}: {name}: found the shape {given_shape}, expected {wanted}")


def _shape(path: Path, file: h5py.File, name: str, kinds: str = "fiu", axes: int = 1) -> tuple[int, ...]:
    """Shape of a dataset with `axes` axes and numbers, or another of numpy's `kinds`, in it. Raises InputError."""
    data = file.get(name)
    if data is None:
        raise InputError(f"{path}: {name}: missing, expected a dataset of that name")
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        raise InputError(f"{path}: {name}: found no values, expected a dataset with {axes} axes")
    if data.dtype.kind not in kinds:
        raise InputError(f"{path}: {name}: found the type {data.dtype}, expected {'real numbers' if kinds == 'fiu' else 'names'}")
    if len(data.shape) != axes:
        raise InputError(f"{path}: {name}: found the shape {data.shape}, expected {axes} axes")
    return tuple(int(n) for n in data.shape)


def _attribute(path: Path, file: h5py.File, name: str, default: float) -> float:
    """A number among the file's attributes. Raises InputError."""
    given = file.attrs.get(name, default)
    if np.shape(given) != () or isinstance(given, str | bytes | h5py.Empty):
        raise InputError(f"{path}: attribute {name}: found {given!s:.40}, expected a number")
    return float(given)


def _per_cell(path: Path, file: h5py.File, equilibrium: Equilibrium) -> dict[str, Array]:
    """Populations, speeds and kinetic energies of the file. Raises InputError where they do not fit the cells."""
    cells, valleys = equilibrium.cells, range(len(equilibrium.cells.valleys))
    lower = cells.bottoms + np.concatenate([cells.edges(v)[:-1] for v in valleys])
    width = cells.per_cell(map(cells.width, valleys))
    energy, velocity, population = (file[name][()].astype(float) for name in ("energy", "velocity", "equilibrium"))
    _require(path, "energy", energy, (energy >= lower) & (energy <= lower + width), f"one inside the cell: {REMEDY}", equilibrium)
    if "width" in file:
        same = np.abs(file["width"][()] / width - 1) < TOLERANCE
        _require(path, "width", file["width"][()], same, f"that of the input's cells: {REMEDY}", equilibrium)
    slow = (velocity >= 0) & (velocity < SPEED_OF_LIGHT)
    _require(path, "velocity", velocity, slow, "a speed ≥ 0 and below that of light", equilibrium)
    if not velocity.any():
        raise InputError(f"{path}: velocity: found 0 in all cells, expected a speed above 0 in some")
    _require(path, "equilibrium", population, population > 0, "a population > 0", equilibrium)
    if not abs(population.sum() - 1) < TOLERANCE:
        raise InputError(f"{path}: equilibrium: found a sum of {population.sum():.9g}, expected 1")
    return {"population": population, "velocity": velocity, "kinetic_energy": energy - cells.bottoms}


def _require(path: Path, name: str, values: Array, valid: NDArray[np.bool_], expected: str, equilibrium: Equilibrium) -> None:
    if not valid.all():
        cell = int(valid.argmin())
        raise InputError(f"{path}: {name}: found {values[cell]:.9g} in {_name(equilibrium, cell)}, expected {expected}")


def _in_scattering(path: Path, name: str, gamma: Array, equilibrium: Equilibrium) -> Array:
    """In-scattering rates of a generator, rounding errors corrected. Raises InputError when they break an exact property."""
    diagonal = np.arange(gamma.shape[1])
    out = -gamma[0, diagonal, diagonal]
    rates = gamma.copy()
    rates[:, diagonal, diagonal] += out
    largest = max(float(rates[0].max()), 1e-300)

    def refuse(m: int, pair: tuple[int, int], what: str, expected: str) -> InputError:
        where = f"{_from_to(equilibrium, pair)} (cell_to {pair[0]}, cell_from {pair[1]})"
        return InputError(f"{path}: {name}[{m}]: found {what} {where}, expected {expected}")

    if rates[0].min() < -TOLERANCE * largest:
        pair = _worst(-rates[0])
        raise refuse(0, pair, f"a rate of {rates[0][pair]:.3g} /ps", "rates ≥ 0")
    lost = np.abs(rates[0].sum(axis=0) - out)
    if (lost > TOLERANCE * np.maximum(out, NEGLIGIBLE * largest)).any():
        worst = int(lost.argmax())
        raise InputError(f"{path}: {name}[0]: found a column that sums to {gamma[0, :, worst].sum():.3g} /ps from "
                         f"{_name(equilibrium, worst)}, expected 0: scattering conserves excitons")  # fmt: skip
    # Detailed balance makes γ_ji √(p_i/p_j) symmetric; in this scaling entries of both directions have similar size.
    root = np.sqrt(equilibrium.population)
    for m in range(len(rates)):
        scaled = rates[m] * (root / root[:, None])
        relevant = np.maximum(np.abs(rates[m]), np.abs(rates[m].T)) > NEGLIGIBLE * largest
        scale = np.maximum(np.abs(rates[0] * (root / root[:, None])), np.abs(scaled))
        skew = np.where(relevant, np.abs(scaled - scaled.T) / np.where(relevant, np.maximum(scale, scale.T), 1.0), 0.0)
        if skew.max() > TOLERANCE:
            pair = _worst(skew)
            rates_of_pair = f"scaled by √equilibrium {scaled[pair]:.6g} /ps there, {scaled.T[pair]:.6g} /ps back"
            raise refuse(m, pair, f"detailed balance broken by {skew.max():.2g} ({rates_of_pair})", f"at most {TOLERANCE:g}")
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
    cells = equilibrium.cells
    return f"{cells.valleys[cells.valley_of_cell[cell]].name} at {equilibrium.kinetic_energy[cell]:.4g} meV"


def _from_to(equilibrium: Equilibrium, pair: tuple[int, int]) -> str:
    return f"from {_name(equilibrium, pair[1])} to {_name(equilibrium, pair[0])}"
