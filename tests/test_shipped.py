"""The shipped jobs at full size against the exact moment equations: what the README promises."""

import numpy as np
import pytest
from conftest import ROOT, hpcwigner

from hpcwigner.storage.reading import negative_windows, read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["ws2_300K", "ws2_77K", "ws2_20K", "ws2_300K_intervalley_off"])
def test_full_runs_agree_with_the_moment_equations(tmp_path, name):
    """D_v within 0.5 % of its largest value from 1 ps on."""
    path = ROOT / "inputs" / f"{name}.yaml"
    found = hpcwigner(path, "--output", tmp_path / "run", ranks=2)
    assert found.returncode == 0, found.stderr
    assert hpcwigner("moments", path, "--output", tmp_path).returncode == 0
    run, exact = read(tmp_path / "run/series.h5"), read(tmp_path / "moments.h5")
    time = run.data["time"]
    late = time >= 1
    for quantity in ("diffusion", "width_squared"):
        a, b = run.data[quantity][late], exact.data[quantity][late]
        worst = np.max(np.abs(a - b) / np.abs(b).max(axis=0), axis=0)
        assert np.all(worst < 5e-3), (quantity, dict(zip(run.valleys, worst, strict=True)))
    if name == "ws2_20K":
        _check_negative_diffusion(time, run.data["diffusion"][:, 0])
    elif name == "ws2_300K":
        assert np.allclose(run.data["diffusion"][-1], 1.15, atol=0.03)


def _check_negative_diffusion(time, bright):
    """D_KK at 20 K: a peak of about 350 cm²/s near 3 ps, negative from about 42 to 103 ps, smallest about −85 near 60 ps."""
    ((first, last),) = negative_windows(time, bright, start=2.0)
    assert first == pytest.approx(42.5, abs=2)
    assert last == pytest.approx(103, abs=3)
    peak, dip = np.nanargmax(bright), np.nanargmin(bright)
    assert time[peak] == pytest.approx(3, abs=0.5)
    assert bright[peak] == pytest.approx(350, rel=0.05)
    assert time[dip] == pytest.approx(60, abs=2)
    assert bright[dip] == pytest.approx(-83, abs=4)
    assert np.all(bright[(time > 2) & (time < first)] > 0)
    assert np.all(bright[time > last] > 0)
