"""From the input to the problem in plain numbers: the one builder that knows the input file's keys."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcwigner.exciton.materials import Material
from hpcwigner.exciton.radiation import LightCone
from hpcwigner.exciton.valley import ExcitonValleys
from hpcwigner.integrators import exponential as etd
from hpcwigner.integrators.steps import plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.cells import EnergyCells
from hpcwigner.momentum.equilibrium import Equilibrium
from hpcwigner.momentum.rates import Rates
from hpcwigner.observables.budget import Budget
from hpcwigner.problem import kinetics
from hpcwigner.problem.config import Config, StepPhase
from hpcwigner.reference import choice as ladder
from hpcwigner.runtime.errors import InputError
from hpcwigner.space import resolution
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.stencil import runge_kutta, stability_limit
from hpcwigner.terms.equation import WignerSystem
from hpcwigner.terms.pump import Pump
from hpcwigner.terms.scattering import Scattering

AUTO_INTEGRATORS = ("etd2", "etd3")
"""`auto` takes the cheaper one for the tolerance asked for; the IMEX schemes never are (table in the README)."""
SAFETY = 0.9
"""Part of the drift's stability limit that steps may use."""
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Problem:
    """Everything a run needs, in plain numbers; nothing in it depends on the number of ranks."""

    config: Config
    """With `auto` values of the momentum grid filled in."""
    material: Material
    landscape: ExcitonValleys
    equilibrium: Equilibrium
    angles: Angles
    space: SpaceGrid
    light_cone: LightCone
    switches: tuple[float, ...]
    """Times at which some scattering is switched off [ps]."""
    scatterings: list[Scattering]
    """What acts in each stage between switches."""
    pump: Pump
    amplitude: float
    """Total generated population."""

    @property
    def cells(self) -> EnergyCells:
        """The energy cells."""
        return self.equilibrium.cells

    @property
    def bright(self) -> str:
        """Name of the valley that shines."""
        return self.material.radiation.bright_valley

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
        courant_rate = per_speed * float(self.equilibrium.velocity.max())
        if integrator not in etd.SCHEMES:
            return SAFETY * stability_limit(runge_kutta(3)) / courant_rate
        scheme = etd.SCHEMES[integrator]
        relaxation = min(float(-s.blocks[1].diagonal().max()) for s in self.scatterings)

        def amplification(courant: float, z: Array) -> Array:
            return scheme.amplification(relaxation * courant / courant_rate, courant * z)

        return SAFETY * stability_limit(amplification) / courant_rate

    def free(self) -> None:
        """Gives the memory back that ranks share. Collective; the problem must not be used afterwards."""
        for scattering in self.scatterings:
            scattering.shared.free()

    def reference(self) -> list[Budget]:
        """Exact budgets at the series outputs, from the moment equations."""
        return self.moments.reference()

    def flattening(self, reference: list[Budget]) -> Array:
        """Relative peak loss of each valley at the end by numerical dissipation, estimated from the exact budgets."""
        widths = np.array([budget.width_squared for budget in reference[1:]])
        return resolution.flattening(
            self.equilibrium.mean_square_speed, widths, self.space.spacing[0], self.config.output.series_every
        )

    def choose_steps(self, reference: list[Budget]) -> ladder.Choice:
        """Integrator and steps from the input, or chosen beforehand on the moment equations. Raises InputError."""
        time, output = self.config.time, self.config.output
        candidates = AUTO_INTEGRATORS if time.integrator == "auto" else (time.integrator,)
        largest = {name: self.largest_step(name) for name in candidates}
        if time.steps != "auto":
            phases = [(time.end if phase.until is None else phase.until, phase.size) for phase in time.steps]
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
        decomposition = Decomposition(self.space, comm, (self.angles.count, self.cells.size))
        return WignerSystem(decomposition, self.angles, self.equilibrium, self.space.gaussian(self.pump.width_squared))


def build(config: Config, comm: MPI.Intracomm) -> Problem:
    """Problem of an input. Raises schema.InputError. Collective."""
    space = space_grid(config, comm.size)
    found = kinetics.load(config, comm)
    problem = assemble(found, space)
    found.rates.free()
    return problem


