"""From the input to the list of terms in plain numbers."""

import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.observables.spectrum import sideband_rates
from hpcwigner.problem import blocks, pulses
from hpcwigner.problem.blocks import Radiative
from hpcwigner.problem.config import Config
from hpcwigner.problem.initial import InitialState
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.sample import held
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import STEEP, TOO_STEEP, Landscape
from hpcwigner.space.walls import Surface
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.force import Force
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.offsets import LocalOffsets, OffsetScattering
from hpcwigner.terms.radiation import PhononAssisted, Radiation, Recombination, ZDipoleRadiation
from hpcwigner.terms.repulsion import Repulsion
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.sources import injection_spectrum
from hpcwigner.terms.term import Source, Term

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
        rates = Rates.build(couplings, equilibrium, orders, kinetics.light_cone.valley, kinetics.rates, comm=comm)
        on = {key: getattr(processes, key) > 0 for key in ("intravalley", "intervalley")}
        formation = on["intravalley"] * rates.formation[0] + on["intervalley"] * rates.formation[1]
        nodes.append((ScatteringStage.build(rates, **on), formation))
        rates.free()
    return nodes


def local_offsets(kinetics: Kinetics, nodes: Sequence[Node], space: SpaceGrid) -> LocalOffsets | None:
    """What varies in space, on the cells that a grid holds; nothing where all of it is uniform."""
    variation, repulsion = kinetics.variation, repulsion_of(kinetics.config)
    varies = variation is not None and not variation.uniform
    if not varies and not repulsion:
        return None
    if kinetics.switches:
        raise InputError("scattering: found off_at, expected on or off: the sample varies in space")
    if (fewest := min(kinetics.cells.counts)) < WIDTH:  # kernels take a valley's cells in vectors
        raise InputError(
            f"momentum.energy_step: found {kinetics.config.momentum.energy_step:g} meV, which makes {fewest} energy cells in a "
            f"valley, expected at least {WIDTH} in a landscape"
        )
    stages, formation = zip(*nodes, strict=True)
    if variation is None or not varies:
        flat = np.zeros((len(kinetics.cells.valleys), *space.shape))
        landscape = Landscape(flat, kinetics.equilibrium.thermal_energy, space)
        return LocalOffsets(landscape, stages, np.zeros(space.shape, dtype=np.int64), formation)
    landscape = variation.landscape(kinetics.equilibrium, space)
    _check_steepness(landscape)
    return LocalOffsets(landscape, stages, held(variation.class_of_point, space), formation)


def _check_steepness(landscape: Landscape) -> None:
    """Refuses a landscape that is too steep for its cells. Raises InputError."""
    steepest, cells = float(landscape.steepness().max()), max(landscape.grid.whole.shape)
    if steepest > TOO_STEEP:
        raise InputError(
            f"space.cells: found {cells}, expected at least {math.ceil(cells * steepest / STEEP)}: the landscape changes by "
            f"{steepest:.3g} kT from cell to cell (limit {TOO_STEEP:g})"
        )


def repulsion_of(config: Config) -> float:
    """g [meV nm²] of an input, 0 without a repulsion."""
    return 0.0 if config.interaction is None else config.interaction.repulsion or 0.0


