"""Blocks of the input on what a run writes; their docstrings are text of inputs/README.md, as those of config.py."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from hpcwigner.problem.shapes import Width
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
    """Number of complete checkpoints to keep; 0 writes none."""
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
