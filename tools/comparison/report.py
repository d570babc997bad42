"""Table and plot of a comparison."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from comparison.problem import GOAL, Row


def table(rows: list[Row]) -> str:
    """Markdown."""
    fastest = min(r.total for r in rows if r.method.startswith("hpcwigner"))
    lines = ["| method | settings | error | needs | ms each | wall time | ratio | cost |", "|" + "---|" * 8]
    for r in rows:
        wall, ratio = ("–", "–") if math.isinf(r.total) else (f"{r.total:.3g} s", f"{r.total / fastest:.3g}")
        each = "–" if math.isnan(r.cost) else f"{1000 * r.cost:.3g}"
        lines.append(f"| {r.method} | {r.settings} | {r.error:.1e} | {r.count} | {each} | {wall} | {ratio} | {r.how} |")
    return "\n".join(lines)


def plot(tables: dict[int, list[Row]], path: Path) -> None:
    """Error against wall time of all settings tried; rings are the rows of the table, the dotted line is the goal."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe and Ito's
    figure, axes = pyplot.subplots(1, len(tables), figsize=(4.5 * len(tables), 4.2), sharey=True, squeeze=False)
    for axis, (temperature, rows) in zip(axes[0], tables.items(), strict=True):
        for i, row in enumerate(r for r in rows if math.isfinite(r.total)):
            points = np.array(sorted(row.curve) or [(row.total, row.error)])
            style = {"color": colours[i % 8], "marker": "os^vD*"[i % 6], "linestyle": "-" if i < 5 else "--", "markersize": 4}
            axis.loglog(points[:, 0], points[:, 1], label=row.method, **style)
            axis.plot(row.total, row.error, marker="o", color=colours[i % 8], markersize=9, fillstyle="none")
        axis.axhline(GOAL, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=f"{temperature} K", xlabel="wall time (s)")
    axes[0, 0].set(ylabel="error of D_v(t), worst valley", ylim=(1e-5, 10))
    axes[0, -1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
