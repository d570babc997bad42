"""The verb `fit`: numbers found again from data made with them, resumption, what it reads off curves, and bad files."""

import dataclasses
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import yaml
from helpers import ROOT, clean_environment, hpcwigner
from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.runtime.errors import InputError
from hpcwigner.studies import verification
from hpcwigner.studies.fit import readings, targets
from hpcwigner.studies.fit.history import History
from hpcwigner.studies.fit.search import Evaluator, Ranges, Search, needed_for
from hpcwigner.studies.fit.study import fit
from hpcwigner.studies.fit.targets import Reading, Target

SMALL = """\
material: ws2_hbn
directory: {directory}
input:
  temperature: 77 K
  momentum: {{energy_max: 64 meV, energy_step: 10 meV}}
  time: {{end: 3 ps}}
  output: {{series_every: 0.25 ps, fields_every: 1 ps}}
runs:
  cool: {{}}
  warm: {{temperature: 150 K, momentum.energy_max: 130 meV, momentum.energy_step: 12 meV, time.end: 2 ps}}
parameters: [sound_velocity, intervalley_phonons.M TA.electron, valleys.KΛ.electron_mass]
targets:
{targets}
{more}
"""
TRUE = {
    "sound_velocity": 4.9,
    "intervalley_phonons.M TA.electron": 20000.0,
    "valleys.KΛ.electron_mass": 0.72,
}
"""Numbers that synthetic data are made with [nm/ps, meV/nm, m0]."""
READ = {
    "D of KK, 1.5 ps": "quantity: diffusion, run: cool, valley: KK, at: 1.5 ps",
    "D of KK, 3 ps": "quantity: diffusion, run: cool, valley: KK, at: 3 ps",
    "D of KΛ, 2 ps": "quantity: diffusion, run: cool, valley: KΛ, at: 2 ps",
    "D of KK, largest": "quantity: diffusion, run: cool, valley: KK, take: largest",
    "w² of KΛ, 3 ps": "quantity: width_squared, run: cool, valley: KΛ, at: 3 ps",
    "n of KΛ over n of KK'": "quantity: population, run: cool, valley: KΛ, per_valley: KK', at: 3 ps",
    "linewidth, 150 K": "quantity: linewidth, temperature: 150 K",
}
READ_RATES = {
    "slope": "quantity: acoustic_slope",
    "linewidth": "quantity: linewidth, temperature: 300 K",
    "D of KΛ alone": "quantity: equilibrium_diffusion, temperature: 300 K, valley: KΛ",
    "share of KΛ": "quantity: equilibrium_share, temperature: 300 K, valley: KΛ",
}
"""Without a run: milliseconds."""
CHEAP = {name: text for name, text in READ_RATES.items() if name != "D of KΛ alone"}
"""One target for each number."""


@pytest.fixture
def file(tmp_path):
    """Writes a file of a fit: targets by name, further keys."""

    def write(lines, more="", name="fit", directory=None):
        path = tmp_path / f"{name}.yaml"
        rows = "\n".join(f"  {key}: {{{text}}}" for key, text in lines.items())
        path.write_text(SMALL.format(directory=directory or tmp_path / name, targets=rows, more=more), encoding="utf-8")
        return path

    return write


def searching(path, folder=None):
    """The search of a file, on this rank alone, and its evaluations."""
    task = targets.load(path)
    ranges = Ranges(task.material, task.keys)
    history = History(folder, {}, len(task.keys), len(readings.all_readings(task)))

    class Never:
        def poll(self, at_once):
            return 0

    return Search(task, ranges, Evaluator(task, ranges, history, MPI.COMM_SELF, Never())), history


