"""The verb `verify`: quantities that follow from a material, beside literature values."""

import dataclasses
import math

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN, CM2_PER_S, HBAR
from hpcwigner.exciton.materials import Material, Number
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone, linewidth_from_dipole
from hpcwigner.exciton.valley import ValleyState, film_potential, reduced_masses
from hpcwigner.exciton.wannier import bound_states
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates, formation_rates, generator
from hpcwigner.observables.transport import chapman_enskog, elastic_acoustic

TEMPERATURES = (300.0, 77.0, 20.0)
SLOPE_BETWEEN = (20.0, 100.0)  # Temperatures [K] between which the slope of the acoustic linewidth is taken


def report(material: Material) -> str:
    """Text of the verb. Raises InputError if the material binds no excitons."""
    couplings = Couplings.from_material(material)
    bright = list(material.valleys).index(material.radiation.bright_valley)
    sections = (
        material.name,
        _valleys(material, couplings.valleys),
        _linewidths(material, couplings, bright),
        _radiation(material, couplings.valleys),
    )
    return "\n\n".join([*sections, _diffusion(couplings, bright), _landscape_statement(material, couplings.valleys)])


def _beside(value: float, known: Number | None, unit: str, scale: float = 1.0) -> str:
    text = f"{value:.4g} {unit}"
    return text if known is None else f"{text} ({known.confidence} {known.value * scale:.4g} {unit}, {known.source})"


def _valleys(material: Material, valleys: tuple[ValleyState, ...]) -> str:
    lines = ["valley    μ (m0)   E_1s      E_2s      E_3s (meV)  rms radius (nm)  ψ(0)² (nm⁻²)  E_v given   E_v computed (meV)"]
    for v in valleys:
        energies = "".join(f"{s.energy:10.2f}" for s in v.states)
        offsets = "".join(f"{'—' if e is None else f'{e:.2f}':>12}" for e in (v.given, v.computed))
        ground = v.states[0]
        lines.append(f"{v.name:<8}{v.reduced_mass:8.4f}{energies}{ground.rms_radius:15.3f}{ground.at_origin**2:15.3f}{offsets}")
    bright = material.radiation.bright_valley
    binding = next(-v.states[0].energy for v in valleys if v.name == bright)
    lines.append(f"binding energy of {bright}: " + _beside(binding, material.benchmarks.binding_energy, "meV"))
    if material.dielectric is not None and material.film is not None:
        (state,) = bound_states(film_potential(material.film), reduced_masses(material)[bright], 1.0, count=1)
        lines.append(f"the same in the film between its half spaces (not used): {-state.energy:.4g} meV")
    return "\n".join(lines)


def _formation(couplings: Couplings, bright: int, temperature: float) -> list[float]:
    """ħΓ_0 [meV] by acoustic phonons, optical ones within a valley, and those between valleys."""
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 1.0, max(60.0, auto_energy_above(temperature))), temperature)
    inside, between = (tuple(p for p in couplings.optical if p.intervalley == kind) for kind in (False, True))
    kinds = [Couplings(couplings.valleys, *phonons) for phonons in ((couplings.acoustic, ()), ((), inside), ((), between))]
    return [HBAR * float(formation_rates(kind, equilibrium, bright).sum()) for kind in kinds]


def _linewidths(material: Material, couplings: Couplings, bright: int) -> str:
    lines = [
        f"linewidth of {material.radiation.bright_valley}, ħΓ_0 (meV)",
        "     T (K)  acoustic   optical  intervalley     total",
    ]
    for temperature in (4.0, 20.0, 77.0, 150.0, 300.0):
        acoustic, optical, intervalley = parts = _formation(couplings, bright, temperature)
        lines.append(f"{temperature:10g}{acoustic:10.3f}{optical:10.3f}{intervalley:13.3f}{sum(parts):10.3f}")
    low, high = (_formation(couplings, bright, t)[0] for t in SLOPE_BETWEEN)
    slope = (high - low) / (SLOPE_BETWEEN[1] - SLOPE_BETWEEN[0])
    lines.append("acoustic slope: " + _beside(1e3 * slope, material.benchmarks.acoustic_slope, "µeV/K", 1e3))
    lines.append("at 300 K: " + _beside(sum(_formation(couplings, bright, 300.0)), material.benchmarks.linewidth_300K, "meV"))
    return "\n".join(lines)


