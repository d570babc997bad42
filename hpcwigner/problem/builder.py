"""From the input to the list of terms in plain numbers: the one builder that knows the input file's keys."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.steps import StepPlan, multiples, plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.observables.budget import Budget, Entry, SpatialMoments, budget
from hpcwigner.problem.config import Config, FewerAngles, Reduction, StepPhase
from hpcwigner.problem.equation import Node, densest, further_nodes, listed_terms, local_offsets
from hpcwigner.problem.initial import InitialState
from hpcwigner.problem.kinetics import Kinetics, load, whole_grid
from hpcwigner.reference import anisotropy
from hpcwigner.reference.moment_problem import MomentProblem
from hpcwigner.reference.step_choice import Choice, NoStepsError, choose
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.space import resolution
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.stencil import runge_kutta, stable_step
from hpcwigner.terms.books import Books
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.offsets import LocalOffsets
from hpcwigner.terms.radiation import Loss, Radiation
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.term import Source, Term

AUTO_INTEGRATORS = ("etd2", "etd3", "etd2_dense", "etd3_dense")
"""`auto` takes the cheaper one for the tolerance asked for; the IMEX schemes never are (integrators/README.md)."""
DENSE = 1e-2  # Density [1/nm²], 1e12 per cm², above which excitons in a monolayer are no dilute gas
RELAXED = 1.0
"""Largest step times the rate of explicit relaxation if steps are given by hand: all schemes keep −Rn² stable and n positive."""
RESOLVED = 1.2  # Largest step times the rate of explicit relaxation, over tolerance^(1/order) (integrators/README.md)
SAFETY = 0.9  # Part of the stability limit of the explicit terms that steps may use


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem(Kinetics):
    """Everything a run needs, in plain numbers; nothing in it depends on the number of ranks."""

    space: SpaceGrid
    scattering: Scattering
    terms: tuple[Term, ...]  # The equation: ∂t u = Σ terms
    initial: InitialState | None
    offsets: LocalOffsets | None = None  # Landscape and local rates on the grid held; none in a homogeneous sample

    @property
    def angles(self) -> Angles:
        """The angle cells."""
        return self.scattering.angles

    @property
    def bright(self) -> str:
        """Name of the valley that shines."""
        return self.material.radiation.bright_valley

    @property
    def sources(self) -> list[Source]:
        """The terms that do not depend on the state."""
        return [term for term in self.terms if isinstance(term, Source)]

    @functools.cached_property
    def generators(self) -> tuple[LocalGenerator, ...]:
        """All local linear terms together, by stage of the scattering."""
        losses = [term for term in self.terms if isinstance(term, Loss)]
        zero = np.zeros(self.cells.size)
        loss = sum((term.rate for term in losses), zero)
        light = sum((term.rate for term in losses if isinstance(term, Radiation)), zero)
        return tuple(LocalGenerator(stage, loss, light) for stage in self.scattering.stages)

    @functools.cached_property
    def local_generators(self) -> tuple[tuple[LocalGenerator, ...], ...]:
        """All local linear terms, by stage of the scattering and by class of points."""
        if self.offsets is None:
            return tuple(self._booked(number, (generator,)) for number, generator in enumerate(self.generators))
        losses, light = [term for term in self.terms if isinstance(term, Loss)], self.generators[0].light
        at_nodes = [
            LocalGenerator(stage, np.sum([term.rate_in(number) for term in losses], axis=0) + 0 * light, light)
            for number, stage in enumerate(self.offsets.stages[1:], start=1)
        ]
        return tuple(self._booked(number, (generator, *at_nodes)) for number, generator in enumerate(self.generators))

    def _booked(self, stage: int, by_class: Sequence[LocalGenerator]) -> tuple[LocalGenerator, ...]:
        """Generators that drive the books' fields, where there are books."""
        if (books := self.books) is None:
            return tuple(by_class)
        booked = []
        for number, generator in enumerate(by_class):
            spectra = [source.spectrum(stage, number if len(by_class) > 1 else None) for source in self.sources]
            booked.append(dataclasses.replace(generator, drive=books.drive(generator.scattering, spectra, number)))
        return tuple(booked)

    @functools.cached_property
    def books(self) -> Books | None:
        """Books of number and energy, where the moment equations do not tell them or an output needs rates at each point."""
        asked = any(o.needs_rates for group in self.config.observables.values() for o in group)
        needed = self.not_closed or asked or self.config.landscape
        return Books.for_terms(self.terms, self.equilibrium) if needed else None

    def potential(self, decomposition: Decomposition) -> Array:
        """E_v(r) at a rank's points [meV], shape (point, valley)."""
        bottoms, (nx, ny) = np.array([valley.energy for valley in self.cells.valleys]), decomposition.local_shape[:2]
        if self.offsets is None:
            uniform = bottoms if self.variation is None else self.variation.energy[:, 0, 0]
            return np.tile(uniform, (nx * ny, 1))
        local = self.offsets.landscape.energy[:, decomposition.x, decomposition.y]
        return np.asarray(local.reshape(len(bottoms), -1).T + bottoms)

    @property
    def about_landscape(self) -> list[str]:
        """Lines on the landscape, the nodes of local rates and sharp steps, where there are any."""
        if self.offsets is None or self.variation is None:
            return []
        lowest, highest = self.variation.spread
        spans = ", ".join(f"{v.name} {b - a:.3g}" for v, a, b in zip(self.cells.valleys, lowest, highest, strict=True))
        nodes, distance = len(self.offsets.stages), self.variation.distance
        rates = f"rates at {nodes} sets of valley offsets" + (f", at most {distance:.2g} meV apart" if distance else "")
        beyond = self.equilibrium.discarded_weight
        line = f"landscape: spans {spans} meV; {rates}; a part of {beyond:.0e} of an equilibrium lies above the top"
        return [line, *(step.line for step in self.variation.steps)]

    @property
    def doubts(self) -> list[str]:
        """What makes a run of this problem inaccurate, for warnings."""
        doubts = [] if self.offsets is None else self.offsets.landscape.doubts()
        if self.config.interaction is not None and (peak := self.peak_density) > DENSE:
            doubts.append(
                f"up to {1e14 * peak:.2g} excitons per cm²: above {1e14 * DENSE:.0e} they overlap, so that neither Boltzmann "
                f"statistics nor rates without screening hold"
            )
        return doubts

    def final_scale(self, reference: list[Budget]) -> Array:
        """Populations (valley,) at the end, a small part of which makes w_v² and D_v undefined.

        From the exact budgets `reference`, or where they do not hold, the shares of all excitons in equilibrium, in a landscape
        the smallest ones.
        """
        if not self.not_closed:
            return reference[-1].population
        total = sum(source.amplitude for source in self.sources) + (self.initial.population if self.initial else 0.0)
        stages = self.scattering.stages if self.offsets is None else self.offsets.stages
        return total * np.min([self.cells.valley_sum(stage.equilibrium.population) for stage in stages], axis=0)

    @functools.cached_property
    def not_closed(self) -> str:
        """Why the moment equations do not describe this problem; empty where they do."""
        reasons = list(dict.fromkeys(term.why_not_closed for term in self.terms if term.why_not_closed))
        reasons += ["the run starts from an initial state"] if self.initial else []
        return "; ".join(reasons)

    @functools.cached_property
    def moments(self) -> MomentProblem:
        """The moment equations of this problem, or where they are not closed, of a homogeneous sample with the same rates.

        The latter start with the initial state's excitons at one point; they choose steps only.
        """
        output, time = self.config.output, self.config.time
        start = None if self.initial is None else self.initial.moments()
        numbers = time.end, output.series_every, self.switches, self.stops
        return MomentProblem(self.generators, self.sources, self.budget, *numbers, start)

    @property
    def stops(self) -> tuple[float, ...]:
        """Times at which a step ends, beside those of the series outputs [ps]."""
        given = {*self.config.cuts, *(reduction.at for reduction in self.config.momentum.reductions)}
        if (spectrum := self.config.output.spectrum) is not None:
            given |= {*multiples(spectrum.every, self.config.time.end)[1:]}
        return tuple(sorted({*multiples(self.config.output.fields_every, self.config.time.end)[1:], *given}))

    def budget(self, time: float, moments: SpatialMoments, entries: Mapping[str, Entry] | None = None) -> Budget:
        """Budget of some moments at a time [ps]; without `entries` by the terms of which moments alone tell what they do."""
        if entries is None:
            entries = self._entries(time, moments)
        coherent = sum(source.strength(time) for source in self.sources if source.coherent)
        about_mean = self.config.landscape and moments.axes is not None
        return budget(moments, entries, self.equilibrium, self.generators[0].light, coherent, about_mean)

    def _entries(self, time: float, moments: SpatialMoments) -> dict[str, Entry]:
        """Rates of change by part of D_v."""
        entries: dict[str, Entry] = {}
        for term in self.terms:
            if (entry := term.entry(time, moments)) is not None:
                entries[term.part] = entries[term.part] + entry if term.part in entries else entry
        return entries

    def stable_step(self, integrator: str) -> float:
        """Longest step [ps] at which the explicit terms keep all plane waves bounded while scattering damps them."""
        rates = np.broadcast_to(sum(np.asarray(term.courant_rate()) for term in self.terms), self.cells.size)
        amplification = SCHEMES[integrator].amplification if integrator in SCHEMES else runge_kutta(3)
        everywhere = [generator for by_class in self.local_generators for generator in by_class]
        decays = np.min([generator.out_rates[1:].min(axis=0) for generator in everywhere], axis=0)
        longest, diffusive = stable_step(amplification, rates, decays), self._diffusive_limit
        if longest > diffusive:  # number decays by diffusion only, which the drift and fast scattering make together, explicitly
            longest = min(longest, max(stable_step(amplification, rates, np.zeros_like(decays)), diffusive))
        return min(longest, *(term.longest_step() for term in self.terms))

    @property
    def _diffusive_limit(self) -> float:
        """2/(D Σ(π/Δx)²), at which a Runge-Kutta step of order 2 of the diffusion of the shortest waves starts to grow [ps]."""
        cells, axes = self.cells, range(self.space.dimensions)
        population, wave = self.equilibrium.population, sum((math.pi / self.space.spacing[axis]) ** 2 for axis in axes)
        flux = max((g.adiabatic_response for g in self.generators), key=lambda response: float(np.abs(response).max()))
        diffusion = flux @ (self.equilibrium.velocity * population) / cells.valley_sum(population)
        return 2 / (float(diffusion.max()) * wave) if np.isfinite(diffusion).all() else math.inf

    @functools.cached_property
    def relaxation(self) -> tuple[float, str]:
        """Rate of explicit relaxation [1/ps] at the densest place, and the names of the terms that have one."""
        rates = {term.name: term.relaxation_rate(self.peak_density) for term in self.terms}
        return sum(rates.values()), " and ".join(name for name, rate in rates.items() if rate > 0)

    def largest_step(self, integrator: str) -> float:
        """Longest step that the explicit terms allow [ps]: it is stable, and resolves explicit relaxation to the tolerance."""
        longest, (rate, _) = SAFETY * self.stable_step(integrator), self.relaxation
        order = SCHEMES[integrator].order if integrator in SCHEMES else 3
        resolved = RESOLVED * self.config.time.tolerance ** (1 / order)
        return min(longest, resolved / rate) if rate > 0 else longest

    @functools.cached_property
    def peak_density(self) -> float:
        """Largest density of all excitons if none was lost or moved [1/nm²; slab 1/nm]."""
        return float(densest(self.sources, self.space, self.initial).max())

    def peak_loss(self, reference: list[Budget]) -> Array:
        """Relative peak loss of each valley's profile at the end by numerical dissipation, from the exact budgets."""
        speeds, widths = self.equilibrium.mean_square_speed, np.array([b.width_squared for b in reference[1:]])
        return resolution.flattening(speeds, widths, self.space.spacing[0], self.config.output.series_every)

    def choose_steps(self, reference: list[Budget], comm: MPI.Intracomm = MPI.COMM_SELF) -> Choice:
        """Integrator and steps from the input, or chosen on the moment equations. Raises InputError on all ranks. Collective."""
        time, output = self.config.time, self.config.output
        candidates = AUTO_INTEGRATORS if time.integrator == "auto" else (time.integrator,)
        if time.steps != "auto":
            phases = [(time.end if phase.until is None else phase.until, phase.size) for phase in time.steps]
            chosen = plan(output.series_every, time.end, phases, self.switches, self.stops)
            self._check_steps(candidates[0], chosen)
            return Choice(candidates[0], chosen)
        try:
            largest = {name: self.largest_step(name) for name in candidates}
            return choose(self.moments, largest, time.tolerance, reference, comm)
        except NoStepsError as error:
            raise InputError(f"time.tolerance: {error}; raise it, or choose another time.integrator") from None

    def _check_steps(self, integrator: str, chosen: StepPlan) -> None:
        """Refuses steps given by hand that let waves grow or densities become negative. Raises InputError."""
        stable, (rate, names) = self.stable_step(integrator), self.relaxation
        limit, cause = stable, "the stability limit of the drift on this grid"
        if rate * stable > RELAXED:
            limit, cause = RELAXED / rate, f"the shortest time of {names} at the peak density"
        if (longest := max(step.size for step in chosen.steps)) > limit:
            raise InputError(f"time.steps: found a step of {longest:g} ps, expected at most {limit:.3g} ps, {cause}")

    def reductions(self, reference: list[Budget]) -> tuple[tuple[float, int], ...]:
        """Times [ps] from which on there are fewer angles, with their number: given, or chosen on the moment equations."""
        angles = self.config.momentum.angles
        if isinstance(angles, int) or angles.reduce != "auto":
            return tuple((r.at, r.to) for r in self.config.momentum.reductions)
        return () if self.why_all_angles else anisotropy.reductions(self.moments, reference, angles.start)

    @property
    def why_all_angles(self) -> str:
        """Why the size of the harmonics is not known beforehand, so that no angle may be spared; empty where it is."""
        single_spot = len(self.config.pulses) == 1 and next(iter(self.config.pulses.values())).profile is None
        return self.not_closed or ("" if single_spot else "excitons do not start in a single Gaussian spot")

    def with_angles(self, number: int) -> "Problem":
        """The same problem with another number of angle cells, at most as many as its rates have orders for."""
        scattering = Scattering(dataclasses.replace(self.angles, number=number), self.scattering.stages, self.switches)
        terms = listed_terms(self, scattering, self.space, self.offsets, self.initial)
        return dataclasses.replace(self, scattering=scattering, terms=terms)

    def equation(self, comm: MPI.Intracomm) -> WignerEquation:
        """The Wigner equation on the spatial grid, decomposed over `comm`. Collective."""
        decomposition = Decomposition(self.space, comm, (self.angles.count, self.cells.size))
        classes = None if self.offsets is None or len(self.offsets.stages) == 1 else self.offsets.class_of_point
        return WignerEquation(decomposition, self.angles, self.terms, classes, self.books)

    def free(self) -> None:
        """Releases the memory that ranks share. Collective; the problem must not be used afterwards."""
        others = () if self.offsets is None else self.offsets.stages[1:]
        for stage in (*self.scattering.stages, *others):
            stage.shared.free()