def synthetic(file, read=READ_RATES, **words):
    """A file whose targets are what the material with the numbers TRUE gives."""
    search, _ = searching(
        file({name: f"{text}, value: 1{_unit(text)}, tolerance: 1{_unit(text)}" for name, text in read.items()})
    )
    material = materials.load("ws2_hbn")
    for key, value in TRUE.items():
        material = materials.with_value(material, key, value)
    values = search.score(search.ranges.place(material)).values
    lines = {
        name: f"{text}, value: {float(value)!r}{_unit(text)}, tolerance: {0.01 * abs(float(value))!r}{_unit(text)}"
        for (name, text), value in zip(read.items(), values, strict=True)
    }
    return file(lines, **words)


def _unit(text):
    units = {"width_squared": " um^2", "linewidth": " meV", "acoustic_slope": " ueV/K", "equilibrium_share": ""}
    return "" if "per_valley" in text else units.get(text.split(",")[0].split(": ")[1], " cm^2/s")


@pytest.mark.slow
def test_numbers_are_found_again_from_data_made_with_them(file, tmp_path):
    """The whole verb: least squares, the material file, the table."""
    ran = hpcwigner("fit", synthetic(file, READ), "--quiet")
    assert ran.returncode == 0, ran.stderr
    start, fitted = (dict(materials.numbers(materials.load(str(m)))) for m in ("ws2_hbn", tmp_path / "fit/material.yaml"))
    assert {key for key in start if start[key].value != fitted[key].value} == set(TRUE)
    for key, value in TRUE.items():
        assert fitted[key].value == pytest.approx(value, rel=2e-3), key
        assert fitted[key].range == start[key].range
        assert (fitted[key].confidence, start[key].source in fitted[key].source) == ("estimated", True)
        assert "targets of fit" in fitted[key].source
    untouched = [key for key in start if key not in TRUE]
    assert all(start[key] == fitted[key] for key in untouched)
    table = (tmp_path / "fit/fit.txt").read_text(encoding="utf-8")
    assert f"{len(READ)} of {len(READ)} targets met; 3 of 3 numbers moved" in table
    row = next(line for line in table.splitlines() if line.startswith("sound_velocity")).split()
    shown = materials.shown(materials.load(str(tmp_path / "fit/material.yaml")), "sound_velocity")
    assert (float(row[1]), float(row[2])) == (4.3, pytest.approx(shown[0], rel=1e-3))
    assert "        D of KK, 3 ps" in table  # what is missed without a number that moved
    assert len(f"{shown[0]:.12g}") <= 6  # as few digits as the targets allow
    references = materials.load(str(tmp_path / "fit/material.yaml")).references
    assert references.keys() == materials.load("ws2_hbn").references.keys() | {"fit"}


@pytest.mark.slow
def test_an_interrupted_fit_ends_like_one_that_was_not(file, tmp_path, monkeypatch):
    """A STOP file after the first evaluations; then a part of them is lost as well."""
    whole = fit(synthetic(file, CHEAP, name="whole"), None, MPI.COMM_SELF, quiet=True)
    path = synthetic(file, CHEAP, name="cut")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/STOP").touch()
    ran = hpcwigner("fit", path, "--quiet")
    assert (ran.returncode, (tmp_path / "cut/STOP").exists()) == (3, False)
    assert "stopped by a file STOP" in ran.stdout
    assert not (tmp_path / "cut/material.yaml").exists()
    with h5py.File(tmp_path / "whole/history.h5") as kept, h5py.File(tmp_path / "cut/history.h5", "w") as cut:
        cut["places"], cut["readings"] = kept["places"][:3], kept["readings"][:3]
    resumed = fit(path, None, MPI.COMM_SELF, quiet=True)
    assert resumed.replace("/cut/", "/whole/") == whole
    with h5py.File(tmp_path / "whole/history.h5") as kept, h5py.File(tmp_path / "cut/history.h5") as cut:
        for name in ("places", "readings"):
            assert np.array_equal(kept[name][...], cut[name][...], equal_nan=True)
    texts = [(tmp_path / name / "material.yaml").read_text(encoding="utf-8") for name in ("whole", "cut")]
    assert texts[0].replace("whole", "cut") == texts[1]
    monkeypatch.setattr(readings, "solve", lambda *_: pytest.fail("a finished fit is evaluated again"))
    assert fit(path, None, MPI.COMM_SELF, quiet=True) == resumed


