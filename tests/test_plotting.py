"""Pictures of a run: what they draw is what the files hold, and what cannot be drawn is refused in one line."""

import itertools
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from helpers import ROOT, clean_environment, hpcwigner, small_input
from PIL import Image

from hpcwigner.plotting import maps, style
from hpcwigner.plotting.against import CURVES, against
from hpcwigner.plotting.report import write_report
from hpcwigner.plotting.views import VIEWS, plot, sum_error
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read

MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture
def changed(slab, tmp_path):
    """A copy of the slab's directory that a test may change."""
    return shutil.copytree(slab, tmp_path / "changed", ignore=shutil.ignore_patterns("checkpoints"))


@pytest.fixture(params=["slab", "plane"])
def run(request):
    return request.getfixturevalue(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_slab_and_plane(run, view, tmp_path):
    path = plot(run, view, tmp_path / "picture.png")
    with Image.open(path) as image:
        assert min(image.size) > 500
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


@pytest.mark.parametrize("suffix", MAGIC)
def test_format_follows_the_suffix(slab, tmp_path, suffix):
    path = tmp_path / f"widths{suffix}"
    process = hpcwigner("plot", slab, "--show", "widths", "--output", path)
    assert (process.returncode, process.stdout.strip()) == (0, str(path)), process.stderr
    assert path.read_bytes().startswith(MAGIC[suffix])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--output", "picture.bmp"], "expected a name that ends in .png or .pdf or .svg"),
        (["--animate", "--output", "film.png"], "expected a name that ends in .gif"),
        (["--show", "nonsense"], "overview"),
        (["--show", "fields", "--animate"], "not allowed with"),
        (["--output", "nowhere/picture.png"], "cannot be written"),
        (["--interactive"], "found no display"),
    ],
)
def test_refused_in_one_line(slab, monkeypatch, words, expected):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        monkeypatch.delenv(variable, raising=False)
    process = hpcwigner("plot", slab, *words, process=words == ["--interactive"])  # which backend is a process's own
    assert (process.returncode, process.stdout) == (2, ""), process.stderr
    assert expected in process.stderr
    assert process.stderr.count("\n") == 1


def test_a_toolkit_that_cannot_start_is_refused(monkeypatch):
    import matplotlib as mpl

    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(mpl, "get_backend", lambda: (_ for _ in ()).throw(ImportError("Cannot load backend 'TkAgg'")))
    with pytest.raises(InputError, match="found no display"):
        style.pyplot(interactive=True)


def test_curves_are_those_of_the_file(run):
    series = read(run / "series.h5")
    upper, lower = VIEWS["widths"](run).axes
    for axis, name in ((upper, "width_squared"), (lower, "diffusion")):
        for v, line in enumerate(axis.lines[:3]):
            assert line.get_label() == series.valleys[v]
            assert np.array_equal(line.get_xdata(), series.data["time"])
            assert np.array_equal(line.get_ydata(), series.data[name][:, v], equal_nan=True)
    assert upper.get_ylabel() == "$w_v^2$ (µm²)"
    assert lower.get_ylabel() == "$D_v$ (cm²/s)"
    assert "never" in lower.get_title()


def test_negative_windows_are_shaded(changed):
    with h5py.File(changed / "series.h5", "r+") as file:
        file["diffusion"][4:9, 2] = 1.0, -1.0, -1.0, -1.0, 1.0  # crosses zero between 1 and 1.25, 1.75 and 2 ps
    lower = VIEWS["widths"](changed).axes[1]
    assert "KΛ 1.125 to 1.875 ps" in lower.get_title()
    (shade,) = lower.collections
    assert shade.get_paths()[0].get_extents().extents == pytest.approx([1.25, -1, 1.75, 0])


