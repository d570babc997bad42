"""Files of rates, maps and pictures as the fuzz test damages them: each defect that it found, and the line that names it."""

import warnings

import h5py
import numpy as np
import PIL.Image
import pytest
from mpi4py import MPI

from hpcwigner.momentum import rates_file
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.problem import maps
from hpcwigner.problem.shapes import Image, Map
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid

GRID = SpaceGrid(2, 6000.0, (20, 20), "open")


@pytest.fixture(scope="module")
def equilibrium(couplings):
    return Equilibrium(EnergyCells.build(couplings.valleys, 8.0, 62.0), 77.0)


@pytest.fixture(scope="module")
def good(couplings, equilibrium, tmp_path_factory):
    path = tmp_path_factory.mktemp("rates") / "good.h5"
    rates_file.write(path, Rates.build(couplings, equilibrium, 4, 0, comm=MPI.COMM_SELF), 0, {"source": "test"})
    return path


def replaced(name, values):
    def edit(file):
        del file[name]
        if values is None:
            file.create_group(name)
        else:
            file[name] = values(file) if callable(values) else values

    return edit


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


RATES = {
    "no gamma": (lambda f: f.__delitem__("gamma"), "gamma: missing, expected a dataset of that name"),
    "a group": (replaced("velocity", None), "velocity: found no values, expected a dataset with 1 axes"),
    "empty": (replaced("gamma", h5py.Empty("f8")), "gamma: found no values, expected a dataset with 3 axes"),
    "texts": (replaced("formation", ["a"] * 3), "formation: found the type object, expected real numbers"),
    "complex": (replaced("gamma", np.zeros((5, 3, 3), complex)), "gamma: found the type complex128, expected real numbers"),
    "two axes": (replaced("gamma", np.zeros((3, 3))), r"gamma: found the shape \(3, 3\), expected 3 axes"),
    "short": (replaced("velocity", np.zeros(2)), r"velocity: found the shape \(2,\), expected \(\d+,\)"),
    "other part": (replaced("gamma_intervalley", np.zeros((5, 2, 2))), r"gamma_intervalley: found the shape \(5, 2, 2\), exp"),
    "numbers as names": (replaced("valley", [1.0, 2.0]), "valley: found the type float64, expected names"),
    "other units": (lambda f: f["formation"].write_direct(1e20 * f["formation"][()]), "found a rate of .* /ps, expected at most"),
    "no temperature": (attribute("temperature", "77 K"), "attribute temperature: found 77 K, expected a number"),
    "temperatures": (attribute("temperature", [77.0, 78.0]), "attribute temperature: found .*, expected a number"),
}


@pytest.mark.parametrize("case", RATES)
def test_damaged_rates(tmp_path, good, equilibrium, case):
    edit, words = RATES[case]
    path = tmp_path / "rates.h5"
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(InputError, match=f"^{path}: {words}"):
        rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)


def test_truncated_rates(tmp_path, good, equilibrium):
    path = tmp_path / "rates.h5"
    for part in (0.1, 0.5, 0.99):
        path.write_bytes(good.read_bytes()[: int(part * good.stat().st_size)])
        with pytest.raises(InputError, match=f"^rates: '{path}' cannot be read as a file of rates") as error:
            rates_file.read(path, equilibrium, 4, MPI.COMM_SELF)
        assert "\n" not in str(error.value)


def set_on(dataset, name, value):
    return lambda file: file[dataset].attrs.__setitem__(name, value)


MAPS = {
    "lost coordinate": (lambda f: f.__delitem__("x"), "with coordinates that are no longer in the file, expected x, or x and y"),
    "units in lines": (set_on("x", "units", "a\nb"), r"with the coordinate x with units 'a\\nb', expected an attribute units"),
    "units no text": (set_on("x", "units", b"\xff\xfe"), "with the coordinate x with units '.*', expected an attribute units"),
    "no units left": (set_on("x", "units", np.array([], "S1")), "with the coordinate x with units '', expected an attribute"),
    "units of nothing": (set_on("energy", "units", "0 meV"), "with units '0 meV', expected an attribute units that converts"),
    "filled with text": (set_on("energy", "_FillValue", "x"), "with a _FillValue of the type .*, expected one number"),
    "filled twice": (set_on("energy", "_FillValue", [1.0, 2.0]), r"with a _FillValue of the type float64 and shape \(2,\)"),
    "empty": (replaced("energy", h5py.Empty("f8")), "without values, expected a map over x, or over x and y"),
}


@pytest.mark.parametrize("case", MAPS)
def test_damaged_maps(tmp_path, case):
    edit, words = MAPS[case]
    path = tmp_path / "map.h5"
    with h5py.File(path, "w") as file:
        for name in "xy":
            file[name] = np.linspace(-4, 4, 9)
            file[name].attrs["units"] = "um"
            file[name].make_scale(name)
        file["energy"] = np.ones((9, 9))
        file["energy"].attrs["units"] = "meV"
        for number, name in enumerate("xy"):
            file["energy"].dims[number].attach_scale(file[name])
    maps.read("key", Map(str(path), "energy"), "meV", GRID)
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(InputError, match=f"^key: found 'energy' of {path} {words}") as error:
        maps.read("key", Map(str(path), "energy"), "meV", GRID)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_damaged_pictures_warn_of_nothing(tmp_path):
    """Pillow warns of tags that it cannot read; the picture is read, or refused with one line."""
    path, messages = tmp_path / "spot.tiff", []
    PIL.Image.fromarray(np.full((40, 40), 7, np.uint8)).save(path)
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for place in range(0, min(300, len(data))):
            path.write_bytes(data[:place] + b"\xee" + data[place + 1 :])
            try:
                maps.read_image("pump.profile", Image(str(path), pixel=200.0), GRID)
            except InputError as error:
                messages.append(str(error))
    assert 0 < len(messages) < min(300, len(data))
    assert not any("\n" in message for message in messages)
