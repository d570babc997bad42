"""All output quantities; output files are laid out by these lists, and only what `output.observables` names is computed."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

from hpcwigner.exciton.constants import BOLTZMANN, CM2_PER_S, UM
from hpcwigner.observables.fields import LocalState, WignerCut
from hpcwigner.observables.series import Snapshot
from hpcwigner.runtime.schema import did_you_mean

Slab = Literal["integrated", "relative", "absolute"]
"""What the numbers of a slab are; in a plane they are those of the plane.

integrated: of a plane with a round spot, integrated over y. The others are of a sample uniform along y: relative to the number of
excitons generated, or absolute, where densities are per area and numbers of excitons per length of y.
"""
SLABS: dict[Slab, str] = {
    "integrated": "integrated over y",
    "relative": "uniform along y: relative to the number of excitons generated",
    "absolute": "uniform along y: densities per area, numbers of excitons per length of y",
}
"""The attribute `slab` of output files."""

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
    """At one time in the program's units: from a Snapshot (series), a LocalState (fields), or a WignerCut and a state."""
    scale: float = 1.0  # Factor from the program's units to `unit`
    source: str = ""
    default: bool = True  # Whether it is written unless the input chooses otherwise
    only_in: Literal["", "slab", "plane", "landscape", "homogeneous", "run", "annihilation"] = ""
    """What it needs; `run`: a run in space, which the moment equations are not."""
    needs_rates: bool = False  # Whether it follows from the rates of change at each point
    odd: tuple[str, ...] = ()  # Axes along which it changes sign under reflection
    extensive: bool = False  # Of series: in proportion to the number of excitons


AXIS, VALLEY_AXIS = ("time", "axis"), ("time", "valley", "axis")
TOTAL, VALLEY, PLACE, VALLEY_PLACE = ("time",), ("time", "valley"), ("time", "x", "y"), ("time", "valley", "x", "y")


def _part(part: str, cause: str, formula: str, source: str = "") -> Observable:
    name, meaning = f"diffusion_{part}", f"part of D_v due to {cause}"
    return Observable(
        name, VALLEY, "cm2 s-1", meaning, formula, lambda s: s.where_defined(s.budget.parts[part]), CM2_PER_S, source
    )


