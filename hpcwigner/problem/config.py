"""The input file: its keys, units, defaults and limits (DESIGN §8). Inside, everything is in ps, nm, meV and K."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from hpcwigner.exciton import materials
from hpcwigner.observables import registry
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Parsed, Quantity, require


class OnUntil(Parsed):
    """`on`, `off` or `{off_at: 10 ps}`; kept as the time [ps] until which it is on (infinite: always, 0: never)."""

    _time = Quantity("ps", positive=True)

    def parse(self, value: object) -> float:
        if value is True or value == "on":
            return float("inf")
        if value is False or value == "off":
            return 0.0
        if isinstance(value, dict) and list(value) == ["off_at"]:
            return float(self._time.parse(value["off_at"]))
        raise ValueError("expected on, off or {off_at: TIME}")

    def write(self, value: float) -> object:
        return value > 0 if value in (0.0, float("inf")) else {"off_at": self._time.write(value)}


Duration = Annotated[float, Quantity("ps", positive=True)]
Auto = Literal["auto"]


@dataclasses.dataclass(frozen=True)
class Pump:
    """Laser pulse: Gaussian field A(r, t). The FWHM are those of the field, not of the density."""

    center: Annotated[float, Quantity("ps", minimum=0)] = 0.2
    duration_fwhm: Annotated[float, Quantity("ps", shown="fs", positive=True)] = 0.1
    spot_fwhm: Annotated[float, Quantity("nm", shown="um", positive=True)] = 500.0
    density: Annotated[float | None, Quantity("nm^-2", shown="cm^-2", positive=True)] = None
    """Peak density of all generated excitons; without it the generated population is 1."""


@dataclasses.dataclass(frozen=True)
class Momentum:
    """Momentum grid: energies are counted from the highest valley bottom."""

    energy_max: Annotated[float | Auto, Quantity("meV", positive=True, words=("auto",))] = "auto"
    energy_step: Annotated[float | Auto, Quantity("meV", positive=True, words=("auto",))] = "auto"
    angles: int = 16

    def __post_init__(self) -> None:
        valid = 4 <= self.angles <= 256 and self.angles % 4 == 0
        require(valid, "angles", self.angles, "a multiple of 4 from 4 to 256")


@dataclasses.dataclass(frozen=True)
class Scattering:
    """Which scattering acts, and until when (gedanken experiments)."""

    intravalley: Annotated[float, OnUntil()] = float("inf")
    intervalley: Annotated[float, OnUntil()] = float("inf")


@dataclasses.dataclass(frozen=True)
class Space:
    """Spatial grid, centred on the pump. With dimensions 1 the sample is a slab, uniform along y."""

    dimensions: Literal[1, 2] = 1
    length: Annotated[float, Quantity("nm", shown="um", positive=True)] = 12000.0
    cells: int | tuple[int, int] = 128
    boundary: Literal["periodic", "open", "reflecting"] = "periodic"
    symmetry: Literal["auto", "folded", "whole"] = "auto"
    """`folded` holds the part x, y ≥ 0 only; `auto` does so unless an axis has an odd number of cells."""

    def __post_init__(self) -> None:
        scalar = not isinstance(self.cells, tuple)
        require(scalar or self.dimensions == 2, "cells", self.cells, "one number, since dimensions is 1")
        require(min(self.shape[: self.dimensions]) >= 6, "cells", self.cells, "at least 6 in each direction")

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y (1 along y in a slab)."""
        if isinstance(self.cells, tuple):
            return self.cells
        return (self.cells, self.cells if self.dimensions == 2 else 1)


@dataclasses.dataclass(frozen=True)
class StepPhase:
    """Steps of at most `size` until a time; `auto` fills such phases in before the run and writes them into its input."""

    size: Duration
    until: Duration | None = None
    """None in the last phase, which goes on to the end."""


@dataclasses.dataclass(frozen=True)
class Time:
    """Time integration. `tolerance` bounds the error of D_v of every valley, relative to its largest |D_v|."""

    end: Duration = 120.0
    integrator: Literal["auto", "etd2", "etd3", "arkimex3", "ars443"] = "auto"
    tolerance: float = 1e-3
    steps: Auto | tuple[StepPhase, ...] = "auto"
    walltime: Annotated[float | None, Quantity("s", shown="h", positive=True)] = None
    """Stop with a checkpoint before this much real time has passed."""

    def __post_init__(self) -> None:
        require(1e-8 <= self.tolerance <= 0.1, "tolerance", self.tolerance, "a number from 1e-8 to 0.1")
        if self.steps != "auto":
            until = [phase.until for phase in self.steps]
            ends = [time for time in until if time is not None]
            good = until == [*ends, None] and ends == sorted(set(ends))
            require(good, "steps", f"until {until} ps", "phases with increasing until, the last one without")


