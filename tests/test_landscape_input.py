"""The `sample` of an input: fields of the position, strain, maps from files, and what is refused."""

import dataclasses
import math

import h5py
import numpy as np
import pytest
import xarray
import yaml

from hpcwigner.exciton import materials
from hpcwigner.problem import loading
from hpcwigner.problem.sample import energies
from hpcwigner.problem.shapes import Random
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.space.grid import SpaceGrid

LENGTH = 12000.0
FALL = 4 * math.log(2)


def sample_of(folder, **sample):
    """The block `sample` of an input in a folder, which must survive being written and read."""
    data = {"material": "ws2_hbn", "temperature": "77 K", "sample": sample}
    config = loading.from_data(data, [], "in.yaml", folder)
    assert loading.from_data(yaml.safe_load(loading.to_yaml(config)), [], "again", folder / "elsewhere") == config
    return config.sample


def grid_of(boundary="open", dimensions=2, cells=48):
    return SpaceGrid(dimensions, LENGTH, (cells, cells - 8 if dimensions == 2 else 1), boundary)


@pytest.fixture
def landscape(tmp_path, ws2):
    """dE_v [meV] of a block `sample`, shape (valley, x, y)."""

    @dataclasses.dataclass
    class Named:
        name: str

    def make(grid=None, material=ws2, **sample):
        return energies(sample_of(tmp_path, **sample), material, [Named(name) for name in ws2.valleys], grid or grid_of())

    return make


def centers(grid):
    return grid.centers(0)[:, None] / 1000, grid.centers(1)[None, :] / 1000


FORMS = {
    "{gaussian: {peak: -20 meV, fwhm: 2 um, center: [1 um, -500 nm]}}": lambda x, y: (
        -20 * np.exp(-FALL * ((x - 1) ** 2 + (y + 0.5) ** 2) / 4)
    ),
    "{linear: {gradient: [10 meV/um, -2 meV/um]}}": lambda x, y: 10 * x - 2 * y,
    "{quadratic: {curvature: [3 meV/um^2, 1e-3 eV/um^2], center: [1 um, 2 um]}}": lambda x, y: (
        1.5 * (x - 1) ** 2 + 0.5 * (y - 2) ** 2
    ),
    "{cosine: {amplitude: 4 meV, period: 3 um, angle: 30 degree, phase: 90 degree}}": lambda x, y: (
        4 * np.sin(2 * np.pi / 3 * (x * np.cos(np.pi / 6) + y / 2))
    ),
    "{step: {height: 8 meV, at: 1 um, width: 0.5 um, angle: 90 degree}}": lambda x, y: 4 * (1 + np.tanh((y - 1) / 0.5)) + 0 * x,
    "{ring: {peak: 6 meV, radius: 3 um, fwhm: 1 um}}": lambda x, y: 6 * np.exp(-FALL * (np.hypot(x, y) - 3) ** 2),
    "0.005 eV": lambda x, y: 5 + 0 * x * y,
    "[1 meV, {linear: {gradient: [1 meV/um, 0 meV/um]}}, {cosine: {amplitude: 2 meV, period: 6 um}}]": lambda x, y: (
        1 + x + 2 * np.cos(np.pi / 3 * x) + 0 * y
    ),
    "[]": lambda x, y: 0 * x * y,
}


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_fields_are_their_formulas(landscape, form, dimensions):
    grid = grid_of(dimensions=dimensions)
    values = landscape(grid, energy={"all": yaml.safe_load(form)})
    assert values.shape == (3, *grid.shape)
    assert values.flags.c_contiguous
    assert values.dtype == np.float64
    for valley in values:
        expected = FORMS[form](*centers(grid))
        assert (np.abs(valley - expected) <= np.maximum(1e-12 * np.abs(expected), 1e-12)).all()


def test_fields_add_up_by_valley(landscape):
    tilt = {"linear": {"gradient": ["1 meV/um", "0 meV/um"]}}
    values = landscape(energy={"all": "2 meV", "KΛ": tilt, "KK": "-1 meV"})
    x, _ = centers(grid_of())
    expected = np.array([0 * x + 1, 0 * x + 2, 2 + x])
    assert values == pytest.approx(np.broadcast_to(expected, values.shape), abs=1e-12)


def test_without_a_sample_nothing_changes(ws2):
    assert not energies(None, ws2, [], grid_of()).size
    config = loading.from_data({"material": "ws2_hbn", "temperature": "20 K"}, [], "in.yaml", materials.SHIPPED)
    assert config.sample is None
    assert "sample" not in loading.to_yaml(config)