def assemble(found: kinetics.Kinetics, space: SpaceGrid) -> Problem:
    """Problem with rates that are at hand. Raises schema.InputError. Collective."""
    config, light_cone = found.config, found.light_cone
    _check_size(found, space)
    switches = _switches(config)
    scatterings = _scatterings(config, found.rates, light_cone, switches)
    formation_rate = math.fsum(scatterings[0].formation)
    pump = Pump(
        center=config.pump.center,
        duration_fwhm=config.pump.duration_fwhm,
        spot_fwhm=config.pump.spot_fwhm,
        dephasing=0.5 * (light_cone.rate + formation_rate),
        formation_rate=formation_rate,
    )
    _check_switches(config, pump)
    return Problem(
        config=config,
        material=found.material,
        landscape=found.landscape,
        equilibrium=found.equilibrium,
        angles=Angles(config.momentum.angles, half=space.dimensions == 1),
        space=space,
        light_cone=light_cone,
        switches=switches,
        scatterings=scatterings,
        pump=pump,
        amplitude=1.0 if config.pump.density is None else config.pump.density * math.pi * pump.width_squared,
    )


def _check_size(found: kinetics.Kinetics, space: SpaceGrid) -> None:
    """PETSc counts all unknowns of a run with its own integers."""
    from petsc4py import PETSc

    angles = Angles(found.config.momentum.angles, half=space.dimensions == 1).count
    unknowns, largest = math.prod(space.shape) * angles * found.equilibrium.cells.size, np.iinfo(PETSc.IntType).max
    if unknowns > largest:
        raise InputError(
            f"space.cells: found {unknowns:.4g} unknowns in all, expected at most {largest:.4g}, which this PETSc can number: "
            f"use fewer cells or angles, or a PETSc configured --with-64-bit-indices"
        )


def _switches(config: Config) -> tuple[float, ...]:
    times = {config.scattering.intravalley, config.scattering.intervalley} - {0.0, math.inf}
    return tuple(sorted(t for t in times if t < config.time.end))


def _scatterings(config: Config, rates: Rates, light_cone: LightCone, switches: tuple[float, ...]) -> list[Scattering]:
    """Made here and by all ranks together, since their blocks are shared within a node."""
    switch = config.scattering
    return [
        Scattering.build(rates, light_cone, intravalley=switch.intravalley > start, intervalley=switch.intervalley > start)
        for start in (0.0, *switches)
    ]


def space_grid(config: Config, ranks: int) -> SpaceGrid:
    """The grid, folded where the input allows: the pump is centred and isotropic, and the sample uniform. Raises InputError."""
    whole = SpaceGrid(config.space.dimensions, config.space.length, config.space.shape, config.space.boundary)
    wanted = config.space.symmetry
    if wanted == "folded" and whole.halved is None:
        raise InputError(f"space.symmetry: found folded, expected whole: {config.space.cells} cells have no middle face")
    candidates = [whole.halved] if wanted != "whole" and whole.halved is not None else []
    candidates += [whole] if wanted != "folded" else []
    problem = ""
    for space in candidates:
        try:
            process_grid(space.shape, space.dimensions, ranks)
            return space
        except DecompositionError as error:
            problem = str(error)
    raise InputError(f"space.cells: found {problem}")


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


def completed(config: Config, choice: ladder.Choice, folded: bool) -> Config:
    """The input with everything that was `auto` filled in: it runs again to the same result."""
    phases, tick = choice.plan.phases, choice.plan.tick
    ends = [*(end for end, _ in phases[:-1]), None]
    steps = tuple(StepPhase(tick / count, end) for (_, count), end in zip(phases, ends, strict=True))
    time = dataclasses.replace(config.time, steps=steps, integrator=cast(Any, choice.integrator))
    space = dataclasses.replace(config.space, symmetry="folded" if folded else "whole")
    return dataclasses.replace(config, time=time, space=space)