# fmt: off
SERIES = (
    Observable("population", VALLEY, "1", "number of excitons n_v in the valley", "n_v = ∫N_v dr", lambda s: s.budget.population,
               extensive=True),
    Observable("width_squared", VALLEY, "um2", "squared width w_v^2 = <r^2> of the valley",
               "w_v² = ∫(r − c)² N_v dr / n_v, c = 0, in a landscape c = ⟨r⟩_v; in a slab 2(x − c)²",
               lambda s: s.where_defined(s.budget.width_squared), UM**2, PAPER),
    Observable("diffusion", VALLEY, "cm2 s-1", "diffusion coefficient D_v = (1/4) d(w_v^2)/dt", "D_v = ¼ ∂t w_v²",
               lambda s: s.where_defined(s.budget.diffusion), CM2_PER_S, PAPER),
    _part("drift", "drift (free motion)", "(1/2n_v) Σ_Q v_Q ∫(r·Q̂) N_Q dr"),
    _part("interv", "intervalley scattering", "(1/4n_v) ∫r² η_v dr", PAPER),
    _part("source", "formation from coherent excitons", "(1/4n_v) (w0² − w_v²) Γ_v |p0|²"),
    _part("radiative", "radiative loss", "−(1/4n_v) ∫(r² − w_v²) PL dr"),
    Observable("population_total", TOTAL, "1", "number of incoherent excitons in all valleys", "Σ_v n_v",
               lambda s: s.budget.population.sum(), extensive=True),
    Observable("pl_total", TOTAL, "ps-1", "photoluminescence: gamma times the light-cone population", "γ ∫N_{Q≈0} dr",
               lambda s: s.budget.pl, source=PAPER, extensive=True),
    Observable("coherent", TOTAL, "1", "coherent excitons |p0|^2", "|p0(t)|²", lambda s: s.budget.coherent, extensive=True),
    Observable("growth", VALLEY, "ps-1", "relative change c_v of the population n_v by intervalley scattering",
               "c_v = (1/n_v) Σ_v' ∫∂tN_v|_v' dr", Snapshot.growth, source=PAPER + ", as corrected", default=False),
    Observable("pl_width_squared", TOTAL, "um2", "squared width of the photoluminescence", "∫r² PL dr / ∫PL dr",
               Snapshot.pl_width_squared, UM**2, default=False),
    Observable("kinetic_energy", VALLEY, "meV", "mean kinetic energy of the excitons in the valley", "Σ_Q ε_Q n_Q / n_v",
               Snapshot.kinetic_energy, default=False),
    Observable("temperature", VALLEY, "K", "mean kinetic energy of the excitons in the valley as a temperature",
               "Σ_Q ε_Q n_Q / (n_v k_B)", lambda s: s.kinetic_energy() / BOLTZMANN, default=False),
    Observable("energy_distance", VALLEY, "1",
               "part of the excitons in the valley that would have to change energy for a Boltzmann distribution",
               "½ Σ_ε |n_ε/n_v − p_ε/p_v|", Snapshot.energy_distance, source="total variation distance", default=False),
    Observable("relative_population", VALLEY, "1", "share of the valley in all excitons over its share in equilibrium",
               "(n_v/n) / p_v", Snapshot.relative_population, default=False, only_in="homogeneous"),
    Observable("diffusion_adiabatic", VALLEY, "cm2 s-1",
               "drift part of D_v if the directions of motion followed the present densities and energies instantly",
               "−(1/2n_v) Σ_Q v_Q (L_1⁻¹ v n)_Q", Snapshot.diffusion_adiabatic, CM2_PER_S,
               "first Chapman-Enskog order with the actual energy distribution", default=False, only_in="homogeneous"),
    Observable("mean_position", VALLEY_AXIS, "um", "mean position of the valley", "∫r N_v dr / n_v", Snapshot.mean_position, UM,
               only_in="landscape"),
    Observable("mean_position_total", AXIS, "um", "mean position of all excitons", "Σ_v ∫r N_v dr / Σ_v n_v",
               Snapshot.mean_position_total, UM, only_in="landscape"),
    Observable("pl_mean_position", AXIS, "um", "mean position of the photoluminescence", "∫r PL dr / ∫PL dr",
               Snapshot.pl_mean_position, UM, only_in="landscape"),
    Observable("drift_velocity", VALLEY_AXIS, "nm ps-1", "velocity of the valley's mean position", "∂t⟨r⟩_v", Snapshot.velocity,
               only_in="landscape"),
    Observable("width_squared_axis", VALLEY_AXIS, "um2", "squared width of the valley along each axis, about its mean position",
               "2⟨(r_a − ⟨r_a⟩)²⟩_v", Snapshot.width_squared_axis, UM**2, only_in="landscape"),
    Observable("diffusion_axis", VALLEY_AXIS, "cm2 s-1", "diffusion coefficient of the valley along each axis",
               "½ ∂t⟨(r_a − ⟨r_a⟩)²⟩_v", Snapshot.diffusion_axis, CM2_PER_S, only_in="landscape"),
    Observable("potential_energy", VALLEY, "meV", "mean energy of the valley's bottom at the excitons' positions",
               "∫E_v(r) N_v dr / n_v, from the bright valley without strain", Snapshot.potential_energy, only_in="landscape"),
    Observable("heat", TOTAL, "meV", "energy given to phonons since the start, per generated exciton", "−∫(dE/dt)|scat dt",
               lambda s: s.heat, only_in="landscape"),
    Observable("width_squared_total", TOTAL, "um2", "squared width of all excitons about their mean position, by second moments",
               "⟨(r − ⟨r⟩)²⟩, in a slab 2⟨(x − ⟨x⟩)²⟩", Snapshot.total_width_squared, UM**2, default=False, only_in="run"),
    Observable("diffusion_total", TOTAL, "cm2 s-1", "effective diffusion coefficient of all excitons, by second moments",
               "¼ ∂t of width_squared_total", Snapshot.total_diffusion, CM2_PER_S, default=False, only_in="run"),
    Observable("pl_diffusion", TOTAL, "cm2 s-1", "effective diffusion coefficient of the photoluminescence, by second moments",
               "¼ ∂t ⟨(r − ⟨r⟩)²⟩ of the PL", Snapshot.pl_diffusion, CM2_PER_S, default=False, only_in="run", needs_rates=True),
    Observable("fit_width_squared", TOTAL, "um2", "squared width of a Gaussian fitted to the density of all excitons along x",
               "w² of A exp[−(x − c)²/w²], in a plane at y = 0", lambda s: s.profiles.fitted_width_squared("density"), UM**2,
               default=False, only_in="run"),
    Observable("fit_diffusion", TOTAL, "cm2 s-1", "effective diffusion coefficient from the fit to the density of all excitons",
               "¼ ∂t of fit_width_squared", lambda s: s.profiles.fitted_diffusion("density"), CM2_PER_S, default=False,
               only_in="run", needs_rates=True),
    Observable("pl_fit_width_squared", TOTAL, "um2", "squared width of a Gaussian fitted to the photoluminescence along x",
               "as fit_width_squared", lambda s: s.profiles.fitted_width_squared("light"), UM**2, default=False, only_in="run"),
    Observable("pl_fit_diffusion", TOTAL, "cm2 s-1", "effective diffusion coefficient from the fit to the photoluminescence",
               "¼ ∂t of pl_fit_width_squared", lambda s: s.profiles.fitted_diffusion("light"), CM2_PER_S, default=False,
               only_in="run", needs_rates=True),
    Observable("ring_contrast", TOTAL, "1", "by how much the density of all excitons along x exceeds that at the origin",
               "max_x n(x)/n(0) − 1, 0 without a ring", lambda s: s.profiles.ring[0], default=False, only_in="run"),
    Observable("ring_radius", TOTAL, "um", "distance of the largest density of all excitons along x from the origin",
               "|x| of the maximum, 0 without a ring", lambda s: s.profiles.ring[1], UM, default=False, only_in="run"),
    Observable("annihilated", TOTAL, "1", "excitons annihilated since the start", "−∫∂t n|_annihilation dt",
               lambda s: s.annihilated, only_in="annihilation", extensive=True),
)

