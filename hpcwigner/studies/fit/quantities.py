"""What a fit can read: series of the moment equations, and quantities that follow from the rates at a temperature."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from hpcwigner.exciton.constants import CM2_PER_S, HBAR
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.observables import registry
from hpcwigner.observables.registry import VALLEY, Observable
from hpcwigner.observables.series import Snapshot
from hpcwigner.runtime.arrays import Array
from hpcwigner.studies import verification

EXCHANGE = Observable(
    "exchange", VALLEY, "cm2 s-1", "what the exchange of excitons with other valleys does to the second moment",
    "n_v D_v^interv", lambda s: s.budget.population * s.budget.parts["interv"], CM2_PER_S, registry.PAPER,
)  # fmt: skip
SERIES: dict[str, Observable] = {
    o.name: o
    for o in (*registry.SERIES, EXCHANGE)
    if o.only_in in ("", "homogeneous") and o.dimensions in (registry.TOTAL, VALLEY)
}
"""Quantities with a time axis, by name."""


@dataclasses.dataclass(frozen=True)
class RateQuantity:
    """A quantity that follows from the rates, without a run."""

    unit: str
    meaning: str
    compute: Callable[[Material, Couplings, float, int | None], float]
    """From the material, its couplings, the temperature [K] and the valley."""
    thermal: bool = True  # Whether it depends on the temperature
    by_valley: bool = False  # Whether a valley may be given


def _bright(material: Material) -> int:
    return LightCone.from_material(material).valley


def _linewidth(material: Material, couplings: Couplings, temperature: float, _valley: int | None) -> float:
    return sum(verification.linewidths(couplings, _bright(material), temperature))


def _acoustic_linewidth(material: Material, couplings: Couplings, temperature: float, _valley: int | None) -> float:
    return verification.linewidths(couplings, _bright(material), temperature)[0]


def _acoustic_slope(material: Material, couplings: Couplings, _temperature: float, _valley: int | None) -> float:
    return 1e3 * verification.acoustic_slope(couplings, _bright(material))


def _coherent_lifetime(material: Material, couplings: Couplings, temperature: float, valley: int | None) -> float:
    return 1e3 * HBAR / (_linewidth(material, couplings, temperature, valley) + material.radiation.linewidth.value)


def _binding_energy(material: Material, couplings: Couplings, _temperature: float, valley: int | None) -> float:
    return -couplings.valleys[_bright(material) if valley is None else valley].states[0].energy


def _equilibrium_diffusion(_material: Material, couplings: Couplings, temperature: float, valley: int | None) -> float:
    part = couplings if valley is None else verification.alone(couplings)[valley]
    return verification.equilibrium_diffusion(part, temperature)


def _equilibrium_share(material: Material, couplings: Couplings, temperature: float, valley: int | None) -> float:
    shares = verification.equilibrium_shares(material, couplings, temperature)
    return float(shares[_bright(material) if valley is None else valley])


RATES: dict[str, RateQuantity] = {
    "linewidth": RateQuantity("meV", "ħΓ_0 of the bright exciton by all phonons", _linewidth),
    "acoustic_linewidth": RateQuantity("meV", "its part by acoustic phonons", _acoustic_linewidth),
    "acoustic_slope": RateQuantity("ueV/K", "slope of that part, 20 to 100 K", _acoustic_slope, thermal=False),
    "coherent_lifetime": RateQuantity("fs", "1/(γ + Γ_0) of the coherent population", _coherent_lifetime),
    "binding_energy": RateQuantity("meV", "of a valley, the bright one by default", _binding_energy, False, True),
    "equilibrium_diffusion": RateQuantity(
        "cm^2/s", "Chapman–Enskog D of all valleys, or of one alone", _equilibrium_diffusion, by_valley=True
    ),
    "equilibrium_share": RateQuantity("", "share of a valley in equilibrium", _equilibrium_share, by_valley=True),
}
"""Quantities of the rates, by name."""


def series_values(name: str, snapshots: Sequence[Snapshot]) -> Array:
    """A quantity with a time axis in its unit: shape (time, valley), or (time,) of the whole sample."""
    observable = SERIES[name]
    return np.asarray(observable.scale * np.array([observable.compute(snapshot) for snapshot in snapshots]))