def test_a_folded_grid_holds_its_part(landscape):
    whole = grid_of("reflecting", cells=48)
    trap = {"quadratic": {"curvature": ["3 meV/um^2", "1 meV/um^2"]}}
    part, full = (landscape(grid, energy={"all": trap}) for grid in (whole.folded_along(), whole))
    assert part == pytest.approx(full[:, 24:, 20:], rel=1e-13)


# ---- strain


def test_strain_shifts_by_gauge_factors(landscape, ws2):
    spot = {"gaussian": {"peak": "0.5 %", "fwhm": "2 um"}}
    x, y = centers(grid_of())
    expected = 0.5 * np.exp(-FALL * (x**2 + y**2) / 4)
    factors = [valley.gauge_factor.value for valley in ws2.valleys.values()]
    assert factors[0] > 0 > factors[2]
    values = landscape(strain=spot)
    for valley, factor in zip(values, factors, strict=True):
        assert valley == pytest.approx(-factor * expected, rel=1e-12)
    half = landscape(strain={"xx": spot, "yy": "0 percent"})
    assert half == pytest.approx(0.5 * values, rel=1e-12)
    both = landscape(strain={"xx": spot, "yy": [spot, "0.1 percent"]}, energy={"KK": "3 meV"})
    added = -np.array(factors) * 0.05 + np.array([3, 0, 0])
    assert both == pytest.approx(values + added[:, None, None], rel=1e-12)


def test_strain_needs_gauge_factors(landscape, ws2):
    valleys = ws2.valleys | {"KK'": dataclasses.replace(ws2.valleys["KK'"], gauge_factor=None)}
    without = dataclasses.replace(ws2, valleys=valleys)
    with pytest.raises(InputError, match=r"^sample.strain: found no valleys.KK'.gauge_factor in the material, expected"):
        landscape(material=without, strain="0.1 %")
    assert landscape(material=without, energy={"all": "1 meV"}).min() == 1


@pytest.mark.parametrize("name", materials.shipped())
def test_shipped_gauge_factors(name):
    """Red-shift under tension at K, blue-shift of KΛ; in meV per percent, with ranges around them."""
    for key, valley in materials.load(name).valleys.items():
        number = valley.gauge_factor
        low, high = (-60, -5) if key == "KΛ" else (30, 160)
        assert low < number.range[0] <= number.value <= number.range[1] < high
    assert schema.dump(valley)["gauge_factor"]["value"].endswith(" meV/percent")


def test_valleys_are_those_of_the_material(landscape):
    with pytest.raises(InputError, match=r"^sample.energy.KL: found 'KL', expected a valley of the material; did you mean"):
        landscape(energy={"KL": "1 meV"})


# ---- random


def random(rms="1 meV", length="0.6 um", seed=1):
    return {"random": {"rms": rms, "correlation_length": length, "seed": seed}}


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_random_fields_have_their_rms_and_correlation(dimensions, boundary):
    """Means over seeds. In a periodic sample the mean of the field is 0, which lowers the correlation by its mean."""
    grid, seeds = SpaceGrid(dimensions, LENGTH, (60, 60 if dimensions == 2 else 1), boundary), 4000 // dimensions**4
    x, y = grid.centers(0)[:, None], grid.centers(1)
    fields = np.array([Random(rms=2.0, correlation_length=600.0, seed=s).on(grid)(x, y) for s in range(seeds)])
    lags = np.array([0, 1, 2, 3, 5, 8, 15])
    measured = np.array([np.mean(fields[:, : 60 - lag or None] * fields[:, lag:]) for lag in lags])
    modes = np.arange(-60, 61) * 2 * np.pi / (12 if boundary == "periodic" else 12 + 8 * 0.6)
    spectrum = np.exp(-0.5 * (0.6 * modes) ** 2)
    along = np.cos(np.outer(0.2 * lags, modes)) @ spectrum / spectrum.sum()
    uniform = (1 / spectrum.sum()) ** dimensions
    assert measured == pytest.approx(4 * (along - uniform) / (1 - uniform), abs=0.1)
    assert along == pytest.approx(np.exp(-((0.2 * lags) ** 2) / (2 * 0.36)), abs=1e-7)
    if boundary == "periodic":
        assert fields.mean(axis=(1, 2)) == pytest.approx(np.zeros(seeds), abs=1e-12)


