"""The commands of the README run in a copy of the project, in their order; what they leave is right; links are valid."""

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray
import yaml
from helpers import ROOT, clean_environment, copy_kernels, hpcwigner

from hpcwigner.observables.curves import negative_windows
from hpcwigner.plotting import maps
from hpcwigner.problem import loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read
from hpcwigner.studies.fit import targets

PAGES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("**/*.md") if ".venv" not in p.parts)
FIRST = ("README.md", "hpcwigner/cli/README.md", "hpcwigner/storage/README.md", "inputs/README.md")
"""Pages whose commands run first, in this order: others look at what they have made."""
NOT_RUN = {
    "tools/test": "runs this test",
    "touch runs/ws2_20K/SAVE": "the run has ended; tests/test_restart.py",
    "python -m hpcwigner fit inputs/fits/ws2_rosati2020.yaml": "tests/test_fit.py",
    "mpirun -n 8 python -m hpcwigner fit mine.yaml -o fits/mine": "tests/test_fit.py",
    "mpirun -n 2 python -m hpcwigner figures -o figures": "tests/test_figures.py",
    "mpirun -n 2 python -m hpcwigner figures --scan 160 -o scan": "tests/test_scan.py",
    "mpirun -n 2 python -m hpcwigner figures --spectra -o figures_spectra": "tests/test_spectra_output.py",
    "tools/gallery": "tests/test_gallery.py",
    "tools/gallery ws2_300K.yaml --ranks 1": "tests/test_gallery.py",
    "tools/gallery --run ws2_20K_2d=runs/ws2_20K_2d": "tests/test_gallery.py",
    "mpirun -n 2 python -m hpcwigner figures -o figures_rosati --material ws2_hbn_rosati2020": "tests/test_figures.py",
}
SHORTER = {
    "hpcwigner sensitivity": " --set 'momentum.energy_step=5 meV' --set 'time.end=1 ps' --set 'output.wigner_at=[]'",
    "inputs/ws2_300K.yaml": " --set 'momentum.energy_step=8 meV' --set 'time.end=4 ps' --set 'time.tolerance=1e-2'",
    "ws2_temperature_sweep.yaml": " --set 'sweep.vary={temperature: [10 K, 15 K, 20 K, 40 K, 50 K, 300 K]}'",
    "--point 2": " --set 'momentum.energy_step=3 meV' --set 'time.end=5 ps' --set 'sweep.diffusion_at=[1 ps]'",
    "check inputs/ws2_20K": " --set 'momentum.energy_step=3 meV' --set 'time.end=6 ps' --set 'output.wigner_at=[]'",
}
"""What is added to a command that would take long: its words are what matters here."""
MODULE = re.compile(r"(?:\.venv/bin/)?python -m hpcwigner (.*)")
"""A command line that this process may run as well. Those of mpirun and tools/run start processes of their own."""
TESTED_ELSEWHERE = {"CONTRIBUTING.md": "tests/test_contributing.py"}


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", text(page), re.DOTALL)


