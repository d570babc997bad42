"""The recipes of CONTRIBUTING.md, followed word for word in a copy of the project; the physics of the term that one adds."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from helpers import ROOT, clean_environment, close, copy_kernels, hpcwigner, same, small_input

from hpcwigner.exciton import materials, valley
from hpcwigner.exciton.wannier import RytovaKeldysh, bound_states
from hpcwigner.storage.reading import read

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEPS = re.findall(r"(?:^`([^`\n]+)`:\n\n)?```(\w+)\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
"""Name of a file (or ''), kind and text of each block."""
SHORTER = " --set 'momentum.energy_step=8 meV' --set 'time.tolerance=1e-2'"
"""What is added to commands that compute."""


def follow(step, folder, site):
    """Writes or changes the file of a step in a copy of the project, or runs its commands; returns what they print."""
    name, kind, text = step
    if kind == "diff":
        change(folder / name, text)
    elif name:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    printed = ""
    for line in text.splitlines() if kind == "sh" else []:
        if " pip install " in line:  # beside the environment that the tests share
            line += f" --quiet --no-deps --no-build-isolation --target {site}"
        if " --set time.end=" in line:
            line += SHORTER
        environment = clean_environment() | {"PYTHONPATH": f"{folder}{os.pathsep}{site}"}
        ran = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, (line, ran.stdout[-2000:], ran.stderr[-2000:])
        printed += ran.stdout
    return printed


def change(path, diff):
    """Applies a diff without line numbers, each part of which has exactly one place."""
    text = path.read_text(encoding="utf-8")
    for part in diff.removeprefix("@@\n").split("@@\n"):
        lines = part.splitlines(keepends=True)
        before, after = ("".join(line[1:] or "\n" for line in lines if line[:1] in f" \n{sign}") for sign in "-+")
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A copy of the project after all recipes, what their commands printed, and the folder of installed packages."""
    folder = tmp_path_factory.mktemp("clone") / "hpcwigner"
    for name in ("hpcwigner", "inputs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.png"))
    copy_kernels(folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    site = folder.parent / "site"
    return folder, [follow(step, folder, site) for step in STEPS], site


@pytest.mark.slow
def test_the_recipes_say_what_they_do(followed):
    folder, printed, _ = followed
    assert [kind for _, kind, _ in STEPS] == ["toml", "python", "sh", "diff", "sh", "yaml", "sh", "diff", "diff", "sh"]
    quenched, shares, material, verb = (text for text in printed if text)
    assert "hpcwigner-quenching 0.1" in quenched
    assert "valley_share" in shares
    assert "WS2 monolayer on SiO2" in material
    assert re.search(r"runs/shares: [\d.e+]+ ns from 2.5 ps on", verb)
    assert "lifetime of all excitons" in verb
    written = read(folder / "runs/shares/series.h5").data
    expected = written["population"][1:] / written["population_total"][1:, None]
    assert written["valley_share"][1:] == pytest.approx(expected, rel=1e-14)


def test_a_material_binds_as_its_surroundings_say(followed):
    """The 1s state is that of the potential with the numbers of the base and the one that differs."""
    folder, *_ = followed
    states = valley.solve(materials.load(str(folder / "ws2_sio2.yaml")))
    (expected,) = bound_states(RytovaKeldysh(3.4, 1.55), 0.175, 1.0, count=1)
    assert states[0].states[0].energy == pytest.approx(expected.energy, rel=1e-6)


STILL = """\
material: ws2_hbn
temperature: 300 K
pump: off
initial: equilibrium
radiation: off
momentum: {{energy_step: 12 meV, angles: 8}}
space: {{dimensions: {dimensions}, length: 12 um, cells: {cells}}}
time: {{end: {end} ps, integrator: etd3, steps: [{{size: 25 fs}}]}}
output: {{directory: {directory}, series_every: 0.25 ps, fields_every: 1 ps}}
extensions:
  quenching: {{lifetime: 2 ps, width: 5 um, center: 3 um}}
"""
LIFETIME = 2.0


def still(folder, name, dimensions=1, cells="96", end=4):
    """Excitons everywhere in equilibrium, which are quenched between 0.5 and 5.5 µm."""
    path = folder / f"{name}.yaml"
    text = STILL.format(dimensions=dimensions, cells=cells, directory=folder / name, end=end)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def extended(followed, monkeypatch):
    """This process and those that it starts find the package of the recipe."""
    monkeypatch.syspath_prepend(followed[-1])
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{followed[-1]}")


def run(*words, ranks=1):
    ran = hpcwigner(*words, "--quiet", ranks=ranks)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "cells"), [(1, "96"), (2, "[96, 8]")])
def test_excitons_in_the_strip_decay_and_others_do_not(extended, tmp_path, dimensions, cells):
    """exp(−t/τ) where nothing arrives from the edges of the strip, 20 nm or so in this time; all is accounted for."""
    run(still(tmp_path, "run", dimensions, cells))
    fields, series = read(tmp_path / "run/fields.h5"), read(tmp_path / "run/series.h5")
    x, time, density = fields.data["x"], fields.data["time"], fields.data["density"]
    ratio = density / density[0]
    inside, outside = np.abs(x - 3.0) < 1.0, np.abs(x + 3.0) < 1.5
    assert np.flatnonzero(inside).size == 16
    decay = np.exp(-time / LIFETIME).reshape(-1, *[1] * (density.ndim - 1))
    assert np.abs(ratio[:, :, inside] / decay - 1).max() < 1e-6
    assert np.abs(ratio[:, :, outside] - 1).max() < 1e-6
    strip = 40 * 0.125 / 12  # cells whose centres lie in it
    number = series.data["population_total"]
    assert number == pytest.approx(1 - strip * (1 - np.exp(-series.data["time"] / LIFETIME)), rel=2e-3)


