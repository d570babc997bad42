"""The valleys of a material with their s states: binding energies, valley offsets, overlaps."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np

from hpcwigner.exciton.constants import HBAR2_OVER_M0
from hpcwigner.exciton.materials import DielectricFilm, Material
from hpcwigner.exciton.wannier import BoundState, Film, OverlapTable, Potential, RytovaKeldysh, bound_states
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class ValleyState:
    """A valley: masses, s states and energy."""

    name: str
    degeneracy: int
    mass: float  # Total mass M [m0]
    electron_fraction: float
    """m_e/M: fraction of the transferred momentum that shifts the relative momentum when the hole scatters."""
    hole_fraction: float  # m_h/M: the same when the electron scatters
    reduced_mass: float  # μ [m0]
    states: tuple[BoundState, ...]  # 1s, 2s, 3s
    overlaps: Mapping[str, Callable[[Array], Array]]
    """∫ψψ' exp(iκ·r) d²r of the 1s state with that of each valley, by name: a function of the momentum shift κ [1/nm]."""
    given: float | None  # E_v of the material file, relative to the bright valley [meV]
    computed: float | None  # E_v from the single-particle splitting and the binding energies [meV]

    @property
    def energy(self) -> float:
        """Bottom E_v [meV]: given, else computed."""
        offset = self.given if self.given is not None else self.computed
        assert offset is not None
        return offset

    def momentum(self, kinetic: Array) -> Array:
        """|Q| [1/nm] at kinetic energy [meV]: ε = ħ²Q²/2M."""
        return np.sqrt(2 * self.mass * np.asarray(kinetic) / HBAR2_OVER_M0)


def solve(material: Material) -> tuple[ValleyState, ...]:
    """Valleys in the order of the material's file. Raises InputError if one binds fewer than three s states."""
    potential, masses = potential_of(material), reduced_masses(material)
    try:
        states = {name: _states(potential, mass) for name, mass in masses.items()}
    except ArithmeticError as error:
        raise InputError(f"material: found '{material.name}', expected bound excitons: {error}") from None
    overlaps: dict[str, dict[str, OverlapTable]] = {name: {} for name in states}
    for a, b in itertools.combinations_with_replacement(states, 2):
        overlaps[a][b] = overlaps[b][a] = OverlapTable.from_states(states[a][0], states[b][0])
    bright = -states[material.radiation.bright_valley][0].energy
    valleys = []
    for name, valley in material.valleys.items():
        own, fractions = states[name], (valley.electron_mass.value / valley.mass, valley.hole_mass.value / valley.mass)
        given = valley.energy.value if valley.energy else None
        computed = valley.splitting.value + bright + own[0].energy if valley.splitting else None
        constants = valley.degeneracy, valley.mass, *fractions, masses[name]
        valleys.append(ValleyState(name, *constants, own, overlaps[name], given, computed))
    return tuple(valleys)


def potential_of(material: Material) -> Potential:
    """The electron-hole attraction: of the sheet, or without one of the film."""
    if (sheet := material.dielectric) is not None:
        return RytovaKeldysh(sheet.screening_length.value, sheet.surroundings.value)
    assert material.film is not None
    return film_potential(material.film)


def film_potential(film: DielectricFilm) -> Film:
    """The attraction in a dielectric film."""
    inside, above, below = ((part.in_plane.value, part.out_of_plane.value) for part in (film, film.above, film.below))
    return Film(inside, film.thickness.value, above, below)


def reduced_masses(material: Material) -> dict[str, float]:
    """μ of each valley [m0]: measured, else m_e m_h/M times the bright valley's ratio of measured μ to m_e m_h/M.

    Measured ones exceed those of band theory by 10 to 30 %, and are known for the bright valley only.
    """
    band = {n: v.electron_mass.value * v.hole_mass.value / v.mass for n, v in material.valleys.items()}
    measured = {n: v.reduced_mass.value for n, v in material.valleys.items() if v.reduced_mass is not None}
    bright = material.radiation.bright_valley
    scale = measured.get(bright, band[bright]) / band[bright]
    return {name: measured.get(name, scale * band[name]) for name in band}


@functools.lru_cache(maxsize=12)  # a study solves many materials that differ in other numbers
def _states(potential: Potential, reduced_mass: float) -> tuple[BoundState, ...]:
    """1s…3s, in a basis scaled to the 1s state."""
    scale = 1.0
    for _ in range(2):
        (ground,) = bound_states(potential, reduced_mass, scale, count=1)
        scale = ground.rms_radius / math.sqrt(3 / 2)  # the hydrogen 1s state with this radius is a basis function
    return tuple(bound_states(potential, reduced_mass, scale))
