"""The verb `verify`: quantities that follow from a material, beside literature values."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN, CM2_PER_S, HBAR
from hpcwigner.exciton.materials import Material, Sourced, load
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone, linewidth_from_dipole
from hpcwigner.exciton.stack import encapsulated
from hpcwigner.exciton.valley import film_potential
from hpcwigner.exciton.wannier import bound_states
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates, formation_rates, generator
from hpcwigner.observables.transport import chapman_enskog, elastic_acoustic
from hpcwigner.plotting import style
from hpcwigner.runtime.arrays import Array

TEMPERATURES = (300.0, 77.0, 20.0)
COMPARED_AT = 300.0  # Temperature [K] at which a measured D is looked for
SLOPE_BETWEEN = (20.0, 100.0)  # Temperatures [K] between which the slope of the acoustic linewidth is taken


class Comparison(NamedTuple):
    """A published number, ours and whether ours lies in its range."""

    quantity: str
    published: float
    range: tuple[float, float]
    unit: str
    ours: float
    source: str
    confidence: str
    remark: str

    @property
    def holds(self) -> bool:
        """Whether our number lies in the range."""
        return self.range[0] <= self.ours <= self.range[1]


def comparisons(material: Material, couplings: Couplings) -> list[Comparison]:
    """Published linewidths, radiative linewidths and diffusion coefficients beside ours; D in cm²/s, the others in meV."""
    bright, known, light = LightCone.from_material(material).valley, material.benchmarks, material.radiation.linewidth.value
    rows: list[tuple[str, Sourced[float], str, float, float, str]] = []
    for width in known.linewidths:
        ours = light + sum(linewidths(couplings, bright, width.temperature))
        rows.append((f"ħ(γ + Γ_0) at {width.temperature:g} K", width.width, "meV", 1.0, ours, width.remark))
    rows += [("ħγ", radiation.width, "meV", 1.0, light, radiation.remark) for radiation in known.radiation]
    for d in known.diffusion:
        ours = equilibrium_diffusion(couplings, d.temperature)
        rows.append((f"D at {d.temperature:g} K", d.coefficient, "cm²/s", CM2_PER_S, ours, d.remark))
    return [
        Comparison(quantity, scale * number.value, _scaled(number, scale), unit, ours, number.source, number.confidence, remark)
        for quantity, number, unit, scale, ours, remark in rows
    ]


def _scaled(number: Sourced[float], scale: float) -> tuple[float, float]:
    low, high = number.range or (number.value, number.value)
    return scale * low, scale * high


def measured_in_hbn(material: Material) -> bool:
    """Whether a measured D at COMPARED_AT in hBN is among the published ones."""
    return any(
        d.temperature == COMPARED_AT and d.coefficient.confidence == "measured" and d.remark.startswith("hBN")
        for d in material.benchmarks.diffusion
    )


def report(name: str) -> str:
    """Text of the verb for a shipped material or a file. Raises InputError, also if the material binds no excitons."""
    material = load(name)
    cone, linewidth, couplings = (
        LightCone.from_material(material),
        material.radiation.linewidth,
        Couplings.from_material(material),
    )
    valleys, bright = couplings.valleys, cone.valley
    film = film_potential(material.film) if material.dielectric is not None and material.film is not None else None
    energies = np.array([v.energy for v in valleys])
    shares = {t: equilibrium_shares(material, couplings, t) for t in TEMPERATURES}
    return style.render(
        "studies/verification.txt.j2",
        material=material,
        benchmarks=material.benchmarks,
        valleys=valleys,
        bright=valleys[bright],
        lowest=valleys[energies.argmin()],
        next_above=np.delete(energies, bright).min(initial=math.inf) - energies[bright],
        in_film=film and -bound_states(film, valleys[bright].reduced_mass, 1.0, count=1)[0].energy,
        linewidths={t: linewidths(couplings, bright, t) for t in (4.0, 20.0, 77.0, 150.0, 300.0)},
        acoustic_slope=1e3 * acoustic_slope(couplings, bright),
        linewidth=linewidth,
        lifetime=1e3 * HBAR / linewidth.value,
        stack=encapsulated(material.radiation.refractive_index.value, material.radiation.photon_energy.value),
        comparisons=comparisons(material, couplings),
        measured_in_hbn=measured_in_hbn(material),
        linewidth_from_dipole=linewidth_from_dipole(material, valleys[bright].states[0].at_origin ** 2),
        cone_energy=cone.energy,
        lifetimes={t: cone.mean_lifetime(t) for t in TEMPERATURES},
        z_dipoles=[
            (valleys[z.valley].name, 1e3 * HBAR * z.rate, {t: 1e-3 * z.mean_lifetime(t) for t in TEMPERATURES})
            for z in LightCone.of_z_dipoles(material, valleys)
        ],
        diffusion={t: _diffusion(couplings, bright, t) for t in TEMPERATURES},
        elastic=CM2_PER_S * elastic_acoustic(couplings.acoustic[bright]),
        shares={t: 100 * p[bright] for t, p in shares.items()},
    )


def linewidths(couplings: Couplings, bright: int, temperature: float) -> list[float]:
    """ħΓ_0 [meV] by acoustic phonons, optical ones within a valley, and those between valleys."""
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 1.0, max(60.0, auto_energy_above(temperature))), temperature)
    inside, between = (tuple(p for p in couplings.optical if p.intervalley == kind) for kind in (False, True))
    kinds = [Couplings(couplings.valleys, *phonons) for phonons in ((couplings.acoustic, ()), ((), inside), ((), between))]
    return [HBAR * float(formation_rates(kind, equilibrium, bright).sum()) for kind in kinds]


def acoustic_slope(couplings: Couplings, bright: int) -> float:
    """Mean slope of the acoustic part of ħΓ_0 between 20 and 100 K [meV/K]."""
    low, high = (linewidths(couplings, bright, t)[0] for t in SLOPE_BETWEEN)
    return (high - low) / (SLOPE_BETWEEN[1] - SLOPE_BETWEEN[0])


def equilibrium_shares(material: Material, couplings: Couplings, temperature: float) -> Array:
    """Shares of the valleys in equilibrium, g_v M_v exp(−E_v/kT) of parabolic bands, shape (valley,)."""
    energies = np.array([v.energy for v in couplings.valleys])
    weights = np.array([v.degeneracy * v.mass for v in material.valleys.values()])
    population = weights * np.exp((energies.min() - energies) / (BOLTZMANN * temperature))
    return np.asarray(population / population.sum())


def alone(couplings: Couplings) -> list[Couplings]:
    """Each valley and its equivalents with the phonons that stay within it."""
    parts = []
    for state in couplings.valleys:
        optical = tuple(p for p in couplings.optical if p.initial is state and p.final is state)
        parts.append(Couplings((state,), tuple(p for p in couplings.acoustic if p.valley is state), optical))
    return parts


def equilibrium_diffusion(couplings: Couplings, temperature: float) -> float:
    """D in equilibrium, Chapman–Enskog [cm²/s]."""
    cells = EnergyCells.build(couplings.valleys, auto_energy_step(temperature), auto_energy_above(temperature))
    equilibrium = Equilibrium(cells, temperature)
    rates = Rates.build(couplings, equilibrium, 1, 0, comm=MPI.COMM_SELF)
    diffusion = CM2_PER_S * chapman_enskog(equilibrium, generator(rates.intravalley + rates.intervalley)[1])
    rates.free()
    return diffusion


def _diffusion(couplings: Couplings, bright: int, temperature: float) -> tuple[float, list[float], float]:
    """D in equilibrium, Chapman–Enskog [cm²/s]: of all valleys, of each alone, of the bright one with acoustic phonons only."""
    parts = alone(couplings)
    acoustic = dataclasses.replace(parts[bright], optical=())
    return (
        equilibrium_diffusion(couplings, temperature),
        [equilibrium_diffusion(part, temperature) for part in parts],
        equilibrium_diffusion(acoustic, temperature),
    )