def _radiation(material: Material, valleys: tuple[ValleyState, ...]) -> str:
    cone, width = LightCone.from_material(material), material.radiation.linewidth.value
    bright = next(v for v in valleys if v.name == material.radiation.bright_valley)
    dipole = linewidth_from_dipole(material, bright.states[0].at_origin ** 2)
    thermal = [f"{cone.mean_lifetime(t):.3g} ps at {t:g} K" for t in TEMPERATURES]
    return (
        f"radiative linewidth ħγ = {width:g} meV ({material.radiation.linewidth.confidence}), lifetime of the coherent exciton "
        f"{1e3 * HBAR / width:.4g} fs\n"
        f"from ψ(0)² with the Kane velocity of the two-band model: ħγ = {dipole:.3g} meV\n"
        f"light cone: E_lc = {cone.energy:.4g} meV; lifetime of a bright valley in equilibrium with itself: {', '.join(thermal)}"
    )


def _diffusion(couplings: Couplings, bright: int) -> str:
    alone = "".join(f"{v.name + ' alone':>13}" for v in couplings.valleys)
    lines = ["diffusion coefficient in equilibrium, Chapman–Enskog (cm²/s)"]
    lines.append(f"     T (K)   all valleys, all phonons{alone}   bright, acoustic only")
    for temperature in TEMPERATURES:
        whole = _equilibrium_diffusion(couplings, temperature)
        each = [_equilibrium_diffusion(_inside(couplings, i), temperature) for i in range(len(couplings.valleys))]
        acoustic = _equilibrium_diffusion(dataclasses.replace(_inside(couplings, bright), optical=()), temperature)
        lines.append(f"{temperature:10g}{whole:27.3f}" + "".join(f"{d:13.3f}" for d in each) + f"{acoustic:24.3f}")
    elastic = CM2_PER_S * elastic_acoustic(couplings.acoustic[bright])
    lines.append(f"acoustic only, point-like and elastic, ħ³ρv²/(M²D²): {elastic:.3f} cm²/s at every temperature")
    return "\n".join(lines)


def _inside(couplings: Couplings, valley: int) -> Couplings:
    """Couplings within one valley and its equivalents only."""
    state = couplings.valleys[valley]
    optical = tuple(p for p in couplings.optical if p.initial is state and p.final is state)
    return Couplings((state,), tuple(p for p in couplings.acoustic if p.valley is state), optical)


def _equilibrium_diffusion(couplings: Couplings, temperature: float) -> float:
    """D of all valleys in equilibrium, Chapman–Enskog [cm²/s]."""
    cells = EnergyCells.build(couplings.valleys, auto_energy_step(temperature), auto_energy_above(temperature))
    equilibrium = Equilibrium(cells, temperature)
    rates = Rates.build(couplings, equilibrium, 1, 0, comm=MPI.COMM_SELF)
    return CM2_PER_S * chapman_enskog(equilibrium, generator(rates.intravalley + rates.intervalley)[1])


def _landscape_statement(material: Material, valleys: tuple[ValleyState, ...]) -> str:
    """Lowest valley, thermal population of the bright one, and the consequence for its diffusion."""
    bright = material.radiation.bright_valley
    offsets = {v.name: v.energy for v in valleys}
    lowest = min(offsets, key=lambda name: offsets[name])
    energies = np.array(list(offsets.values())) - offsets[lowest]
    weights = np.array([v.degeneracy * v.mass for v in material.valleys.values()])
    populations = [weights * np.exp(-energies / (BOLTZMANN * temperature)) for temperature in TEMPERATURES]
    parts = [100 * p[list(offsets).index(bright)] / p.sum() for p in populations]
    shares = [f"{part:.3g} % at {temperature:g} K" for part, temperature in zip(parts, TEMPERATURES, strict=True)]
    population = f"in equilibrium {bright} holds {', '.join(shares)}"
    if lowest != bright:
        return (
            f"{lowest} lies {offsets[bright] - offsets[lowest]:.1f} meV below the bright {bright}: excitons leave it within its "
            f"linewidth and come back by absorbing phonons only; {population}. Cold, {bright} is a small population of those "
            f"that came back last: D of {bright} may turn negative while the others diffuse."
        )
    nearest = min((e for name, e in offsets.items() if name != bright), default=math.inf)
    return (
        f"The bright {bright} is the lowest valley, the next one {nearest - offsets[bright]:.1f} meV above: {population}. "
        f"Excitons cool where they shine, no valley drains them at low temperature, so the delayed return through dark valleys "
        f"that makes D of the bright one negative is absent; the cold linewidth is radiative and acoustic, and the population "
        f"decays by light."
    )
