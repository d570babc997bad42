"""What single excitons (particles.py) give: averages with standard errors, kept in a file, and compared with a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from hpcwigner.runtime.arrays import Array

QUANTITIES = ("population", "mean_position", "mean_square", "kinetic_energy", "potential_energy")
Series = dict[str, tuple[Array, Array]]
"""Mean and standard error by quantity, shape (time, valley): population relative to all excitons; means over those of a valley:
position [nm], its square [nm²], energies [meV]. NaN where a valley is empty."""


@dataclasses.dataclass(frozen=True)
class Particles:
    """Sums over each batch of excitons, and their state at the end."""

    time: Array  # [ps], shape (time,)
    sums: Array  # Of 1, x, x², ε, E_v(x), shape (batch, time, valley, quantity)
    final: Array  # x [nm], v_x, v_y [nm/ps] and valley at the end, shape (quantity, exciton)

    def series(self, together: bool = False) -> Series:
        """QUANTITIES with errors from a jackknife over batches, of each valley or of all `together`."""
        sums = self.sums.sum(axis=2, keepdims=True) if together else self.sums
        norm = [self.sums[..., 0].sum(axis=2, keepdims=True)] + [sums[..., 0]] * 4
        return {name: _jackknife(sums[..., i], norm[i]) for i, name in enumerate(QUANTITIES)}


def _jackknife(values: Array, norm: Array) -> tuple[Array, Array]:
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (values.sum(axis=0) - values) / (norm.sum(axis=0) - norm)
        return values.sum(axis=0) / norm.sum(axis=0), np.sqrt((len(values) - 1) * left_out.var(axis=0))


@dataclasses.dataclass(frozen=True)
class Deviation:
    """Largest deviation of a run from the particles."""

    relative: float  # To the largest mean of any time and valley
    certain: float  # The same of what exceeds three standard errors of the particles
    errors: float  # In standard errors, after their first time, when they are evenly spread
    rms_errors: float  # Root mean square of the deviations in standard errors: near 1 if nothing but chance is behind them


def compare(run_series: dict[str, Array], time: Array, series: Series, least: float = 0.01) -> dict[str, Deviation]:
    """Deviations of a run by quantity, where a valley holds at least the share `least` of all excitons.

    `run_series` has `time` [ps] and any of QUANTITIES as `series` has them. Raises ValueError when it misses one of the times.
    """
    rows = np.minimum(np.searchsorted(run_series["time"], time - 1e-6), len(run_series["time"]) - 1)
    if not np.allclose(run_series["time"][rows], time, atol=1e-6):
        raise ValueError("the run has no output at some time of the particles")
    enough = series["population"][0] >= least
    result = {}
    for name in set(QUANTITIES) & set(run_series):
        mean, error = series[name]
        off = np.abs(run_series[name][rows] - mean)
        later = enough & (error > 0) & (time > time[0])[:, None]
        errors, largest = off[later] / error[later], np.abs(mean[enough]).max()
        certain = np.maximum(off - 3 * error, 0.0)[enough].max()
        numbers = off[enough].max() / largest, certain / largest, errors.max(), np.sqrt(np.mean(errors**2))
        result[name] = Deviation(*map(float, numbers))
    return result


def save(path: Path, time: Array, series: Series, **description: object) -> None:
    """Writes a series as JSON, six digits of each number."""
    rounded = {name: [[[float(f"{x:.6g}") for x in row] for row in part] for part in pair] for name, pair in series.items()}
    path.write_text(json.dumps({**description, "time": time.tolist(), **rounded}, ensure_ascii=False), encoding="utf-8")


def load(path: Path) -> tuple[Array, Series]:
    """Times [ps] and series of a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return np.array(content["time"]), {name: (np.array(content[name][0]), np.array(content[name][1])) for name in QUANTITIES}
