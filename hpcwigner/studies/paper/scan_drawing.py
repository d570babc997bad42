"""The picture of `figures --scan`: the law for the rise of D_KK, its reason, and coherent lifetime against peak time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcwigner.exciton.constants import HBAR
from hpcwigner.plotting import style
from hpcwigner.studies.paper.moments import Solved
from hpcwigner.studies.paper.statements import ABOUT

SMALL = {"s": 10, "color": "0.6", "linewidths": 0}


def draw(solved: Sequence[Solved], names: Sequence[str], known: int, fronts: Sequence[Sequence[int]], constant: float) -> Any:
    """Three panels. `names` of the first `known` materials are written beside them, `fronts` are indices of `solved`."""
    figure, axes = style.subplots(1, 3, figsize=(13, 4.2))
    peak, rise = (np.array([getattr(s.transport, name) for s in solved]) for name in ("peak_time", "rise_time"))
    between = np.array([s.between for s in solved])
    lifetime = np.array([s.transport.lifetimes["20 K"] for s in solved])
    remaining, product = (np.array([getattr(s, name) for s in solved]) for name in ("remaining", "product"))
    law, reason, trade = axes
    law.scatter(between[known:], peak[known:], s=14, facecolors="none", edgecolors=style.COLOURS[5], lw=0.7, label="peak")
    _points(law, between, rise, names, known, "rise")
    line = np.geomspace(between.min(), between.max(), 100)
    law.plot(line, constant * HBAR / line, "k--", lw=0.9, label=f"{constant:.1f}/$\\Gamma_{{interv}}$")
    law.set(xscale="log", yscale="log", xlabel=r"$\hbar\Gamma_{interv}$ at 20 K (meV)", ylabel="rise and peak of $D_{KK}$ (ps)")
    _points(reason, remaining, product, names, known)
    ends = (min(remaining.min(), product.min()), max(remaining.max(), product.max()))
    reason.plot(ends, ends, "k--", lw=0.9, label="equal")
    reason.set(xlabel=r"$-\ln(n_{KK}/n)$ at the rise", ylabel=r"$t_{rise}\,\Gamma_{interv}$")
    _points(trade, peak, lifetime, names, known)
    for front, colour, label in zip(fronts, style.COLOURS[1:4:2], ("front, peak at the rise", "front of all"), strict=True):
        trade.plot(peak[list(front)], lifetime[list(front)], ".-", color=colour, lw=1, label=label)
    shortest = max(s.radiative + s.inside for s in solved[known:])
    times = np.linspace(1.5, 15, 200)
    bound = 1e3 * HBAR / (shortest + constant * HBAR / times)
    trade.plot(times, bound, "k--", lw=0.9, label=f"peak at the rise, $\\hbar(\\gamma+\\Gamma_{{ac}})$ = {shortest:.2f} meV")
    corners = (8 * (1 - ABOUT), 10), 16 * ABOUT, 90
    label = "the paper: 10–100 fs, about 8 ps"
    trade.add_patch(style.pyplot().Rectangle(*corners, color=style.COLOURS[2], alpha=0.25, lw=0, label=label))
    trade.set(xlim=(1, 16), ylim=(0, 350), xlabel="time of the peak of $D_{KK}$ (ps)", ylabel="coherent lifetime at 20 K (fs)")
    for axis in axes:
        axis.legend(frameon=False, fontsize=7)
    return style.lettered(figure, axes)


def _points(axis: Any, x: Any, y: Any, names: Sequence[str], known: int, label: str | None = None) -> None:
    axis.scatter(x[known:], y[known:], label=label, **SMALL)
    axis.scatter(x[:known], y[:known], s=25, color=style.COLOURS[0])
    for name, a, b in zip(names[:known], x[:known], y[:known], strict=True):
        axis.annotate(
            name.rsplit("/", 1)[-1].removesuffix(".yaml"), (a, b), xytext=(4, 3), textcoords="offset points", fontsize=6
        )
