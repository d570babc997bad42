"""Pictures, report and ParaView's file of runs in a landscape: what they show of E_v(r) is what the files hold."""

import dataclasses
import html
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import hpcwigner, small_input
from PIL import Image
from test_other_tools import hyperslab
from test_report_html import PLOTS, browse

from hpcwigner.plotting import landscape, maps, report_landscape, style
from hpcwigner.plotting.report import write_report
from hpcwigner.plotting.views import VIEWS
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read

SPACES = {
    "slab": "{dimensions: 1, length: 2.4 um, cells: 28, boundary: reflecting}",
    "plane": "{dimensions: 2, length: 1.8 um, cells: [20, 18], boundary: reflecting}",
}
TILT = "{all: {linear: {gradient: [20 meV/um, -12 meV/um]}}, KΛ: {gaussian: {peak: 5 meV, fwhm: 1.2 um}}}"
STEPS = "[{size: 20 fs, until: 0.5 ps}, {size: 50 fs}]"


def finished(folder, space):
    path = small_input(folder, space=SPACES[space], steps=STEPS)
    ran = hpcwigner(path, "--set", f"sample.energy={TILT}", "--set", "output.wigner_at=[]")
    assert ran.returncode == 0, ran.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def tilted_slab(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("slab"), "slab")


@pytest.fixture(scope="module")
def tilted_plane(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("plane"), "plane")


def height(fields, valley):
    """E_v(r) above its lowest value [meV]."""
    energy = fields.data["landscape"][fields.valleys.index(valley)]
    return energy - energy.min()


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are made."""
    figures, subplots = [], style.subplots

    def kept(*words, **options):
        figures.append(subplots(*words, **options))
        return figures[-1]

    monkeypatch.setattr(style, "subplots", kept)
    return figures


def test_heights_are_those_of_the_file(tilted_slab, slab):
    fields = read(tilted_slab / "fields.h5")
    found = landscape.heights(fields)
    assert list(found) == ["KK", "KK'", "KΛ", "PL"]
    assert found["PL"] is found["KK"]  # which shines
    assert found["KK"] == pytest.approx(20 * (fields.data["x"] - fields.data["x"][0]), abs=1e-9)
    assert landscape.heights(read(slab / "fields.h5")) == {}
    flat = fields.data["landscape"].copy()
    flat[1] = -51.5
    uneven = dataclasses.replace(fields, data=fields.data | {"landscape": flat})
    assert list(landscape.heights(uneven)) == ["KK", "KΛ", "PL"]
    older = dataclasses.replace(fields, attributes={})  # does not say which valley is bright
    assert list(landscape.heights(older)) == ["KK", "KK'", "KΛ"]


def test_maps_of_a_slab_have_it_on_a_second_axis(tilted_slab):
    fields = read(tilted_slab / "fields.h5")
    figure = VIEWS["fields"](tilted_slab)
    twins = [axis for axis in figure.axes if axis.lines]
    for axis, valley in zip(twins, ["KK", "KK'", "KΛ", "KK", "KK", "KK'", "KΛ"], strict=True):
        (line,) = axis.lines
        assert np.array_equal(line.get_xdata(), fields.data["x"])
        assert line.get_ydata() == pytest.approx(height(fields, valley), abs=1e-12)
    assert len({axis.get_ylim() for axis in twins}) == 1
    assert [axis.get_ylabel() for axis in twins] == 3 * [""] + [landscape.LABEL] + 2 * [""] + [landscape.LABEL]
    left, right = twins[0].get_xlim()
    seen = (fields.data["x"] >= left) & (fields.data["x"] <= right)
    low, high = twins[0].get_ylim()
    assert low < height(fields, "KK")[seen].min() < height(fields, "KΛ")[seen].max() < high
    assert not [axis for axis in VIEWS["fields"](tilted_slab).axes if axis.lines and len(axis.lines) > 1]


@pytest.mark.slow
def test_the_overview_has_it_under_the_light(tilted_slab, tilted_plane):
    for run in (tilted_slab, tilted_plane):
        fields = read(run / "fields.h5")
        axis = next(axis for axis in VIEWS["overview"](run).axes if axis.get_ylabel() == landscape.LABEL)
        expected = height(fields, "KK")
        expected = style.central_line(expected) if expected.ndim == 2 else expected
        assert axis.lines[0].get_ydata() == pytest.approx(expected, abs=1e-12)


def contour_heights(axis):
    """20x − 12y [meV] at all corners of an axis' contours."""
    points = np.concatenate([path.vertices for lines in axis.collections[1:] for path in lines.get_paths() if len(path.vertices)])
    return points @ [20.0, -12.0]


def test_maps_of_a_plane_have_contours(tilted_plane):
    """Of the tilted valleys each contour is a straight line of one height; KΛ has others."""
    fields = read(tilted_plane / "fields.h5")
    figure = VIEWS["fields"](tilted_plane)
    lowest = (fields.data["landscape"][0]).min()
    columns = len(maps.chosen_rows(fields))
    rows = [figure.axes[i * columns] for i in range(7)]
    for axis in (rows[0], rows[1], rows[3], rows[4], rows[5]):
        levels = np.unique(np.round(contour_heights(axis) - lowest, 6))
        assert 3 <= len(levels) <= landscape.LEVELS + 2
        assert np.diff(levels) == pytest.approx(levels[1] - levels[0], abs=1e-5)
        assert levels / (levels[1] - levels[0]) == pytest.approx(np.round(levels / (levels[1] - levels[0])), abs=1e-5)
        assert {text.get_text() for text in axis.texts} <= {f"{level:g}" for level in np.round(levels, 3)}
        assert axis.texts
    assert len(np.unique(np.round(contour_heights(rows[2]), 6))) > 20
    assert figure.get_supxlabel() == f"contours: {landscape.LABEL}"


