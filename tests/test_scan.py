"""`figures --scan`: materials drawn in their ranges, the law for the rise of D_KK, and statements that exclude each other."""

import dataclasses
import re

import numpy as np
import pytest
from helpers import hpcwigner
from test_paper_statements import TRANSPORT

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import HBAR
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.studies import verification
from hpcwigner.studies.paper import moments
from hpcwigner.studies.paper.scan import EDGES, STRICT, Scan, draw, needed


@pytest.fixture(scope="module")
def solved(ws2):
    """Moment equations of the shipped material."""
    return moments.solve(moments.configs("ws2_hbn"), ws2)


def test_moment_equations_give_the_numbers_of_the_runs_and_rates(solved, ws2):
    """Peak, window and D of `figures` (README.md), linewidths of `verify`."""
    t = solved.transport
    assert t.peak_time == pytest.approx(2.875, abs=0.26)
    assert t.window == pytest.approx((40.3, 99.4), abs=0.6)
    assert t.warm_level == pytest.approx(0.98, abs=0.01)
    acoustic, optical, between = verification.linewidths(Couplings.from_material(ws2), 0, 20.0)
    assert solved.between == pytest.approx(between, rel=1e-3)
    assert solved.inside == pytest.approx(acoustic + optical, rel=1e-2)
    assert t.lifetimes["20 K"] == pytest.approx(1e3 * HBAR / (solved.radiative + solved.inside + solved.between))


def test_d_rises_when_the_first_bright_excitons_are_as_few_as_those_that_come_back(solved):
    assert solved.product == pytest.approx(solved.transport.rise_time * solved.between / HBAR)
    assert abs(solved.product - solved.remaining) < 2
    assert solved.remaining > 10
    assert 1 < solved.lag < 1.5


def test_drawn_materials_lie_in_their_ranges_and_are_the_same_every_time(ws2):
    ranges = {key: number.range for key, number in materials.numbers(ws2)}
    first, again = draw(ws2, 4), draw(ws2, 4)
    for one, other in zip(first, again, strict=True):
        values, others = (dict(materials.numbers(m)) for m in (one, other))
        assert all(values[key].value == others[key].value for key in values)
        moved = [key for key, number in materials.numbers(ws2) if values[key].value != number.value]
        assert len(moved) == 28
        assert all(ranges[key][0] * (1 - 1e-9) <= values[key].value <= ranges[key][1] * (1 + 1e-9) for key in moved)
        assert "valleys.KK'.energy" not in moved
    for material in first[1::2]:
        values = dict(materials.numbers(material))
        assert all(values[key].value == pytest.approx(ranges[key][end]) for key, end in EDGES.items())


def made_up(peaks, lifetimes, first_rise=7.0):
    """A scan whose materials differ in peak time and in the lifetime at 20 K only; D of the first one may rise early."""
    transports = [
        dataclasses.replace(TRANSPORT, peak_time=peak, lifetimes={**TRANSPORT.lifetimes, "20 K": lifetime})
        for peak, lifetime in zip(peaks, lifetimes, strict=True)
    ]
    transports[0] = dataclasses.replace(transports[0], rise_time=first_rise)
    one = moments.Solved(TRANSPORT, 1.0, 0.5, 2.0, 1e-8)
    return Scan("base", tuple("abcdefghijklmnopqrst"), tuple(dataclasses.replace(one, transport=t) for t in transports), 0)


def test_statements_that_never_hold_together_exclude_each_other():
    half = 10
    apart = made_up([8.0] * half + [3.0] * half, [200.0] * half + [80.0] * half)
    pairs = apart.exclusions()
    assert len(pairs) == 1
    i, j, first, second, chance = pairs[0]
    assert {apart.statements[i], apart.statements[j]} == {STRICT, "D of KK has its peak at about 8 ps"}
    assert (first, second, chance) == (half, half, 5.0)
    once = made_up([8.0] * half + [3.0] * half, [90.0] + [200.0] * (half - 1) + [80.0] * half)
    assert once.exclusions() == []
    late = made_up([8.0] * half + [3.0] * half, [90.0] + [200.0] * (half - 1) + [80.0] * half, first_rise=2.0)
    assert late.exclusions() == []
    assert [pair[:2] for pair in late.exclusions(at_rise=True)] == [(i, j)]  # without the one whose peak is long after its rise


def test_front_is_what_no_other_material_beats():
    peaks = [3.0, 4.0, 4.0, 8.0, 12.0, 6.0] + [2.0] * 14
    lifetimes = [100.0, 120.0, 130.0, 200.0, 190.0, 250.0] + [150.0] * 14
    assert made_up(peaks, lifetimes).front() == [0, 1, 4]  # a later peak than 8 ps is no better
    assert made_up(peaks, lifetimes).front(at_rise=True) == [0, 1, 3]  # 12 ps is long after the rise at 7 ps


def test_widths_that_the_law_needs():
    for time, width, rest in needed(19.0):
        assert time * width / HBAR == pytest.approx(19.0)
        assert HBAR / (width + rest) == pytest.approx(0.1)  # ps
    assert np.isclose(needed(19.0)[2][1], 2.5, atol=0.01)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    process = hpcwigner("figures", "--scan", "2", "-o", tmp_path, "--set", "momentum.energy_step=8 meV")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "scan.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "scan.md").read_text()
    median = re.search(r"median ([\d.]+)", text).group(1)
    assert f"time of the rise × Γ_interv: median {median} over 5 materials" in process.stdout
    table = [line.split(",") for line in (tmp_path / "scan.csv").read_text().splitlines()]
    assert [row[0] for row in table] == ["material", "ws2_hbn", "ws2_hbn_rosati2020", "wse2_hbn", "drawn 1", "drawn 2"]
    rows = [line for line in text.splitlines() if line.startswith(("| ws2_hbn |", "| ws2_hbn_rosati2020 |", "| wse2_hbn |"))]
    assert len(rows) >= 3
    assert "2 materials drawn inside the documented ranges of ws2_hbn's numbers" in text
    refused = hpcwigner("figures", "--scan", "1", "-o", tmp_path)
    assert refused.returncode == 2
    assert "--scan: found 1 materials, expected 2 or more" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
