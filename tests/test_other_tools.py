"""Other people's programs open the files: xarray all of them, ParaView (XDMF) the fields of a plane."""

from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import xarray
from helpers import hpcwigner, small_input

from hpcwigner.storage.reading import read

UNITS = {"time": "ps", "x": "um", "y": "um", "k": "nm-1"}
PER_VALLEY = ("time", "valley")
CONTENTS = {
    "series.h5": {"diffusion": (PER_VALLEY, "cm2 s-1"), "width_squared": (PER_VALLEY, "um2"), "pl_total": (("time",), "ps-1")},
    "fields.h5": {"density": ((*PER_VALLEY, "x", "y"), "um-2"), "pl": (("time", "x", "y"), "um-2 ps-1")},
    "wigner.h5": {"wigner": ((*PER_VALLEY, "x", "k"), "1")},
    "moments.h5": {"diffusion": (PER_VALLEY, "cm2 s-1"), "population": (PER_VALLEY, "1")},
    "rates.h5": {
        "gamma": (("m", "cell_to", "cell_from"), "ps-1"), "energy": (("cell",), "meV"), "velocity": (("cell",), "nm ps-1"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def files(plane, tmp_path_factory):
    """Folder with every kind of file."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("series.h5", "fields.h5", "wigner.h5"):
        (folder / name).symlink_to(plane / name)
    for verb, target in (("moments", folder), ("rates", folder / "rates.h5")):
        ran = hpcwigner(verb, plane / "input.yaml", "--output", target)
        assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENTS)
def test_xarray_knows_dimensions_coordinates_and_units(files, name):
    with xarray.open_dataset(files / name, engine="h5netcdf") as dataset:
        assert list(dataset.valley.values) == ["KK", "KK'", "KΛ"]
        for variable, (dimensions, unit) in CONTENTS[name].items():
            assert (dataset[variable].dims, dataset[variable].attrs["units"]) == (dimensions, unit)
        for variable in dataset.variables.values():
            assert variable.attrs["long_name"]
        for dimension in dataset.dims:
            coordinate = dataset[dimension]
            assert coordinate.dims == (dimension,)
            if dimension in UNITS:
                assert coordinate.attrs["units"] == UNITS[dimension]
            elif dimension != "valley":
                assert list(coordinate.values) == list(range(len(coordinate)))
        for variable in set(dataset.data_vars) | (set(dataset.coords) - {"valley"}):
            assert "units" in dataset[variable].attrs, variable


def test_xarray_has_the_right_places(files):
    with xarray.open_dataset(files / "fields.h5", engine="h5netcdf") as dataset:
        assert dataset.time.values == pytest.approx([0, 1, 2, 3])
        assert dataset.x.values == pytest.approx((np.arange(20) - 9.5) * 0.15)
        assert dataset.y.values == pytest.approx((np.arange(16) - 7.5) * 0.1875)
        # the cloud is round, where cells are not squares
        last = dataset.density.isel(time=-1, valley=1)
        moments = [float((last * last[axis] ** 2).sum() / last.sum()) for axis in ("x", "y")]
        assert moments[0] == pytest.approx(moments[1], rel=0.05)


def hyperslab(item, folder):
    """The array that a DataItem of an XDMF file stands for, by h5py."""
    if item.get("ItemType") != "HyperSlab":
        name, key = item.text.split(":")
        with h5py.File(folder / name, "r") as file:
            values = file[key][()]
        assert values.shape == tuple(map(int, item.get("Dimensions").split()))
        assert (values.dtype.kind, values.dtype.itemsize) == ("f", int(item.get("Precision")))
        return values
    selection, source = item
    start, stride, count = np.array(selection.text.split(), dtype=int).reshape(3, -1)
    assert (stride == 1).all()
    values = hyperslab(source, folder)[tuple(slice(a, a + n) for a, n in zip(start, count, strict=True))]
    return values.reshape(tuple(map(int, item.get("Dimensions").split())))


def test_xdmf_refers_to_every_field_at_every_time(plane):
    fields = read(plane / "fields.h5")
    grids = ElementTree.parse(plane / "fields.xdmf").findall("Domain/Grid/Grid")
    assert [float(grid.find("Time").get("Value")) for grid in grids] == list(fields.data["time"])
    for row, grid in enumerate(grids):
        assert grid.find("Topology").get("Dimensions") == "21 17"  # corners: the last direction, y, is the fastest
        corners = hyperslab(grid.find("Geometry/DataItem"), plane)
        centers = 0.25 * (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1])
        assert centers[..., 0] == pytest.approx(np.broadcast_to(fields.data["x"][:, None], (20, 16)))
        assert centers[..., 1] == pytest.approx(np.broadcast_to(fields.data["y"], (20, 16)))
        attributes = {a.get("Name"): hyperslab(a.find("DataItem"), plane) for a in grid.findall("Attribute")}
        assert {a.get("Center") for a in grid.findall("Attribute")} == {"Cell"}
        expected = {"pl (um-2 ps-1)": fields.data["pl"][row]}
        for v, valley in enumerate(fields.valleys):
            expected[f"density {valley} (um-2)"] = fields.data["density"][row, v]
            expected[f"shape_variation {valley} (um-2 ps-1)"] = fields.data["shape_variation"][row, v]
        assert attributes.keys() == expected.keys()
        assert all(np.array_equal(attributes[key], expected[key]) for key in expected)


def test_a_slab_has_no_xdmf(slab):
    assert not list(slab.glob("*.xdmf"))
    assert not list(slab.glob("*mesh*"))


def test_a_restart_rewrites_the_xdmf(tmp_path):
    path = small_input(tmp_path, space="{dimensions: 2, length: 3 um, cells: [8, 6]}")
    settings = ("--set", "output.wigner_at=[]")
    for words in (("--set", "time.end=2 ps"), ("--set", "time.end=3 ps", "--restart")):
        ran = hpcwigner(path, *settings, *words)
        assert ran.returncode == 0, ran.stderr
    grids = ElementTree.parse(tmp_path / "run" / "fields.xdmf").findall("Domain/Grid/Grid")
    assert [grid.get("Name") for grid in grids] == ["0 ps", "1 ps", "2 ps", "3 ps"]
    assert hyperslab(grids[3].find("Attribute/DataItem"), tmp_path / "run").max() > 0