@dataclasses.dataclass(frozen=True)
class Output:
    """What is written, where and how often."""

    directory: str = "runs/hpcwigner"
    series_every: Duration = 0.25
    fields_every: Duration = 1.0
    wigner_at: tuple[Duration, ...] = ()
    observables: tuple[str, ...] = ("default",)
    """Names from the registry (verb `observables`); `default` and `all` stand for groups."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Checkpoints: how often, how many stay, and how they are written."""

    every: Annotated[float, Quantity("s", shown="min", minimum=0)] = 600.0
    keep: int = 2
    """Complete checkpoints that stay; 0 writes none."""
    writes: Literal["collective", "independent"] = "collective"
    compression: Literal["none", "gzip"] = "none"
    alignment: Annotated[float, Quantity("byte", shown="MiB", minimum=0)] = 0.0
    hints: dict[str, str] = dataclasses.field(default_factory=dict)
    """MPI-IO hints, such as {romio_cb_write: enable, striping_factor: "8"}."""

    def __post_init__(self) -> None:
        require(self.keep >= 0, "keep", self.keep, "0 or more")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A parameter study: the input once for every choice of values."""

    vary: dict[str, Any]
    """Lists of values, as in an input, by dotted key."""
    combine: Literal["product", "zip"] = "product"
    """`product`: every value with every other; `zip`: the first values of all lists, then the second ones, …"""
    moments: bool = False
    """By the exact moment equations instead of full runs."""
    diffusion_at: tuple[Duration, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """Times at which the summary gives D_v."""

    def __post_init__(self) -> None:
        require(bool(self.vary), "vary", self.vary, "at least one key with a list of values")
        for key, values in self.vary.items():
            require(isinstance(values, list) and values != [], f"vary.{key}", values, "a list of at least one value")
            own = key.split(".")[0] == "sweep" or key in ("output", "output.directory")
            require(not own, f"vary.{key}", values, "another key: a sweep gives each point a directory and no sweep of its own")
        lengths = {key: len(values) for key, values in self.vary.items()}
        alike = self.combine == "product" or len(set(lengths.values())) == 1
        require(alike, "vary", ", ".join(f"{n} of {key}" for key, n in lengths.items()), "equally many values to zip")

    def choices(self) -> list[dict[str, int]]:
        """For every point the index into each key's values; the last key changes fastest."""
        ranges = [range(len(values)) for values in self.vary.values()]
        combined = itertools.product(*ranges) if self.combine == "product" else zip(*ranges, strict=True)
        return [dict(zip(self.vary, indices, strict=True)) for indices in combined]


@dataclasses.dataclass(frozen=True)
class _SweepBlock:
    """The part of an input that can be judged before there is a point."""

    sweep: Sweep


@dataclasses.dataclass(frozen=True)
class Config:
    """A complete input."""

    material: str
    temperature: Annotated[float, Quantity("K", positive=True, maximum=1000)]
    rates: str = "auto"
    """`auto`: from the material; else a file of rates on the same cells, as the verb `rates` writes (momentum/README.md)."""
    rates_cache: str | None = None
    """Directory in which rates are kept between runs."""
    pump: Pump = Pump()
    momentum: Momentum = Momentum()
    scattering: Scattering = Scattering()
    space: Space = Space()
    time: Time = Time()
    output: Output = Output()
    checkpoint: Checkpoint = Checkpoint()
    sweep: Sweep | None = None
    """With it, the rest is that of the first point."""

    def __post_init__(self) -> None:
        every = self.output.series_every
        times = {
            "time.end": self.time.end,
            "output.fields_every": self.output.fields_every,
            "scattering.intravalley.off_at": self.scattering.intravalley,
            "scattering.intervalley.off_at": self.scattering.intervalley,
            **{f"output.wigner_at.{i}": t for i, t in enumerate(self.output.wigner_at)},
        }
        for key, time in times.items():
            fits = time == float("inf") or is_multiple(time, every)
            require(fits, key, f"{time:g} ps", f"a multiple of output.series_every ({every:g} ps)")
        self._require_observables()
        for i, time in enumerate(self.output.wigner_at):
            require(time <= self.time.end, f"output.wigner_at.{i}", f"{time:g} ps", "a time not after time.end")

    def _require_observables(self) -> None:
        for i, name in enumerate(self.output.observables):
            try:
                registry.select([name], self.space.dimensions)
            except KeyError:
                known = ["default", "all", *(o.name for o in registry.ALL)]
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                require(False, f"output.observables.{i}", name, f"a name that `python -m hpcwigner observables` lists{hint}")
            except ValueError:
                require(False, f"output.observables.{i}", name, f"what a sample of {self.space.dimensions} dimensions has")


