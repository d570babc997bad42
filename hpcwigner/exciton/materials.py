"""Material files: every number with its unit, source and confidence."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Document, Quantity, require

SHIPPED = Path(__file__).parent / "data"

Value = TypeVar("Value", bound=float)


@dataclasses.dataclass(frozen=True)
class Sourced(Generic[Value]):
    """A number of a material file with its source and confidence."""

    value: Value
    source: str
    confidence: Literal["measured", "computed", "estimated"]
    range: tuple[Value, Value] | None = None  # Spread of the literature; required for estimated numbers

    def __post_init__(self) -> None:
        given, (low, high) = self.range is not None, self.range or (self.value, self.value)
        require(given or self.confidence != "estimated", "range", None, "[lowest, highest], since the number is estimated")
        require(low <= self.value <= high, "range", [low, high], "[lowest, highest] around the value")


Number = Sourced[float]
Energy = Sourced[Annotated[float, Quantity("meV")]]
Slope = Sourced[Annotated[float, Quantity("meV/K", shown="ueV/K")]]
Mass = Sourced[Annotated[float, Quantity("electron_mass", positive=True)]]
Diffusivity = Sourced[Annotated[float, Quantity("nm^2/ps", shown="cm^2/s", positive=True)]]
Length = Sourced[Annotated[float, Quantity("nm", minimum=0)]]
Speed = Sourced[Annotated[float, Quantity("nm/ps", positive=True)]]
GaugeFactor = Sourced[Annotated[float, Quantity("meV/percent")]]
AreaDensity = Sourced[Annotated[float, Quantity("meV*ps^2/nm^4", shown="kg/m^2", positive=True)]]
AcousticPotential = Sourced[Annotated[float, Quantity("meV", shown="eV")]]  # First-order deformation potential D1
OpticalPotential = Sourced[Annotated[float, Quantity("meV/nm", shown="eV/angstrom")]]  # Zeroth-order deformation potential D0


@dataclasses.dataclass(frozen=True)
class ZDipole:
    """Recombination of a spin-dark exciton by its weak dipole perpendicular to the layer."""

    linewidth: Energy  # ħγ_z, γ_z the mean population rate in the light cone


@dataclasses.dataclass(frozen=True)
class Valley:
    """An exciton valley, or `degeneracy` equivalent ones."""

    degeneracy: int
    electron_mass: Mass
    hole_mass: Mass
    acoustic_electron: AcousticPotential
    acoustic_hole: AcousticPotential
    energy: Energy | None = None
    """Bottom E_v relative to the bright valley; by default it follows from `splitting` and the binding energies."""
    splitting: Energy | None = None  # Conduction band minimum of the electron's valley relative to that of the bright exciton
    reduced_mass: Mass | None = None
    """Measured μ; by default m_e m_h/M, scaled by the bright valley's ratio of measured μ to m_e m_h/M."""
    gauge_factor: GaugeFactor | None = None  # g_v of E_v − g_v s, s the biaxial strain: red-shift under tension above 0
    z_dipole: ZDipole | None = None  # Of a spin-dark valley

    def __post_init__(self) -> None:
        known = self.energy is not None or self.splitting is not None
        require(known, "energy", None, "the valley's exciton energy, or the splitting of its electron's band")
        require(self.degeneracy > 0, "degeneracy", self.degeneracy, "1 or more")

    @property
    def mass(self) -> float:
        """Total mass M = m_e + m_h [free electron masses]."""
        return self.electron_mass.value + self.hole_mass.value


@dataclasses.dataclass(frozen=True)
class IntravalleyPhonon:
    """A Γ-point optical phonon; electron and hole terms add."""

    name: str
    energy: Energy
    electron: OpticalPotential
    hole: OpticalPotential


