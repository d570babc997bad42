"""From the input to the problem in plain numbers: the one builder that knows the input file's keys."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.config import Config
from hpcwigner.dynamics import etd, ladder
from hpcwigner.dynamics.pump import Pump
from hpcwigner.dynamics.steps import plan
from hpcwigner.dynamics.wigner import WignerSystem
from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.phonons import Couplings
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.momentum.grid import MAX_DISCARDED_WEIGHT, Angles, EnergyGrid, auto_energy_above, auto_energy_step
from hpcwigner.momentum.rates import Rates
from hpcwigner.momentum.scattering import Scattering
from hpcwigner.observables.budget import Budget
from hpcwigner.schema import InputError
from hpcwigner.space.drift import runge_kutta, stability_limit
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid

AUTO_INTEGRATORS = ("etd3", "etd2")
"""`auto` takes the cheaper one for the tolerance asked for; the IMEX schemes never are (table in the README)."""
SAFETY = 0.9
"""Part of the drift's stability limit that steps may use."""
T = TypeVar("T")
Array = NDArray[np.float64]


def on_first_rank(comm: MPI.Intracomm, compute: Callable[[], T]) -> T:
    """Result of `compute` on rank 0, sent to all; an InputError there is raised on every rank. Collective."""
    result: T | InputError | None = None
    if comm.rank == 0:
        try:
            result = compute()
        except InputError as error:
            result = error
    result = comm.bcast(result)
    if isinstance(result, InputError):
        raise result
    return cast(T, result)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Everything a run needs, in plain numbers; nothing in it depends on the number of ranks."""

    config: Config
    """With `auto` values of the momentum grid filled in."""
    material: Material
    energies: EnergyGrid
    angles: Angles
    space: SpaceGrid
    rates: Rates
    light_cone: LightCone
    pump: Pump
    amplitude: float
    """Total generated population."""

    @functools.cached_property
    def switches(self) -> tuple[float, ...]:
        """Times at which some scattering is switched off [ps]."""
        scattering = self.config.scattering
        times = {scattering.intravalley, scattering.intervalley} - {0.0, math.inf}
        return tuple(sorted(t for t in times if t < self.config.time.end))

    @functools.cached_property
    def scatterings(self) -> list[Scattering]:
        """What acts in each stage between switches."""
        switch = self.config.scattering
        return [
            Scattering.build(
                self.rates, self.light_cone, intravalley=switch.intravalley > start, intervalley=switch.intervalley > start
            )
            for start in (0.0, *self.switches)
        ]

    @functools.cached_property
    def moments(self) -> ladder.MomentProblem:
        """The moment equations of this problem."""
        time, output = self.config.time, self.config.output
        return ladder.MomentProblem(self.scatterings, self.pump, self.amplitude, time.end, output.series_every, self.switches)

    def largest_step(self, integrator: str) -> float:
        """Longest step that drift allows [ps]: all plane waves stay bounded while scattering damps them."""
        rates = (1 / h for h in self.space.spacing[: self.space.dimensions])
        dx, dy = (*rates, 0.0)[:2]
        # |cos θ|/Δx + |sin θ|/Δy is largest at one of the angle cells
        per_speed = float((np.abs(self.angles.cosine) * dx + np.abs(self.angles.sine) * dy).max())
        courant_rate = per_speed * float(self.energies.velocity.max())
        if integrator not in etd.SCHEMES:
            return SAFETY * stability_limit(runge_kutta(3)) / courant_rate
        scheme = etd.SCHEMES[integrator]
        relaxation = min(float(-s.blocks[1].diagonal().max()) for s in self.scatterings)

        def amplification(courant: float, z: Array) -> Array:
            return scheme.amplification(relaxation * courant / courant_rate, courant * z)

        return SAFETY * stability_limit(amplification) / courant_rate

    def reference(self) -> list[Budget]:
        """Exact budgets at the series outputs, from the moment equations."""
        return self.moments.reference()

    def choose_steps(self, reference: list[Budget]) -> ladder.Choice:
        """Integrator and steps from the input, or chosen beforehand on the moment equations. Raises InputError."""
        time, output = self.config.time, self.config.output
        candidates = AUTO_INTEGRATORS if time.integrator == "auto" else (time.integrator,)
        largest = {name: self.largest_step(name) for name in candidates}
        if time.steps != "auto":
            s = time.steps
            phases = ((s.pump_end, s.pump), (s.early_end, s.early), (time.end, s.late))
            chosen = plan(output.series_every, time.end, phases, self.switches)
            longest, limit = max(step.size for step in chosen.steps()), largest[candidates[0]] / SAFETY
            if longest > limit:
                raise InputError(
                    f"time.steps: found a step of {longest:g} ps, expected at most {limit:.3g} ps, "
                    f"the stability limit of the drift on this grid"
                )
            return ladder.Choice(candidates[0], chosen)
        try:
            return ladder.choose(self.moments, largest, time.tolerance, reference)
        except ladder.NoLadderError as error:
            raise InputError(f"time.tolerance: {error}; raise it, or choose another time.integrator") from None

    def wigner_system(self, comm: MPI.Intracomm) -> WignerSystem:
        """The Wigner equation on the spatial grid, decomposed over `comm`."""
        decomposition = Decomposition(self.space, comm, (self.angles.count, self.energies.size))
        return WignerSystem(decomposition, self.angles, self.energies, self.space.gaussian(self.pump.width_squared))


def build(config: Config, comm: MPI.Intracomm, directory: Path = Path()) -> Problem:
    """Problem of an input whose relative paths start at `directory`. Raises schema.InputError. Collective."""
    material = on_first_rank(comm, lambda: materials.load(config.material, directory))
    couplings = Couplings.of(material)
    space = _space(config, comm.size)
    energies, config = _energies(config, couplings)
    angles = Angles(config.momentum.angles, half=space.dimensions == 1)
    light_cone = LightCone.of(material)
    rates = Rates.build(couplings, energies, config.momentum.angles // 2, light_cone.bright_valley)
    formation_rate = 0.0
    if config.scattering.intravalley > 0:
        formation_rate += math.fsum(rates.intravalley_formation)
    if config.scattering.intervalley > 0:
        formation_rate += math.fsum(rates.intervalley_formation)
    pump = Pump(
        center=config.pump.center,
        duration_fwhm=config.pump.duration_fwhm,
        spot_fwhm=config.pump.spot_fwhm,
        dephasing=0.5 * (light_cone.rate + formation_rate),
        formation_rate=formation_rate,
    )
    _check_switches(config, pump)
    density = config.pump.density
    amplitude = 1.0 if density is None else density * math.pi * pump.width_squared
    return Problem(config, material, energies, angles, space, rates, light_cone, pump, amplitude)


def _space(config: Config, ranks: int) -> SpaceGrid:
    space = SpaceGrid(config.space.dimensions, config.space.length, config.space.shape, config.space.boundary)
    try:
        process_grid(space.shape, space.dimensions, ranks)
    except DecompositionError as error:
        raise InputError(f"space.cells: found {error}") from None
    return space


def _energies(config: Config, couplings: Couplings) -> tuple[EnergyGrid, Config]:
    temperature = config.temperature
    step, above = config.momentum.energy_step, config.momentum.energy_max
    step = auto_energy_step(temperature) if isinstance(step, str) else step
    above = auto_energy_above(temperature) if isinstance(above, str) else above
    if above < 2 * step:
        raise InputError(f"momentum.energy_max: found {above:g} meV, expected at least two energy steps of {step:g} meV")
    grid = EnergyGrid.build(couplings.valleys, temperature, step, above)
    if grid.discarded_weight > MAX_DISCARDED_WEIGHT:
        needed = -math.log(MAX_DISCARDED_WEIGHT) * grid.thermal_energy
        raise InputError(
            f"momentum.energy_max: found {above:g} meV, expected at least {needed:.4g} meV at {temperature:g} K: the cutoff "
            f"would discard {grid.discarded_weight:.1e} of a valley's Boltzmann weight (limit {MAX_DISCARDED_WEIGHT:g})"
        )
    momentum = dataclasses.replace(config.momentum, energy_step=step, energy_max=above)
    return grid, dataclasses.replace(config, momentum=momentum)


def _check_switches(config: Config, pump: Pump) -> None:
    if pump.formation_rate == 0:
        raise InputError("scattering: found intravalley and intervalley off, expected one of them on: nothing forms excitons")
    for key in ("intravalley", "intervalley"):
        off_at = getattr(config.scattering, key)
        if 0 < off_at < math.inf and (missing := 1 - pump.generated(off_at)) > 1e-9:
            raise InputError(
                f"scattering.{key}.off_at: found {off_at:g} ps, expected a time after the formation of excitons "
                f"({missing:.1e} of them are still to come)"
            )


def completed(config: Config, choice: ladder.Choice) -> Config:
    """The input with everything that was `auto` filled in: it runs again to the same result."""
    from hpcwigner.config import StepLadder

    (pump_end, pump), (early_end, early), (_, late) = choice.plan.phases
    tick = choice.plan.tick
    steps = StepLadder(pump=tick / pump, pump_end=pump_end, early=tick / early, early_end=early_end, late=tick / late)
    time = dataclasses.replace(config.time, steps=steps, integrator=cast(Any, choice.integrator))
    return dataclasses.replace(config, time=time)