def test_budget_shows_the_sum_of_its_parts(changed):
    axes = VIEWS["budget"](changed).axes
    series = read(changed / "series.h5")
    for v, axis in enumerate(axes):
        sums = axis.lines[5].get_ydata()
        assert sums[2:] == pytest.approx(series.data["diffusion"][2:, v], rel=1e-12)
        assert float(axis.get_title().split()[-5]) < 1e-12
    with h5py.File(changed / "series.h5", "r+") as file:  # a part is wrong, and two parts are small
        file["diffusion_drift"][6, 0] += 1e5
    axis = VIEWS["budget"](changed).axes[0]
    assert float(axis.get_title().split()[-5]) == pytest.approx(1, rel=0.1)
    assert axis.get_yscale() == "symlog"
    assert axes[1].get_yscale() == "linear"


def drawn(mesh):
    """Numbers behind a map."""
    return np.ma.filled(mesh.get_array(), np.nan)


def test_maps_are_those_of_the_file(slab, plane):
    fields = read(slab / "fields.h5")
    (mesh,) = VIEWS["fields"](slab).axes[0].collections
    density = fields.data["density"][1:, 0]  # at 0 ps there is none
    assert drawn(mesh)[1:] == pytest.approx(density / density.max(axis=1, keepdims=True))
    fields = read(plane / "fields.h5")
    (mesh,) = VIEWS["fields"](plane).axes[0].collections
    first = fields.data["density"][maps.chosen_rows(fields)[0], 0]
    assert drawn(mesh) == pytest.approx((first / first.max()).T)  # matplotlib's rows run along y
    wigner = read(slab / "wigner.h5")
    map_ = wigner.data["wigner"][0, 1]
    (mesh,) = VIEWS["wigner"](slab).axes[1].collections
    assert np.nan_to_num(drawn(mesh)) == pytest.approx(np.nan_to_num(map_ / np.nanmax(map_)).T)


@pytest.mark.parametrize("cells", [12, 13])
def test_the_line_through_the_middle_is_exact_for_quintic_fields(cells):
    y = np.arange(cells) - 0.5 * (cells - 1)
    field = np.stack([1 + y**2, y**5 - y**4 + 3])
    assert style.central_line(field) == pytest.approx([1, 3], abs=1e-12)


def test_units_as_printed():
    texts = [style.unit_text(u) for u in ("cm2 s-1", "um-2 ps-1", "nm-1", "um", "1")]
    assert texts == ["cm²/s", "µm⁻² ps⁻¹", "nm⁻¹", "µm", ""]


@pytest.mark.parametrize("quantity", maps.ANIMATED)
def test_animation_has_a_frame_for_every_time(run, tmp_path, quantity):
    with Image.open(maps.animate(run, quantity, tmp_path / "film.gif")) as film:
        assert film.n_frames == 3  # 1, 2, 3 ps: before the pulse there is nothing
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


def test_animation_thins_out_long_runs(slab, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "MOST_FRAMES", 2)
    with Image.open(maps.animate(slab, "pl", tmp_path / "film.gif")) as film:
        assert film.n_frames == 2


@pytest.mark.parametrize(
    ("file", "name", "words"),
    [
        ("fields.h5", "pl", ["--show", "overview"]),
        ("fields.h5", "shape_variation", ["--show", "fields"]),
        ("fields.h5", "density", ["--animate", "density"]),
        ("series.h5", "diffusion_interv", ["--show", "budget"]),
        ("series.h5", "width_squared", ["--show", "widths"]),
    ],
)
def test_a_quantity_that_was_not_written_is_named(changed, file, name, words):
    with h5py.File(changed / file, "r+") as opened:
        del opened[name]
    process = hpcwigner("plot", changed, *words)
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    for word in (str(changed / file), f"'{name}'", "output"):
        assert word in process.stderr


