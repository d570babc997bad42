"""Published numbers beside ours in the verb `verify`."""

import re

import pytest

from hpcwigner.exciton import materials
from hpcwigner.exciton.constants import HBAR
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.studies import verification

NAMES = ("ws2_hbn", "wse2_hbn", "mos2_hbn", "mose2_hbn")


def compared(name):
    material = materials.load(name)
    return material, verification.comparisons(material, Couplings.from_material(material))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_published_number_has_its_reference_and_verdict(name):
    material, rows = compared(name)
    assert rows
    assert all(row.source in material.references for row in rows)
    assert all("abstract" in material.references[row.source] or row.source == "rosati2020" for row in rows)
    text = verification.report(name)
    verdicts = re.findall(r"(?:meV|cm²/s) +(holds|fails) ", text)
    assert verdicts == ["holds" if row.holds else "fails" for row in rows]
    assert ("in hBN: no measured number" in text) == (name in ("mos2_hbn", "mose2_hbn"))


def test_verdict_is_whether_ours_lies_in_the_range():
    _, rows = compared("ws2_hbn")
    row = next(r for r in rows if r.source == "rosati2020")
    assert row.holds
    assert row.ours == pytest.approx(0.98, abs=0.01)  # cm²/s
    assert not row._replace(range=(0.0, 0.9)).holds
    assert not next(r for r in rows if r.source == "zipfel2020").holds


def test_linewidth_is_that_of_light_and_phonons():
    """ħ(γ + Γ_0) from its inverse, the lifetime of the coherent exciton that the tests of runs check."""
    material, rows = compared("ws2_hbn")
    width = next(r for r in rows if r.quantity.startswith("ħ(γ + Γ_0)")).ours
    parts = verification.linewidths(Couplings.from_material(material), 0, 4.0)
    assert width == pytest.approx(material.radiation.linewidth.value + sum(parts))
    assert 1e3 * HBAR / width == pytest.approx(127.0, abs=1)  # fs
