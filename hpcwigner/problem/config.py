"""The input as dataclasses: its keys, units, defaults and limits. Inside, everything is in ps, nm, meV and K.

The docstrings of classes and fields are the text of inputs/README.md (problem/keys.py).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from hpcwigner.observables import registry
from hpcwigner.problem.blocks import Checkpoint, Duration, Interaction, Output, Pump, Radiative, Recombination, Sample
from hpcwigner.problem.shapes import Width
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Document, OnOff, Quantity, did_you_mean, require
from hpcwigner.space.walls import Edges, Wall
from hpcwigner.terms.extension import Extensions


@dataclasses.dataclass(frozen=True)
class OnUntil(OnOff):
    """`on`, `off` or `{off_at: 10 ps}`; kept as the time [ps] until which it is on (infinite: always, 0: never)."""

    _time: ClassVar = Quantity("ps", positive=True)

    def parse(self, value: object) -> float:
        if isinstance(value, dict) and list(value) == ["off_at"]:
            return float(self._time.parse(value["off_at"]))
        return math.inf if super().parse(value) else 0.0

    def write(self, value: float) -> object:
        return value > 0 if value in (0.0, math.inf) else {"off_at": self._time.write(value)}

    def describe(self) -> str:
        return "on, off or {off_at: TIME}"


Auto = Literal["auto"]
MOST_CELLS = 1_000_000  # In each direction of the sample
MOST_STEPS = 2_000_000  # Of a phase: a run of hours at least, even on the smallest grids
MOST_OUTPUTS = 100_000  # Of series; the moment equations are solved at each


@dataclasses.dataclass(frozen=True)
class Reduction:
    """Fewer directions of motion from a time on."""

    at: Duration
    """Time."""
    to: int
    """Number of directions from then on: half as many as before, and a multiple of 4."""


@dataclasses.dataclass(frozen=True)
class FewerAngles:
    """Directions of motion that become fewer once the density varies slowly in space."""

    start: int = 16
    """Number at the start, a multiple of 4 from 4 to 256."""
    reduce: Literal["auto", "off"] | tuple[Reduction, ...] = "auto"
    """`auto`, for a single Gaussian spot: half as many, down to 8, once what is dropped is negligible; fixed before the run."""


@dataclasses.dataclass(frozen=True)
class Momentum:
    """Cells in energy and in the direction of motion."""

    energy_max: Annotated[float | Auto, Quantity("meV", positive=True, words=("auto",))] = "auto"
    """Cutoff above the highest valley bottom; at most 1e-4 of a valley's Boltzmann weight may lie beyond it."""
    energy_step: Annotated[float | Auto, Quantity("meV", positive=True, words=("auto",))] = "auto"
    """Width of the energy cells; `auto` follows from the temperature."""
    angles: int | FewerAngles = 16
    """Directions of motion, a multiple of 4 from 4 to 256; with `reduce` they become fewer."""

    @property
    def first_angles(self) -> int:
        """Directions of motion at the start."""
        return self.angles if isinstance(self.angles, int) else self.angles.start

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """Later numbers of directions as far as they are given."""
        given = () if isinstance(self.angles, int) else self.angles.reduce
        return () if isinstance(given, str) else given

    def __post_init__(self) -> None:
        valid = 4 <= self.first_angles <= 256 and self.first_angles % 4 == 0
        require(
            valid,
            "angles" if isinstance(self.angles, int) else "angles.start",
            self.first_angles,
            "a multiple of 4 from 4 to 256",
        )
        times, numbers = [r.at for r in self.reductions], [self.first_angles, *(r.to for r in self.reductions)]
        good = times == sorted(set(times)) and all(2 * b == a and b % 4 == 0 for a, b in itertools.pairwise(numbers))
        require(good, "angles.reduce", f"{numbers[1:]} at {times} ps", "increasing times, each with half as many, multiples of 4")


