"""Pulses with other profiles than the spot, and sums of shapes."""

import warnings

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.integrate
import scipy.linalg
import xarray
from helpers import hpcwigner, small_input
from mpi4py import MPI

from hpcwigner.problem import builder, loading
from hpcwigner.runtime.errors import InputError

STEPS = "time.steps=[{size: 10 fs}]"


def files_of(folder, name, *settings):
    done = hpcwigner(small_input(folder, name), *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    opened = [xarray.open_dataset(folder / name / f, engine="h5netcdf").load() for f in ("series.h5", "fields.h5")]
    return *opened, done.stdout


def test_a_spot_as_a_profile_is_the_spot(tmp_path):
    """The density's FWHM is the field's over √2."""
    spot, dense, _ = files_of(tmp_path, "spot", "pump.spot_fwhm=0.6 um", STEPS)
    shape = f"pump.profile={{gaussian: {{fwhm: {0.6 / np.sqrt(2)!r} um}}}}"
    same, density, printed = files_of(tmp_path, "shape", shape, STEPS)
    for name in ("population", "width_squared"):
        assert same[name].values == pytest.approx(spot[name].values, rel=1e-9, nan_ok=True), name
    assert density.density.values == pytest.approx(dense.density.values, rel=1e-9, abs=1e-15)
    assert "largest deviation of D_v" in printed
    assert "(folded)" in printed


def test_a_grating_decays_as_the_exact_wave(tmp_path):
    """n_q(t) of each valley against dN/dt = (L − iq v cos θ)N + s(t) without a grid; L, v and the source are the problem's."""
    period = 0.25  # [µm]: six in the sample
    space = "space={dimensions: 1, length: 1.5 um, cells: 144, boundary: periodic}"
    profile = f"pump.profile=[0.5, {{cosine: {{amplitude: 0.5, period: {period} um}}}}]"
    injected = "pump.energy={valley: KK, above: 20 meV, spread: 5 meV}"
    settings = (space, profile, injected, STEPS, "output.fields_every=0.5 ps", "time.end=2 ps")
    series, fields, printed = files_of(tmp_path, "grating", *settings)
    assert "moment equations" in printed
    assert "largest deviation" not in printed

    problem = builder.build(loading.load(tmp_path / "grating.yaml", settings), MPI.COMM_SELF)
    generator, cells, orders = problem.generators[0], problem.cells, problem.angles.orders
    q, size = 2 * np.pi / (1000 * period), cells.size
    matrix = scipy.linalg.block_diag(*(generator.block(m) for m in orders)).astype(complex)
    for m in orders[:-1]:  # û_m = Σ u cos mθ: cos θ cos mθ = ½ [cos (m − 1)θ + cos (m + 1)θ], twice at the ends
        here, above = slice(m * size, (m + 1) * size), slice((m + 1) * size, (m + 2) * size)
        coupling = np.diag(-0.5j * q * problem.equilibrium.velocity)
        matrix[here, above] += coupling * (2 if m == 0 else 1)
        matrix[above, here] += coupling * (2 if m == orders[-2] else 1)
    source = problem.sources[0]
    start = np.concatenate([0.5 * source.spectrum(0), np.zeros(size * (len(orders) - 1))])

    def change(t, state):
        return matrix @ state + source.strength(t) * start

    times = fields.time.values
    solved = scipy.integrate.solve_ivp(
        change, (0, times[-1]), 0 * start + 0j, "DOP853", times, rtol=1e-8, atol=1e-12, max_step=0.02
    )
    exact = cells.valley_sum(solved.y.T[:, :size]).real
    x = fields.x.values
    wave = (fields.density * np.cos(2 * np.pi * x / period)).sum("x").values / len(x) * 1.5  # per excitons in all
    unit = fields.density.sum("x").values.sum(axis=1)[-1] / len(x) * 1.5 / float(series.population_total[-1])
    assert wave / unit == pytest.approx(exact, rel=2e-3, abs=2e-4 * exact.max())
    assert exact[-1].sum() < 0.75 * 0.5  # the grating has lost a quarter of its contrast
    problem.free()


def test_shapes_that_are_not_symmetric_run_unfolded(tmp_path):
    shifted = "pump.profile=[{gaussian: {fwhm: 0.6 um, center: [0.4 um, 0 um]}}]"
    _, fields, printed = files_of(tmp_path, "shifted", shifted, STEPS, "time.end=1 ps")
    assert "(folded)" not in printed
    density = fields.density.isel(time=-1).sum("valley")
    assert float((density.x * density).sum() / density.sum()) == pytest.approx(0.4, abs=1e-3)
    with pytest.raises(InputError, match="not symmetric"):
        builder.build(loading.load(small_input(tmp_path), [shifted, "space.symmetry=folded"]), MPI.COMM_SELF)


@pytest.mark.parametrize(
    ("shape", "peak"),
    [("{ring: {radius: 0.5 um, fwhm: 0.2 um}}", (0.5, 0)), ("{gaussian: {fwhm: 0.3 um, center: [0.5 um, 0.5 um]}}", (0.5, 0.5))],
)
def test_density_is_that_of_the_peak(tmp_path, shape, peak):
    """In the plane: generated population × profile is `density` at the profile's maximum."""
    plane = "space={dimensions: 2, length: 3 um, cells: 60}"
    settings = [plane, f"pump.profile={shape}", "pump.density=1e11 cm^-2"]
    problem = builder.build(loading.load(small_input(tmp_path), settings), MPI.COMM_SELF)
    source = problem.sources[0]
    density = source.amplitude * source.profile()
    assert density.max() == pytest.approx(1e-3, rel=1e-12)
    x, y = (problem.space.centers(axis) / 1000 for axis in (0, 1))
    at = np.unravel_index(density.argmax(), density.shape)
    assert np.hypot(x[at[0]], y[at[1]]) == pytest.approx(np.hypot(*peak), abs=0.05)
    problem.free()


def test_errors_name_the_pulse(tmp_path):
    train = "pump=[{density: 1e10 cm^-2}, {density: 1e10 cm^-2, profile: -1}]"
    with pytest.raises(InputError, match=r"^pump\.1\.profile: found values from -1 to -1"):
        builder.build(loading.load(small_input(tmp_path), [train]), MPI.COMM_SELF)
    injected = train.replace("profile: -1", "energy: {valley: K, above: 5 meV}")
    with pytest.raises(InputError, match=r"^pump\.1\.energy\.valley: found 'K'"):
        builder.build(loading.load(small_input(tmp_path), [injected]), MPI.COMM_SELF)


def test_a_run_says_why_moments_do_not_count(tmp_path):
    lit = "pump.profile=1"
    problem = builder.build(loading.load(small_input(tmp_path), [lit]), MPI.COMM_SELF)
    assert problem.not_closed == "a pulse's density reaches the edges of the sample"
    problem.free()


# ---- images

AXIS = np.linspace(-3.2, 3.2, 129)  # [µm]: points every 0.05 µm
IMAGED = np.exp(-((AXIS[:, None] - 0.6) ** 2) - (AXIS[None, :] + 0.3) ** 2 / 2)  # (x, y)
SQUARE = "space={dimensions: 2, length: 6 um, cells: 40, boundary: open}"


def write_image(path, kind):
    """The same density as a netCDF-4 map or as a picture, whose rows run downwards; returns the entry of an input."""
    if kind == "map":
        coords = {name: (name, AXIS, {"units": "um"}) for name in "xy"}
        xarray.DataArray(IMAGED, coords, ("x", "y")).to_dataset(name="light").to_netcdf(path / "image.h5", engine="h5netcdf")
        return "{file: image.h5, dataset: light}"
    name, values = {
        "8 bits": ("image.png", np.uint8(np.round(255 * IMAGED))),
        "16 bits": ("image.png", np.uint16(np.round(65535 * IMAGED))),
        "float": ("image.tif", np.float32(IMAGED)),
    }[kind]
    PIL.Image.fromarray(np.ascontiguousarray(values.T[::-1])).save(path / name)
    return f"{{file: {name}, pixel: 0.05 um}}"


@pytest.mark.parametrize(("kind", "error"), [("map", 7e-4), ("8 bits", 3e-3), ("16 bits", 7e-4), ("float", 7e-4)])
@pytest.mark.parametrize("space", [SQUARE, "space={dimensions: 1, length: 6 um, cells: 40, boundary: open}"])
def test_images(tmp_path, kind, error, space):
    """Of the density: x points right, y up, linear between points; a slab takes the line y = 0."""
    given = write_image(tmp_path, kind)
    settings = [space, f"pump.profile=[0.1, {given}]", "pump.density=1e11 cm^-2"]
    config = loading.load(small_input(tmp_path), settings)
    assert config.pump.profile[1].file.startswith(str(tmp_path))
    problem = builder.build(config, MPI.COMM_SELF)
    assert not any(problem.space.folded)
    source = problem.sources[0]
    x, y = problem.space.centers(0)[:, None] / 1000, problem.space.centers(1) / 1000
    expected = 0.1 + np.exp(-((x - 0.6) ** 2) - (y + 0.3) ** 2 / 2)
    assert source.amplitude * source.profile() == pytest.approx(1e-3 * expected / expected.max(), abs=1e-3 * error)
    problem.free()


def with_image(tmp_path, text, *settings):
    return builder.build(loading.load(small_input(tmp_path), [SQUARE, f"pump.profile={text}", *settings]), MPI.COMM_SELF)


def test_bad_images_are_one_clear_error(tmp_path):
    picture = write_image(tmp_path, "8 bits")
    with pytest.raises(
        InputError, match=r"^pump\.profile: found .*image\.png with x from -2\.56 to 2\.56 um, expected it to cov"
    ):
        with_image(tmp_path, picture.replace("0.05", "0.04"))
    with pytest.raises(InputError, match=r"^pump\.profile\.file: found .*none\.png', expected a picture.*\(no such file\)"):
        with_image(tmp_path, "{file: none.png, pixel: 0.1 um}")
    (tmp_path / "text.png").write_text("text", encoding="utf-8")
    with pytest.raises(InputError, match=r"^pump\.profile\.1\.file: found .*text\.png', expected a picture, such as PNG or TIFF"):
        with_image(tmp_path, "[1, {file: text.png, pixel: 0.1 um}]")
    PIL.Image.new("RGB", (80, 80)).save(tmp_path / "colour.png")
    with pytest.raises(
        InputError, match=r"^pump\.profile\.file: found .*colour\.png' in colour \(RGB\), expected a picture in g"
    ):
        with_image(tmp_path, "{file: colour.png, pixel: 0.1 um}")
    PIL.Image.fromarray(np.float32(IMAGED - 0.01)).save(tmp_path / "noise.tif")
    with pytest.raises(
        InputError, match=r"^pump\.profile: found values from -0.0101\d* to 0.\d+, expected none below 0 .*background"
    ):
        with_image(tmp_path, "{file: noise.tif, pixel: 0.05 um}")
    hot = np.float32(IMAGED)
    hot[9, 9] = np.inf
    PIL.Image.fromarray(hot).save(tmp_path / "hot.tif")
    with warnings.catch_warnings(action="error"), pytest.raises(InputError, match="with 1 values that are not finite"):
        with_image(tmp_path, "{file: hot.tif, pixel: 0.05 um}")
    write_image(tmp_path, "map")
    with pytest.raises(InputError, match=r"^pump\.profile\.dataset: found 'dark', expected a dataset of .*image\.h5"):
        with_image(tmp_path, "{file: image.h5, dataset: dark}")
    with h5py.File(tmp_path / "image.h5", "a") as file:
        file["light"].attrs["units"] = "meV"
    with pytest.raises(InputError, match=r"^pump\.profile: found 'light' .* with units 'meV', expected no attribute units, or 1"):
        with_image(tmp_path, "{file: image.h5, dataset: light}")
