"""Random bad inputs, material files, files of rates and maps (tools/fuzz): refused with one line, or accepted."""

import pytest
import yaml
from fuzzing import worker
from fuzzing.campaign import campaign
from fuzzing.cases import KINDS, bases, write_case
from helpers import ROOT, hpcwigner, small_input

from hpcwigner.problem import loading
from hpcwigner.runtime import yaml_files

SEED, FIRST, CASES = 13, 39, 70
"""As many lines of trees.py and data_files.py run as for 170 cases of seed 1. tools/fuzz runs thousands."""


@pytest.mark.slow
def test_every_case_ends_with_one_line_or_none(tmp_path):
    outcome = campaign(SEED, CASES, tmp_path, first=FIRST)
    assert outcome.problems == {}
    assert outcome.cases == CASES
    assert {*outcome.codes} == {*KINDS}
    for codes in outcome.codes.values():
        assert codes[2] > codes[0] > 0
        assert codes[0] + codes[2] == sum(codes.values())


@pytest.mark.slow
def test_what_is_damaged_is_an_input_that_loads(tmp_path):
    """Else all cases would be refused for the same reason."""
    for number, data in enumerate(bases()):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
        loading.load(path)
    assert len(bases()) > 40


def test_a_case_follows_from_its_seed_and_number(tmp_path):
    (tmp_path / "rates.h5").write_bytes(b"no HDF5")
    contents = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        for number in range(20):
            case = tmp_path / folder / str(number)
            case.mkdir(parents=True)
            write_case(seed, number, case, tmp_path / "rates.h5")
        contents.append([(tmp_path / folder / str(n) / "input.yaml").read_bytes() for n in range(20)])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


LINE = "hpcwigner: in.yaml: time.end: found 3, expected a unit, such as '3 ps'\n"


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "problem"),
    [
        (0, "report\n", "", ""),
        (2, "", LINE, ""),
        (0, "", "warning: overflow\n", "exit code 0, but 1 lines"),
        (1, "", LINE, "exit code 1"),
        (-11, "", "", "exit code -11"),
        (2, "", "", "0 lines instead of one"),
        (2, "", LINE + LINE, "2 lines instead of one"),
        (2, "", LINE[4:], "1 lines instead of one"),
        (2, "", "Traceback (most recent call last):\n  …\nKeyError: 'x'\n", "traceback: KeyError: 'x'"),
        (2, "report\n", LINE, "exit code 2 after output"),
        (2, "", f"hpcwigner: {'x' * 5000}\n", "a message of 5012 characters"),
        (2, "", "hpcwigner: \x1b[31m\n", "control characters"),
    ],
)
def test_what_counts_as_a_problem(code, stdout, stderr, problem):
    found = worker.judge(code, stdout, stderr)
    assert found.startswith(problem) or problem in found
    assert bool(found) == bool(problem)


DRIVER = """
import os, sys, time
from fuzzing import worker

def check(work):
    number = int(work.parent.name)
    if number == 1:
        os.kill(os.getpid(), 11)
    while number == 3:
        pass
    if number == 4:
        (work / "left").touch()
    return 0

worker._check = check
worker.main()
"""


@pytest.mark.slow
def test_crashes_hangs_and_files_left_behind_belong_to_their_case(tmp_path, monkeypatch):
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    (tmp_path / "rates.h5").write_bytes(b"no HDF5")
    monkeypatch.setattr("fuzzing.campaign.WORKER", [str(tmp_path / "driver.py")])
    outcome = campaign(SEED, 6, tmp_path, limit=2, say=lambda text: None)
    assert sorted(outcome.problems) == [1, 3, 4]
    assert "died" in outcome.problems[1]
    assert outcome.problems[3] == "no answer within 2 s of processor time"
    assert outcome.problems[4].startswith("left ")
    assert outcome.cases == 6
    assert len(list(tmp_path.glob("worker_*/cases/*/work/input.yaml"))) == 3


def test_aliases_that_unfold_without_end_are_refused():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
    )
    with pytest.raises(ValueError, match="more than 100000 entries"):
        yaml_files.parse(text)
    with pytest.raises(ValueError, match="more than 50 levels"):
        yaml_files.parse("[" * 60 + "]" * 60)
    with pytest.raises(ValueError, match="more than 50 levels"):
        yaml_files.parse("[" * 60000)


def test_yaml_with_merge_keys_and_anchors_still_loads():
    assert yaml_files.parse("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: {<<: *a, x: 3}\n")["c"] == {"x": 3}
    for path in [*ROOT.glob("inputs/*.yaml"), *ROOT.glob("hpcwigner/exciton/data/*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert yaml_files.parse(text) == yaml.safe_load(text)


def test_a_pulse_that_would_take_hours_to_resolve_is_refused(tmp_path):
    words = ["time={end: 9 ns, steps: [{size: 50 fs}]}", "pump={center: 3 ns, duration_fwhm: 1 ns}", "output.series_every=10 ps"]
    ran = hpcwigner("check", small_input(tmp_path), *(word for setting in words for word in ("--set", setting)))
    assert ran.returncode == 2
    assert "pump.duration_fwhm: found a pulse that the exact moments resolve in" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("space", ["{dimensions: 1, length: 120 um, cells: 48}", "{dimensions: 2, length: 60 um, cells: 20}"])
def test_a_spot_between_the_cells_is_refused(tmp_path, space):
    ran = hpcwigner("check", small_input(tmp_path, space=space))
    assert ran.returncode == 2
    assert ran.stderr.startswith("hpcwigner: space.cells: found cells of ")
    assert "lies between their centres" in ran.stderr
