"""The input file: what it accepts, what it refuses and how, and that it survives being written."""

import dataclasses
import re

import pytest
import yaml
from helpers import ROOT

from hpcwigner.exciton import materials
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.problem import describe, loading
from hpcwigner.problem.blocks import Injection
from hpcwigner.problem.config import Config, Momentum
from hpcwigner.problem.kinetics import momentum_grid
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Quantity

MINIMAL = {"material": "ws2_hbn", "temperature": "20 K"}


def load(tmp_path, overrides=(), **keys):
    path = tmp_path / "input.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **keys}, allow_unicode=True), encoding="utf-8")
    return loading.load(path, overrides)


def test_units_are_converted(tmp_path):
    c = load(tmp_path, pump={"spot_fwhm": "0.5 um", "duration_fwhm": "100 fs", "density": "1e12 cm^-2"})
    assert (c.pump.spot_fwhm, c.pump.duration_fwhm, c.pump.density) == (500.0, 0.1, 0.01)


def test_the_complete_input_loads_back_to_the_same(tmp_path):
    steps = [{"size": "10 fs", "until": "0.75 ps"}, {"size": "0.1 ps", "until": "5 ps"}, {"size": "0.25 ps"}]
    original = load(
        tmp_path,
        temperature="77.123456789 K",
        pump={"spot_fwhm": "0.1 um", "density": "1.7e11 cm^-2"},
        scattering={"intervalley": {"off_at": "10 ps"}, "intravalley": "on"},
        space={"dimensions": 2, "cells": [32, 40], "length": "12.3 um", "boundary": "open"},
        time={"steps": steps, "tolerance": "1e-4"},
        output={"wigner_at": ["5 ps", "50 ps"]},
    )
    path = tmp_path / "again.yaml"
    path.write_text(loading.to_yaml(original), encoding="utf-8")
    assert loading.load(path) == original


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ({}, {"radiation": True, "initial": "none"}),
        ({"radiation": False}, {"radiation": False}),
        ({"recombination": {"lifetime": "1 ns"}}, {"recombination": {"lifetime": "1.0 ns"}}),
        ({"recombination": {"lifetime": {"KK": "3 ps"}}}, {"recombination": {"lifetime": {"KK": "0.003 ns"}}}),
        ({"initial": "equilibrium"}, {"initial": "equilibrium", "pump": False}),
        ({"initial": "/run/state.h5", "pump": {}}, {"initial": "/run/state.h5"}),
        ({"radiation": "on", "pump": {"density": "1e11 cm^-2"}}, {"radiation": True}),
    ],
)
def test_what_is_written_loads_back(tmp_path, keys, written):
    loaded = load(tmp_path, **keys)
    data = yaml.safe_load(loading.to_yaml(loaded))
    assert {key: data[key] for key in written} == written
    assert ("recombination" in data) == ("recombination" in keys)
    assert loading.from_data(data, [], "again", tmp_path) == loaded


def test_injection(tmp_path):
    loaded = load(tmp_path, pump={"energy": {"valley": "KΛ", "above": "0.03 eV"}}, initial="equilibrium")
    assert loaded.pump.energy == Injection("KΛ", 30.0, 5.0)
    assert loaded.initial == "equilibrium"
    assert loading.from_data(yaml.safe_load(loading.to_yaml(loaded)), [], "again", tmp_path) == loaded


def test_outputs_and_the_end_need_not_fall_on_the_series(tmp_path):
    loaded = load(tmp_path, time={"end": "10.1 ps"}, output={"fields_every": "0.7 ps", "wigner_at": ["0.33 ps", "10.1 ps"]})
    assert (loaded.time.end, loaded.output.fields_every, loaded.output.wigner_at) == (10.1, 0.7, (0.33, 10.1))


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([], "phases with increasing until"),
        ([{"size": "10 fs", "until": "1 ps"}], r"time\.steps: found 'until \[1.0\] ps', expected phases .* the last one without"),
        ([{"size": "10 fs"}, {"size": "20 fs"}], "the last one without"),
        ([{"size": "1 fs", "until": "2 ps"}, {"size": "2 fs", "until": "1 ps"}, {"size": "3 fs"}], "increasing until"),
        ([{"size": 10}], r"time\.steps\.0\.size.*unit"),
        ([{"sise": "10 fs"}], r"time\.steps\.0\.sise: unknown key; did you mean 'size'"),
        ("fast", r"time\.steps"),
    ],
)
def test_phases_of_steps_that_make_no_sense_are_refused(tmp_path, steps, what):
    with pytest.raises(InputError, match=what):
        load(tmp_path, time={"steps": steps})