def keep_rows(directory, rows):
    """Leaves the first `rows` times in the files of a run: as if it were young."""
    for name in ("series.h5", "fields.h5"):
        with h5py.File(directory / name, "r+") as file:
            for key, dataset in file.items():
                if isinstance(dataset, h5py.Dataset) and (key == "time" or dataset.maxshape[0] is None):
                    dataset.resize(rows, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("view", ["overview", "fields", "widths", "budget"])
def test_a_young_run_can_be_looked_at(changed, rows, view):
    keep_rows(changed, rows)
    process = hpcwigner("plot", changed, "--show", view)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_young_run_has_a_report_but_no_film(changed):
    keep_rows(changed, 1)
    process = hpcwigner("report", changed)
    assert (process.returncode, process.stderr) == (0, "")
    assert "not finished: 0 of 3 ps" in (changed / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="pl = 0 at every time"):
        maps.animate(changed, "pl")


def test_a_run_without_output_yet_is_refused(changed):
    keep_rows(changed, 0)
    for view in ("overview", "fields", "widths", "budget"):
        with pytest.raises(InputError, match="holds no times yet"):
            VIEWS[view](changed)
    with pytest.raises(InputError, match="holds no times yet"):
        maps.animate(changed, "pl")
    with pytest.raises(InputError, match="holds no times yet"):
        write_report(changed)
    (changed / "wigner.h5").unlink()
    with pytest.raises(InputError, match="no such file"):
        VIEWS["wigner"](changed)


def test_parts_off_the_sum_are_measured():
    total, parts = np.array([np.nan, 1.0, 2.0]), np.array([[np.nan, np.nan], [0.5, 0.5], [4.0, -1.0]])
    assert sum_error(total, parts) == pytest.approx(0.25)


@pytest.mark.slow
def test_plotting_libraries_are_imported_only_to_draw(tmp_path):
    """Neither for help nor for a check; a run: tests/test_cli.py."""
    code = "import sys; from hpcwigner.cli.main import main; status = main(['--help']) or main(['check', sys.argv[1]])"
    process = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules); sys.exit(status)", small_input(tmp_path)],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: ")
    assert "memory" in process.stdout
    imported = process.stdout.splitlines()[-1].split()
    assert "hpcwigner.cli.main" in imported
    assert not {"matplotlib", "plotly", "jinja2"} & set(imported)


def test_example_from_file_to_plot_in_ten_lines(slab, tmp_path):
    script = ROOT / "inputs" / "plot_example.py"
    code = [line for line in script.read_text(encoding="utf-8").splitlines()[2:] if line and not line.startswith("import sys")]
    assert len(code) <= 10
    process = subprocess.run(
        [sys.executable, script, slab, tmp_path / "example.png"],
        env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "example.png").read_bytes().startswith(MAGIC[".png"])


def test_two_runs_over_each_other(slab, plane, changed, tmp_path):
    """`plot RUN --against OTHER`: curves of both files, profiles at the times of the first; what does not fit is refused."""
    with h5py.File(changed / "series.h5", "r+") as file:
        file["diffusion"][:] *= 2
        file.attrs["model"] = "reduced: drift and diffusion"
    figure = against(slab, changed)
    here, there = read(slab / "series.h5"), read(changed / "series.h5")
    for axis, (name, _) in zip(figure.axes, CURVES, strict=False):
        drawn = [line.get_ydata() for line in axis.lines]
        expected = [*here.data[name].T, *there.data[name].T]
        assert len(drawn) == len(expected)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(drawn, expected, strict=True))
    fields = read(slab / "fields.h5")
    rows = [row for row in maps.chosen_rows(fields) if fields.data["density"][row].any()]
    profiles = [fields.data["density"][row].sum(axis=0) for row in rows for _ in range(2)]
    assert np.array_equal([line.get_ydata() for line in figure.axes[3].lines], profiles)
    assert figure.get_suptitle().endswith("reduced")
    process = hpcwigner("plot", slab, "--against", changed, "-o", tmp_path / "both.png")
    assert (process.returncode, process.stdout.strip()) == (0, str(tmp_path / "both.png")), process.stderr
    process = hpcwigner("plot", slab, "--against", plane)
    assert process.returncode == 2
    assert f"--against: found '{plane}' with KK, KK', KΛ; plane; " in process.stderr
