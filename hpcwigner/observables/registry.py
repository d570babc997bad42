"""All output quantities: name, dimensions, unit, meaning, formula, source, and the function that computes each.

Output files are laid out by these lists. An input chooses by name (`output.observables`); only what is chosen is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

from hpcwigner.exciton.constants import CM2_PER_S, UM
from hpcwigner.observables import fields, thermal
from hpcwigner.observables.wigner_cut import WignerCut

PAPER = "Rosati et al., Nanoscale 12, 356 (2020)"


@dataclasses.dataclass(frozen=True)
class Observable:
    """A variable of an output file."""

    name: str
    dimensions: tuple[str, ...]
    unit: str
    long_name: str
    formula: str
    compute: Callable[..., Any]
    """Returns the values at one time in the program's units (nm, ps, meV, K); its argument is a series.Snapshot for a series
    variable, a fields.LocalState for a field, a WignerCut and a state for a Wigner function."""
    scale: float = 1.0
    """Factor from the program's units to `unit`."""
    source: str = ""
    default: bool = True
    """Whether it is written unless the input chooses otherwise."""
    only_in: Literal["", "slab", "plane"] = ""
    odd: tuple[str, ...] = ()
    """Axes along which it changes sign under reflection."""

    @property
    def per_area(self) -> bool:
        """Whether it is a density per area, which a slab has per length (integrated over y)."""
        return "um-2" in self.unit


def _parts() -> Iterable[Observable]:
    names = {
        "drift": ("drift (free motion)", "(1/2n_v) Σ_Q v_Q ∫(r·Q̂) N_Q dr"),
        "interv": ("intervalley scattering", "(1/4n_v) ∫r² η_v dr"),
        "source": ("formation from coherent excitons", "(1/4n_v) (w0² − w_v²) Γ_v |p0|²"),
        "radiative": ("radiative loss", "−(1/4n_v) ∫(r² − w_v²) PL dr"),
    }
    for part, (text, formula) in names.items():
        yield Observable(
            f"diffusion_{part}", ("time", "valley"), "cm2 s-1", f"part of D_v due to {text}", formula,
            lambda s, part=part: s.where_defined(s.budget.parts[part]), CM2_PER_S, PAPER if part == "interv" else "",
        )  # fmt: skip


SERIES = (
    Observable(
        "population", ("time", "valley"), "1", "number of excitons n_v in the valley", "n_v = ∫N_v dr",
        lambda s: s.budget.population,
    ),
    Observable(
        "width_squared", ("time", "valley"), "um2", "squared width w_v^2 = <r^2> of the valley", "w_v² = ∫r² N_v dr / n_v",
        lambda s: s.where_defined(s.budget.width_squared), UM**2, PAPER,
    ),
    Observable(
        "diffusion", ("time", "valley"), "cm2 s-1", "diffusion coefficient D_v = (1/4) d(w_v^2)/dt", "D_v = ¼ ∂t w_v²",
        lambda s: s.where_defined(s.budget.diffusion), CM2_PER_S, PAPER,
    ),
    *_parts(),
    Observable(
        "population_total", ("time",), "1", "number of incoherent excitons in all valleys", "Σ_v n_v",
        lambda s: s.budget.population.sum(),
    ),
    Observable(
        "pl_total", ("time",), "ps-1", "photoluminescence: gamma times the light-cone population", "γ ∫N_{Q≈0} dr",
        lambda s: s.budget.pl, 1.0, PAPER,
    ),
    Observable(
        "coherent", ("time",), "1", "coherent excitons |p0|^2", "|p0(t)|²", lambda s: s.budget.coherent,
    ),
    Observable(
        "growth", ("time", "valley"), "ps-1", "relative change c_v of the population n_v by intervalley scattering",
        "c_v = (1/n_v) Σ_v' ∫∂tN_v|_v' dr", thermal.growth, 1.0, PAPER + ", as corrected", default=False,
    ),
    Observable(
        "pl_width_squared", ("time",), "um2", "squared width of the photoluminescence", "∫r² PL dr / ∫PL dr",
        thermal.pl_width_squared, UM**2, default=False,
    ),
    Observable(
        "kinetic_energy", ("time", "valley"), "meV", "mean kinetic energy of the excitons in the valley", "Σ_Q ε_Q n_Q / n_v",
        thermal.kinetic_energy, default=False,
    ),
    Observable(
        "temperature", ("time", "valley"), "K", "mean kinetic energy of the excitons in the valley as a temperature",
        "Σ_Q ε_Q n_Q / (n_v k_B)", thermal.temperature, default=False,
    ),
    Observable(
        "energy_distance", ("time", "valley"), "1",
        "part of the excitons in the valley that would have to change energy for a Boltzmann distribution",
        "½ Σ_ε |n_ε/n_v − p_ε/p_v|", thermal.energy_distance, source="total variation distance", default=False,
    ),
    Observable(
        "relative_population", ("time", "valley"), "1", "share of the valley in all excitons over its share in equilibrium",
        "(n_v/n) / p_v", thermal.relative_population, default=False,
    ),
    Observable(
        "diffusion_adiabatic", ("time", "valley"), "cm2 s-1",
        "drift part of D_v if the directions of motion followed the present densities and energies instantly",
        "−(1/2n_v) Σ_Q v_Q (L_1⁻¹ v n)_Q", thermal.diffusion_adiabatic, CM2_PER_S,
        "first Chapman-Enskog order with the actual energy distribution", default=False,
    ),
)  # fmt: skip

