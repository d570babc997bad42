"""Radiative rate of an exciton in a stack of films over that in infinite surroundings: interference at normal incidence."""

import cmath
import itertools
from collections.abc import Sequence

import numpy as np

from hpcwigner.exciton.constants import HBAR_C

SILICA, SILICON = 1.46 + 0j, 3.9 + 0j
"""Refractive indices at 600 to 750 nm (Malitson, J. Opt. Soc. Am. 55, 1205 (1965); Aspnes, Studna, Phys. Rev. B 27, 985)."""
OXIDES = (90.0, 285.0)  # Usual thicknesses of SiO2 on Si [nm]
THINNEST, THICKEST = 5.0, 200.0  # hBN films [nm]
FILMS = 40  # Thicknesses of each film that are tried

Layers = Sequence[tuple[complex, float]]  # Refractive index and thickness [nm], outwards; the last one extends to infinity


def reflection(inside: complex, layers: Layers, photon_energy: float) -> complex:
    """Amplitude reflection coefficient of `layers` seen from a medium of index `inside`, for photons of an energy in meV."""
    indices = [inside, *(index for index, _ in layers)]
    total = 0j
    for number in reversed(range(len(layers))):
        phase = cmath.exp(2j * layers[number][0] * photon_energy / HBAR_C * layers[number][1]) if number < len(layers) - 1 else 0
        a, b = indices[number], indices[number + 1]
        step, beyond = (a - b) / (a + b), total * phase
        total = (step + beyond) / (1 + step * beyond)
    return total


def enhancement(inside: complex, above: Layers, below: Layers, photon_energy: float) -> float:
    """Radiative rate of a sheet between two stacks over that in infinite `inside`: Re (1+r₁)(1+r₂)/(1−r₁r₂).

    The field of a sheet of current between reflectors r₁ and r₂ is that in an infinite medium times this factor, and the real
    part does the work. `above` and `below` begin with the films next to the sheet; photon energy in meV.
    """
    r1, r2 = (_seen(inside, layers, photon_energy) for layers in (above, below))
    return ((1 + r1) * (1 + r2) / (1 - r1 * r2)).real


def _seen(inside: complex, layers: Layers, photon_energy: float) -> complex:
    """Reflection of layers of which the first has the index of the inside."""
    index, thickness = layers[0]
    if index != inside:
        return reflection(inside, layers, photon_energy)
    return reflection(inside, layers[1:], photon_energy) * cmath.exp(2j * index * photon_energy / HBAR_C * thickness)


def encapsulated(index: float, photon_energy: float) -> tuple[float, float]:
    """Smallest and largest factor in air/hBN/sheet/hBN/SiO2/Si for hBN films of THINNEST to THICKEST and the oxides OXIDES."""
    films = np.linspace(THINNEST, THICKEST, FILMS)
    factors = [
        enhancement(index, [(index, top), (1, 0)], [(index, bottom), (SILICA, oxide), (SILICON, 0)], photon_energy)
        for top, bottom, oxide in itertools.product(films.tolist(), films.tolist(), OXIDES)
    ]
    return min(factors), max(factors)