FIELDS = (
    Observable("density", VALLEY_PLACE, "um-2", "density N_v(r) of the valley", "N_v(r) = Σ_Q N_Q^v(r)",
               lambda s: s.density, UM**-2),
    Observable("pl", PLACE, "um-2 ps-1", "photoluminescence per area", "γ N_{Q≈0}(r)", lambda s: s.pl, UM**-2, PAPER),
    Observable("shape_variation", VALLEY_PLACE, "um-2 ps-1",
               "scattering-induced shape variation eta_v(r) (Eq. 4 of Rosati et al. 2020)", "η_v = ∂tN_v|scat − c_v N_v",
               lambda s: s.shape_variation, UM**-2, PAPER),
    Observable("pl_normalized", PLACE, "1", "photoluminescence relative to the centre", "PL(r)/PL(0)",
               lambda s: s.relative_to_centre(s.pl, s.pl), source=PAPER + ", Fig. 2", default=False),
    Observable("shape_variation_normalized", VALLEY_PLACE, "ps-1", "shape variation relative to the density at the centre",
               "η_v(r)/N_v(0)", lambda s: s.relative_to_centre(s.shape_variation, s.density),
               source=PAPER + ", Fig. 5d", default=False),
    Observable("local_kinetic_energy", VALLEY_PLACE, "meV", "mean kinetic energy of the excitons in the valley at r",
               "Σ_Q ε_Q N_Q(r) / N_v(r)", LocalState.kinetic_energy, default=False),
    Observable("local_temperature", VALLEY_PLACE, "K", "mean kinetic energy at r as a temperature",
               "Σ_Q ε_Q N_Q(r) / (N_v(r) k_B)", lambda s: s.kinetic_energy() / BOLTZMANN, default=False),
    Observable("anisotropy_x", VALLEY_PLACE, "1", "first angular harmonic: mean direction of motion along x",
               "Σ_Q cos θ_Q N_Q(r) / N_v(r)", lambda s: s.anisotropy(0), default=False, odd=("x",)),
    Observable("anisotropy_y", VALLEY_PLACE, "1", "first angular harmonic: mean direction of motion along y",
               "Σ_Q sin θ_Q N_Q(r) / N_v(r)", lambda s: s.anisotropy(1), default=False, only_in="plane", odd=("y",)),
)

WIGNER = (
    Observable("wigner", ("time", "valley", "x", "k"), "1", "occupation per state N_k^v(x) along y = 0, k along x",
               "N_Q^v(x, 0), Q = (k, 0)", WignerCut.along_x, source=PAPER + ", Fig. 5b"),
    Observable("wigner_angles", ("time", "valley", "x", "angle", "q"), "1", "occupation per state in every direction of motion",
               "∫N_Q^v(x, y) dy, Q = q (cos θ, sin θ)", WignerCut.by_angle, default=False, only_in="slab"),
)
# fmt: on

FILES = {"series.h5": SERIES, "fields.h5": FIELDS, "wigner.h5": WIGNER}
ALL = (*SERIES, *FIELDS, *WIGNER)