FIELDS = (
    Observable(
        "density", ("time", "valley", "x", "y"), "um-2", "density N_v(r) of the valley", "N_v(r) = Σ_Q N_Q^v(r)",
        lambda s: s.density, UM**-2,
    ),
    Observable(
        "pl", ("time", "x", "y"), "um-2 ps-1", "photoluminescence per area", "γ N_{Q≈0}(r)", lambda s: s.pl, UM**-2, PAPER,
    ),
    Observable(
        "shape_variation", ("time", "valley", "x", "y"), "um-2 ps-1",
        "scattering-induced shape variation eta_v(r) (Eq. 4 of Rosati et al. 2020)", "η_v = ∂tN_v|scat − c_v N_v",
        lambda s: s.shape_variation, UM**-2, PAPER,
    ),
    Observable(
        "pl_normalized", ("time", "x", "y"), "1", "photoluminescence relative to the centre", "PL(r)/PL(0)",
        fields.pl_normalized, source=PAPER + ", Fig. 2", default=False,
    ),
    Observable(
        "shape_variation_normalized", ("time", "valley", "x", "y"), "ps-1",
        "shape variation relative to the density at the centre", "η_v(r)/N_v(0)",
        fields.shape_variation_normalized, source=PAPER + ", Fig. 5d", default=False,
    ),
    Observable(
        "local_kinetic_energy", ("time", "valley", "x", "y"), "meV", "mean kinetic energy of the excitons in the valley at r",
        "Σ_Q ε_Q N_Q(r) / N_v(r)", fields.kinetic_energy, default=False,
    ),
    Observable(
        "local_temperature", ("time", "valley", "x", "y"), "K", "mean kinetic energy at r as a temperature",
        "Σ_Q ε_Q N_Q(r) / (N_v(r) k_B)", fields.temperature, default=False,
    ),
    Observable(
        "anisotropy_x", ("time", "valley", "x", "y"), "1", "first angular harmonic: mean direction of motion along x",
        "Σ_Q cos θ_Q N_Q(r) / N_v(r)", fields.anisotropy_x, default=False, odd=("x",),
    ),
    Observable(
        "anisotropy_y", ("time", "valley", "x", "y"), "1", "first angular harmonic: mean direction of motion along y",
        "Σ_Q sin θ_Q N_Q(r) / N_v(r)", fields.anisotropy_y, default=False, only_in="plane", odd=("y",),
    ),
)  # fmt: skip

WIGNER = (
    Observable(
        "wigner", ("time", "valley", "x", "k"), "1", "occupation per state N_k^v(x) along y = 0, k along x",
        "N_Q^v(x, 0), Q = (k, 0)", WignerCut.along_x, source=PAPER + ", Fig. 5b",
    ),
    Observable(
        "wigner_angles", ("time", "valley", "x", "angle", "q"), "1", "occupation per state in every direction of motion",
        "∫N_Q^v(x, y) dy, Q = q (cos θ, sin θ)", WignerCut.by_angle, default=False, only_in="slab",
    ),
)  # fmt: skip

ALL = (*SERIES, *FIELDS, *WIGNER)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The observables of a run, by file."""

    series: tuple[Observable, ...]
    fields: tuple[Observable, ...]
    wigner: tuple[Observable, ...]


def select(names: Iterable[str], dimensions: int) -> Selection:
    """Observables by `names`, in the registry's order, for a slab (`dimensions` = 1) or a plane (2).

    `default` and `all` stand for groups. Raises KeyError for an unknown name, ValueError for one that does not apply to a
    sample of these dimensions.
    """
    kind = "slab" if dimensions == 1 else "plane"
    wanted: set[str] = set()
    for name in names:
        named = [o for o in ALL if name in (o.name, "all") or (name == "default" and o.default)]
        if not named:
            raise KeyError(name)
        applicable = {o.name for o in named if o.only_in in ("", kind)}
        if not applicable:
            raise ValueError(name)
        wanted |= applicable

    def chosen(group: tuple[Observable, ...]) -> tuple[Observable, ...]:
        adapt = in_slab if dimensions == 1 and group is not SERIES else lambda o: o
        return tuple(adapt(o) for o in group if o.name in wanted)

    return Selection(chosen(SERIES), chosen(FIELDS), chosen(WIGNER))


def in_slab(observable: Observable) -> Observable:
    """The observable as a slab has it, from densities integrated over y."""
    dimensions = tuple(d for d in observable.dimensions if d != "y")
    text = observable.long_name.replace(" along y = 0", "")
    changed = dataclasses.replace(observable, dimensions=dimensions, long_name=f"{text}, integrated over y")
    if observable in WIGNER:
        return dataclasses.replace(changed, unit="um", scale=UM)
    if observable.per_area:
        return dataclasses.replace(changed, unit=observable.unit.replace("um-2", "um-1"), scale=1 / UM)
    return changed


def describe() -> str:
    """The registry as text, for the verb `observables`."""
    lines = []
    for file, group in (("series.h5", SERIES), ("fields.h5", FIELDS), ("wigner.h5", WIGNER)):
        lines.append(f"{file}")
        for o in group:
            marks = ", ".join(filter(None, ("default" if o.default else "", f"{o.only_in} only" if o.only_in else "")))
            lines.append(f"  {o.name} ({', '.join(o.dimensions)}) [{o.unit}]{f'  ({marks})' if marks else ''}")
            lines.append(f"      {o.long_name}")
            lines.append(f"      {o.formula}{f'   ({o.source})' if o.source else ''}")
    return "\n".join(lines)