def build(config: Config, comm: MPI.Intracomm) -> Problem:
    """Problem of an input, folded where all terms allow. Raises InputError. Collective."""
    space_grid(config, comm.size)
    kinetics = load(config, comm)
    whole = assemble(kinetics, whole_grid(config), further_nodes(kinetics, comm))
    kinetics.rates.free()
    symmetric = frozenset.intersection(*(term.mirrors for term in whole.terms))
    if whole.initial is not None:
        symmetric &= whole.initial.mirrors
    space = space_grid(whole.config, comm.size, symmetric)
    if whole.initial is not None and whole.initial.folded not in (None, space.folded):
        raise InputError(
            f"initial: found '{whole.initial.file}', folded along other axes than this input, expected the same axes: "
            f"start from a run with `space.symmetry: whole`, and use it here too"
        )
    _check_size(kinetics, space, Angles(config.momentum.first_angles, half=space.dimensions == 1))
    offsets = whole.offsets and local_offsets(
        kinetics, list(zip(whole.offsets.stages, whole.offsets.formation, strict=True)), space
    )
    return dataclasses.replace(
        whole, space=space, offsets=offsets, terms=listed_terms(kinetics, whole.scattering, space, offsets, whole.initial)
    )


def assemble(kinetics: Kinetics, space: SpaceGrid, further: Sequence[Node] = ()) -> Problem:
    """Problem on a grid with rates that are at hand, and those of `further` nodes. Raises InputError. Collective."""
    config, rates, switches = kinetics.config, kinetics.rates, kinetics.switches
    angles = Angles(config.momentum.first_angles, half=space.dimensions == 1)
    processes = config.scattering
    stages = [
        ScatteringStage.build(rates, intravalley=processes.intravalley > start, intervalley=processes.intervalley > start)
        for start in (0.0, *switches)
    ]  # by all ranks together: their blocks are shared within a node
    scattering = Scattering(angles, stages, switches)
    offsets = local_offsets(kinetics, [(stages[0], kinetics.formation[0]), *further], space)
    whole = None if kinetics.variation is None else kinetics.variation.landscape(kinetics.equilibrium, whole_grid(config))
    sought = config.initial, kinetics.equilibrium, angles, whole_grid(config), whole
    initial = on_first_rank(rates.comm, lambda: InitialState.from_input(*sought))
    terms = listed_terms(kinetics, scattering, space, offsets, initial)
    problem = Problem(**vars(kinetics), space=space, scattering=scattering, terms=terms, initial=initial, offsets=offsets)
    _check_switches(problem)
    return problem


