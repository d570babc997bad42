"""The notebook inputs/tutorial.ipynb: its cells run in their order in a fresh process, and show what its text says."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT, clean_environment

NOTEBOOK = ROOT / "inputs/tutorial.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]

RUNNER = """
import json, sys, time

import matplotlib

matplotlib.use("Agg")
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
import matplotlib.pyplot as plt

series, places, pl = names["series"], names["places"], names["pl"]
valleys = list(names["point"].valleys)
width = series.width_squared.sel(valley="KK")
position = places.mean_position.sel(axis="x")
print(json.dumps({
    "figures": len(plt.get_fignums()),
    "seconds": time.process_time(),
    "valleys": valleys,
    "share": names["shares"][-1].tolist(), "boltzmann": names["boltzmann"].tolist(),
    "einstein": names["einstein"], "late": names["late"],
    "negative": [float(names["negative"].min()), float(names["negative"].max())], "lowest": float(names["D"].min()),
    "parts": [float(abs(names["cold"][f"diffusion_{part}"]).max()) for part in ("interv", "drift")],
    "widest": float(width.time[int(width.argmax())]), "deviation": max(names["deviation"].value),
    "pl": [float((pl.sel(time=t) * pl.x**2).sum() / pl.sel(time=t).sum()) for t in (3, 40, 70)],
    "moved": {v: 1e3 * float(position.sel(valley=v, time=60) - position.sel(valley=v, time=10)) for v in valleys},
    "all": names["moved"], "shares": {v: float(places.population.sel(valley=v)[-1]) for v in valleys},
}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    words = [sys.executable, "-c", RUNNER, str(NOTEBOOK)]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_notebook_is_one_and_holds_no_results():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
    for cell in CELLS:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | code
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    words = sum(len("".join(cell["source"]).split()) for cell in CELLS if cell["cell_type"] == "markdown")
    assert words < 1500  # a quarter of an hour


@pytest.mark.slow
def test_the_cells_show_what_the_text_says(results):
    assert results["figures"] == 6
    assert results["seconds"] < 90
    assert results["valleys"] == ["KK", "KK'", "KΛ"]
    assert results["share"] == pytest.approx(results["boltzmann"], rel=0.05)
    assert results["share"][0] < 1e-12
    assert results["einstein"] == pytest.approx(results["late"], rel=0.01)
    start, end = results["negative"]
    assert start == pytest.approx(40.5, abs=2)
    assert end == pytest.approx(99.5, abs=3)
    assert results["lowest"] == pytest.approx(-65, abs=5)
    assert results["parts"][1] < 0.05 * results["parts"][0]
    assert results["widest"] == pytest.approx(40, abs=2)
    assert results["deviation"] < 5e-3
    early, wide, late = results["pl"]
    assert early < late < wide
    moved = results["moved"]
    assert moved["KK"] < -20
    assert moved["KK'"] < -20
    assert moved["KΛ"] > 0
    assert results["all"] == pytest.approx(-30, abs=5)
    assert max(results["shares"], key=results["shares"].get) == "KK'"