def is_multiple(time: float, unit: float) -> bool:
    """Whether `time` is a whole number of `unit` up to rounding."""
    return abs(time / unit - round(time / unit)) < 1e-9 * max(1.0, time / unit)


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    number: int
    values: Mapping[str, Any]
    """As the input gives them, by dotted key."""
    config: Config
    """Complete, without the sweep, in a directory of its own."""

    @property
    def name(self) -> str:
        """For people: directory and values."""
        values = ", ".join(f"{key} {value}" for key, value in self.values.items())
        return f"{Path(self.config.output.directory).name} ({values})"


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Input file `path` with `--set key=value` overrides applied. Raises schema.InputError.

    Relative paths of what it reads start at its folder; they are made absolute, so that the input written into a run
    directory finds the same files.
    """
    return from_data(schema.read_yaml(path), overrides, str(path), path.absolute().parent)


def from_data(data: dict[str, Any], overrides: Sequence[str], origin: str, folder: Path) -> Config:
    """The same from plain `data`; `origin` names it in errors, relative paths start at `folder`. Raises schema.InputError.

    Of an input with a sweep every point is validated.
    """
    for override in overrides:
        _override(data, override)
    sweep, choice = None, {}
    if data.get("sweep") is not None:
        sweep = schema.validate(_SweepBlock, {"sweep": data["sweep"]}, origin).sweep
        vary = {key: [_located(key, value, folder) for value in values] for key, values in sweep.vary.items()}
        sweep = dataclasses.replace(sweep, vary=vary)
        choice = sweep.choices()[0]
    config = _chosen({k: v for k, v in data.items() if k != "sweep"}, sweep, choice, origin)
    config = dataclasses.replace(config, **{key: _located(key, getattr(config, key), folder) for key in _PATHS}, sweep=sweep)
    points(config, origin)
    return config


def points(config: Config, origin: str = "sweep") -> list[Point]:
    """The runs of a sweep; none without one. Raises schema.InputError, naming the value of a point that does not fit."""
    if config.sweep is None:
        return []
    data = _plain(dataclasses.replace(config, sweep=None))
    found = []
    for number, choice in enumerate(config.sweep.choices()):
        one = _chosen(data, config.sweep, choice, origin)
        one = in_directory(one, str(Path(config.output.directory) / f"point_{number:03d}"))
        found.append(Point(number, {key: config.sweep.vary[key][index] for key, index in choice.items()}, one))
    return found


def point(config: Config, number: int) -> Point:
    """One run of a sweep. Raises schema.InputError when there is none of that number."""
    if config.sweep is None:
        raise InputError(f"--point {number}: found an input without a sweep block, expected one")
    found = points(config)
    if not 0 <= number < len(found):
        raise InputError(f"--point {number}: found a sweep of {len(found)} points, expected a number from 0 to {len(found) - 1}")
    return found[number]


def in_directory(config: Config, directory: str) -> Config:
    """The same with its output elsewhere."""
    return dataclasses.replace(config, output=dataclasses.replace(config.output, directory=directory))


def _chosen(data: Mapping[str, Any], sweep: Sweep | None, choice: Mapping[str, int], origin: str) -> Config:
    """The input with one choice of a sweep's values. Raises InputError, under the name of the value that does not fit."""
    changed = copy.deepcopy(dict(data))
    for key, index in choice.items():
        assert sweep is not None
        _substitute(changed, key, sweep.vary[key][index], f"{origin}: sweep.vary.{key}")
    try:
        return schema.validate(Config, changed, origin)
    except InputError as error:
        if sweep is None:
            raise
        text = str(error).removeprefix(f"{origin}: ")
        found, _, problem = text.partition(": ")
    for key, index in choice.items():
        if problem.startswith("unknown key") and f"{key}.".startswith(f"{found}."):
            raise InputError(f"{origin}: sweep.vary.{text}")
        if f"{found}.".startswith(f"{key}."):
            raise InputError(f"{origin}: sweep.vary.{key}[{index}]{found.removeprefix(key)}: {problem}")
    values = ", ".join(f"{key}[{index}]" for key, index in choice.items())
    raise InputError(f"{origin}: {text} (with the values {values} of sweep.vary)")


_PATHS = ("material", "rates", "rates_cache")


def _located(key: str, value: Any, folder: Path) -> Any:
    """The value of a key, made absolute if it is the path of something that is read."""
    word = not isinstance(value, str) or value == "auto" or (key == "material" and not materials.is_path(value))
    return value if key not in _PATHS or word else str(folder / value)


def _override(data: dict[str, Any], text: str) -> None:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text}: expected path.to.key=value")
    try:
        _substitute(data, key, yaml.safe_load(value), f"--set {text}")
    except yaml.YAMLError:
        raise InputError(f"--set {text}: the value is not valid YAML") from None


def _substitute(data: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Puts `value` at the dotted `key` of plain data."""
    *parents, last = key.split(".")
    here: Any = data
    for parent in parents:
        here = here.setdefault(parent, {}) if isinstance(here, dict) else None
        if not isinstance(here, dict):
            raise InputError(f"{origin}: '{parent}' holds a value, not keys")
    here[last] = value


def to_yaml(config: Config) -> str:
    """The complete input as YAML text: it loads back to an equal Config."""
    import yaml

    return str(yaml.safe_dump(_plain(config), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True))


def _plain(config: Config) -> dict[str, Any]:
    data: dict[str, Any] = schema.dump(config)
    sections = ((data, "rates_cache"), (data, "sweep"), (data["pump"], "density"), (data["time"], "walltime"))
    for section, key in sections:
        if section[key] is None:
            del section[key]
    return data