@pytest.mark.slow
def test_a_signal_stops_a_fit(file, tmp_path):
    path = synthetic(file, more="search: {method: evolution, generations: 10000}")
    command = [sys.executable, "-m", "hpcwigner", "fit", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    history = tmp_path / "fit/history.h5"
    while process.poll() is None and not history.exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "stopped by signal SIGTERM" in out


@pytest.mark.slow
def test_evolution_has_the_seed_of_the_file_and_improves_on_the_start(file):
    search = "search: {method: evolution, generations: %d, population: 6, iterations: 1, seed: %d}"
    paths = [synthetic(file, CHEAP, name=f"seed{i}", more=search % (n, i)) for n, i in ((2, 1), (2, 1), (1, 2))]
    results, places = [], []
    for path in paths:
        searched, history = searching(path)
        start = searched.score(searched.ranges.home)
        results.append(searched.run())
        places.append(history.places)
        assert results[-1].sum < start.sum
        assert places[-1].min() >= 0
        assert places[-1].max() <= 1
    assert np.array_equal(places[0], places[1])
    assert not np.array_equal(places[0][:7], places[2][:7])


def test_the_nearest_set_moves_no_number_that_no_target_needs(file, tmp_path):
    """From a start with two numbers changed; the target needs the sound velocity alone, and less of it."""
    text = "base: ws2_hbn\nchanges:\n"
    for key, value, limits in (
        ("sound_velocity", "5.5 nm/ps", "3.4 nm/ps, 5.7 nm/ps"),
        ("valleys.KΛ.electron_mass", "0.72 electron_mass", "0.5 electron_mass, 0.8 electron_mass"),
    ):
        text += f"  {key}: {{value: {value}, source: made up, confidence: estimated, range: [{limits}]}}\n"
    (tmp_path / "begin.yaml").write_text(text, encoding="utf-8")
    line = {"slope": "quantity: acoustic_slope, at_most: 25 ueV/K, tolerance: 1 ueV/K"}
    search, _ = searching(file(line, more="start: begin.yaml\nsearch: {method: nearest}"))
    begin, best = search.ranges.place(search.task.start), search.run()
    assert best.met == {0}
    assert list(np.array(search.ranges.keys)[best.place != search.ranges.home]) == ["sound_velocity"]
    assert search.ranges.home[0] < best.place[0] < begin[0]
    assert best.values[0] == pytest.approx(24.9, abs=0.02)  # a tenth of the tolerance inside the limit


def test_the_table_says_what_a_number_is_needed_for(file):
    """The linewidth needs the sound velocity, and the share of KΛ the mass; no target needs the coupling."""
    lines = {name: f"{READ_RATES[name]}, at_least: 0{_unit(READ_RATES[name])}, tolerance: 0.01{_unit(READ_RATES[name])}"
             for name in ("linewidth", "share of KΛ")}  # fmt: skip
    search, _ = searching(file(lines))
    material = materials.load("ws2_hbn")
    for key, value in TRUE.items():
        material = materials.with_value(material, key, value)
    there, home = (search.score(place).values for place in (search.ranges.place(material), search.ranges.home))
    lines = {name: line.replace("at_least: 0", f"at_{'most' if a < b else 'least'}: {0.5 * (a + b)}")
             for (name, line), a, b in zip(lines.items(), there, home, strict=True)}  # fmt: skip
    search, _ = searching(file(lines))
    needed = needed_for(search, search.score(search.ranges.place(material)))
    assert needed == {
        "sound_velocity": ["linewidth"],
        "intervalley_phonons.M TA.electron": [],
        "valleys.KΛ.electron_mass": ["share of KΛ"],
    }


def test_distance_counts_in_units_of_the_ranges(ws2):
    keys = ("sound_velocity", "valleys.KK'.energy")
    ranges = Ranges(ws2, keys)
    numbers = dict(materials.numbers(ws2))
    for i, key in enumerate(keys):
        for place, value in zip((0.0, 1.0), numbers[key].range, strict=True):
            moved = ranges.home.copy()
            moved[i] = place
            assert ranges.numbers(moved)[i] == pytest.approx(value, rel=1e-12)
    assert ranges.home[0] == pytest.approx(np.log(4.3 / 3.4) / np.log(5.7 / 3.4))  # logarithmic
    assert ranges.home[1] == pytest.approx((-51.5 + 60) / 30)  # linear, as the ends are below 0
    assert dict(materials.numbers(ranges.material_at(ranges.home))) == numbers


def test_readings_of_the_rates_are_those_of_the_verb_verify(ws2, couplings, file):
    lines = {
        "slope": "quantity: acoustic_slope, value: 28 ueV/K, tolerance: 1 ueV/K",
        "line": "quantity: linewidth, temperature: 300 K, value: 22 meV, tolerance: 1 meV",
        "life": "quantity: coherent_lifetime, temperature: 77 K, at_most: 100 fs, tolerance: 1 fs",
        "D": "quantity: equilibrium_diffusion, temperature: 300 K, valley: KΛ, value: 1 cm^2/s, tolerance: 1 cm^2/s",
        "binding": "quantity: binding_energy, value: 180 meV, tolerance: 1 meV",
        "share": "quantity: equilibrium_share, temperature: 300 K, valley: KK', at_least: 0.1, tolerance: 0.1",
    }
    search, _ = searching(file(lines))
    slope, line, life, diffusion, binding, share = search.score(search.ranges.home).values
    text = verification.report("ws2_hbn")
    assert f"acoustic slope: {slope:.4g} µeV/K" in text
    assert f"at 300 K: {line:.4g} meV" in text
    assert f"{diffusion:13.3f}" in text
    assert f"binding energy of KK: {binding:.4g} meV" in text
    assert life == pytest.approx(658.2 / (sum(verification.linewidths(couplings, 0, 77.0)) + 1.0), rel=1e-3)
    assert share == pytest.approx(verification.equilibrium_shares(ws2, Couplings.from_material(ws2), 300.0)[1])


TIME = np.linspace(0, 10, 101)
WAVE = np.stack((np.sin(TIME), np.cos(TIME)), axis=1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"valley": "A", "at": 2.03}, np.sin(2.03)),
        ({"valley": "A", "take": "largest"}, 1.0),
        ({"valley": "A", "take": "smallest"}, -1.0),
        ({"valley": "A", "take": "time_of_largest"}, 0.5 * np.pi),
        ({"valley": "A", "take": "time_of_largest", "window": (5.0, 10.0)}, 2.5 * np.pi),
        ({"valley": "A", "take": "time_of_smallest"}, 1.5 * np.pi),
        ({"valley": "B", "take": "largest_size", "window": (2.0, 4.0)}, 1.0),
        ({"valley": "A", "take": "mean", "window": (0.0, 3.0)}, (1 - np.cos(3)) / 3),
        ({"valley": "A", "take": "negative_from"}, np.pi),
        ({"valley": "A", "take": "negative_until"}, 2 * np.pi),
        ({"valley": "A", "take": "negative_overlap", "overlap_with": (np.pi, 3 * np.pi)}, 0.5),
        ({"valley": "A", "take": "share_within", "limits": (-2.0, 0.5), "window": (0.0, 3.0)}, 1 - (2 * np.pi / 3) / 3),
        ({"valley": "A", "take": "settled", "limits": (-0.6, 1.6)}, 2 * np.pi - np.arcsin(0.6)),
        ({"valley": "A", "take": "fall", "window": (0.0, 3.0)}, 1 - np.sin(3.0)),
        ({"valley": "A", "per_valley": "B", "at": 0.5}, np.tan(0.5)),
        ({"valleys": "mean", "at": 1.0}, 0.5 * (np.sin(1) + np.cos(1))),
        ({"valleys": "largest", "at": 1.0}, np.sin(1)),
        ({"valleys": "spread", "at": 1.0}, 2 * (np.sin(1) - np.cos(1)) / (np.sin(1) + np.cos(1))),
    ],
)
def test_numbers_are_read_off_curves(words, expected):
    reading = Reading("diffusion", run="r", **words)
    value = readings.read(reading, TIME, {"diffusion": WAVE}, 0.0, ["A", "B"])
    assert value == pytest.approx(expected, abs=0.1 if words.get("take") == "settled" else 3e-3)