def select(
    names: Iterable[str], dimensions: int, landscape: bool = False, slab: Slab = "integrated", annihilation: bool = False,
    run: bool = True,
) -> dict[str, tuple[Observable, ...]]:  # fmt: skip
    """By file, the observables in `names` or groups (`default`, `all`) for a slab (`dimensions` = 1) or a plane (2).

    Some exist only with a `landscape` or `annihilation`, or in a `run`; units and names are those of the kind of `slab`.

    Raises ValueError with what is expected instead of a name that is unknown or does not apply to these dimensions.
    """
    kinds = ["", "slab" if dimensions == 1 else "plane", "landscape" if landscape else "homogeneous"]
    kinds += ["run"] * run + ["annihilation"] * annihilation
    wanted: set[str] = set()
    for name in names:
        named = [o for o in ALL if name in (o.name, "all") or (name == "default" and o.default)]
        if not named:
            hint = did_you_mean(name, ["default", "all", *(o.name for o in ALL)])
            raise ValueError(f"a name that `python -m hpcwigner observables` lists{'; ' * bool(hint)}{hint}")
        applicable = {o.name for o in named if o.only_in in kinds}
        if not applicable:
            missing = {
                "landscape": "a sample without a landscape", "homogeneous": "a sample with a landscape",
                "annihilation": "a problem without annihilation", "run": "the moment equations",
            }  # fmt: skip
            raise ValueError(f"what {missing.get(named[0].only_in, f'a sample of {dimensions} dimensions')} has")
        wanted |= applicable

    chosen = {file: tuple(o for o in group if o.name in wanted) for file, group in FILES.items()}
    if dimensions == 2:
        return chosen
    return {
        file: tuple(_in_series(o, slab) if o in SERIES else _in_slab(o, slab) for o in group) for file, group in chosen.items()
    }


def spectra(dimensions: int, slab: Slab, windows: bool, resolved: bool) -> tuple[Observable, ...]:
    """Variables of spectra.h5.

    `compute` takes spectra as they are written, those of the whole sample with all bins, and its photons in each sideband.
    """
    bins, unit = ("window", "ps-1") if windows else ("energy", "meV-1 ps-1")
    text, place = "photoluminescence with the direct line and all phonon sidebands", ("x", "y") if resolved else ()
    formula, source = "γ N_{Q≈0} and Σ ℓ_Q N_Q by photon energy", "golden rule of second order"
    intensity = Observable(
        "intensity", ("time", bins, *place), f"um-2 {unit}" if resolved else unit, text, formula,
        lambda shown, _total, _bands: shown, UM**-2 if resolved else 1.0, source, extensive=not resolved,
    )  # fmt: skip
    takes: dict[str, tuple[str, Callable[..., Any]]] = {
        "photons": ("of all energies", lambda _shown, total, _bands: total.sum()),
        "below": ("below the lowest energy", lambda _shown, total, _bands: total[0]),
        "above": ("above the highest energy", lambda _shown, total, _bands: total[-1]),
    }
    sums = [
        Observable(name, TOTAL, "ps-1", f"photons {words}", formula, take, extensive=True)
        for name, (words, take) in takes.items()
    ]
    text, formula = "photons of all energies in the sideband", "Σ ℓ_Q N_Q"
    sums.append(
        Observable("sideband_photons", ("time", "sideband"), "ps-1", text, formula, lambda _shown, _total, bands: bands,
                   source=source, extensive=True)
    )  # fmt: skip
    if dimensions == 2:
        return intensity, *sums
    return (_in_slab(intensity, slab) if resolved else _in_series(intensity, slab)), *(_in_series(o, slab) for o in sums)


def _in_slab(observable: Observable, slab: Slab) -> Observable:
    """The observable of fields and Wigner functions as a slab has it."""
    place = "integrated over y" if slab == "integrated" else "sample uniform along y"
    dimensions, text = tuple(d for d in observable.dimensions if d != "y"), observable.long_name.replace(" along y = 0", "")
    formula = observable.formula
    if slab != "integrated":
        formula = formula.replace("N_Q^v(x, 0)", "N_Q^v(x)").replace("∫N_Q^v(x, y) dy", "N_Q^v(x)")
    changed = dataclasses.replace(observable, dimensions=dimensions, long_name=f"{text}, {place}", formula=formula)
    if slab == "absolute":
        return changed
    if observable in WIGNER:
        return dataclasses.replace(changed, unit="um", scale=UM)
    if "um-2" in observable.unit:
        return dataclasses.replace(changed, unit=observable.unit.replace("um-2", "um-1"), scale=1 / UM)
    return changed


def _in_series(observable: Observable, slab: Slab) -> Observable:
    """The observable of series as a slab has it."""
    if slab == "integrated":
        return observable
    text = observable.long_name.replace("= <r^2>", "= 2<x^2>")
    if slab == "relative" or not observable.extensive:
        return dataclasses.replace(observable, long_name=text)
    unit = f"um-1 {observable.unit}".removesuffix(" 1")
    return dataclasses.replace(observable, long_name=f"{text}, per length of y", unit=unit, scale=1 / UM)


def describe() -> str:
    """The registry as text, for the verb `observables`."""
    lines = []
    for file, group in FILES.items():
        lines.append(file)
        for o in group:
            marks = ", ".join(["default"] * o.default + [f"{o.only_in} only"] * bool(o.only_in))
            lines.append(f"  {o.name} ({', '.join(o.dimensions)}) [{o.unit}]{f'  ({marks})' if marks else ''}")
            lines += [f"      {o.long_name}", f"      {o.formula}{f'   ({o.source})' if o.source else ''}"]
    return "\n".join(lines)