def listed_terms(
    kinetics: Kinetics, scattering: Scattering, space: SpaceGrid, offsets: LocalOffsets | None, initial: InitialState | None
) -> tuple[Term, ...]:
    """The equation of an input. Raises InputError."""
    config, equilibrium, angles = kinetics.config, kinetics.equilibrium, scattering.angles
    landscape = None if offsets is None else offsets.landscape
    drift = Drift(equilibrium, angles, space, landscape)
    terms: list[Term] = [drift]
    if landscape is not None and landscape.jumps:
        terms.append(Junction(equilibrium, angles, landscape))
    terms.append(scattering)
    sources = [pulses.source(kinetics, key, pulse, scattering, space, offsets) for key, pulse in config.pulses.items()]
    if offsets is not None:
        force = Force(equilibrium, angles, offsets.landscape)
        terms.append(force)
        if not offsets.at_nodes:
            terms.append(OffsetScattering(angles, offsets))
        if strength := repulsion_of(config):
            if offsets.landscape.jumps:
                raise InputError(
                    "interaction.repulsion: found one, expected none: the sample has a step that is narrower than a cell, where "
                    "densities jump and have no gradient; give the step a width of a cell or more"
                )
            if any(isinstance(space.wall(axis, side), Surface) for axis in range(space.dimensions) for side in (0, 1)):
                raise InputError("space.boundary: found a wall with a reflectivity, expected another one, since excitons repel")
            highest = strength * densest(sources, space, initial)
            expected = dataclasses.replace(offsets.landscape, energy=offsets.landscape.energy + highest)
            _check_steepness(expected)
            terms.append(Repulsion(equilibrium, strength, expected, drift, force))
    if config.interaction is not None and config.interaction.annihilation is not None:
        terms.append(_annihilation(config.interaction.annihilation, equilibrium, angles))
    terms += sources
    if config.radiative:
        terms.append(Radiation(equilibrium, kinetics.light_cone))
        z_dipoles = LightCone.of_z_dipoles(kinetics.material, equilibrium.cells.valleys)
        terms += [ZDipoleRadiation(equilibrium, light_cone) for light_cone in z_dipoles]
    if isinstance(config.radiation, Radiative) and config.radiation.phonon_assisted:
        terms.append(_phonon_assisted(kinetics, offsets))
    if config.recombination is not None:
        lifetime = config.recombination.lifetime
        for name in sorted(lifetime) if isinstance(lifetime, dict) else ():
            pulses.valley_number("recombination.lifetime", name, equilibrium.cells)
        terms.append(Recombination(equilibrium, lifetime))
    return tuple(terms)


def _phonon_assisted(kinetics: Kinetics, offsets: LocalOffsets | None) -> PhononAssisted:
    """Losses at each node."""
    couplings, formation = [kinetics.couplings], [kinetics.formation_rate]
    if (variation := kinetics.variation) is not None and offsets is not None:
        numbers, valleys = range(len(offsets.stages)), kinetics.couplings.valleys
        couplings = [variation.couplings_at(number, kinetics.material, valleys) for number in numbers]
        formation = [math.fsum(rates) for rates in offsets.formation]
    equilibria = [kinetics.equilibrium] if offsets is None else [stage.equilibrium for stage in offsets.stages]
    rates = [
        sideband_rates(equilibrium, at_node, kinetics.light_cone, formed)[1].sum(axis=0)
        for equilibrium, at_node, formed in zip(equilibria, couplings, formation, strict=True)
    ]
    return PhononAssisted(kinetics.equilibrium, rates, None if len(rates) == 1 or offsets is None else offsets.class_of_point)


def densest(sources: Sequence[Source], space: SpaceGrid, initial: InitialState | None) -> Array:
    """Density of all excitons if they all were there at once and did not move [1/nm²; slab 1/nm], shape (x, y)."""
    start = np.full(space.shape, 0.0 if initial is None else initial.peak)
    return np.asarray(sum((source.formed() for source in sources), start))


def _annihilation(given: float | blocks.Annihilation, equilibrium: Equilibrium, angles: Angles) -> Annihilation:
    """The term of an input. Raises InputError."""
    block = blocks.Annihilation(given) if isinstance(given, float) else given
    spectra = None
    if block.hot > 0:
        try:
            valleys = range(len(equilibrium.cells.valleys))
            spectra = np.array([injection_spectrum(equilibrium, v, block.above, block.spread) for v in valleys])
        except ValueError as error:
            raise InputError(f"interaction.annihilation.above: found {block.above:g} meV, expected {error}") from None
    return Annihilation(
        equilibrium, angles, block.rate, between_valleys=block.between_valleys, hot=block.hot, spectra=spectra,
        delay=block.delay or 0.0,
    )  # fmt: skip