@dataclasses.dataclass(frozen=True)
class IntervalleyPhonon:
    """A phonon that takes the electron from one valley to another, or flips its spin; the hole is a spectator."""

    name: str
    between: tuple[str, str]  # Initial and final valley; the reverse process follows from detailed balance
    final_valleys: int  # Number of final valleys per initial one
    energy: Energy
    electron: OpticalPotential


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Screening of a polarisable sheet (exciton/wannier.py: RytovaKeldysh)."""

    screening_length: Length
    surroundings: Number


@dataclasses.dataclass(frozen=True)
class Uniaxial:
    """Dielectric constants of a half space."""

    in_plane: Number
    out_of_plane: Number


@dataclasses.dataclass(frozen=True)
class DielectricFilm:
    """Screening of a film between two half spaces (exciton/wannier.py: Film)."""

    thickness: Length
    in_plane: Number
    out_of_plane: Number
    above: Uniaxial
    below: Uniaxial


@dataclasses.dataclass(frozen=True)
class Radiation:
    """Radiative recombination of the bright valley inside the light cone."""

    bright_valley: str
    linewidth: Energy  # ħγ: γ is a population rate
    photon_energy: Energy
    refractive_index: Number


@dataclasses.dataclass(frozen=True)
class PublishedLinewidth:
    """A published full width of the bright exciton at a temperature, to compare ħ(γ + Γ_0) with; agreement: its range."""

    temperature: Annotated[float, Quantity("K", minimum=0)]
    width: Energy
    remark: str


@dataclasses.dataclass(frozen=True)
class PublishedDiffusion:
    """A published diffusion coefficient, to compare D in equilibrium with; agreement: its range."""

    temperature: Annotated[float, Quantity("K", minimum=0)]
    coefficient: Diffusivity
    remark: str


@dataclasses.dataclass(frozen=True)
class PublishedRadiation:
    """A published radiative linewidth or bound of it, to compare ħγ with; agreement: its range."""

    width: Energy
    remark: str


@dataclasses.dataclass(frozen=True)
class Benchmarks:
    """Literature values of the bright exciton, for comparison by the verb `verify`."""

    binding_energy: Energy | None = None
    acoustic_slope: Slope | None = None  # Slope of the acoustic linewidth ħΓ_0 with temperature
    linewidth_300K: Energy | None = None  # ħΓ_0 at 300 K
    linewidths: tuple[PublishedLinewidth, ...] = ()
    diffusion: tuple[PublishedDiffusion, ...] = ()
    radiation: tuple[PublishedRadiation, ...] = ()


@dataclasses.dataclass(frozen=True)
class Material(Document):
    """A material file."""

    name: str
    area_density: AreaDensity
    sound_velocity: Speed
    valleys: dict[str, Valley]
    intravalley_phonons: tuple[IntravalleyPhonon, ...]
    intervalley_phonons: tuple[IntervalleyPhonon, ...]
    radiation: Radiation
    references: dict[str, str]
    dielectric: Sheet | None = None
    film: DielectricFilm | None = None  # Used for the wave functions when `dielectric` is not given
    benchmarks: Benchmarks = Benchmarks()

    def __post_init__(self) -> None:
        one, bright = f"one of {', '.join(self.valleys)}", self.radiation.bright_valley
        require(bright in self.valleys, "radiation.bright_valley", bright, one)
        along_z = self.valleys[bright].z_dipole
        require(along_z is None, f"valleys.{bright}.z_dipole", along_z and along_z.linewidth.value,
                "none in the bright valley, whose dipole lies in the plane")  # fmt: skip
        names = [p.name for p in self.intravalley_phonons] + [p.name for p in self.intervalley_phonons]
        distinct = len(set(names)) == len(names) and not any("." in name for name in names)
        require(distinct, "intervalley_phonons", names, "phonons with different names, without dots")
        for i, phonon in enumerate(self.intervalley_phonons):
            for valley in phonon.between:
                require(valley in self.valleys, f"intervalley_phonons.{i}.between", valley, one)
            require(phonon.final_valleys > 0, f"intervalley_phonons.{i}.final_valleys", phonon.final_valleys, "1 or more")
        screened = self.dielectric is not None or self.film is not None
        require(screened, "dielectric", None, "screening_length and surroundings, or a film")


def shipped() -> list[str]:
    """Names of the shipped materials."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def is_path(name: str) -> bool:
    """Whether `name` is a path instead of a shipped name."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def load(name: str, directory: Path = Path()) -> Material:
    """Material of a shipped name, or from the file `name` (relative to `directory`). Raises InputError."""
    if name not in shipped() and not is_path(name):
        known = f"{schema.did_you_mean(name, shipped(), cutoff=0.3)} (shipped: {', '.join(shipped())})".lstrip()
        raise InputError(f"material: found '{name}', expected a shipped material or a path to a material file; {known}")
    path = _place(name, directory)
    return schema.validate(Material, _read(path), str(path))


def _place(name: str, directory: Path) -> Path:
    return SHIPPED / f"{name}.yaml" if name in shipped() else directory / name


@dataclasses.dataclass(frozen=True)
class _Changes(Document):
    """A material file that changes numbers of another one, or adds valleys and phonons to it."""

    base: str
    name: str | None = None
    references: dict[str, str] = dataclasses.field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # Numbers by key; phonons are named in it
    valleys: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # Further ones
    intervalley_phonons: tuple[dict[str, Any], ...] = ()  # Further ones


def _read(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Data of a material file with its `base`, if any; `derived` are the files based on it."""
    data = schema.read_yaml(path)
    if "base" not in data:
        return data
    new = schema.validate(_Changes, data, str(path))
    base = _place(new.base, path.parent)
    if base.resolve() in (path.resolve(), *derived):
        raise InputError(f"{path}: base: found '{new.base}', expected a material that is not based on this one")
    whole = _read(base, (*derived, path.resolve()))
    whole |= {"name": new.name or whole["name"], "references": whole["references"] | new.references}
    for key, number in new.changes.items():
        _change(whole, key, number, path)
    for name, valley in new.valleys.items():
        if name in whole["valleys"]:
            raise InputError(f"{path}: valleys: found '{name}' of {new.base}, expected a new name: its numbers go into `changes`")
        whole["valleys"][name] = valley
    whole["intervalley_phonons"] += new.intervalley_phonons
    return whole