def test_a_target_that_does_not_exist_is_not_met(file):
    line = {"window": "quantity: diffusion, run: warm, valley: KK, take: negative_from, at_most: 2 ps, tolerance: 1 ps"}
    search, _ = searching(file(line))
    score = search.score(search.ranges.home)
    assert np.isnan(score.values[0])
    assert not score.met
    assert score.residuals[0] == 10


def test_deviations_count_in_tolerances(file):
    text = READ["D of KK, 1.5 ps"]
    search, _ = searching(file({"D": f"{text}, value: 1 cm^2/s, tolerance: 1 cm^2/s"}))
    value = search.score(search.ranges.home).values[0]

    def residual(words):
        alone, _ = searching(file({"D": f"{text}, {words}"}))
        score = alone.score(alone.ranges.home)
        return score.residuals[0], bool(score.met)

    assert residual(f"value: {value - 0.3} cm^2/s, tolerance: 0.2 cm^2/s") == (pytest.approx(1.5, rel=1e-6), False)
    assert residual(f"value: {value - 0.1} cm^2/s, tolerance: 0.2 cm^2/s") == (pytest.approx(0.5, rel=1e-6), True)
    assert residual(f"at_least: {value - 0.1} cm^2/s, tolerance: 0.2 cm^2/s") == (0.0, True)
    assert residual(f"at_least: {value + 0.2} cm^2/s, tolerance: 0.2 cm^2/s") == (pytest.approx(-1.1, rel=1e-6), False)
    assert residual(f"at_most: {value - 0.2} cm^2/s, tolerance: 0.2 cm^2/s") == (pytest.approx(1.1, rel=1e-6), False)