@pytest.mark.parametrize("value", [0.1, 1 / 3, 123.456e-7, 7.000000000000001])
def test_written_quantities_are_exact(value):
    for quantity in (Quantity("nm", shown="um"), Quantity("ps", shown="fs"), Quantity("meV")):
        assert quantity.parse(quantity.write(float(f"{value:.15g}"))) == float(f"{value:.15g}")


def test_overrides(tmp_path):
    c = load(tmp_path, ["time.end=5 ps", "pump.spot_fwhm=1 um", "scattering.intervalley=off"])
    assert (c.time.end, c.pump.spot_fwhm, c.scattering.intervalley) == (5.0, 1000.0, 0.0)
    for wrong in ("time.end", "temperature.x=3", "time.ende=5 ps"):
        with pytest.raises(InputError):
            load(tmp_path, [wrong])


def test_materials(tmp_path, ws2):
    assert ws2.valleys["KΛ"].degeneracy == 3
    assert ws2.radiation.bright_valley == "KK"
    with pytest.raises(InputError, match="did you mean 'ws2_hbn'"):
        materials.load("ws2_hbm")
    text = (materials.SHIPPED / "ws2_hbn.yaml").read_text(encoding="utf-8")
    for good, bad, what in (
        ("degeneracy: 3", "degeneracy: 0", "valleys.KΛ.degeneracy"),
        ("between: [KK', KΛ]", "between: [KK', KM]", "between"),
        ("confidence: measured}", "confidence: sure}", "'measured', 'computed' or 'estimated'"),
        ("4.3 nm/ps", "4.3 nm", "does not convert"),
        (", source: jin2014, confidence: computed}", "}", "missing"),
    ):
        (tmp_path / "own.yaml").write_text(text.replace(good, bad), encoding="utf-8")
        with pytest.raises(InputError, match=r"own\.yaml: .*") as error:
            materials.load("own.yaml", tmp_path)
        assert what in str(error.value)
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    assert materials.load("own.yaml", tmp_path) == ws2


def test_every_number_has_a_known_source(ws2):
    """Sources name an entry of `references`, or say in words where the number comes from."""
    import dataclasses

    def walk(item):
        if hasattr(item, "source"):
            yield item.source
        elif dataclasses.is_dataclass(item):
            for field in dataclasses.fields(item):
                yield from walk(getattr(item, field.name))
        elif isinstance(item, dict):
            for value in item.values():
                yield from walk(value)
        elif isinstance(item, tuple):
            for value in item:
                yield from walk(value)

    sources = list(walk(ws2))
    assert len(sources) > 40
    for source in sources:
        first = source.split(",")[0].strip()
        assert first in ws2.references or " " in first, source


