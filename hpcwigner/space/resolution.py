"""How well the cells resolve a cloud: the stencil keeps n_v, w_v² and D_v exact, but lowers the peak of the profile."""

import math

import numpy as np

from hpcwigner.runtime.arrays import Array
from hpcwigner.space.stencil import symbol

NOTICEABLE = 0.02  # Relative peak loss above which a run warns


def flattening(mean_square_speed: Array, width_squared: Array, spacing: float, interval: float) -> Array:
    """Relative peak loss at the end by numerical dissipation, estimated; shape (valley,).

    A plane wave decays at ⟨|v_x|⟩ Re(symbol(kΔx))/Δx ≈ ⟨|v_x|⟩ Δx⁵k⁶/60. Taken are ⟨|v_x|⟩ = √(2kT/πM) and, at every output,
    the wave of the cloud's own size, k = 2/w_v.

    `mean_square_speed` is ⟨v²⟩ = 2kT/M [nm²/ps²], shape (valley,); `width_squared` is w_v² [nm²] at the outputs after the
    first, shape (time, valley), NaN where undefined; `spacing` is Δx [nm], `interval` the time between outputs [ps].
    """
    phase = np.minimum(2 * spacing / np.sqrt(width_squared), math.pi)
    rate = np.sqrt(mean_square_speed / math.pi) * np.real(symbol(phase)) / spacing
    return np.asarray(-np.expm1(-np.nansum(rate, axis=0) * interval))


def describe(flattened: Array) -> str:
    """The estimate as a line of text."""
    return f"profiles will be up to {100 * flattened.max():.2g} % too low in the middle at the end (D_v and w_v² stay exact)"
