"""The verb `verify`: quantities that follow from a material, beside literature values."""

import dataclasses
import math

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.constants import BOLTZMANN, CM2_PER_S, HBAR
from hpcwigner.exciton.materials import load
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone, linewidth_from_dipole
from hpcwigner.exciton.valley import film_potential
from hpcwigner.exciton.wannier import bound_states
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates, formation_rates, generator
from hpcwigner.observables.transport import chapman_enskog, elastic_acoustic
from hpcwigner.plotting import style

TEMPERATURES = (300.0, 77.0, 20.0)
SLOPE_BETWEEN = (20.0, 100.0)  # Temperatures [K] between which the slope of the acoustic linewidth is taken


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
    low, high = (_formation(couplings, bright, t)[0] for t in SLOPE_BETWEEN)
    energies = np.array([v.energy for v in valleys])
    weights = np.array([v.degeneracy * v.mass for v in material.valleys.values()])
    populations = {t: weights * np.exp((energies.min() - energies) / (BOLTZMANN * t)) for t in TEMPERATURES}
    return style.render(
        "studies/verification.txt.j2",
        material=material,
        benchmarks=material.benchmarks,
        valleys=valleys,
        bright=valleys[bright],
        lowest=valleys[energies.argmin()],
        next_above=np.delete(energies, bright).min(initial=math.inf) - energies[bright],
        in_film=film and -bound_states(film, valleys[bright].reduced_mass, 1.0, count=1)[0].energy,
        linewidths={t: _formation(couplings, bright, t) for t in (4.0, 20.0, 77.0, 150.0, 300.0)},
        acoustic_slope=1e3 * (high - low) / (SLOPE_BETWEEN[1] - SLOPE_BETWEEN[0]),
        linewidth=linewidth,
        lifetime=1e3 * HBAR / linewidth.value,
        linewidth_from_dipole=linewidth_from_dipole(material, valleys[bright].states[0].at_origin ** 2),
        cone_energy=cone.energy,
        lifetimes={t: cone.mean_lifetime(t) for t in TEMPERATURES},
        z_dipoles=[
            (valleys[z.valley].name, 1e3 * HBAR * z.rate, {t: 1e-3 * z.mean_lifetime(t) for t in TEMPERATURES})
            for z in LightCone.of_z_dipoles(material, valleys)
        ],
        diffusion={t: _diffusion(couplings, bright, t) for t in TEMPERATURES},
        elastic=CM2_PER_S * elastic_acoustic(couplings.acoustic[bright]),
        shares={t: 100 * p[bright] / p.sum() for t, p in populations.items()},
    )


def _formation(couplings: Couplings, bright: int, temperature: float) -> list[float]:
    """ħΓ_0 [meV] by acoustic phonons, optical ones within a valley, and those between valleys."""
    equilibrium = Equilibrium(EnergyCells.build(couplings.valleys, 1.0, max(60.0, auto_energy_above(temperature))), temperature)
    inside, between = (tuple(p for p in couplings.optical if p.intervalley == kind) for kind in (False, True))
    kinds = [Couplings(couplings.valleys, *phonons) for phonons in ((couplings.acoustic, ()), ((), inside), ((), between))]
    return [HBAR * float(formation_rates(kind, equilibrium, bright).sum()) for kind in kinds]


def _diffusion(couplings: Couplings, bright: int, temperature: float) -> tuple[float, list[float], float]:
    """D in equilibrium, Chapman–Enskog [cm²/s]: of all valleys, of each alone, of the bright one with acoustic phonons only."""
    alone = []
    for state in couplings.valleys:  # and its equivalents
        optical = tuple(p for p in couplings.optical if p.initial is state and p.final is state)
        alone.append(Couplings((state,), tuple(p for p in couplings.acoustic if p.valley is state), optical))

    def exact(part: Couplings) -> float:
        cells = EnergyCells.build(part.valleys, auto_energy_step(temperature), auto_energy_above(temperature))
        equilibrium = Equilibrium(cells, temperature)
        rates = Rates.build(part, equilibrium, 1, 0, comm=MPI.COMM_SELF)
        return CM2_PER_S * chapman_enskog(equilibrium, generator(rates.intravalley + rates.intervalley)[1])

    return exact(couplings), [exact(part) for part in alone], exact(dataclasses.replace(alone[bright], optical=()))
