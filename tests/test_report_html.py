"""The web page of a run, opened in headless Chromium without a network."""

import dataclasses
import html
import json
import re
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from helpers import hpcwigner

from hpcwigner.plotting import report_plots
from hpcwigner.plotting.report import write_report
from hpcwigner.storage.reading import Entry, read, read_summary, write_summary

MIB = 2**20
PLOTS = ["diffusion", "widths", "populations", "PL", "budget", "evolution", "snapshots", "Wigner"]


@dataclasses.dataclass(frozen=True)
class Page:
    """What the browser made of a file."""

    dom: str
    console: list[str]
    requests: list[str]

    @property
    def plots(self):
        return re.findall(r'<div id="([^"]+)"[^>]* class="plotly-graph-div js-plotly-plot"', self.dom)

    def curves(self):
        return len(re.findall(r'<g class="trace scatter trace[0-9a-f]+"', self.dom))

    def maps(self):
        return len(re.findall(r'<g class="hm"', self.dom))


def browse(path, folder):
    """Opens a page in Chromium until it rests. Without Chromium a test fails: a page nobody opened is not tested."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "there is no Chromium: run tools/setup --browser"
    log = folder / "net.json"
    found = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1400,2000", f"--user-data-dir={folder / 'profile'}",
         "--enable-logging=stderr", f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    requests = [e["params"] for e in json.loads(log.read_text(encoding="utf-8"))["events"] if "initiator" in e.get("params", {})]
    # The browser itself asks Google for the time and for updates; pages ask in the name of their origin.
    urls = {p["url"] for p in requests if p["initiator"] != "not an origin"}
    return Page(found.stdout, console, sorted(url for url in urls if url.startswith("http")))


@pytest.fixture(scope="module")
def slab_report(slab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    found = hpcwigner("report", slab, "--output", folder / "slab.html")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(folder / "slab.html")
    return folder / "slab.html"


@pytest.fixture(scope="module")
def page(slab_report, tmp_path_factory):
    return browse(slab_report, tmp_path_factory.mktemp("browser"))


@pytest.fixture
def changed(slab, tmp_path):
    """A copy of the slab's directory that a test may change."""
    return shutil.copytree(slab, tmp_path / "changed", ignore=shutil.ignore_patterns("checkpoints"))


@pytest.mark.slow
def test_everything_is_drawn_without_errors_and_without_a_network(page, slab_report):
    assert page.console == []
    assert page.requests == []
    assert sorted(page.plots) == sorted(PLOTS)
    assert page.curves() == 3 * 3 + 1 + 3 * 5 + 4  # valleys; PL; D_v and four parts in each; profiles
    assert page.maps() == 4 + 3  # densities and PL; Wigner
    assert slab_report.stat().st_size < 10 * MIB


@pytest.mark.slow
def test_an_error_in_the_page_would_be_seen(slab_report, tmp_path):
    """The three checks above can fail."""
    broken = tmp_path / "broken.html"
    text = slab_report.read_text(encoding="utf-8")
    call = "<script>fetch('http://127.0.0.1:9/'); undefinedFunction()</script>"
    broken.write_text(text.replace("</body>", f"{call}</body>").replace("Plotly.newPlot(", "void ("), encoding="utf-8")
    seen = browse(broken, tmp_path)
    assert any("undefinedFunction" in line for line in seen.console)
    assert any("Content Security Policy" in line for line in seen.console)
    assert (seen.plots, seen.curves(), seen.maps()) == ([], 0, 0)
    open_page = tmp_path / "open.html"
    open_page.write_text("<script>fetch('http://127.0.0.1:9/').catch(() => 0)</script>", encoding="utf-8")
    assert browse(open_page, tmp_path).requests == ["http://127.0.0.1:9/"]


def test_the_page_holds_the_numbers_of_the_files(page, slab):
    series = read(slab / "series.h5")
    text = html.unescape(page.dom)
    for name in ("population", "width_squared", "diffusion"):
        for value in series.data[name][-1]:
            assert f"<td>{value:.6g}</td>" in text
    for key in ("source", "git_revision", "libraries", "machine"):
        assert series.attributes[key] in text
    assert (slab / "input.yaml").read_text(encoding="utf-8").strip() in text
    assert (slab / "run.log").read_text(encoding="utf-8").strip() in text
    assert "finished: 3 ps" in text
    assert "No warnings." in text
    summary = read_summary(slab / "series.h5")[1]
    for section in ("performance", "checks"):
        part = section_of(text, section)
        for entry in summary[section].values():
            assert f"<th>{entry.long_name}</th>" in part
    assert f"<td>{summary['performance']['core_hours'].value:.6g} h</td>" in text
    worst = summary["checks"]["deviation_diffusion"].value
    assert f"<td>{', '.join(f'{v} {x:.3g}' for v, x in zip(series.valleys, worst, strict=True))}</td>" in text
    assert "1 start:" in section_of(text, "provenance")


def section_of(text, name):
    return text.split(f'<section id="{name}">' if f'<section id="{name}">' in text else f'id="{name}">')[1].split("</section>")[0]


