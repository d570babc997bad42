"""Blocks of the input that add terms to the equation: interaction of excitons."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from hpcwigner.runtime.schema import OnOff, Quantity, require

Rate = Annotated[float, Quantity("nm^2/ps", shown="cm^2/s", positive=True)]


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