def test_a_material_based_on_another_changes_what_it_names(tmp_path):
    from hpcwigner.exciton import materials

    base = dict(materials.numbers(materials.load("ws2_hbn")))
    paper = dict(materials.numbers(materials.load("ws2_hbn_rosati2020")))
    changed = {key for key in base if paper[key].value != base[key].value}
    named = yaml.safe_load((materials.SHIPPED / "ws2_hbn_rosati2020.yaml").read_text(encoding="utf-8"))["changes"]
    assert changed == set(named)
    assert len(changed) > 2
    for key in changed:  # inside the range that the default material documents, not only its own
        low, high = base[key].range
        assert low <= paper[key].value <= high
        assert paper[key].range == base[key].range
    path = tmp_path / "mine.yaml"
    path.write_text(
        "base: ws2_hbn\nchanges: {valleys.KX.energy: {value: 1 meV, source: me, confidence: measured}}\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"mine.yaml: changes: valleys.KX: unknown key; did you mean"):
        materials.load(str(path))
    path.write_text("base: ws2_hbn\nchange: {}\n", encoding="utf-8")
    with pytest.raises(InputError, match="did you mean 'changes'"):
        materials.load(str(path))


def test_estimates_need_a_range_around_them(tmp_path):
    from hpcwigner.exciton import materials

    path = tmp_path / "mine.yaml"
    for number, words in (
        ("{value: 4 nm/ps, source: me, confidence: estimated}", "sound_velocity.range: found None, expected"),
        ("{value: 4 nm/ps, source: me, confidence: estimated, range: [5 nm/ps, 6 nm/ps]}", r"sound_velocity.range: found \[5"),
        ("{value: 4, source: me, confidence: measured}", "sound_velocity.value: found 4, expected a unit"),
        ("{value: 4 nm/ps, source: me}", "sound_velocity.confidence: missing"),
    ):
        path.write_text(f"base: ws2_hbn\nchanges: {{sound_velocity: {number}}}\n", encoding="utf-8")
        with pytest.raises(InputError, match=words):
            materials.load(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: mine.yaml", "base: found 'mine.yaml', expected a material that is not based on this one"),
        ("base: nowhere.yaml", "nowhere.yaml: no such file"),
        ("base: ws2_hbn\nchanges: 5", "mine.yaml: changes: found 5, expected"),
        ("base: ws2_hbn\nchanges: {valleys.KK.energy: 3 meV}", "mine.yaml: changes.valleys.KK.energy: found '3 meV', expected"),
        ("base: ws2_hbn\nchanges: {intervalley_phonons.K TA: {}}", "expected one number of a phonon"),
        (
            "base: ws2_hbn\nchanges: {intervalley_phonons.K TB.energy: {}}",
            "intervalley_phonons.K TB: unknown key; did you mean 'K ",
        ),
        ("base: ws2_hbn\nchanges: {sound_velocity.value: {}}", "sound_velocity.value"),
        ("base: ws2_hbn\nchanges: {valleys.KK.enrgy: {}}", "did you mean 'energy'"),
        ("base: ws2_hbn\nchanges: {name.x: {}}", "name: unknown key"),
    ],
)
def test_bad_changes_are_one_clear_error(tmp_path, text, words):
    from hpcwigner.exciton import materials

    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        materials.load(str(path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_paths_start_at_the_inputs_folder(tmp_path):
    path = tmp_path / "in.yaml"
    path.write_text("material: ./mine.yaml\ntemperature: 20 K\nrates: r.h5\ninitial: run/checkpoints/0001\n", encoding="utf-8")
    loaded = loading.load(path)
    assert loaded.material == str(tmp_path / "mine.yaml")
    assert (loaded.rates, loaded.initial) == (str(tmp_path / "r.h5"), str(tmp_path / "run/checkpoints/0001"))
    path.write_text("material: ws2_hbn\ntemperature: 20 K\n", encoding="utf-8")
    loaded = loading.load(path)
    assert (loaded.material, loaded.rates, loaded.initial) == ("ws2_hbn", "auto", "none")


def test_the_list_of_keys_is_up_to_date():
    """`python -m hpcwigner.problem.describe` writes it anew."""
    text = (ROOT / "inputs/README.md").read_text(encoding="utf-8")
    assert text.partition(describe.START)[2] == describe.markdown()
    rows = ("| `duration_fwhm` | number in fs, at least 1 |", "| `energy.above` |", "| `steps.until` |", "## `sweep`")
    assert [row for row in rows if row not in text] == []


def test_every_key_has_value_default_and_meaning():
    """Numbers with a unit, whole numbers and shares with their range, in the column of values or in the meaning."""
    table = [line for line in describe.markdown().splitlines() if line.startswith("| `")]
    assert len(table) > 120
    for line in table:
        key, value, default, meaning = (cell.strip() for cell in line.split(" | ", 3))
        assert value, key
        assert default, key
        assert meaning.rstrip(" |"), key
        free = ("peak", "amplitude", "height", "profile")  # of pulses: relative, any number
        bare = re.search(r"whole number|number(?! in)", value)
        if bare and not re.search(r"above|at least|at most", value) and key.rsplit(".", 1)[-1].strip("`| ") not in free:
            assert re.search(r"from \S+ to|at least|or more|multiple of", meaning), line


def test_energy_cells_must_be_enough_for_the_kernels():
    """A material with one valley can have too few."""
    couplings = Couplings.from_material(materials.load("ws2_hbn"))
    alone = Couplings(couplings.valleys[:1], (), ())
    config = Config(material="ws2_hbn", temperature=300.0, momentum=Momentum(energy_step=150.0, energy_max=600.0))
    with pytest.raises(InputError, match=r"momentum.energy_step: found 150 meV, which makes 4 energy cells, expected at least 8"):
        momentum_grid(config, alone)
    with pytest.raises(InputError, match=r"momentum.energy_max: found 600 meV, expected at least two energy steps of 400 meV"):
        momentum_grid(dataclasses.replace(config, momentum=Momentum(energy_step=400.0, energy_max=600.0)), alone)


def test_the_examples_for_writing_an_input_are_valid(tmp_path, monkeypatch):
    """Of inputs/README.md: the complete input, and the landscape with the map that its snippet writes."""
    text = (ROOT / "inputs/README.md").read_text(encoding="utf-8").partition("## Gallery")[0]
    whole, _, landscape, _ = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    config = loading.from_data(whole, [], "README", tmp_path)
    assert (config.temperature, config.time.end) == (77, 40)
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(snippet, {})
    sample = loading.from_data({**whole, **landscape, "space": {"boundary": "reflecting"}}, [], "README", tmp_path).sample
    assert sample is not None
    assert (tmp_path / "map.h5").stat().st_size > 0