@pytest.mark.slow
def test_the_slider_moves_the_profiles(slab_report, slab, tmp_path):
    moved = tmp_path / "moved.html"
    script = """<pre id="moved"></pre><script>
    Plotly.animate('snapshots', ['1'], {mode: 'immediate', frame: {duration: 0}, transition: {duration: 0}}).then(() => {
      document.getElementById('moved').textContent = JSON.stringify(
        document.getElementById('snapshots').data.map(trace => Array.from(trace.y._inputArray || trace.y)));
    });</script></body>"""
    moved.write_text(slab_report.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    seen = browse(moved, tmp_path)
    assert seen.console == []
    profiles = np.array(json.loads(re.search(r'<pre id="moved">(.*?)</pre>', seen.dom)[1]))
    fields = read(slab / "fields.h5")
    expected = np.vstack((fields.data["density"][1], fields.data["pl"][1]))
    assert profiles == pytest.approx(expected / expected.max(axis=1, keepdims=True), abs=1e-6)


@pytest.mark.slow
def test_a_plane(plane, tmp_path):
    page = browse(write_report(plane, tmp_path / "plane.html"), tmp_path)
    assert (page.console, page.requests) == ([], [])
    assert sorted(page.plots) == sorted(PLOTS)
    assert page.maps() == 4 + 4 + 3  # on y = 0; in the plane; Wigner
    assert "along y = 0" in page.dom


@pytest.mark.slow
def test_an_unfinished_run_without_wigner(changed, tmp_path):
    """As a run leaves its directory that was killed on the way."""
    (changed / "wigner.h5").unlink()
    text = (changed / "input.yaml").read_text(encoding="utf-8")
    assert "end: 3.0 ps" in text
    (changed / "input.yaml").write_text(text.replace("end: 3.0 ps", "end: 30.0 ps"), encoding="utf-8")
    with h5py.File(changed / "series.h5", "r+") as file:
        del file["summary"]
    for name, quantity in (("fields.h5", "pl"), ("series.h5", "population")):
        with h5py.File(changed / name, "r+") as file:
            del file[quantity]
    page = browse(write_report(changed), tmp_path)
    text = html.unescape(page.dom)
    assert page.console == []
    assert "not finished: 3 of 30 ps" in text
    assert text.count("has left no closing summary yet") == 2
    assert "No cut is stored" in text
    assert "has no 'pl'" in text
    assert "has no 'population'" in text
    assert sorted(page.plots) == sorted(["diffusion", "widths", "PL", "budget"])


def test_after_a_restart_the_latest_summary_counts(changed):
    """Warnings are shown of all starts."""
    with h5py.File(changed / "series.h5", "r+") as file:
        first = json.loads(file.attrs["history"])[0]
        again = first | {"first_step": 7, "ranks": 4, "changes": {"time.end": ["2.0 ps", "3.0 ps"]}}
        file.attrs["history"] = json.dumps([first, again])
        del file["summary"]
    both = [
        {"performance": {"core_hours": Entry(hours, "h", "core-hours")}, "warnings": {"0001": Entry(text, "", "2026-01-02")}}
        for hours, text in ((99.0, "no checkpoint after step 7: <disk full>\nand a second line"), (0.5, "second"))
    ]
    write_summary(changed / "series.h5", both[1])
    text = html.unescape(write_report(changed).read_text(encoding="utf-8"))
    assert "<td>0.5 h</td>" in section_of(text, "performance")
    assert "1 warning</h2>" in text
    with h5py.File(changed / "series.h5", "r+") as file:
        file.attrs["history"] = json.dumps([first])
    write_summary(changed / "series.h5", both[0])
    with h5py.File(changed / "series.h5", "r+") as file:
        file.attrs["history"] = json.dumps([first, again])
    text = html.unescape(write_report(changed).read_text(encoding="utf-8"))
    assert "<td>0.5 h</td>" in section_of(text, "performance")
    assert "99 h" not in text
    assert "2 warnings</h2>" in text
    assert "no checkpoint after step 7: <disk full>\nand a second line" in text
    assert "2 starts:" in text
    assert "from step 7: " in text
    assert "time.end 2.0 ps → 3.0 ps" in text


def test_large_maps_are_thinned_out_and_the_page_says_so(plane):
    fields = read(plane / "fields.h5")
    x = np.linspace(-4, 4, 200)
    time = np.arange(60.0)
    cloud = np.exp(-(x[:, None] ** 2 + x**2) / 4) * np.ones((60, 1, 1))
    large = dataclasses.replace(
        fields, valleys=("KK",), data={"time": time, "x": x, "y": x, "density": cloud[:, None], "pl": cloud}
    )
    figure, note = report_plots.moving(large)
    assert "every 3rd time" in note
    assert "every 4th point" in note or "every 3rd point" in note
    assert len(figure.to_json()) < 3 * MIB
    assert figure.frames[-1].name == "59"


@pytest.mark.parametrize(("words", "expected"), [(["nowhere"], "no such file"), ([".", "--output", "a.pdf"], "ends in .html")])
def test_refused_in_one_line(words, expected):
    found = hpcwigner("report", *words)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert expected in found.stderr