@dataclasses.dataclass(frozen=True)
class Scattering:
    """Scattering by phonons, which can be switched off as a gedanken experiment."""

    intravalley: Annotated[float, OnUntil()] = math.inf
    """Within a valley; `off_at` is a multiple of `output.series_every`, after the formation of excitons."""
    intervalley: Annotated[float, OnUntil()] = math.inf
    """Between valleys; `off_at` as above."""


@dataclasses.dataclass(frozen=True)
class Space:
    """Spatial grid, centred on the pump. With `dimensions: 1` the sample is a slab, uniform along y."""

    dimensions: Literal[1, 2] = 1
    """1: slab; 2: plane."""
    length: Width = 12000.0
    """Length of the sample along x, and along y."""
    cells: int | tuple[int, int] = 128
    """Cells in each direction, or [along x, along y] of a plane; at least 6, at most 1000000."""
    boundary: Wall | Edges = "periodic"
    """What happens at the sample's edges, also by axis, {x: …, y: …}, and by end, {x: {low: …, high: …}}."""
    symmetry: Literal["auto", "folded", "whole"] = "auto"
    """`folded` computes half of every axis along which state, walls and cells are symmetric; `auto` does so if there is one."""

    def __post_init__(self) -> None:
        scalar = not isinstance(self.cells, tuple)
        require(scalar or self.dimensions == 2, "cells", self.cells, "one number, since dimensions is 1")
        along = self.shape[: self.dimensions]
        require(min(along) >= 6, "cells", self.cells, "at least 6 in each direction")
        require(max(along) <= MOST_CELLS, "cells", self.cells, f"at most {MOST_CELLS} in each direction")
        extra = self.dimensions == 1 and isinstance(self.boundary, Edges) and self.boundary.y is not None
        require(not extra, "boundary.y", "walls", "none, since dimensions is 1")

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y (1 along y in a slab)."""
        if isinstance(self.cells, tuple):
            return self.cells
        return (self.cells, self.cells if self.dimensions == 2 else 1)


@dataclasses.dataclass(frozen=True)
class StepPhase:
    """Steps of at most `size` until a time."""

    size: Duration
    """Largest step."""
    until: Duration | None = None
    """End of the phase; the last phase has none and lasts to the end of the run."""


@dataclasses.dataclass(frozen=True)
class Time:
    """Time integration."""

    end: Annotated[float, Quantity("ps", minimum=1e-6)] = 120.0
    """Last time."""
    integrator: Literal["auto", "etd2", "etd3", "etd2_dense", "etd3_dense", "arkimex3", "ars443"] = "auto"
    """Exponential (etd) or implicit-explicit Runge–Kutta; `auto`: the cheapest of the exponential ones."""
    tolerance: float = 1e-3
    """Error of D_v of every valley relative to its largest magnitude, from 1e-8 to 0.1."""
    steps: Auto | tuple[StepPhase, ...] = "auto"
    """Phases of steps; `auto` chooses them before the run by the tolerance and writes them into the run's input."""
    walltime: Annotated[float | None, Quantity("s", shown="h", positive=True)] = None
    """Real time after which the run stops with a checkpoint; without it, that of the Slurm job."""

    def __post_init__(self) -> None:
        require(1e-8 <= self.tolerance <= 0.1, "tolerance", self.tolerance, "a number from 1e-8 to 0.1")
        if self.steps != "auto":
            until = [phase.until for phase in self.steps]
            ends = [time for time in until if time is not None]
            good = until == [*ends, None] and ends == sorted(set(ends))
            require(good, "steps", f"until {until} ps", "phases with increasing until, the last one without")
            begin = 0.0
            for number, phase in enumerate(self.steps):
                end = self.end if phase.until is None else min(phase.until, self.end)
                least = f"at least {(end - begin) / MOST_STEPS:g} ps, for at most {MOST_STEPS} steps"
                require((end - begin) / phase.size <= MOST_STEPS, f"steps.{number}.size", f"{phase.size:g} ps", least)
                begin = end