GOOD = "quantity: diffusion, run: cool, valley: KK, at: 2 ps, value: 1 cm^2/s, tolerance: 1 cm^2/s"
BAD_TARGETS = [
    (GOOD.replace("diffusion", "diffusoin"), "quantity: found 'diffusoin', expected a quantity that the moment equations or "
     "rates give; did you mean 'diffusion'?"),
    (GOOD.replace("run: cool, ", ""), "run: found None, expected the name of a run"),
    (GOOD.replace("cool", "hot"), "run: found 'hot', expected one of the runs cool, warm"),
    (GOOD.replace("valley: KK", "valley: KX"), "valley: found 'KX', expected a valley of the material"),
    (GOOD.replace("valley: KK, ", ""), "valley: found None, expected a valley, or valleys: spread"),
    (GOOD.replace("1 cm^2/s, tol", "1 ps, tol"), "value: found '1 ps', expected a number with a unit, such as '1 cm^2/s'"),
    (GOOD.replace(", tolerance: 1 cm^2/s", ""), "tolerance: found None, expected a number with a unit"),
    (GOOD.replace("tolerance: 1", "tolerance: 0"), "tolerance: found 0.0, expected a value above 0"),
    (GOOD.replace("value: 1", "at_most: 1") + ", at_least: 2 cm^2/s", "at_most: found 1.0, expected at least at_least"),
    (GOOD.replace("value", "at_lest"), "at_lest: unknown key; did you mean 'at_least'?"),
    (GOOD.replace("at: 2 ps", "at: 4 ps"), "at: found 4 ps, expected a time within the run cool, which ends at 3 ps"),
    (GOOD + ", take: largest", "at: found 2.0, expected a time, or take: mean, largest"),
    (GOOD.replace("at: 2 ps", "take: share_within"), "limits: found None, expected two numbers"),
    ("quantity: linewidth, value: 1 meV, tolerance: 1 meV", "temperature: found None, expected a temperature"),
    ("quantity: linewidth, run: cool, temperature: 9 K, value: 1 meV, tolerance: 1 meV",
     "run: found 'cool', expected none, since linewidth follows from the rates"),
]  # fmt: skip
BAD_KEYS = [
    ("penalty: -1", "penalty: found -1.0, expected 0 or more"),
    ("search: {method: annealing}", "search.method: found 'annealing', expected 'least_squares', 'evolution' or 'nearest'"),
    ("start: mos2_hbn", "start: found 'MoS2 monolayer encapsulated in hBN', expected a material with the same numbers as WS2"),
    ("starts: mos2_hbn", "starts: unknown key; did you mean 'start'?"),
]
BAD = [*(({"D": line}, "", f"targets.D.{message}") for line, message in BAD_TARGETS),
       *(({"D": GOOD}, more, message) for more, message in BAD_KEYS)]  # fmt: skip


