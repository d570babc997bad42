"""From the input to what happens at one point in space: material, momentum grid, rates. The first half of the builder."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from mpi4py import MPI

from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum import rates_file
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import MAX_DISCARDED_WEIGHT, Equilibrium, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates
from hpcwigner.problem import maps
from hpcwigner.problem.config import Config
from hpcwigner.problem.loading import provenance_of
from hpcwigner.problem.sample import Variation
from hpcwigner.problem.shapes import Function, Image
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space.grid import SpaceGrid

LEAST_POPULATION = 1e-305  # Of a cell in equilibrium: ratios of populations, and their roots, keep all digits
MOST_CELLS = 20_000  # Energy cells of all valleys: the rates of each harmonic then take 3 GB


@dataclasses.dataclass(frozen=True)
class Kinetics:
    """Rates of a material at a temperature on a momentum grid."""

    config: Config  # With `auto` values of the momentum grid filled in
    material: Material
    couplings: Couplings
    light_cone: LightCone
    rates: Rates
    variation: Variation | None = None  # What varies in space, if anything does; the rates are those of its node 0
    images: Mapping[Image, Function] = dataclasses.field(default_factory=dict)  # Of the pulses' profiles, as read

    @property
    def equilibrium(self) -> Equilibrium:
        """The energy cells with their Boltzmann state."""
        return self.rates.equilibrium

    @property
    def cells(self) -> EnergyCells:
        """The energy cells."""
        return self.equilibrium.cells

    @property
    def radiative_rate(self) -> float:
        """γ of the light cone [1/ps], 0 with radiation off."""
        return self.light_cone.rate if self.config.radiative else 0.0

    @property
    def switches(self) -> tuple[float, ...]:
        """Times at which processes of scattering end during the run [ps]."""
        times = {self.config.scattering.intravalley, self.config.scattering.intervalley} - {0.0, math.inf}
        return tuple(sorted(t for t in times if t < self.config.time.end))

    @property
    def formation(self) -> list[Array]:
        """Γ_{Q,0} from coherent excitons into each cell [1/ps], shape (cell,), by stage of the scattering."""
        switch, (intravalley, intervalley) = self.config.scattering, self.rates.formation
        starts = (0.0, *self.switches)
        return [(switch.intravalley > t) * intravalley + (switch.intervalley > t) * intervalley for t in starts]

    @property
    def formation_rate(self) -> float:
        """Γ_0 = Σ Γ_{Q,0}, from coherent excitons [1/ps]."""
        return math.fsum(self.formation[0])


def load(config: Config, comm: MPI.Intracomm) -> Kinetics:
    """Kinetics of an input. Raises InputError. Collective."""
    return for_material(config, *on_first_rank(comm, lambda: solve(config.material)), comm)


def solve(name: str) -> tuple[Material, Couplings]:
    """Material of an input, and what follows from it. Raises InputError."""
    material = materials.load(name)
    return material, Couplings.from_material(material)


def for_material(config: Config, material: Material, couplings: Couplings, comm: MPI.Intracomm) -> Kinetics:
    """Kinetics of a material that is at hand. Raises InputError. Collective."""
    variation = None
    if config.sample is not None:
        sought = config, material, couplings.valleys, whole_grid(config)
        variation = on_first_rank(comm, lambda: Variation.from_input(*sought))
        couplings = variation.couplings_at(0, material, couplings.valleys)
    images = on_first_rank(comm, lambda: read_images(config))
    equilibrium, config = momentum_grid(config, couplings, None if variation is None else variation.spread)
    light_cone = LightCone.from_material(material)
    orders = config.momentum.first_angles // 2
    if config.rates != "auto":
        rates = rates_file.read(Path(config.rates), equilibrium, orders, comm)
    else:
        rates = Rates.build(couplings, equilibrium, orders, light_cone.valley, comm=comm)
    if variation is not None and len(variation.nodes) > 1 and config.rates != "auto":
        raise InputError("rates: found a file, expected auto: its rates are those of one set of valley offsets, which vary here")
    return Kinetics(config, material, couplings, light_cone, rates, variation, images)


def write_rates(config: Config, comm: MPI.Intracomm, path: Path) -> str:
    """Writes the scattering rates of an input to a new file; returns a line about them. Raises InputError. Collective."""
    solved = load(config, comm)
    if solved.variation is not None and len(solved.variation.nodes) > 1:
        raise InputError(
            "sample: found valley offsets that vary in space, expected uniform ones: a rates file holds one set of them"
        )

    def write() -> str:
        rates = solved.rates
        rates_file.write(path, rates, solved.light_cone.valley, provenance_of(solved.config, comm.size))
        out = rates.out.sum(axis=0)
        harmonics, cells = rates.intravalley.shape[:2]
        return (
            f"{path}: {harmonics} harmonics of {cells} cells at {solved.equilibrium.temperature:g} K, "
            f"rates out of a cell {out.min():.4g} to {out.max():.4g} /ps"
        )

    text = on_first_rank(comm, write)
    solved.rates.free()
    return text


def read_images(config: Config) -> dict[Image, Function]:
    """The images that the profiles of pulses name. Raises InputError."""
    images: dict[Image, Function] = {}
    for key, pulse in config.pulses.items():
        several = isinstance(pulse.profile, tuple)
        for i, part in enumerate(pulse.profile if isinstance(pulse.profile, tuple) else (pulse.profile,)):
            if isinstance(part, Image) and part not in images:
                images[part] = maps.read_image(f"{key}.profile{f'.{i}' * several}", part, whole_grid(config))
    return images


def whole_grid(config: Config) -> SpaceGrid:
    """The grid of the whole sample."""
    return SpaceGrid(config.space.dimensions, config.space.length, config.space.shape, config.space.boundary)


def momentum_grid(config: Config, couplings: Couplings, spread: tuple[Array, Array] | None = None) -> tuple[Equilibrium, Config]:
    """Energy cells at the temperature, and the input with its `auto` filled in. Raises InputError.

    `spread` are the lowest and highest bottoms of the valleys in the sample [meV], where they vary.
    """
    temperature = config.temperature
    step, above = config.momentum.energy_step, config.momentum.energy_max
    step = auto_energy_step(temperature) if isinstance(step, str) else step
    above = auto_energy_above(temperature) if isinstance(above, str) else above
    if above < 2 * step:
        raise InputError(f"momentum.energy_max: found {above:g} meV, expected at least two energy steps of {step:g} meV")
    cells = EnergyCells.build(couplings.valleys, step, above, spread)
    if not WIDTH <= cells.size <= MOST_CELLS:
        limit = f"at least {WIDTH}" if cells.size < WIDTH else f"at most {MOST_CELLS}"
        raise InputError(f"momentum.energy_step: found {step:g} meV, which makes {cells.size} energy cells, expected {limit}")
    equilibrium = Equilibrium(cells, temperature)
    if equilibrium.discarded_weight > MAX_DISCARDED_WEIGHT:
        needed = -math.log(MAX_DISCARDED_WEIGHT) * equilibrium.thermal_energy
        raise InputError(
            f"momentum.energy_max: found {above:g} meV, expected at least {needed:.4g} meV at {temperature:g} K: the cutoff "
            f"would discard {equilibrium.discarded_weight:.1e} of a valley's Boltzmann weight (limit {MAX_DISCARDED_WEIGHT:g})"
        )
    if (least := equilibrium.population.min()) < LEAST_POPULATION:
        raise InputError(
            f"temperature: found {temperature:g} K, at which a cell holds {least:.3g} of all excitons in equilibrium, "
            f"expected a temperature at which all hold {LEAST_POPULATION:g} or more"
        )
    momentum = dataclasses.replace(config.momentum, energy_step=step, energy_max=above)
    return equilibrium, dataclasses.replace(config, momentum=momentum)
