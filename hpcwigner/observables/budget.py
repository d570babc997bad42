"""Population, width and diffusion coefficient of each valley, with the exact budget of D_v (DESIGN §1, §6).

Everything follows from three spatial moments per energy cell of the angular harmonics,
M0 = ∫û_0, M1 = ∫r·Q̂ u, M2 = ∫r² û_0, whether they come from a grid or from the closed moment equations.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hpcwigner.terms.scattering import Scattering

Array = NDArray[np.float64]

PARTS = ("drift", "interv", "source", "radiative")


@dataclasses.dataclass(frozen=True)
class SpatialMoments:
    """M0 [1], M1 [nm], M2 [nm²] per energy cell, each of shape (cell,). A slab counts r² as 2x²."""

    zeroth: Array
    first: Array
    second: Array


@dataclasses.dataclass(frozen=True)
class Budget:
    """Per valley, each of shape (valley,)."""

    population: Array
    """n_v"""
    width_squared: Array
    """w_v² [nm²]"""
    parts: dict[str, Array]
    """D_v by cause [nm²/ps], keys `PARTS`."""
    pl: float
    """γ times the light-cone population [1/ps]."""
    coherent: float
    """|p0|²"""

    @property
    def diffusion(self) -> Array:
        """D_v = ¼ ∂t w_v² [nm²/ps]: the sum of its parts."""
        return np.asarray(sum(self.parts.values()))


def budget(moments: SpatialMoments, scattering: Scattering, coherent: float, source_width_squared: float) -> Budget:
    """D_v = ¼ [∫r²∂tN_v − w_v² ∂t n_v]/n_v from the state, split by the term of the equation that causes it.

    `coherent` is |p0|² now (times the generated population), `source_width_squared` is w0² [nm²].
    """
    cells = scattering.cells
    population = cells.valley_sum(moments.zeroth)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(population > 0, cells.valley_sum(moments.second) / population, np.nan)

        def part(second: Array, zeroth: Array) -> Array:
            return np.asarray(0.25 * (second - width * zeroth) / population)

        formed = coherent * cells.valley_sum(scattering.formation)
        lost = [-cells.valley_sum(scattering.loss * m) for m in (moments.second, moments.zeroth)]
        transfer = scattering.valley_transfer
        parts = {
            "drift": part(2 * cells.valley_sum(scattering.equilibrium.velocity * moments.first), np.zeros_like(population)),
            "interv": part(transfer @ moments.second, transfer @ moments.zeroth),
            "source": part(formed * source_width_squared, formed),
            "radiative": part(*lost),
        }
    return Budget(population, width, parts, float(scattering.loss @ moments.zeroth), coherent)
