"""Blocks of the input: pulses, recombination, the sample, interaction, and what a run writes.

Their docstrings are text of inputs/README.md, as those of config.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Literal

from hpcwigner.problem.shapes import Energies, Image, Shape, Strains, Width
from hpcwigner.runtime.schema import OnOff, Quantity, require

Duration = Annotated[float, Quantity("ps", positive=True)]


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Spectra of the photoluminescence in spectra.h5: the direct line and all phonon sidebands."""

    from_: Annotated[float, Quantity("meV")]
    """Lowest photon energy, counted from the bright exciton without strain."""
    to: Annotated[float, Quantity("meV")]
    """Highest photon energy."""
    step: Annotated[float, Quantity("meV", positive=True)] = 0.5
    """Width of the bins of energy."""
    every: Duration = 1.0
    """Interval of the spectra."""
    windows: tuple[tuple[Annotated[float, Quantity("meV")], Annotated[float, Quantity("meV")]], ...] = ()
    """Ranges of photon energy, [[from, to], …]: instead of spectra their sums are written, as through filters."""
    place: Literal["sample", "resolved"] = "sample"
    """`sample`: of the whole sample; `resolved`: at every point of the slab or plane."""
    psf_fwhm: Width | None = None
    """FWHM of the microscope's point-spread function, a Gaussian, of which `measured` in spectra.h5 takes account."""
    time_fwhm: Annotated[float | None, Quantity("ps", positive=True)] = None
    """FWHM of the detector's response, a Gaussian, likewise."""
    z_dipoles: Annotated[bool, OnOff()] = False
    """Whether the light of spin-dark excitons, which leaves along the layer, is collected as well."""
    compression: Literal["none", "gzip"] = "none"
    """HDF5 filter of the spectra."""

    def __post_init__(self) -> None:
        require(self.to >= self.from_ + self.step, "to", f"{self.to} meV", "at least a step above from")
        require(self.psf_fwhm is None or self.place == "resolved", "psf_fwhm", f"{self.psf_fwhm} nm", "place: resolved with it")
        good = all(self.from_ <= low < high <= self.to for low, high in self.windows)
        require(good, "windows", self.windows, f"increasing pairs from {self.from_:g} to {self.to:g} meV")

    @property
    def instrument(self) -> bool:
        """Whether spectra are also written as an instrument shows them."""
        return self.psf_fwhm is not None or self.time_fwhm is not None

    @property
    def edges(self) -> tuple[float, ...]:
        """Edges of the bins [meV]."""
        count = round((self.to - self.from_) / self.step)
        return tuple(self.from_ + (self.to - self.from_) * i / count for i in range(count + 1))


@dataclasses.dataclass(frozen=True)
class Output:
    """What is written, where and how often."""

    directory: str = "runs/hpcwigner"
    """Run directory."""
    series_every: Duration = 0.25
    """Interval of the outputs to series.h5."""
    fields_every: Duration = 1.0
    """Interval of the outputs to fields.h5."""
    wigner_at: tuple[Duration, ...] = ()
    """Times of the outputs to wigner.h5; those after the end are left out with a warning."""
    observables: tuple[str, ...] = ("default",)
    """Names that the verb `observables` lists; `default` and `all` stand for groups."""
    spectrum: Spectrum | None = None
    """Without it no spectra are written."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Checkpoints, from which a run is restarted."""

    every: Annotated[float, Quantity("s", shown="min", minimum=0)] = 600.0
    """Interval in real time."""
    keep: int = 2
    """Number of complete checkpoints to keep, 0 or more; 0 writes none."""
    writes: Literal["collective", "independent"] = "collective"
    """Mode of the MPI-IO writes."""
    compression: Literal["none", "gzip"] = "none"
    """HDF5 filter of the state."""
    alignment: Annotated[float, Quantity("byte", shown="MiB", minimum=0)] = 0.0
    """Alignment of HDF5 objects in the file, such as the stripe size of the file system."""
    hints: dict[str, str] = dataclasses.field(default_factory=dict)
    """MPI-IO hints, such as `{romio_cb_write: enable, striping_factor: "8"}`."""

    def __post_init__(self) -> None:
        require(self.keep >= 0, "keep", self.keep, "0 or more")


Lifetime = Annotated[float, Quantity("ps", shown="ns", positive=True)]
Rate = Annotated[float, Quantity("nm^2/ps", shown="cm^2/s", positive=True)]


@dataclasses.dataclass(frozen=True)
class Injection:
    """Incoherent formation of excitons in one valley, isotropic in momentum and Gaussian in energy."""

    valley: str
    """Name of the valley in the material file."""
    above: Annotated[float, Quantity("meV", minimum=0)]
    """Centre of the Gaussian above the valley's bottom."""
    spread: Annotated[float, Quantity("meV", positive=True)] = 5.0
    """Rms width of the Gaussian."""


