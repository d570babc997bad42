"""tools/gallery: the page follows from its JSON, each input is shown, verdicts follow from ranges; one input from end to end."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, clean_environment
from PIL import Image
from scipy.integrate import trapezoid
from shipped import catalogue, page, runs
from shipped.catalogue import Entry, Number, Statement
from shipped.diffusion import drift_diffusion, robin_loss, robin_profile, with_density

from hpcwigner.runtime.errors import InputError
from hpcwigner.storage.reading import read

INPUTS = ROOT / "inputs"
ENTRIES, RESULTS = catalogue.load_catalogue(), catalogue.load_results(INPUTS / "gallery.json")
SHIPPED = {path.stem for path in INPUTS.glob("*.yaml")}


def test_the_page_follows_from_the_numbers():
    text = (INPUTS / "README.md").read_text(encoding="utf-8")
    made = page.gallery(ENTRIES, RESULTS, INPUTS)
    assert text.partition(page.START)[2].partition(page.END)[0] == made
    assert page.insert(text, made) == text
    with pytest.raises(ValueError, match="no marks"):
        page.insert("# a page", made)


def test_every_input_is_shown():
    assert set(ENTRIES) == SHIPPED
    assert set(RESULTS) == SHIPPED
    text = (INPUTS / "README.md").read_text(encoding="utf-8")
    for name in SHIPPED:
        assert text.count(f"\n### {name}\n") == 1
        assert text.count(f"\n| [`{name}`](#{name.lower()}) |") == 1


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_each_entry_is_complete(name):
    """Its run is that of the input, its picture is small, it says what is judged, and the time was measured."""
    entry, result = ENTRIES[name], RESULTS[name]
    assert result.input_hash == runs.input_hash(INPUTS / f"{name}.yaml", result.settings)
    assert bool(result.settings) == bool(entry.settings)
    assert bool(entry.settings) == bool(entry.reduced or entry.extended)
    assert result.seconds > 0
    with Image.open(INPUTS / result.picture) as picture:
        assert picture.width > 500
    assert (INPUTS / result.picture).stat().st_size < 100_000
    for statement in entry.statements:
        assert statement.holds.keys() <= result.numbers.keys()
        assert statement.source


def number(value):
    return Number(value=value, unit="ps", meaning="time")


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (5.0, (6, 10), False), (6.0, (6, 10), True), (10.1, (6, 10), False), (1e9, (6, None), True), (-1.0, (None, 0), True),
        (0.1, (None, 0), False), (None, (None, 0), False), (None, (0, None), False),
    ],
)  # fmt: skip
def test_a_number_outside_its_range_fails(value, limits, expected):
    statement = Statement(says="a peak", source="a paper", holds={"peak": limits})
    assert catalogue.holds(statement, {"peak": number(value)}) == expected
    assert page.verdict(statement, {"peak": number(value)}) == ("holds" if expected else "**fails**")


def test_one_number_outside_is_enough_and_the_page_says_so():
    """Change one number of the kept results: its row and the counts of the page change."""
    entry = ENTRIES["ws2_300K"]
    result = RESULTS["ws2_300K"]
    good, bad = (
        page.gallery({"ws2_300K": entry}, {"ws2_300K": result.model_copy(update={"numbers": result.numbers | changes})}, INPUTS)
        for changes in ({}, {"spread": Number(value=50.0, unit="%", meaning="spread")})
    )
    assert "**1 of 1 published statements hold, and 1 of 1 exact results.**" in good
    assert "**0 of 1 published statements hold, and 1 of 1 exact results.**" in bad
    assert "**fails**" not in good
    (row,) = [line for line in bad.splitlines() if "**fails**" in line]
    assert "50.0 %" in row
    assert "at most 5 %" in row


def test_planes_do_not_count_twice():
    names = ("ws2_300K", "ws2_300K_2d")
    text = page.gallery({n: ENTRIES[n] for n in names}, {n: RESULTS[n] for n in names}, INPUTS)
    assert "**1 of 1 published statements hold" in text
    assert ENTRIES["ws2_300K_2d"].statements == ENTRIES["ws2_300K"].statements


def test_numbers_of_the_catalogue_are_not_typed_by_hand():
    """Its texts hold results in braces; decimal fractions outside of them are those of inputs."""
    for name, entry in ENTRIES.items():
        for text in (entry.text, *(s.why for s in entry.statements)):
            left = re.findall(r"(?<![\w.:/])\d+\.\d+", re.sub(r"\{\w+\}", "", text))
            allowed = {"0.41", "0.5", "0.3"}  # R of an input; distances of an input
            assert set(left) <= allowed, (name, left)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {numbers: x.y, wiew: overview}", "a.wiew|wiew"),
        ("a: {numbers: x.y, statements: [{says: s, source: t, holds: {}}]}", "holds"),
    ],
)
def test_a_wrong_catalogue_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        catalogue.load_catalogue(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.98412, "0.984"), (12.0, "12.0"), (350.2, "350"), (1234.5, "1234"), (9.2e-14, "9.20e-14"), (-297.1, "-297")],
)
def test_texts_of_numbers(value, text):
    assert catalogue.number_text(value) == text


def program(*words):
    """The tool in a process of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "tools/gallery", *map(str, words)], env=clean_environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a gallery of one input, and what the tool said."""
    folder = tmp_path_factory.mktemp("gallery")
    shutil.copy(INPUTS / "ws2_300K.yaml", folder)
    (folder / "README.md").write_text(f"# mine\n\n{page.START}old\n{page.END}\nafter\n", encoding="utf-8")
    words = ("ws2_300K.yaml", "--inputs", folder, "--runs", folder / "runs", "--ranks", "1")
    ran = program(*words)
    assert ran.returncode == 0, ran.stderr
    return folder, words, ran


@pytest.mark.slow
def test_one_input_from_run_to_page(made):
    folder, _, ran = made
    assert ran.stdout.startswith("ws2_300K: holds, holds (")
    results = catalogue.load_results(folder / "gallery.json")
    assert set(results) == {"ws2_300K"}
    series = read(folder / "runs/ws2_300K/series.h5").data
    assert results["ws2_300K"].numbers["diffusion"].value == pytest.approx(series["diffusion"][-1].mean(), rel=1e-5)
    assert results["ws2_300K"].ranks == 1
    assert results["ws2_300K"].seconds < 300
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# mine\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text.splitlines()
    assert f"mean D_v at the end: {series['diffusion'][-1].mean():.3f} cm²/s" in text
    assert "| [`ws2_77K`](#ws2_77k) | not run | | |" in text
    assert (folder / "ws2_300K.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_finished_run_is_used_again(made, called):
    folder, words, _ = made
    before = (folder / "runs/ws2_300K/series.h5").stat().st_mtime_ns
    page_before = (folder / "README.md").read_bytes()
    assert called("gallery", *words, "--keep")[0] == 0
    assert (folder / "runs/ws2_300K/series.h5").stat().st_mtime_ns == before
    assert (folder / "README.md").read_bytes() == page_before


@pytest.mark.slow
def test_a_run_from_elsewhere_takes_its_place(made, called):
    folder, words, _ = made
    (folder / "runs/ws2_300K").rename(folder / "elsewhere")
    assert called("gallery", *words, "--run", f"ws2_300K={folder / 'elsewhere'}")[0] == 0
    assert not (folder / "runs/ws2_300K").exists()
    assert called("gallery", *words, "--run", f"ws2_300K={folder}")[0] == 2
    (folder / "elsewhere").rename(folder / "runs/ws2_300K")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ws2_300k",), "'ws2_300k': found no such entry of the gallery; did you mean 'ws2_300K'?"),
        (("--run", "x"), "expected INPUT=DIR"),
    ],
)
def test_wrong_words_are_refused_in_one_line(called, words, message):
    code, _, errors = called("gallery", *words)
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


def test_program_of_a_revision():
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    if not head:
        pytest.skip("not a checkout")
    clean = subprocess.run(["git", "-C", ROOT, "diff", "--quiet", "HEAD", "--", "hpcwigner"], check=False).returncode == 0
    assert runs.same_program(head) == clean
    assert not runs.same_program(f"{head}+changes")
    assert not runs.same_program("0" * 40)


def test_the_hash_is_that_of_what_the_input_says(tmp_path):
    path = INPUTS / "ws2_300K.yaml"
    text = path.read_text(encoding="utf-8")
    (tmp_path / "comment.yaml").write_text(f"# more\n{text}", encoding="utf-8")
    (tmp_path / "warmer.yaml").write_text(text.replace("temperature: 300 K", "temperature: 301 K"), encoding="utf-8")
    hashed = runs.input_hash(path, ())
    assert hashed == runs.input_hash(tmp_path / "comment.yaml", ())
    assert hashed != runs.input_hash(tmp_path / "warmer.yaml", ())
    assert hashed != runs.input_hash(path, ("temperature=301 K",))


# ---- the diffusion equations beside which runs stand ------------------------------------------------------------------------


def test_drift_and_diffusion_keep_the_boltzmann_distribution_and_number():
    x = np.linspace(-0.975, 0.975, 40)
    energy = 8 * np.tanh(x / 0.2) + 3 * np.cos(np.pi * x)
    even = np.exp(-energy / 6.0)
    times = np.array([0.0, 5.0, 3000.0])
    start = np.exp(-((x - 0.3) ** 2) / 0.02)
    kept = drift_diffusion(x, even, energy, 2e-3, 6.0, times, periodic=False)
    assert kept == pytest.approx(np.tile(even, (3, 1)), rel=1e-6)
    n = drift_diffusion(x, start, energy, 2e-3, 6.0, times, periodic=False)
    assert n.sum(axis=1) == pytest.approx(np.full(3, start.sum()), rel=1e-6)
    assert n[-1] / n[-1].sum() == pytest.approx(even / even.sum(), rel=1e-3)


def test_a_tilt_moves_the_cloud_with_einsteins_mobility():
    """d⟨x⟩/dt = −D E'/kT, and the variance grows by 2Dt."""
    x = np.linspace(-3, 3, 601)
    n = drift_diffusion(x, np.exp(-(x**2) / 0.1), 5.0 * x, 1e-3, 10.0, np.array([0.0, 50.0]), periodic=False)
    mean = (n @ x) / n.sum(axis=1)
    variance = (n @ x**2) / n.sum(axis=1) - mean**2
    assert mean[1] - mean[0] == pytest.approx(-1e-3 * 5.0 / 10.0 * 50, rel=1e-3)
    assert variance[1] - variance[0] == pytest.approx(2 * 1e-3 * 50, rel=1e-3)