def _change(data: dict[str, Any], key: str, number: dict[str, Any], path: Path) -> None:
    """Replaces the number at `key`."""
    here: Any = data
    *parents, last = key.split(".")
    for depth, part in enumerate(parents, start=1):
        inside = {phonon["name"]: phonon for phonon in here} if isinstance(here, list) else here
        if part not in inside or not isinstance(inside[part], dict | list):
            raise InputError(f"{path}: changes: {'.'.join(key.split('.')[:depth])}: {schema.unknown_key(part, inside)}")
        here = inside[part]
    if not isinstance(here, dict):
        raise InputError(f"{path}: changes: found '{key}', expected one number of a phonon, such as '{key}.energy'")
    here[last] = number


def numbers(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Number]]:
    """All numbers of a material with their keys: "valleys.KK.hole_mass", "intervalley_phonons.K TA.energy"."""
    inside: dict[str, Any] = {}
    if isinstance(part, Sourced):
        yield ".".join(path), part
    elif isinstance(part, dict):
        inside = part
    elif isinstance(part, tuple):
        inside = {item.name: item for item in part if isinstance(item, IntravalleyPhonon | IntervalleyPhonon)}
    elif dataclasses.is_dataclass(part) and not isinstance(part, Benchmarks):
        inside = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    for key, value in inside.items():
        yield from numbers(value, (*path, key))


def with_value(material: Material, key: str, value: float) -> Material:
    """The material with another value of one number, whose range is widened if necessary."""
    number = dict(numbers(material))[key]
    low, high = number.range or (number.value, number.value)
    changed = dataclasses.replace(number, value=value, range=(min(low, value), max(high, value)))
    return copy.deepcopy(material, {id(number): changed})  # a copy holds `changed` where the material holds `number`


def with_number(material: Material, key: str, number: Number) -> Material:
    """The material with another number at `key`, source and range included."""
    return copy.deepcopy(material, {id(dict(numbers(material))[key]): number})


def shown(material: Material, key: str, value: float | None = None) -> tuple[float, str]:
    """The number at `key`, or another value for it, in the unit of material files, and the unit."""
    if value is not None:
        material = with_value(material, key, value)
    parts: list[str] = []
    part: Any = material
    for name in key.split("."):  # phonons are named in keys
        if isinstance(part, tuple):
            place = [item.name for item in part].index(name)
            parts.append(str(place))
            part = part[place]
            continue
        parts.append(name)
        part = part[name] if isinstance(part, dict) else getattr(part, name)
    number, unit = schema.shown(material, ".".join([*parts, "value"]))
    assert isinstance(number, float)
    return number, unit
