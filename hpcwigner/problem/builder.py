"""From the input to the list of terms in plain numbers: the one builder that knows the input file's keys."""

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from mpi4py import MPI

from hpcwigner.integrators.exponential import SCHEMES
from hpcwigner.integrators.steps import multiples, plan
from hpcwigner.momentum.angles import Angles
from hpcwigner.momentum.rates import Rates
from hpcwigner.observables.budget import Budget, Entry, SpatialMoments, budget
from hpcwigner.problem import pulses
from hpcwigner.problem.config import Config, FewerAngles, Reduction, StepPhase
from hpcwigner.problem.initial import InitialState
from hpcwigner.problem.kinetics import Kinetics, load, whole_grid
from hpcwigner.problem.sample import held
from hpcwigner.reference import anisotropy
from hpcwigner.reference.moment_problem import MomentProblem
from hpcwigner.reference.step_choice import Choice, NoStepsError, choose
from hpcwigner.runtime.arrays import Array
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.parallel import on_first_rank
from hpcwigner.runtime.vectors import WIDTH
from hpcwigner.space import resolution
from hpcwigner.space.grid import Decomposition, DecompositionError, SpaceGrid, process_grid
from hpcwigner.space.landscape import STEEP, TOO_STEEP
from hpcwigner.space.stencil import runge_kutta, stable_step
from hpcwigner.terms.drift import Drift
from hpcwigner.terms.equation import WignerEquation
from hpcwigner.terms.force import Force
from hpcwigner.terms.generator import LocalGenerator
from hpcwigner.terms.junction import Junction
from hpcwigner.terms.offsets import LocalOffsets, OffsetScattering
from hpcwigner.terms.radiation import Loss, Radiation, Recombination
from hpcwigner.terms.scattering import Scattering, ScatteringStage
from hpcwigner.terms.term import Source, Term