@pytest.mark.slow
def test_a_run_of_the_written_input_and_a_restart_repeat_it(extended, tmp_path):
    run(still(tmp_path, "run", cells="24", end=2))
    stored = yaml.safe_load((tmp_path / "run/input.yaml").read_text(encoding="utf-8"))
    assert stored["extensions"] == {"quenching": {"lifetime": "2.0 ps", "width": "5.0 um", "center": "3.0 um"}}
    run(tmp_path / "run/input.yaml", "-o", tmp_path / "again")
    run(still(tmp_path, "part", cells="24", end=1))
    run(still(tmp_path, "part", cells="24", end=2), "--restart")
    for name in ("again", "part"):
        same(tmp_path / "run", tmp_path / name, ["series.h5", "fields.h5"])
    for name in ("series.h5", "fields.h5"):
        assert "hpcwigner-quenching 0.1" in read(tmp_path / "run" / name).attributes["libraries"]
    refused = hpcwigner(still(tmp_path, "part", cells="24", end=2), "--restart", "--set", "extensions.quenching.lifetime='3 ps'")
    assert refused.returncode == 2
    assert "extensions.quenching.lifetime: found '3.0 ps', expected '2.0 ps'" in refused.stderr


@pytest.mark.slow
def test_two_ranks_agree_with_one(extended, tmp_path):
    for ranks in (1, 2):
        run(still(tmp_path, f"run{ranks}", 2, "[24, 8]", end=0.5), ranks=ranks)
    close(tmp_path / "run1", tmp_path / "run2", ["series.h5", "fields.h5"])


REFUSED = {
    "extensions.quenchin='{lifetime: 1 ps}'": "extensions.quenchin: found 'quenchin', expected the name of an installed "
    "extension; did you mean 'quenching'? (known here: quenching)",
    "extensions.quenching.lifetme='1 ps'": "extensions.quenching.lifetme: unknown key; did you mean 'lifetime'? "
    "(known here: center, lifetime, width)",
    "extensions.quenching.lifetime='1 um'": "extensions.quenching.lifetime: found '1 um', expected a number with a unit, such as "
    "'1 ps' (um does not convert to ps)",
    "extensions.quenching='{lifetime: 1 ps}'": "extensions.quenching.width: missing, and it has no default",
    "extensions=on": "extensions: found True, expected {NAME: {KEY: VALUE, …}, …}",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "message"), REFUSED.items(), ids=REFUSED)
def test_bad_blocks_are_refused_by_key(extended, tmp_path, setting, message):
    path = still(tmp_path, "run")
    key, _, value = setting.partition("=")
    ran = hpcwigner("check", path, "--set", f"{key}={value.strip(chr(39))}")
    assert (ran.returncode, ran.stderr) == (2, f"hpcwigner: {path}: {message}\n")


def test_without_the_package_one_line_says_so(tmp_path):
    path = still(tmp_path, "run")
    ran = hpcwigner("check", path)
    missing = "extensions.quenching: found 'quenching', expected the name of an installed extension; (known here: none)"
    assert (ran.returncode, ran.stderr) == (2, f"hpcwigner: {path}: {missing}\n")


WRONG = {
    "raise RuntimeError('no licence')": "broken: found 'broken', expected a package that can be imported: broken 1.0 raises "
    "RuntimeError: no licence",
    "Block = dict": "broken: found 'broken:Block', expected a dataclass derived from hpcwigner.terms.extension.Extension in "
    "broken 1.0",
    "class T(LocalLinearTerm):\n    name = part = 'lost'\n    add = None": "broken: found the term 'lost', local and linear, "
    "expected a Loss or an explicit term: the generator is made of scattering and losses",
    "class T(Term):\n    name = part = 'lost'\n    add = None": "broken: found the term 'lost', without why_not_closed, "
    "expected it: the moment equations know losses and sources only",
}  # fmt: skip
MODULE = """
import dataclasses
from hpcwigner.terms.extension import Extension
from hpcwigner.terms.term import LocalLinearTerm, Term

{}

if "Block" not in globals():
    @dataclasses.dataclass(frozen=True)
    class Block(Extension):
        def terms(self, parts):
            return [T()]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "message"), WRONG.items(), ids=[code.split("\n")[0] for code in WRONG])
def test_a_package_that_does_not_fit_is_named(tmp_path, monkeypatch, code, message):
    (tmp_path / "broken.py").write_text(MODULE.format(code), encoding="utf-8")
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[hpcwigner.terms]\nbroken = broken:Block\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    ran = hpcwigner("check", small_input(tmp_path), "--set", "extensions={broken: {}}")
    sys.modules.pop("broken", None)  # the next one is another module of this name
    assert ran.returncode == 2
    assert ran.stderr.removeprefix("hpcwigner: ").removeprefix(f"{tmp_path / 'run.yaml'}: ") == f"extensions.{message}\n"


def test_the_citation_file_has_what_its_format_asks_for():
    """Required keys and those used here, of the schema of the Citation File Format 1.2.0."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    known = {"cff-version", "message", "title", "authors", "type", "abstract", "version", "license", "keywords", "references"}
    assert {"cff-version", "message", "title", "authors"} <= set(cited) <= known
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "MIT")
    source = (ROOT / "hpcwigner/__init__.py").read_text(encoding="utf-8")
    assert str(cited["version"]) == re.search(r'__version__ = "(.*)"', source)[1]
    assert all(set(author) <= {"name", "family-names", "given-names"} for author in cited["authors"])
    for reference in cited["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert set(reference) <= {"type", "title", "authors", "journal", "volume", "start", "year", "identifiers", "doi"}