def test_a_random_field_does_not_depend_on_the_cells(landscape):
    coarse, fine = (SpaceGrid(2, LENGTH, (n, n), "open") for n in (40, 120))
    a, b = (landscape(grid, energy={"all": random()})[0] for grid in (coarse, fine))
    assert a == pytest.approx(b[1::3, 1::3], abs=1e-12)
    other = landscape(coarse, energy={"all": random(seed=2)})[0]
    assert np.abs(a - other).max() > 1
    assert landscape(coarse, energy={"all": [random(), random()]})[0] == pytest.approx(2 * a, abs=1e-12)


def test_random_fields_that_do_not_fit_are_refused(landscape):
    for length in ("0.1 um", "4 um"):
        with pytest.raises(InputError, match=r"^sample.energy.KK.1.random.correlation_length: found .* expected 0.3 to 3 um"):
            landscape(energy={"KK": ["1 meV", random(length=length)]})


# ---- the edges of a periodic sample

SMOOTH = [
    "{gaussian: {peak: 50 meV, fwhm: 3.6 um}}",
    "{gaussian: {peak: 50 meV, fwhm: 1 um, center: [3 um, -3 um]}}",
    "{cosine: {amplitude: 1 meV, period: 4 um, phase: 70 degree}}",
    "{cosine: {amplitude: 1 meV, period: 3 um, angle: 90 degree, phase: 70 degree}}",
    "{ring: {peak: 1 meV, radius: 2 um, fwhm: 1 um}}",
    "{random: {rms: 1 meV, correlation_length: 2 um, seed: 4}}",
    "1e3 meV",
    "[1e3 meV, {cosine: {amplitude: 1 ueV, period: 12 um}}]",
]
BROKEN = {
    "{linear: {gradient: [1e-3 meV/um, 0 meV/um]}}": "a jump of 0.012 meV across the periodic edges along x",
    "{linear: {gradient: [0 meV/um, 1 meV/um]}}": "a jump of 12 meV across the periodic edges along y",
    "{step: {height: 3 meV, width: 1 um}}": "a jump of 3 meV",
    "{quadratic: {curvature: [2 meV/um^2, 0 meV/um^2]}}": "a slope that jumps by 24 meV/um",
    "{gaussian: {peak: 50 meV, fwhm: 5 um}}": "a slope that jumps by",
    "{gaussian: {peak: 50 meV, fwhm: 2 um, center: [0 um, 5 um]}}": "a jump of .* along y",
    "{cosine: {amplitude: 1 meV, period: 1.7 um}}": "a slope that jumps by",
    "{cosine: {amplitude: 1 meV, period: 5 um, phase: 90 degree}}": "a jump of",
    "{cosine: {amplitude: 1 meV, period: 4 um, angle: 45 degree}}": "a",
}


@pytest.mark.parametrize("form", SMOOTH)
def test_smooth_fields_fit_a_periodic_sample(landscape, form):
    whole = grid_of("periodic")
    for grid in (whole, whole.folded_along()):
        landscape(grid, energy={"KK": yaml.safe_load(form)})


@pytest.mark.slow
@pytest.mark.parametrize("form", BROKEN)
def test_fields_that_break_off_do_not(landscape, form):
    whole, field = grid_of("periodic"), yaml.safe_load(form)
    for grid in (whole, whole.folded_along()):
        with pytest.raises(
            InputError, match=f"^sample.energy.KK: found {BROKEN[form]}.*set space.boundary to open or reflecting"
        ):
            landscape(grid, energy={"KK": field})
    for boundary in ("open", "reflecting"):
        landscape(grid_of(boundary), energy={"KK": field})


def test_a_slab_has_no_edges_along_y(landscape):
    along_y = {"linear": {"gradient": ["0 meV/um", "1 meV/um"]}}
    assert not landscape(grid_of("periodic", 1), energy={"all": along_y}).any()
    with pytest.raises(InputError, match=r"^sample.strain: found a jump of 6 percent"):
        landscape(grid_of("periodic", 1), strain={"xx": {"linear": {"gradient": ["1 %/um", "0 %/um"]}}, "yy": "0 %"})


# ---- maps


def surface(x, y):
    return 5 * np.cos(2 * np.pi * x / 12) + 3 * np.sin(2 * np.pi * (x + y) / 6)