def _check_size(kinetics: Kinetics, space: SpaceGrid, angles: Angles) -> None:
    """PETSc counts all unknowns of a run with its own integers."""
    from petsc4py import PETSc

    unknowns, largest = math.prod(space.shape) * angles.count * kinetics.cells.size, np.iinfo(PETSc.IntType).max
    if unknowns > largest:
        raise InputError(
            f"space.cells: found {unknowns:.4g} unknowns in all, expected at most {largest:.4g}, which this PETSc can number: "
            f"use fewer cells or angles, or a PETSc configured --with-64-bit-indices"
        )


def space_grid(config: Config, ranks: int, mirrors: frozenset[int] = frozenset((0, 1))) -> SpaceGrid:
    """The grid, folded along every axis that allows it, or whole; `mirrors` are the axes that all terms respect.

    Which axes are folded does not depend on the number of ranks: `folded` in a complete input means the same as in the run. With
    `auto` the whole sample is taken where ranks would get too few cells. Raises InputError.
    """
    whole = whole_grid(config)
    wanted, axes = config.space.symmetry, whole.axes_with_middle & mirrors
    if wanted == "folded" and not axes:
        even = any(whole.shape[axis] % 2 == 0 for axis in range(whole.dimensions))
        cause = "the state is not symmetric" if whole.axes_with_middle else "the walls at the ends differ"
        cause = cause if even else f"{config.space.cells} cells have no middle face"
        raise InputError(f"space.symmetry: found folded, expected whole: {cause}")
    problem, folded = "", whole.folded_along(axes) if axes and wanted != "whole" else None
    for space in filter(None, (folded, whole if wanted != "folded" else None)):
        try:
            process_grid(space.shape, space.dimensions, ranks)
            return space
        except DecompositionError as error:
            problem = str(error)
    raise InputError(f"space.cells: found {problem}")


