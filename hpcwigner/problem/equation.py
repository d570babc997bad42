"""From the input to the list of terms in plain numbers."""

import math
import os
from collections.abc import Sequence

from mpi4py import MPI

from hpcwigner.momentum.rates import Rates
from hpcwigner.problem import pulses
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.sample import held
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import STEEP, TOO_STEEP
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.force import Force
from hpcwigner.terms.offsets import LocalOffsets, OffsetScattering
from hpcwigner.terms.radiation import Radiation, Recombination
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.term import Term

FEW_STEP_SIZES = 4  # That a plan has, about


def physical_memory() -> float:
    """Of this machine [bytes]."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


Node = tuple[ScatteringStage, Array]
"""Scattering for one set of valley offsets, and formation rates from coherent excitons (cell,)."""


def further_nodes(kinetics: Kinetics, comm: MPI.Intracomm) -> list[Node]:
    """The nodes after the first of a sample with several. Raises InputError. Collective."""
    variation, nodes = kinetics.variation, list[Node]()
    if variation is None or len(variation.nodes) == 1:
        return nodes
    processes, orders = kinetics.config.scattering, kinetics.config.momentum.first_angles // 2
    matrices = orders + 1 + 3 * FEW_STEP_SIZES  # rates, and three propagators of m = 0 for each step size
    needed = 8.0 * len(variation.nodes) * matrices * kinetics.cells.size**2
    if needed > on_first_rank(comm, physical_memory):
        raise InputError(
            f"sample: found {len(variation.nodes)} sets of valley offsets, whose rates take {needed / 2**30:.3g} GiB, expected "
            f"fewer than fit into this machine: use a larger time.tolerance or energy_step, or fields that vary together"
        )
    for number in range(1, len(variation.nodes)):
        couplings = variation.couplings_at(number, kinetics.material, kinetics.couplings.valleys)
        equilibrium = variation.equilibrium_at(number, couplings, kinetics.equilibrium)
        rates = Rates.build(couplings, equilibrium, orders, kinetics.light_cone.bright_valley, kinetics.rates, comm=comm)
        on = {key: getattr(processes, key) > 0 for key in ("intravalley", "intervalley")}
        formation = on["intravalley"] * rates.formation[0] + on["intervalley"] * rates.formation[1]
        nodes.append((ScatteringStage.build(rates, **on), formation))
        rates.free()
    return nodes


def local_offsets(kinetics: Kinetics, nodes: Sequence[Node], space: SpaceGrid) -> LocalOffsets | None:
    """What varies in space, on the cells that a grid holds; nothing where all of it is uniform."""
    if (variation := kinetics.variation) is None or variation.uniform:
        return None
    if kinetics.switches:
        raise InputError("scattering: found off_at, expected on or off: the sample varies in space")
    if (fewest := min(kinetics.cells.counts)) < WIDTH:  # kernels take a valley's cells in vectors
        raise InputError(
            f"momentum.energy_step: found {kinetics.config.momentum.energy_step:g} meV, which makes {fewest} energy cells in a "
            f"valley, expected at least {WIDTH} in a landscape"
        )
    landscape = variation.landscape(kinetics.equilibrium, space)
    steepest, cells = float(landscape.steepness().max()), max(space.whole.shape)
    if steepest > TOO_STEEP:
        raise InputError(
            f"space.cells: found {cells}, expected at least {math.ceil(cells * steepest / STEEP)}: the landscape changes by "
            f"{steepest:.3g} kT from cell to cell (limit {TOO_STEEP:g})"
        )
    stages, formation = zip(*nodes, strict=True)
    return LocalOffsets(landscape, stages, held(variation.class_of_point, space), formation)


def listed_terms(kinetics: Kinetics, scattering: Scattering, space: SpaceGrid, offsets: LocalOffsets | None) -> tuple[Term, ...]:
    """The equation of an input. Raises InputError."""
    config, equilibrium, angles = kinetics.config, kinetics.equilibrium, scattering.angles
    landscape = None if offsets is None else offsets.landscape
    terms: list[Term] = [Drift(equilibrium, angles, space, landscape), scattering]
    if offsets is not None:
        terms.append(Force(equilibrium, angles, offsets.landscape))
        if not offsets.at_nodes:
            terms.append(OffsetScattering(angles, offsets))
    terms += [pulses.source(kinetics, key, pulse, scattering, space, offsets) for key, pulse in config.pulses.items()]
    if config.radiation:
        terms.append(Radiation(equilibrium, kinetics.light_cone))
    if config.recombination is not None:
        lifetime = config.recombination.lifetime
        for name in sorted(lifetime) if isinstance(lifetime, dict) else ():
            pulses.valley_number("recombination.lifetime", name, equilibrium.cells)
        terms.append(Recombination(equilibrium, lifetime))
    return tuple(terms)