def write_map(path, dims=("x", "y"), scale=1000.0, units="nm", points=161, half=6.0, **changes):
    """A netCDF-4 map by xarray in meV; lengths are multiples of 1 um/`scale`."""
    axis = np.linspace(-half, half, points)
    values = surface(axis[:, None], axis[None, :])
    values = {("x", "y"): values, ("y", "x"): values.T, ("x",): surface(axis, 0.0)}[dims]
    coords = {name: (name, axis * scale, {"units": units}) for name in dims}
    data = xarray.DataArray(values, coords, dims, attrs={"units": "meV"})
    data = changes.get("edit", lambda d: d)(data)
    data.to_dataset(name="shift").to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("dims", [("x", "y"), ("y", "x")])
def test_maps_are_interpolated(landscape, tmp_path, dims, boundary):
    write_map(tmp_path / "map.nc", dims)
    given = {"file": "map.nc", "dataset": "shift"}
    grid = grid_of(boundary)
    assert landscape(grid, energy={"KK": given})[0] == pytest.approx(surface(*centers(grid)), abs=2e-6)
    slab = grid_of(boundary, 1)
    assert landscape(slab, energy={"KK": given})[0] == pytest.approx(surface(*centers(slab)), abs=2e-6)


def test_a_map_over_x_is_uniform_along_y(landscape, tmp_path):
    write_map(tmp_path / "map.nc", ("x",), 1.0, "um")
    values = landscape(energy={"KK": {"file": "map.nc", "dataset": "shift"}})[0]
    x, y = centers(grid_of())
    assert values == pytest.approx(surface(x, 0 * y), abs=2e-6)


def test_plain_hdf5_maps_have_the_axes_x_and_y(landscape, tmp_path, ws2):
    """Without dimension scales, in a group, with units as bytes; strain in percent, a part of it."""
    axes = np.linspace(-6.5, 6.5, 300), np.linspace(-8, 7, 310)
    with h5py.File(tmp_path / "map.h5", "w") as file:
        for name, axis in zip("xy", axes, strict=True):
            file[f"sample/{name}"] = axis * 1e-6
            file[f"sample/{name}"].attrs["units"] = np.bytes_("m")
        file["sample/strain"] = surface(axes[0][:, None], axes[1]) / 100
        file["sample/strain"].attrs["units"] = "%"
    values = landscape(strain=[{"file": "map.h5", "dataset": "sample/strain"}, "0.1 %"])[0]
    expected = -ws2.valleys["KK"].gauge_factor.value * (surface(*centers(grid_of())) / 100 + 0.1)
    assert values == pytest.approx(expected, abs=1e-4)


def test_paths_of_maps_start_at_the_inputs_folder(tmp_path):
    write_map(tmp_path / "map.nc")
    given = {"file": "map.nc", "dataset": "shift"}
    sample = sample_of(tmp_path, energy={"KK": [given, "1 meV"]}, strain={"xx": given, "yy": "0 %"})
    assert sample.energy["KK"][0].file == sample.strain.xx.file == str(tmp_path / "map.nc")
    data = {"material": "ws2_hbn", "temperature": "77 K", "sample": {"energy": {"KK": given}}}
    swept = loading.from_data(data | {"sweep": {"vary": {"sample.energy.KK.file": ["a.h5", "b.h5"]}}}, [], "in.yaml", tmp_path)
    files = [point.config.sample.energy["KK"].file for point in loading.points(swept)]
    assert files == [str(tmp_path / name) for name in ("a.h5", "b.h5")]


def no_units(data):
    del data.attrs["units"]
    return data


def holes(data):
    return data.where((abs(data.x - 1500) > 1) | (abs(data.y + 3000) > 1))


BAD_MAPS = {
    "cut": ({"half": 5.5}, "with x from -5.5 to 5.5 um, expected it to cover x from -6 to 6 um: 0.5 um at the lower end and 0.5"),
    "one side": (
        {"edit": lambda d: d[:, :150]},
        "with y from -6 to 5.175 um, .* y from -6 to 6 um: 0.825 um at the upper end are",
    ),
    "holes": ({"edit": holes}, "with 1 values that are not finite, the first at x = 1.5 um, y = -3 um, expected finite ones"),
    "no units": ({"edit": no_units}, "with units '', expected an attribute units that converts to meV"),
    "wrong units": ({"edit": lambda d: d.assign_attrs(units="nm")}, "with units 'nm', expected an attribute units that conv"),
    "bare": ({"units": ""}, "with the coordinate x with units '', expected an attribute units that converts to nm"),
    "reversed": ({"edit": lambda d: d[::-1]}, "with a coordinate x .* expected at least 4 finite values that increase"),
    "few": ({"points": 3}, "with a coordinate x of the shape .* expected at least 4 finite values that increase"),
    "axes": ({"edit": lambda d: d.rename(x="u")}, "over u, y, expected a map over x, or over x and y"),
    "text": ({"edit": lambda d: d.astype(str)}, "of the type .*, expected plain numbers"),
}