AUTO_INTEGRATORS = ("etd2", "etd3", "etd2_dense", "etd3_dense")
"""`auto` takes the cheaper one for the tolerance asked for; the IMEX schemes never are (integrators/README.md)."""
FEW_STEP_SIZES = 4  # That a plan has, about
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

    @property
    def local_generators(self) -> tuple[tuple[LocalGenerator, ...], ...]:
        """All local linear terms, by stage of the scattering and by class of points."""
        if self.offsets is None:
            return tuple((generator,) for generator in self.generators)
        others, losses = self.offsets.stages[1:], (self.generators[0].loss, self.generators[0].light)
        at_nodes = [LocalGenerator(stage, *losses) for stage in others]
        return tuple((generator, *at_nodes) for generator in self.generators)

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
        return tuple(sorted({*multiples(self.config.output.fields_every, self.config.time.end)[1:], *given}))

    def budget(self, time: float, moments: SpatialMoments) -> Budget:
        """Budget of some moments at a time [ps], term by term."""
        entries: dict[str, Entry] = {}
        for term in self.terms:
            entry = term.entry(time, moments)
            entries[term.part] = entries[term.part] + entry if term.part in entries else entry
        coherent = sum(source.strength(time) for source in self.sources if source.coherent)
        return budget(moments, entries, self.equilibrium, self.generators[0].light, coherent)

    def largest_step(self, integrator: str) -> float:
        """Longest step that the explicit terms allow [ps]: all plane waves stay bounded while scattering damps them."""
        rates = np.broadcast_to(sum(np.asarray(term.courant_rate()) for term in self.terms), self.cells.size)
        amplification = SCHEMES[integrator].amplification if integrator in SCHEMES else runge_kutta(3)
        everywhere = [generator for by_class in self.local_generators for generator in by_class]
        decays = np.min([generator.out_rates[1:].min(axis=0) for generator in everywhere], axis=0)
        return SAFETY * stable_step(amplification, rates, decays)

    def peak_loss(self, reference: list[Budget]) -> Array:
        """Relative peak loss of each valley's profile at the end by numerical dissipation, from the exact budgets."""
        speeds, widths = self.equilibrium.mean_square_speed, np.array([b.width_squared for b in reference[1:]])
        return resolution.flattening(speeds, widths, self.space.spacing[0], self.config.output.series_every)

    def choose_steps(self, reference: list[Budget]) -> Choice:
        """Integrator and steps from the input, or chosen beforehand on the moment equations. Raises InputError."""
        time, output = self.config.time, self.config.output
        candidates = AUTO_INTEGRATORS if time.integrator == "auto" else (time.integrator,)
        largest = {name: self.largest_step(name) for name in candidates}
        if time.steps != "auto":
            phases = [(time.end if phase.until is None else phase.until, phase.size) for phase in time.steps]
            chosen = plan(output.series_every, time.end, phases, self.switches, self.stops)
            longest, limit = max(step.size for step in chosen.steps()), largest[candidates[0]] / SAFETY
            if longest > limit:
                raise InputError(
                    f"time.steps: found a step of {longest:g} ps, expected at most {limit:.3g} ps, "
                    f"the stability limit of the drift on this grid"
                )
            return Choice(candidates[0], chosen)
        try:
            return choose(self.moments, largest, time.tolerance, reference)
        except NoStepsError as error:
            raise InputError(f"time.tolerance: {error}; raise it, or choose another time.integrator") from None

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
        return dataclasses.replace(self, scattering=scattering, terms=_terms(self, scattering, self.space, self.offsets))

    def equation(self, comm: MPI.Intracomm) -> WignerEquation:
        """The Wigner equation on the spatial grid, decomposed over `comm`. Collective."""
        decomposition = Decomposition(self.space, comm, (self.angles.count, self.cells.size))
        classes = None if self.offsets is None or len(self.offsets.stages) == 1 else self.offsets.class_of_point
        return WignerEquation(decomposition, self.angles, self.terms, classes)

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
    _check_size(kinetics, space, Angles(config.momentum.first_angles, half=space.dimensions == 1))
    offsets = whole.offsets and _offsets(kinetics, list(zip(whole.offsets.stages, whole.offsets.formation, strict=True)), space)
    return dataclasses.replace(whole, space=space, offsets=offsets, terms=_terms(kinetics, whole.scattering, space, offsets))


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
    offsets = _offsets(kinetics, [(stages[0], kinetics.formation[0]), *further], space)
    terms = _terms(kinetics, scattering, space, offsets)
    whole = None if kinetics.variation is None else kinetics.variation.landscape(kinetics.equilibrium, whole_grid(config))
    sought = config.initial, kinetics.equilibrium, angles, whole_grid(config), whole
    initial = on_first_rank(rates.comm, lambda: InitialState.from_input(*sought))
    problem = Problem(**vars(kinetics), space=space, scattering=scattering, terms=terms, initial=initial, offsets=offsets)
    _check_switches(problem)
    return problem


def _offsets(kinetics: Kinetics, nodes: Sequence[Node], space: SpaceGrid) -> LocalOffsets | None:
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


def _terms(kinetics: Kinetics, scattering: Scattering, space: SpaceGrid, offsets: LocalOffsets | None) -> tuple[Term, ...]:
    """The equation of an input. Raises InputError."""
    config, equilibrium, angles = kinetics.config, kinetics.equilibrium, scattering.angles
    landscape = None if offsets is None else offsets.landscape
    terms: list[Term] = [Drift(equilibrium, angles, space, landscape)]
    if landscape is not None and landscape.jumps:
        terms.append(Junction(equilibrium, angles, landscape))
    terms.append(scattering)
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
    """The grid, folded where the input and the terms allow; `mirrors` are the axes that all terms respect. Raises InputError."""
    whole = whole_grid(config)
    wanted = config.space.symmetry
    halved = whole.halved if mirrors.issuperset(range(whole.dimensions)) else None
    if wanted == "folded" and halved is None:
        cause = f"{config.space.cells} cells have no middle face" if whole.halved is None else "the state is not symmetric"
        raise InputError(f"space.symmetry: found folded, expected whole: {cause}")
    problem = ""
    for space in filter(None, (halved if wanted != "whole" else None, whole if wanted != "folded" else None)):
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