@pytest.mark.parametrize(("lines", "more", "message"), BAD, ids=[message.split(",")[0] for *_, message in BAD])
def test_bad_files_are_refused_in_one_line(file, lines, more, message):
    path = file(lines, more)
    with pytest.raises(InputError) as error:
        targets.load(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("[sound_velocty]", "found 'sound_velocty', unknown key; did you mean 'sound_velocity'?"),
        ("[area_density]", "found 'area_density' (measured), expected a number with a range in the material file"),
        ("[dielectric.*]", "expected at least one number with a range"),
        ("some", "found 'some', expected"),
    ],
)
def test_numbers_that_cannot_move_are_refused(file, wanted, message):
    path = file({"D": GOOD})
    own = "[sound_velocity, intervalley_phonons.M TA.electron, valleys.KΛ.electron_mass]"
    path.write_text(path.read_text(encoding="utf-8").replace(own, wanted), encoding="utf-8")
    with pytest.raises(InputError, match="parameters: ") as error:
        targets.load(path)
    assert message in str(error.value)


def test_a_directory_holds_one_fit(file, tmp_path):
    (tmp_path / "fit").mkdir()
    fit(file({"slope": "quantity: acoustic_slope, value: 28 ueV/K, tolerance: 9 ueV/K"}), None, MPI.COMM_SELF, quiet=True)
    other = file({"slope": "quantity: acoustic_slope, value: 29 ueV/K, tolerance: 9 ueV/K"})
    ran = hpcwigner("fit", other)
    assert ran.returncode == 2
    expected = f"directory: found '{tmp_path}/fit', which holds another fit, expected a new one: choose it with --output DIR"
    assert ran.stderr == f"hpcwigner: {expected}\n"
    assert hpcwigner("fit", other, "-o", tmp_path / "other").returncode == 0


@pytest.mark.slow
def test_the_shipped_file_meets_its_targets():
    """Of the material that was fitted with it."""
    search, _ = searching(ROOT / "inputs/fits/ws2_rosati2020.yaml")
    assert search.task.fit.start == "ws2_hbn_rosati2020"
    score = search.score(search.ranges.place(search.task.start))
    assert len(score.met) == len(search.targets)
    assert isinstance(search.targets[0], Target)
    assert yaml.safe_load(search.task.text)["material"] == "ws2_hbn"
    assert dataclasses.is_dataclass(search.task.fit)