@dataclasses.dataclass(frozen=True)
class Pump:
    """Laser pulse with a field A(r, t) that is Gaussian in space and time; `pump: off` for none, the default with `initial`."""

    center: Annotated[float, Quantity("ps", minimum=0)] = 0.2
    """Time of the pulse's maximum."""
    duration_fwhm: Annotated[float, Quantity("ps", shown="fs", minimum=0.001)] = 0.1
    """FWHM of the field in time; below a period of the light there is no envelope."""
    spot_fwhm: Width = 500.0
    """FWHM of the field in space; that of the density is smaller by √2."""
    profile: float | Shape | Image | tuple[float | Shape | Image, ...] | None = None
    """Of the density, not the spot: sum of shapes, images, numbers. A slab is uniform along y then, populations per length."""
    density: Annotated[float | None, Quantity("nm^-2", shown="cm^-2", positive=True)] = None
    """Peak density of all excitons that the pulse generates; without it the generated population is 1."""
    energy: Literal["resonant"] | Injection = "resonant"
    """`resonant`: the pulse drives coherent excitons at Q = 0, which phonons scatter into the valleys."""
    photon_energy: Annotated[float | None, Quantity("meV")] = None
    """Of a resonant pulse, against the unstrained bright exciton; without it that of the bright exciton at the origin."""

    def __post_init__(self) -> None:
        resonant = self.photon_energy is None or self.energy == "resonant"
        require(resonant, "photon_energy", f"{self.photon_energy} meV", "none, since energy is not resonant")


@dataclasses.dataclass(frozen=True)
class Radiative:
    """Radiative recombination of the bright valley inside the light cone, and more."""

    phonon_assisted: Annotated[bool, OnOff()] = True
    """Recombination of every valley with the emission or absorption of a phonon, as in spectra."""


@dataclasses.dataclass(frozen=True)
class Recombination:
    """Non-radiative recombination, at the rate 1/lifetime for every momentum. Default: none."""

    lifetime: Lifetime | dict[str, Lifetime]
    """One lifetime, or lifetimes by valley; a valley that is not named does not recombine."""

    def __post_init__(self) -> None:
        require(self.lifetime != {}, "lifetime", self.lifetime, "a time, or a time for at least one valley")


@dataclasses.dataclass(frozen=True)
class StrainTensor:
    """Strain along x and y; half its trace shifts the valleys."""

    xx: Strains
    """Strain along x."""
    yy: Strains
    """Strain along y."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """What varies in space: each valley's energy E_v(r), by strain and by given energies, which add up."""

    strain: Strains | StrainTensor | None = None
    """Biaxial strain s(r), tension above 0, or {xx: …, yy: …} with s = ½(xx + yy): E_v changes by −gauge_factor · s."""
    energy: dict[str, Energies] | None = None
    """Added to E_v(r) of the valley of that name; `all` adds to every valley."""

    def __post_init__(self) -> None:
        require(self.strain is not None or bool(self.energy), "", "none", "a strain, or an energy of at least one valley")

    @property
    def uniform(self) -> bool:
        """Whether all its values are numbers, so that nothing varies in space."""
        strain = (self.strain.xx, self.strain.yy) if isinstance(self.strain, StrainTensor) else (self.strain,)
        given = (*strain, *(self.energy or {}).values())
        parts = itertools.chain.from_iterable(value if isinstance(value, tuple) else (value,) for value in given)
        return all(part is None or isinstance(part, int | float) for part in parts)


@dataclasses.dataclass(frozen=True)
class Annihilation:
    """Of two excitons that meet one is gone: ∂t n = −R n²; the other receives its energy."""

    rate: Rate
    """R in ∂t n = −R n², the convention of this program; where a paper writes −½ R n², take half of its R."""
    between_valleys: Annotated[bool, OnOff()] = True
    """on: n is the density of all excitons; off: excitons annihilate within each valley only."""
    hot: float = 0.0
    """Part of the partners that comes back hot, from 0 to 1; the others stay as they are."""
    above: Annotated[float, Quantity("meV", minimum=0)] = 25.0
    """Their mean kinetic energy in their valley, when they come back."""
    spread: Annotated[float, Quantity("meV", positive=True)] = 5.0
    """Rms width of their Gaussian distribution in energy."""
    delay: Annotated[float | None, Quantity("ps", positive=True)] = None
    """Mean time (of an exponential distribution) after which they come back; without it at once."""

    def __post_init__(self) -> None:
        require(0 <= self.hot <= 1, "hot", self.hot, "a number from 0 to 1")
        require(self.hot > 0 or self.delay is None, "delay", f"{self.delay} ps", "none, since hot is 0")


@dataclasses.dataclass(frozen=True)
class Interaction:
    """Of excitons with each other, from the density that every pulse must give. A slab is a sample uniform along y then."""

    annihilation: Rate | Annihilation | None = None
    """A rate constant R in ∂t n = −R n², or the keys below."""
    repulsion: Annotated[float | None, Quantity("meV nm^2", shown="meV cm^2", positive=True)] = None
    """g of a mean field g n(r, t) that is added to every E_v(r)."""

    def __post_init__(self) -> None:
        given = self.annihilation is not None or self.repulsion is not None
        require(given, "", "none", "an annihilation, a repulsion, or both")
