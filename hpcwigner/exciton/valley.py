"""The valleys of a material with their 1s states: binding energies, valley offsets, tables of overlaps."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.wannier import BoundState, Film, Potential, RytovaKeldysh, Wavefunction, bound_states, tabulate


@dataclasses.dataclass(frozen=True)
class ValleyExciton:
    """Bound states and energy of one valley."""

    name: str
    reduced_mass: float  # μ [m0]
    states: tuple[BoundState, ...]  # 1s, 2s, 3s
    given: float | None  # E_v of the material file, relative to the bright valley [meV]
    computed: float | None  # E_v from the single-particle splitting and the binding energies [meV]

    @property
    def binding_energy(self) -> float:
        """Binding energy of the 1s state [meV], positive."""
        return -self.states[0].energy

    @property
    def energy(self) -> float:
        """E_v [meV]: given, else computed."""
        offset = self.given if self.given is not None else self.computed
        assert offset is not None
        return offset


@dataclasses.dataclass(frozen=True)
class ExcitonValleys:
    """Valleys of a material in the order of its file."""

    valleys: tuple[ValleyExciton, ...]
    wavefunctions: Mapping[str, Wavefunction]  # 1s states with their overlaps tabulated, by valley

    @classmethod
    def from_material(cls, material: Material) -> ExcitonValleys:
        """Solves the Wannier equation in every valley. Raises ArithmeticError if a valley binds fewer than three s states."""
        potential, masses = potential_of(material), reduced_masses(material)
        states = {name: _states(potential, mass) for name, mass in masses.items()}
        bright = -states[material.radiation.bright_valley][0].energy
        valleys = []
        for name, valley in material.valleys.items():
            given = valley.energy.value if valley.energy else None
            computed = valley.splitting.value + bright + states[name][0].energy if valley.splitting else None
            valleys.append(ValleyExciton(name, masses[name], states[name], given, computed))
        return cls(tuple(valleys), tabulate({name: s[0] for name, s in states.items()}))


def potential_of(material: Material) -> Potential:
    """The electron-hole attraction: of the sheet, or without one of the film."""
    if material.dielectric is not None:
        return RytovaKeldysh(material.dielectric.screening_length.value, material.dielectric.surroundings.value)
    potential = film_potential(material)
    assert potential is not None
    return potential


def film_potential(material: Material) -> Film | None:
    """The attraction in the dielectric film; None if the material has no film."""
    if (film := material.film) is None:
        return None
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