@pytest.mark.parametrize("case", BAD_MAPS)
def test_bad_maps_are_one_clear_error(landscape, tmp_path, case):
    changes, words = BAD_MAPS[case]
    write_map(tmp_path / "map.nc", **changes)
    with pytest.raises(InputError, match=rf"^sample.energy.KK.1: found 'shift' of {tmp_path}/map.nc {words}") as error:
        landscape(energy={"KK": ["1 meV", {"file": "map.nc", "dataset": "shift"}]})
    assert "\n" not in str(error.value)


def test_missing_maps(landscape, tmp_path):
    given = {"file": "map.nc", "dataset": "strain"}
    with pytest.raises(InputError, match=rf"^sample.energy.KK.file: found '{tmp_path}/map.nc', expected .* \(no such file\)"):
        landscape(energy={"KK": given})
    (tmp_path / "map.nc").write_text("text", encoding="utf-8")
    with pytest.raises(InputError, match=r"^sample.energy.KK.file: found .*, expected an HDF5 or netCDF-4 file"):
        landscape(energy={"KK": given})
    write_map(tmp_path / "map.nc")
    with pytest.raises(
        InputError, match=rf"dataset: found 'strain', expected a dataset of {tmp_path}/map.nc \(there are: shift\)"
    ):
        landscape(energy={"KK": given})
    plain = {"file": "plain.h5", "dataset": "shift"}
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["shift"] = np.zeros((8, 9))
        file["shift"].attrs["units"] = "meV"
    with pytest.raises(InputError, match=r"without the coordinate x, expected a variable of that name beside it"):
        landscape(energy={"KK": plain})
    with h5py.File(tmp_path / "plain.h5", "a") as file:
        for name in "xy":
            file[name] = np.linspace(-6, 6, 9)
            file[name].attrs["units"] = "um"
    with pytest.raises(InputError, match=r"with the shape \(8, 9\), expected \(9, 9\) as its coordinates"):
        landscape(energy={"KK": plain})


def test_a_map_that_does_not_close_needs_open_edges(landscape, tmp_path):
    write_map(tmp_path / "map.nc", edit=lambda d: (d + 0.001 * d.x).assign_attrs(units="meV"))
    given = {"file": "map.nc", "dataset": "shift"}
    landscape(energy={"KK": given})
    with pytest.raises(InputError, match=r"^sample.energy.KK: found a jump of 12 meV across the periodic edges along x"):
        landscape(grid_of("periodic"), energy={"KK": given})


# ---- units


@pytest.mark.parametrize(
    ("unit", "text"),
    [("percent", "0.005"), ("percent", "3 degree"), ("meV/percent", "130 meV"), ("degree", "30"), ("degree", "1 percent"),
     ("byte", "1024")],
)  # fmt: skip
def test_units_that_are_pure_numbers_are_not_taken_for_each_other(unit, text):
    with pytest.raises(ValueError, match="unit"):
        schema.Quantity(unit).parse(float(text) if " " not in text else text)


def test_tables_show_fields_in_their_units(tmp_path):
    config = loading.from_data(
        {"material": "ws2_hbn", "temperature": "77 K",
         "sample": {"strain": {"linear": {"gradient": ["1 %/um", "0 %/um"]}},
                    "energy": {"KK": {"gaussian": {"peak": "5 meV", "fwhm": "1 um"}}, "all": ["1 meV", random()]}}},
        [], "in.yaml", tmp_path,
    )  # fmt: skip
    assert schema.shown(config, "sample.energy.KK.gaussian.peak") == (5.0, "meV")
    assert schema.shown(config, "sample.energy.KK.gaussian.fwhm") == (1.0, "um")
    assert schema.shown(config, "sample.strain.linear.gradient.0") == (1.0, "percent/um")
    assert schema.shown(config, "sample.energy.all.1.random.rms") == (1.0, "meV")
