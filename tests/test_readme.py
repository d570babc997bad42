"""The commands of the README run in a copy of the project, in their order; what they leave is right; links are valid."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray
import yaml
from helpers import ROOT, clean_environment, hpcwigner

from hpcwigner.observables.curves import negative_windows
from hpcwigner.problem import loading
from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("**/README.md") if ".venv" not in p.parts)
NOT_RUN = {
    "tools/test": "runs this test",
    "touch runs/ws2_20K/SAVE": "the run has ended; tests/test_restart.py",
    "mpirun -n 2 .venv/bin/python -m hpcwigner figures -o figures": "tests/test_figures.py",
}
SHORTER = {
    "hpcwigner sensitivity": " --set 'momentum.energy_step=3 meV' --set 'time.end=5 ps' --set 'output.wigner_at=[]'",
}
"""What is added to a command that would take long."""


def commands():
    """Command lines of the shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
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
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def test_the_readme_has_commands_and_no_exception_is_stale():
    lines = commands()
    assert len(lines) > 15
    for line in NOT_RUN:
        assert line in lines
    for part in SHORTER:
        assert any(part in line for line in lines)


@pytest.fixture(scope="module")
def used(copy):
    """The copy after every command that is run here."""
    environment = clean_environment() | {"PYTHONPATH": str(copy), "HPCWIGNER_VENV": str(ROOT / ".venv")}
    for line in commands():
        if line in NOT_RUN:
            continue
        extra = "".join(more for part, more in SHORTER.items() if part in line)
        ran = subprocess.run(
            line + extra, shell=True, cwd=copy, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert ran.returncode == 0, (line, ran.stdout[-2000:], ran.stderr[-2000:])
    return copy


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs(used):
    for made in ("runs/ws2_20K/overview.png", "runs/ws2_20K/report.html", "diffusion.png"):
        assert (used / made).stat().st_size > 1000, made
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        ran = subprocess.run([sys.executable, "-c", block], cwd=used, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        said = re.search(r"about (−?\d+)", block)
        shown = re.search(r"(-\d+\.\d+)", ran.stdout)
        assert float(shown[1]) == pytest.approx(float(said[1].replace("−", "-")), abs=1)


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
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_every_verb_is_in_the_table():
    verbs = re.search(r"positional arguments:.*?\n(.*?)\noptions", hpcwigner("--help").stdout, re.DOTALL)[1]
    known = set(re.findall(r"^    (\w+)", verbs, re.MULTILINE))
    listed = set(re.findall(r"^\| `… (\w+)", TEXT, re.MULTILINE))
    assert listed == known - {"run"}


def test_the_inputs_shown_are_valid(tmp_path):
    """The complete input, and the material with a change."""
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    shown = [yaml.safe_load(block) for block in blocks]
    inputs = [data for data in shown if "temperature" in data]
    materials = [data for data in shown if "base" in data]
    assert inputs
    assert materials
    for data in inputs:
        complete = loading.from_data(data, [], "README", tmp_path)
        assert complete.temperature == 20
    for number, data in enumerate(materials):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
        assert hpcwigner("verify", tmp_path / f"{number}.yaml").returncode == 0
    with pytest.raises(InputError):
        loading.from_data({**inputs[0], "temprature": "20 K"}, [], "README", tmp_path)
