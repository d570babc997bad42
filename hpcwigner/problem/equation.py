"""From the input to the list of terms in plain numbers."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.observables.fields import central_weights
from hpcwigner.observables.spectrum import sideband_rates
from hpcwigner.problem import blocks
from hpcwigner.problem.blocks import Pump, Radiative
from hpcwigner.problem.config import Config, valley_index
from hpcwigner.problem.initial import InitialState
from hpcwigner.problem.kinetics import Kinetics
from hpcwigner.problem.sample import held
from hpcwigner.problem.shapes import Function, Image, Shape
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import SpaceGrid
from hpcwigner.space.landscape import STEEP, TOO_STEEP, Landscape
from hpcwigner.space.walls import Surface
from hpcwigner.terms.annihilation import Annihilation
from hpcwigner.terms.detuned import DetunedSource
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.extension import Parts, extension_terms
from hpcwigner.terms.force import Force
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.offsets import LocalOffsets, OffsetScattering
from hpcwigner.terms.pulse import CoherentPopulation, GaussianField, Intensity, Pulse
from hpcwigner.terms.radiation import PhononAssisted, Radiation, Recombination, ZDipoleRadiation
from hpcwigner.terms.repulsion import Repulsion
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.sources import CoherentSource, Injection, PulseSource, injection_spectrum
from hpcwigner.terms.term import Source, Term


def source(
    kinetics: Kinetics, key: str, pump: Pump, scattering: Scattering, space: SpaceGrid, offsets: LocalOffsets | None = None
) -> Source:
    """A pulse of the input, at `key`, as a source in a sample with these local `offsets`. Raises InputError.

    Its amplitude is the number of excitons; of a density in a slab that is uniform along y the number per length [1/nm].
    """
    equilibrium, energy = kinetics.equilibrium, pump.energy
    width_squared, shape = pump.spot_fwhm**2 / (8 * math.log(2)), None
    area = math.sqrt(math.pi * width_squared) if kinetics.config.uniform_slab else math.pi * width_squared
    if pump.profile is not None:
        shape, width_squared, area = _profile(key, pump.profile, kinetics.images, space)
    amplitude = 1.0 if pump.density is None else pump.density * area
    share = scattering.angles.from_harmonics[:, 0]
    kind: type[PulseSource]
    if energy == "resonant":
        if (formed := kinetics.formation_rate) == 0:
            raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
        detuning = _detuning(kinetics, pump, space)
        if offsets is not None and (len(offsets.stages) > 1 or np.ptp(detuning) > 1e-9):
            light = space.gaussian(width_squared) if shape is None else shape
            return _detuned(kinetics, pump, offsets, space, share, light, amplitude)
        dephasing = 0.5 * (kinetics.radiative_rate + formed)
        pulse: Pulse = CoherentPopulation(pump.center, pump.duration_fwhm, dephasing, formed, float(detuning.flat[0]))
        kind, spectra = CoherentSource, kinetics.formation
    else:
        valley = valley_number(f"{key}.energy.valley", energy.valley, equilibrium.cells)
        try:
            spectrum = injection_spectrum(equilibrium, valley, energy.above, energy.spread)
        except ValueError as error:
            raise InputError(f"{key}.energy.above: found {energy.above:g} meV, expected {error}") from None
        pulse = Intensity(pump.center, pump.duration_fwhm)
        kind, spectra = Injection, [spectrum] * len(scattering.stages)
    return kind(equilibrium, space, share, pulse, spectra, width_squared, amplitude, shape, kinetics.switches)


def _detuning(kinetics: Kinetics, pump: Pump, space: SpaceGrid) -> Array:
    """E_KK(r) − ħω [meV] on the held grid, (x, y); without a photon energy the laser is in resonance at the origin."""
    if kinetics.variation is None:
        return np.full((1, 1), -(pump.photon_energy or 0.0))
    energy = kinetics.variation.energy[kinetics.light_cone.valley]
    at_origin = float(central_weights(energy.shape[0]) @ energy @ central_weights(energy.shape[1]))
    return held(energy, space) - (at_origin if pump.photon_energy is None else pump.photon_energy)


def _detuned(
    kinetics: Kinetics, pump: Pump, offsets: LocalOffsets, space: SpaceGrid, share: Array, light: Array, amplitude: float
) -> DetunedSource:
    """A resonant pulse in a landscape; `light` (x, y) is the profile of |A|² and `amplitude` what it would form in resonance."""
    field = GaussianField(pump.center, pump.duration_fwhm)
    several = len(offsets.stages) > 1
    formation = [[rates] for rates in offsets.formation] if several else [kinetics.formation]
    detuned = DetunedSource(
        kinetics.equilibrium, space, share, field, kinetics.radiative_rate, formation, _detuning(kinetics, pump, space), light,
        offsets.class_of_point if several else None, switches=kinetics.switches,
    )  # fmt: skip
    if pump.density is not None:  # the peak of what is formed, which lies elsewhere and is sharper than that of the light
        amplitude *= float(detuned.profile().max() / detuned.formed().max())
    detuned.amplitude = amplitude
    return detuned


def _profile(key: str, profile: Any, images: Mapping[Image, Function], space: SpaceGrid) -> tuple[Array, float, float]:
    """Shape on the held grid, (x, y), its ⟨r²⟩ [nm²] and its integral over its peak [nm², slab: nm]. Raises InputError."""
    x, y = space.centers(0)[:, None], space.centers(1)
    values = np.zeros(space.shape)
    parts = profile if isinstance(profile, tuple) else (profile,)
    for part in parts:
        values += images[part](x, y) if isinstance(part, Image) else part(x, y) if isinstance(part, Shape) else part
    if not values.max() > 0 or values.min() < -1e-12 * values.max():
        hint = ": take the background off an image and set what is left below 0 to 0" * any(isinstance(p, Image) for p in parts)
        raise InputError(
            f"{key}.profile: found values from {values.min():g} to {values.max():g}, expected none below 0 and some above{hint}"
        )
    values = np.maximum(values, 0.0)
    return (
        values,
        float((space.squared_distance * values).sum() / values.sum()),
        float(values.sum() / values.max()) * space.cell_measure,
    )


def valley_number(key: str, name: str, cells: EnergyCells) -> int:
    """Number of the valley that the input names at `key`. Raises InputError."""
    return valley_index(key, name, [valley.name for valley in cells.valleys])


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
        why = "the sample varies in space" if varies else "excitons repel each other"
        raise InputError(f"scattering: found off_at, expected on or off: {why}")
    if (fewest := min(kinetics.cells.counts)) < WIDTH:  # kernels take a valley's cells in vectors
        raise InputError(
            f"momentum.energy_step: found {kinetics.config.momentum.energy_step:g} meV, which makes {fewest} energy cells in a "
            f"valley, expected at least {WIDTH} in a landscape{'' if varies else ', such as a repulsion makes'}"
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
    sources = [source(kinetics, key, pulse, scattering, space, offsets) for key, pulse in config.pulses.items()]
    if offsets is not None:
        force = Force(equilibrium, angles, offsets.landscape)
        terms.append(force)
        if not offsets.at_nodes:
            terms.append(OffsetScattering(angles, offsets))
        if strength := repulsion_of(config):
            if any(isinstance(space.wall(axis, side), Surface) for axis in range(space.dimensions) for side in (0, 1)):
                raise InputError("space.boundary: found a wall with a reflectivity, expected another one, since excitons repel")
            if offsets.landscape.jumps:
                raise InputError(
                    "interaction.repulsion: found one, expected none: the sample has a step that is narrower than a cell, where "
                    "densities jump and have no gradient; give the step a width of a cell or more"
                )
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
            valley_number("recombination.lifetime", name, equilibrium.cells)
        terms.append(Recombination(equilibrium, lifetime))
    terms += extension_terms(config.extensions, Parts(kinetics.material, equilibrium, angles, space, offsets))
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
