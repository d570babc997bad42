"""Material files: every number with its unit, its source and how far it can be trusted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from hpcwigner import schema
from hpcwigner.schema import InputError, Quantity, require

Confidence = Literal["measured", "computed", "estimated"]
SHIPPED = Path(__file__).parent / "data"


@dataclasses.dataclass(frozen=True)
class _Sourced:
    """What every number of a material file carries beside its value."""

    source: str
    confidence: Confidence


@dataclasses.dataclass(frozen=True)
class Number(_Sourced):
    """A number without a unit."""

    value: float


@dataclasses.dataclass(frozen=True)
class Energy(_Sourced):
    """[meV]"""

    value: Annotated[float, Quantity("meV")]


@dataclasses.dataclass(frozen=True)
class Mass(_Sourced):
    """[free electron masses]"""

    value: Annotated[float, Quantity("electron_mass", positive=True)]


@dataclasses.dataclass(frozen=True)
class Length(_Sourced):
    """[nm]"""

    value: Annotated[float, Quantity("nm", positive=True)]


@dataclasses.dataclass(frozen=True)
class Speed(_Sourced):
    """[nm/ps]"""

    value: Annotated[float, Quantity("nm/ps", positive=True)]


@dataclasses.dataclass(frozen=True)
class AreaDensity(_Sourced):
    """Mass per area [meV ps²/nm⁴]."""

    value: Annotated[float, Quantity("meV*ps^2/nm^4", shown="kg/m^2", positive=True)]


@dataclasses.dataclass(frozen=True)
class AcousticPotential(_Sourced):
    """First-order deformation potential D1 [meV]."""

    value: Annotated[float, Quantity("meV", shown="eV")]


@dataclasses.dataclass(frozen=True)
class OpticalPotential(_Sourced):
    """Zeroth-order deformation potential D0 [meV/nm]."""

    value: Annotated[float, Quantity("meV/nm", shown="eV/angstrom")]


@dataclasses.dataclass(frozen=True)
class Valley:
    """An exciton valley: a group of `degeneracy` equivalent ones."""

    energy: Energy
    degeneracy: int
    electron_mass: Mass
    hole_mass: Mass
    orbital_radius: Length
    """a of the exponential 1s state ψ ∝ exp(−r/a)."""
    acoustic_electron: AcousticPotential
    acoustic_hole: AcousticPotential

    @property
    def mass(self) -> float:
        """Total mass M = m_e + m_h [free electron masses]."""
        return self.electron_mass.value + self.hole_mass.value


@dataclasses.dataclass(frozen=True)
class IntravalleyPhonon:
    """A Γ-point optical phonon: electron and hole terms add (DESIGN §4)."""

    name: str
    energy: Energy
    electron: OpticalPotential
    hole: OpticalPotential


@dataclasses.dataclass(frozen=True)
class IntervalleyPhonon:
    """A zone-boundary phonon that takes the electron from one valley to another; the hole is a spectator."""

    name: str
    between: tuple[str, str]
    """Initial and final valley; the reverse process follows from detailed balance."""
    final_valleys: int
    """Number of final valleys per initial one."""
    energy: Energy
    electron: OpticalPotential


@dataclasses.dataclass(frozen=True)
class Radiation:
    """Radiative recombination of the bright valley inside the light cone."""

    bright_valley: str
    linewidth: Energy
    """ħγ: γ is a population rate."""
    photon_energy: Energy
    refractive_index: Number


@dataclasses.dataclass(frozen=True)
class Material:
    """Everything the program knows of a material."""

    name: str
    area_density: AreaDensity
    sound_velocity: Speed
    valleys: dict[str, Valley]
    intravalley_phonons: tuple[IntravalleyPhonon, ...]
    intervalley_phonons: tuple[IntervalleyPhonon, ...]
    radiation: Radiation
    references: dict[str, str]

    def __post_init__(self) -> None:
        require(self.radiation.bright_valley in self.valleys, "radiation.bright_valley", self.radiation.bright_valley,
                f"one of {', '.join(self.valleys)}")  # fmt: skip
        for i, phonon in enumerate(self.intervalley_phonons):
            for valley in phonon.between:
                require(valley in self.valleys, f"intervalley_phonons.{i}.between", valley,
                        f"one of {', '.join(self.valleys)}")  # fmt: skip
            require(phonon.final_valleys > 0, f"intervalley_phonons.{i}.final_valleys", phonon.final_valleys, "1 or more")
        for name, group in self.valleys.items():
            require(group.degeneracy > 0, f"valleys.{name}.degeneracy", group.degeneracy, "1 or more")


def shipped() -> list[str]:
    """Names of the materials that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load(name: str, directory: Path = Path()) -> Material:
    """Material of a shipped name, or from the file `name` (relative to `directory`). Raises schema.InputError."""
    if name in shipped():
        path = SHIPPED / f"{name}.yaml"
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        path = directory / name
    else:
        import difflib

        close = difflib.get_close_matches(name, shipped(), n=1, cutoff=0.3)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise InputError(f"material: found '{name}', expected a shipped material or a path to a material file; "
                         f"{hint}(shipped: {', '.join(shipped())})")  # fmt: skip
    return schema.validate(Material, schema.read_yaml(path), str(path))