@dataclasses.dataclass(frozen=True)
class Sweep(Document):
    """A parameter study: one run for each choice of the varied values."""

    vary: dict[str, Any]
    """Lists of values by dotted key, such as `{temperature: [20 K, 40 K], pump.spot_fwhm: [0.5 um, 1 um]}`."""
    combine: Literal["product", "zip"] = "product"
    """`product`: every value with every other; `zip`: the first values of all lists, then the second ones, …"""
    moments: bool = False
    """Solve the closed moment equations instead of making full runs."""
    diffusion_at: tuple[Duration, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """Times at which the summary gives D_v."""

    def __post_init__(self) -> None:
        require(bool(self.vary), "vary", self.vary, "at least one key with a list of values")
        for key, values in self.vary.items():
            require(isinstance(values, list) and values != [], f"vary.{key}", values, "a list of at least one value")
            own = key.split(".")[0] == "sweep" or key in ("output", "output.directory")
            require(not own, f"vary.{key}", values, "another key: a sweep gives each point a directory and no sweep of its own")
        lengths = {key: len(values) for key, values in self.vary.items()}
        combinable = self.combine == "product" or len(set(lengths.values())) == 1
        counts = ", ".join(f"{n} of {key}" for key, n in lengths.items())
        require(combinable, "vary", counts, "equally many values to zip")

    def choices(self) -> list[dict[str, tuple[int, Any]]]:
        """For every point the number and the value of each key; the last key changes fastest."""
        numbered = map(enumerate, self.vary.values())
        combined = itertools.product(*numbered) if self.combine == "product" else zip(*numbered, strict=True)
        return [dict(zip(self.vary, choice, strict=True)) for choice in combined]


@dataclasses.dataclass(frozen=True)
class Config(Document):
    """A complete input."""

    material: str
    """Shipped material, or path of a material file."""
    temperature: Annotated[float, Quantity("K", minimum=1, maximum=1000)]
    """Temperature of the phonons."""
    rates: str = "auto"
    """`auto`: from the material; else the path of a file that the verb `rates` wrote, or one with the same layout."""
    pump: Pump | tuple[Pump, ...] | Literal[False] = dataclasses.field(default_factory=Pump)
    """One pulse or a list of pulses (pump and probe, trains), which have random phases: their populations add up."""
    initial: str = "none"
    """State at t = 0: `none` (no excitons), `equilibrium`, or a checkpoint (the path of its folder or of its state.h5)."""
    momentum: Momentum = Momentum()
    scattering: Scattering = Scattering()
    radiation: Annotated[bool, OnOff()] | Radiative = True
    """Radiative recombination of the bright valley inside the light cone; with keys also that with the help of phonons."""
    recombination: Recombination | None = None
    sample: Sample | None = None
    interaction: Interaction | None = None
    extensions: Annotated[dict[str, Any], Extensions()] | None = None
    """Terms of other packages: the blocks of installed extensions by name (CONTRIBUTING.md)."""
    space: Space = Space()
    time: Time = Time()
    output: Output = dataclasses.field(default_factory=Output)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    sweep: Sweep | None = None
    """With it, the rest of a Config is that of the first point."""

    def __post_init__(self) -> None:
        every = self.output.series_every
        least = f"at least {self.time.end / MOST_OUTPUTS:g} ps, for at most {MOST_OUTPUTS} outputs until time.end"
        require(self.time.end / every <= MOST_OUTPUTS, "output.series_every", f"{every:g} ps", least)
        for key in ("intravalley", "intervalley"):
            time = getattr(self.scattering, key)
            whole = math.isinf(time) or abs(time / every - round(time / every)) < 1e-9 * max(1.0, time / every)
            require(whole, f"scattering.{key}.off_at", f"{time:g} ps", f"a multiple of output.series_every ({every:g} ps)")
        for key, pulse in self.pulses.items():
            scaled = (key == "pump" and self.interaction is None) or pulse.density is not None
            why = "the density of every pulse of a list" if self.interaction is None else "a density, since excitons interact"
            require(scaled, f"{key}.density", "none", why)
        known = self.interaction is None or self.initial != "equilibrium"
        require(known, "initial", self.initial, "none or a checkpoint: the density of this state is not known")
        excited = bool(self.pulses) or self.initial != "none"
        require(excited, "pump", "off", "a pump, since initial is none: without either there are no excitons")
        for i, name in enumerate(self.output.observables):
            try:
                self._select([name])
            except ValueError as error:
                require(False, f"output.observables.{i}", name, str(error))

    @property
    def radiative(self) -> bool:
        """Whether the bright valley radiates."""
        return self.radiation is not False

    @property
    def pulses(self) -> dict[str, Pump]:
        """All pulses by key, in the order of the input."""
        if isinstance(self.pump, tuple):
            return {f"pump.{i}": pulse for i, pulse in enumerate(self.pump)}
        return {"pump": self.pump} if self.pump else {}

    @property
    def uniform_slab(self) -> bool:
        """Whether the sample is a slab that is uniform along y; other slabs are the y-integral of a plane's round spot."""
        shaped = any(pulse.profile is not None for pulse in self.pulses.values())
        return self.space.dimensions == 1 and (shaped or self.interaction is not None)

    @property
    def slab(self) -> registry.Slab:
        """What the numbers of a slab are."""
        if not self.uniform_slab:
            return "integrated"
        return "absolute" if all(pulse.density is not None for pulse in self.pulses.values()) else "relative"

    @property
    def number_unit(self) -> tuple[str, float]:
        """Unit of numbers of excitons in output files, and the factor to it from the program's."""
        (total,) = registry.select(["population_total"], self.space.dimensions, slab=self.slab)["series.h5"]
        return total.unit, total.scale

    @property
    def slab_attribute(self) -> dict[str, str]:
        """Attribute `slab` of output files; none of a plane."""
        return {"slab": registry.SLABS[self.slab]} if self.space.dimensions == 1 else {}

    @property
    def observables(self) -> dict[str, tuple[registry.Observable, ...]]:
        """What is written, by file."""
        return self._select(self.output.observables)

    @property
    def spectra(self) -> tuple[registry.Observable, ...]:
        """Variables of spectra.h5."""
        wanted = self.output.spectrum
        assert wanted is not None
        return registry.spectra(self.space.dimensions, self.slab, bool(wanted.windows), wanted.place == "resolved")

    def _select(self, names: Sequence[str]) -> dict[str, tuple[registry.Observable, ...]]:
        annihilation = self.interaction is not None and self.interaction.annihilation is not None
        return registry.select(names, self.space.dimensions, self.landscape, self.slab, annihilation)

    @property
    def landscape(self) -> bool:
        """Whether E_v(r, t) varies in space."""
        repulsive = self.interaction is not None and self.interaction.repulsion is not None
        return repulsive or (self.sample is not None and not self.sample.uniform)

    @property
    def cuts(self) -> tuple[float, ...]:
        """Those times of `output.wigner_at` that lie within the run [ps]."""
        return tuple(time for time in self.output.wigner_at if time <= self.time.end)

    @property
    def left_out(self) -> str:
        """A warning that names the other ones; empty if there are none."""
        late = ", ".join(f"{time:g}" for time in self.output.wigner_at if time > self.time.end)
        return f"output.wigner_at: left out {late} ps, after time.end" if late else ""

    def in_directory(self, directory: str) -> Config:
        """The same with its output elsewhere."""
        return dataclasses.replace(self, output=dataclasses.replace(self.output, directory=directory))


def valley_index(key: str, name: str, names: Sequence[str]) -> int:
    """Position in `names` of the valley that the input names at `key`. Raises InputError."""
    if name in names:
        return names.index(name)
    hint = did_you_mean(name, names, cutoff=0.3)
    raise InputError(
        f"{key}: found '{name}', expected a valley of the material; {hint}{' ' * bool(hint)}(known here: {', '.join(names)})"
    )