def test_losses_of_an_edge_are_those_of_its_profile():
    """What is missing from the profile behind the edge has been absorbed; an edge that absorbs all loses 2√(Dt/π)."""
    D, S, time = 1e-4, 5e-3, 200.0
    depth = np.linspace(0, 2, 200001)
    missing = trapezoid(1 - robin_profile(depth, time, D, S), depth)
    assert robin_loss(np.array([time]), D, S)[0] == pytest.approx(missing, rel=1e-4)
    assert robin_loss(np.array([time]), D, 1e3)[0] == pytest.approx(2 * np.sqrt(D * time / np.pi), rel=1e-3)


@pytest.mark.parametrize("plane", [False, True])
def test_diffusion_with_density_in_its_limits(plane):
    """Without density terms w² grows by 4Dt (a line counts 2x²); without diffusion n = n0/(1 + R n0 t)."""
    r = 0.005 * (np.arange(400) + 0.5)
    start, times = 7.0 * np.exp(-(r**2) / 0.05), np.array([0.0, 10.0, 40.0])
    weight = r if plane else np.ones_like(r)
    n = with_density(r, plane, start, 1e-3, 0.0, 0.0, 0.01, times, 1e-9)
    width = (1 if plane else 2) * (n @ (weight * r**2)) / (n @ weight)
    assert np.diff(width) == pytest.approx(4 * 1e-3 * np.diff(times), rel=1e-3)
    assert n @ weight == pytest.approx((start @ weight) * np.exp(-0.01 * times), rel=1e-5)
    lost = with_density(r, plane, start, 0.0, 0.0, 0.02, 0.0, times, 1e-9)
    assert lost[-1] == pytest.approx(start / (1 + 0.02 * start * 40), rel=1e-5, abs=1e-7)


def test_an_entry_may_leave_out_what_it_does_not_need():
    assert Entry(numbers="homogeneous.warm").view == "overview"
