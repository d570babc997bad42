"""Electron-hole attraction in a monolayer, V(r) [meV] at the distance r [nm], in Gaussian units."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from hpcwigner.exciton.constants import COULOMB
from hpcwigner.runtime.arrays import Array

Potential = Callable[[Array], Array]  # An attraction V(r), negative and isotropic in the plane
SMALLEST_IMAGE = 1e-15  # Image charges below this are left out


@dataclasses.dataclass(frozen=True)
class RytovaKeldysh:
    """A polarisable sheet: V(q) = −2πe²/[q(κ + r0 q)].

    In space V(r) = −(πe²/2r0)[H0(κr/r0) − Y0(κr/r0)], H0 the Struve function (Rytova 1967, Keldysh 1979; Goryca 2019).
    """

    screening_length: float  # r0 [nm]; 0 is the unscreened potential −e²/κr
    surroundings: float  # κ, mean dielectric constant of the two half spaces

    def __call__(self, distance: Array) -> Array:
        if self.screening_length == 0:
            return -COULOMB / (self.surroundings * distance)
        from scipy.special import struve, y0  # here: only the rank that solves the Wannier equation needs it

        x = self.surroundings * distance / self.screening_length
        return np.asarray(-math.pi * COULOMB / (2 * self.screening_length) * (struve(0, x) - y0(x)))


@dataclasses.dataclass(frozen=True)
class Film:
    """An anisotropic film of thickness d between two half spaces, charges in its middle plane.

    V(q) = −(2πe²/qε)(1 + p₁e^{−αqd})(1 + p₂e^{−αqd})/(1 − p₁p₂e^{−2αqd}) with ε = √(ε∥ε⊥), α = √(ε∥/ε⊥) of the film and
    p = (ε − ε_i)/(ε + ε_i) of each half space (Rytova 1967). Expanded in powers of e^{−αqd}, every term is an image charge:
    V(r) = −(e²/ε) Σ_k c_k/√(r² + (kαd)²).
    """

    film: tuple[float, float]  # ε∥ and ε⊥
    thickness: float  # d [nm]
    above: tuple[float, float]
    below: tuple[float, float]

    def images(self) -> Array:
        """Charges c_k of the images at the distances kαd, shape (k,)."""
        inside, above, below = (math.sqrt(math.prod(part)) for part in (self.film, self.above, self.below))
        p1, p2 = ((inside - side) / (inside + side) for side in (above, below))
        largest = max(abs(p1 * p2), 1e-300)
        pairs = max(1, math.ceil(math.log(SMALLEST_IMAGE) / math.log(largest)))
        powers = (p1 * p2) ** np.arange(pairs)
        charges = np.stack([2 * powers, (p1 + p2) * powers], axis=1).ravel()
        charges[0] = 1.0
        return charges

    def __call__(self, distance: Array) -> Array:
        in_plane, out_of_plane = self.film
        step = math.sqrt(in_plane / out_of_plane) * self.thickness
        squared = np.asarray(distance) ** 2
        total = sum(charge / np.sqrt(squared + (k * step) ** 2) for k, charge in enumerate(self.images()))
        return np.asarray(-COULOMB / math.sqrt(in_plane * out_of_plane) * total)