def _check_switches(problem: Problem) -> None:
    """Formation from coherent excitons must be over when a process ends, since the pulse was solved with its rates."""
    for key in ("intravalley", "intervalley"):
        off_at = getattr(problem.config.scattering, key)
        for source in problem.sources:
            if source.coherent and 0 < off_at < math.inf and (missing := 1 - source.generated(off_at) / source.amplitude) > 1e-9:
                raise InputError(
                    f"scattering.{key}.off_at: found {off_at:g} ps, expected a time after the formation of excitons "
                    f"({missing:.1e} of them are still to come)"
                )


def completed(config: Config, choice: Choice, folded: bool) -> Config:
    """The input with everything that was `auto` filled in: it runs again to the same result."""
    phases, tick = choice.plan.phases, choice.plan.tick
    ends = [*(end for end, _ in phases[:-1]), None]
    steps = tuple(StepPhase(tick / count, end) for (_, count), end in zip(phases, ends, strict=True))
    time = dataclasses.replace(config.time, steps=steps, integrator=cast(Any, choice.integrator))
    space = dataclasses.replace(config.space, symmetry="folded" if folded else "whole")
    momentum = config.momentum
    if isinstance(momentum.angles, FewerAngles):
        fewer = tuple(Reduction(at, to) for at, to in choice.plan.reductions)
        momentum = dataclasses.replace(momentum, angles=FewerAngles(momentum.angles.start, fewer or "off"))
    return dataclasses.replace(config, time=time, space=space, momentum=momentum)
