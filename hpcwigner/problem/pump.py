"""The pulses of the input; their docstrings are the text of inputs/README.md, as those of config.py."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from hpcwigner.problem.shapes import Image, Shape, Width
from hpcwigner.runtime.schema import Quantity, require


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
    duration_fwhm: Annotated[float, Quantity("ps", shown="fs", positive=True)] = 0.1
    """FWHM of the field in time."""
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