def test_films_show_it(tilted_slab, tilted_plane, tmp_path, drawn):
    for run in (tilted_slab, tilted_plane):
        with Image.open(maps.animate(run, "density", tmp_path / "film.gif")) as film:
            assert film.n_frames == 3
    (of_slab, _), (of_plane, axes) = drawn
    fields = read(tilted_slab / "fields.h5")
    twin = of_slab.axes[1]
    assert twin.get_ylabel() == f"dotted: {landscape.LABEL}"
    for line, valley in zip(twin.lines, fields.valleys, strict=True):
        assert line.get_ydata() == pytest.approx(height(fields, valley), abs=1e-12)
    assert all(len(axis.collections) > 1 for axis in axes[0])
    assert of_plane.get_supxlabel() == f"contours: {landscape.LABEL}"


def test_a_homogeneous_sample_has_neither(slab, plane):
    assert not [axis for axis in VIEWS["fields"](slab).axes if axis.lines]
    figure = VIEWS["fields"](plane)
    count = 7 * len(maps.chosen_rows(read(plane / "fields.h5")))
    assert [len(axis.collections) for axis in figure.axes[:count]] == count * [1]
    assert not figure.get_supxlabel()


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_the_report_shows_positions_energies_and_landscape(space, request, tmp_path):
    run = request.getfixturevalue(f"tilted_{space}")
    page = browse(write_report(run, tmp_path / "report.html"), tmp_path)
    assert (page.console, page.requests) == ([], [])
    plots = [name for name in PLOTS if name != "Wigner"]  # it has no cuts
    assert sorted(page.plots) == sorted([*plots, "positions", "energies", "landscape"])
    series, text = read(run / "series.h5"), html.unescape(page.dom)
    axes = "xy" if space == "plane" else "x"
    for n, axis in enumerate(axes):
        assert f"<th>⟨{axis}⟩ (µm)</th>" in text
        for value in series.data["mean_position"][-1, :, n]:
            assert f"<td>{value:.6g}</td>" in text
    if space == "slab":
        assert "⟨y⟩" not in text


def test_numbers_behind_the_plots_of_the_report(tilted_plane, tilted_slab):
    series, fields = read(tilted_plane / "series.h5"), read(tilted_plane / "fields.h5")
    figure, _ = report_landscape.positions(series)
    curves = np.array([trace.y for trace in figure.data]).reshape(2, 3, -1)
    assert np.array_equal(curves, series.data["mean_position"].T, equal_nan=True)
    assert (figure.layout.yaxis.title.text, figure.layout.yaxis2.title.text) == ("⟨x⟩ (µm)", "⟨y⟩ (µm)")
    figure, _ = report_landscape.energies(series, fields)
    assert [trace.name for trace in figure.data] == [*fields.valleys, "all"]  # kinetic energies were not asked for
    lowest = fields.data["landscape"].min(axis=(1, 2))
    for v, trace in enumerate(figure.data[:3]):
        assert np.array_equal(trace.y, series.data["potential_energy"][:, v] - lowest[v], equal_nan=True)
        assert np.nanmin(trace.y) > 0
    assert np.array_equal(figure.data[3].y, series.data["heat"], equal_nan=True)
    figure, note = report_landscape.landscape(fields)
    for trace, valley in zip(figure.data, fields.valleys, strict=True):
        assert trace.z == pytest.approx(height(fields, valley).T, abs=1e-5)
    assert note == ""
    of_slab = read(tilted_slab / "fields.h5")
    figure, _ = report_landscape.landscape(of_slab)
    for trace, valley in zip(figure.data, of_slab.valleys, strict=True):
        assert trace.y == pytest.approx(height(of_slab, valley))


def test_what_was_not_written_is_named(tilted_slab):
    series, fields = read(tilted_slab / "series.h5"), read(tilted_slab / "fields.h5")
    left = {name: series.data[name] for name in ("time", "population")}
    bare = dataclasses.replace(series, data=left)
    with pytest.raises(InputError, match="has no 'mean_position'"):
        report_landscape.positions(bare)
    with pytest.raises(
        InputError, match=r"has no energies: name potential_energy, kinetic_energy or heat in output\.observables"
    ):
        report_landscape.energies(bare, fields)


def test_paraview_gets_it_at_every_time(tilted_plane):
    fields = read(tilted_plane / "fields.h5")
    grids = ElementTree.parse(tilted_plane / "fields.xdmf").findall("Domain/Grid/Grid")
    assert len(grids) == len(fields.data["time"]) == 4
    for row, grid in enumerate(grids):
        attributes = {a.get("Name"): hyperslab(a.find("DataItem"), tilted_plane) for a in grid.findall("Attribute")}
        assert len(attributes) == 1 + 3 * 3
        for v, valley in enumerate(fields.valleys):
            assert np.array_equal(attributes[f"landscape {valley} (meV)"], fields.data["landscape"][v])
            assert np.array_equal(attributes[f"density {valley} (um-2)"], fields.data["density"][row, v])
        assert np.array_equal(attributes["pl (um-2 ps-1)"], fields.data["pl"][row])