def commands(page):
    """Command lines of the shell blocks of a page, without comments."""
    if page in TESTED_ELSEWHERE:
        return []
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What a clone holds, with this environment's .venv."""
    folder = tmp_path_factory.mktemp("clone") / "hpcwigner"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    copy_kernels(folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def test_the_readme_is_short_and_no_exception_is_stale():
    assert len(text("README.md").encode()) <= 7000
    lines = [line for page in PAGES for line in commands(page)]
    assert len(lines) > 15
    for line in NOT_RUN:
        assert line in lines
    for part in SHORTER:
        assert any(part in line for line in lines)


def follow(line, folder):
    """A command line as if typed in a folder."""
    if words := MODULE.fullmatch(line):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(maps, "MOST_FRAMES", 6)  # of an animation
            return hpcwigner(*shlex.split(words[1]), cwd=folder)
    environment = clean_environment() | {"PYTHONPATH": str(folder), "HPCWIGNER_VENV": str(ROOT / ".venv")}
    environment["PATH"] = f"{ROOT / '.venv/bin'}:{environment['PATH']}"
    return subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture(scope="module")
def used(copy):
    """The copy after every command of every page that is run here."""
    for page in (*FIRST, *(page for page in PAGES if page not in FIRST)):
        for line in commands(page):
            if line in NOT_RUN:
                continue
            extra = "".join(more for part, more in SHORTER.items() if part in line)
            ran = follow(line + extra, copy)
            assert ran.returncode == 0, (page, line, ran.stdout[-2000:], ran.stderr[-2000:])
    return copy


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs(used):
    for made in ("runs/ws2_20K/overview.png", "runs/ws2_20K/report.html"):
        assert (used / made).stat().st_size > 1000, made


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in TESTED_ELSEWHERE and blocks(page, "python")])
def test_every_snippet_runs(used, page):
    environment = clean_environment() | {"PYTHONPATH": str(used), "MPLBACKEND": "Agg"}
    for block in blocks(page, "python"):
        ran = subprocess.run(
            [sys.executable, "-c", block], cwd=used, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert ran.returncode == 0, ran.stderr
        if said := re.search(r"# about (−?\d+)", block):
            shown = re.search(r"(-?\d+\.\d+)", ran.stdout)
            assert float(shown[1]) == pytest.approx(float(said[1].replace("−", "-")), abs=1)
        if "lowest D_KK" in block:
            assert re.search(r"^lowest D_KK: -6[45] cm²/s at 57(\.\d+)? ps$", ran.stdout, re.MULTILINE), ran.stdout
        else:
            assert page != "README.md"


@pytest.mark.slow
def test_the_run_agrees_with_the_moment_equations(used):
    """The 20 K job at full size: D_v within 0.5 % of its largest value from 1 ps on."""
    run, exact = read(used / "runs/ws2_20K/series.h5"), read(used / "moments/moments.h5")
    late = run.data["time"] >= 1
    for quantity in ("diffusion", "width_squared"):
        a, b = run.data[quantity][late], exact.data[quantity][late]
        worst = np.max(np.abs(a - b) / np.abs(b).max(axis=0), axis=0)
        assert np.all(worst < 5e-3), (quantity, dict(zip(run.valleys, worst, strict=True)))


@pytest.mark.slow
def test_bright_excitons_shrink(used):
    """D_KK at 20 K: a peak of about 330 cm²/s near 3 ps, negative from about 40 to 99 ps, smallest about −65 near 57 ps.

    The smaller dark excitons of the Wannier equation shift the values for exponential states of one radius
    (tests/test_moments.py): 350 cm²/s, 42 to 103 ps, −85.
    """
    series = read(used / "runs/ws2_20K/series.h5").data
    time, bright = series["time"], series["diffusion"][:, 0]
    ((first, last),) = negative_windows(time, bright, start=2.0)
    assert first == pytest.approx(40.5, abs=1.5)
    assert last == pytest.approx(99, abs=2)
    peak, dip = np.nanargmax(bright), np.nanargmin(bright)
    assert time[peak] == pytest.approx(2.75, abs=0.3)
    assert bright[peak] == pytest.approx(333, rel=0.03)
    assert time[dip] == pytest.approx(57.5, abs=2)
    assert bright[dip] == pytest.approx(-65, abs=2)
    assert np.all(bright[(time > 2) & (time < first)] > 0)
    assert np.all(bright[time > last] > 0)


@pytest.mark.slow
def test_the_sweep_finds_where_they_shrink(used):
    """Effective diffusion of bright excitons is negative below 50 K only, and the earlier the warmer."""
    with xarray.open_dataset(used / "runs/ws2_temperature_sweep/summary.h5", engine="h5netcdf") as summary:
        bright = summary.sel(valley="KK")
        cold = bright.temperature < 45
        assert np.isfinite(bright.window_start.values[cold]).all()
        assert np.isnan(bright.window_start.values[~cold]).all()
        assert (np.diff(bright.window_start.values[cold]) < 0).all()
        at_20 = bright.isel(point=int((bright.temperature.values == 20).argmax()))
        assert [float(at_20.window_start), float(at_20.window_end)] == pytest.approx([40.3, 99.4], abs=0.3)
        assert float(bright.window_end[0]) == float(bright.end_time[0]) == 120  # at 10 K it outlasts the run


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """To files and to headings, as GitHub names them."""
    for link, _, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(#([^)\s]+))?\)", text(page)):
        target = (ROOT / page).parent.joinpath(link) if link else ROOT / page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, (link, heading)


def test_every_verb_is_in_the_table():
    verbs = re.search(r"positional arguments:.*?\n(.*?)\noptions", hpcwigner("--help").stdout, re.DOTALL)[1]
    known = set(re.findall(r"^    (\w+)", verbs, re.MULTILINE))
    listed = set(re.findall(r"^\| `… (\w+)", text("hpcwigner/cli/README.md"), re.MULTILINE))
    assert listed == known - {"run"}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in TESTED_ELSEWHERE and blocks(page, "yaml")])
def test_the_inputs_shown_are_valid(page, tmp_path):
    """Whole inputs, parts of one, materials with changes, and targets of a fit."""
    for number, block in enumerate(blocks(page, "yaml")):
        data = yaml.safe_load(block)
        if "base" in data:
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
            assert hpcwigner("verify", tmp_path / f"{number}.yaml").returncode == 0
        elif "targets" in data:
            (tmp_path / "fit.yaml").write_text(block.replace("../ws2", str(ROOT / "inputs/ws2")), encoding="utf-8")
            assert len(targets.load(tmp_path / "fit.yaml").fit.targets) > 2
        else:
            complete = {"material": "ws2_hbn", "temperature": "20 K"} | data
            assert loading.from_data(complete, [], "README", tmp_path).temperature > 0
            with pytest.raises(InputError):
                loading.from_data({**complete, "temprature": "20 K"}, [], "README", tmp_path)
