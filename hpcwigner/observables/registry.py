"""Every output quantity once: name, dimensions, unit and meaning. Files and plots are made from these lists."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Observable:
    """A variable of an output file."""

    name: str
    dimensions: tuple[str, ...]
    unit: str
    long_name: str
    scale: float
    """Factor from the program's units (nm, ps) to `unit`; fields of a slab are per length, see `field_scale`."""


UM = 1e-3
CM2_PER_S = 0.01  # 1 nm²/ps = 0.01 cm²/s

_PART_NAMES = {
    "drift": "drift (free motion)",
    "interv": "intervalley scattering",
    "source": "formation from coherent excitons",
    "radiative": "radiative loss",
}

SERIES = (
    Observable("population", ("time", "valley"), "1", "number of excitons n_v in the valley", 1.0),
    Observable("width_squared", ("time", "valley"), "um2", "squared width w_v^2 = <r^2> of the valley", UM**2),
    Observable("diffusion", ("time", "valley"), "cm2 s-1", "diffusion coefficient D_v = (1/4) d(w_v^2)/dt", CM2_PER_S),
    *(
        Observable(f"diffusion_{part}", ("time", "valley"), "cm2 s-1", f"part of D_v due to {text}", CM2_PER_S)
        for part, text in _PART_NAMES.items()
    ),
    Observable("population_total", ("time",), "1", "number of incoherent excitons in all valleys", 1.0),
    Observable("pl_total", ("time",), "ps-1", "photoluminescence: gamma times the light-cone population", 1.0),
    Observable("coherent", ("time",), "1", "coherent excitons |p0|^2", 1.0),
)

FIELDS = (
    Observable("density", ("time", "valley", "x", "y"), "um-2", "density N_v(r) of the valley", UM**-2),
    Observable("pl", ("time", "x", "y"), "um-2 ps-1", "photoluminescence per area", UM**-2),
    Observable(
        "shape_variation", ("time", "valley", "x", "y"), "um-2 ps-1",
        "scattering-induced shape variation eta_v(r) (Eq. 4 of Rosati et al. 2020)", UM**-2,
    ),
)  # fmt: skip

WIGNER = (Observable("wigner", ("time", "valley", "x", "k"), "1", "occupation per state N_k^v(x) along y = 0, k along x", 1.0),)


def in_slab(observable: Observable) -> Observable:
    """The same quantity integrated over y: what a slab (dimensions: 1) has."""
    dimensions = tuple(d for d in observable.dimensions if d != "y")
    if observable.name == "wigner":
        return dataclasses.replace(
            observable, unit="um", scale=UM, long_name=observable.long_name.replace("along y = 0", "integrated over y")
        )
    return dataclasses.replace(
        observable, dimensions=dimensions, unit=observable.unit.replace("um-2", "um-1"), scale=1 / UM,
        long_name=f"{observable.long_name}, integrated over y",
    )  # fmt: skip
