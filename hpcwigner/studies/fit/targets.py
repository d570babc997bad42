"""The file of a fit: what is solved, what is read off it and wanted, and which numbers of the material move."""

import dataclasses
import fnmatch
import math
import re
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from hpcwigner.exciton import materials
from hpcwigner.exciton.materials import Material
from hpcwigner.observables.registry import VALLEY, Observable
from hpcwigner.problem import loading
from hpcwigner.problem.blocks import Duration
from hpcwigner.problem.config import Config
from hpcwigner.runtime import schema
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import Document, KeyInputError, OnOff, Quantity, require
from hpcwigner.studies.fit.quantities import RATES, SERIES

Take = Literal[
    "mean", "largest", "smallest", "largest_size", "time_of_largest", "time_of_smallest", "fall", "negative_from",
    "negative_until", "negative_overlap", "share_within", "settled",
]  # fmt: skip
NEED_LIMITS = ("share_within", "settled")
IN_PS = ("time_of_largest", "time_of_smallest", "negative_from", "negative_until", "settled")
WITHOUT_UNIT = ("fall", "negative_overlap", "share_within")


@dataclasses.dataclass(frozen=True)
class Reading:
    """A number that is read off the series of a run, or off the rates at a temperature."""

    quantity: str
    """A series variable of the verb `observables`, `exchange`, or a quantity of the rates (quantities.py)."""
    run: str | None = None
    """Name of the run; none for a quantity of the rates."""
    temperature: Annotated[float | None, Quantity("K", minimum=1, maximum=1000)] = None
    """For a quantity of the rates."""
    valley: str | None = None
    """Its valley."""
    per_valley: str | None = None
    """The value of this valley divides that of `valley` at every time."""
    valleys: Literal["spread", "mean", "largest", "smallest"] | None = None
    """Instead of `valley`, of all valleys at every time; spread: (largest − smallest)/|mean|."""
    at: Duration | None = None
    """The value at this time, linear between outputs."""
    take: Take | None = None
    """Instead of `at`, what is taken from the values in `window`."""
    window: tuple[Duration, Duration] | None = None
    """From 1 ps after the start or the first pulse to the end without it."""
    overlap_with: tuple[Duration, Duration] | None = None
    """For negative_overlap: the window that the longest one with negative values is compared with."""
    limits: tuple[float, float] | None = None
    """For share_within: part of the time spent between them; for settled: time from which on the value stays between them."""

    def __post_init__(self) -> None:
        known = [*SERIES, *RATES]
        hint = schema.did_you_mean(self.quantity, known)
        text = f"a quantity that the moment equations or rates give{'; ' * bool(hint)}{hint} (known here: {', '.join(known)})"
        require(self.quantity in known, "quantity", self.quantity, text)
        if self.quantity in RATES:
            return self._check_rates()
        self._check_series(SERIES[self.quantity])

    def _check_rates(self) -> None:
        quantity = RATES[self.quantity]
        for key in ("run", "per_valley", "valleys", "at", "take", "window", "overlap_with", "limits"):
            require(getattr(self, key) is None, key, getattr(self, key), f"none, since {self.quantity} follows from the rates")
        needed = "a temperature" if quantity.thermal else "none: the quantity has no temperature"
        require((self.temperature is not None) == quantity.thermal, "temperature", self.temperature, needed)
        require(quantity.by_valley or self.valley is None, "valley", self.valley, "none: the quantity belongs to no valley")

    def _check_series(self, observable: Observable) -> None:
        require(self.run is not None, "run", None, "the name of a run")
        require(self.temperature is None, "temperature", self.temperature, "none: that of the run counts")
        chosen = (self.valley is not None) + (self.valleys is not None)
        number = int(observable.dimensions == VALLEY)
        expected = (
            "a valley, or valleys: spread, mean, largest or smallest" if number else f"none: {self.quantity} has no valleys"
        )
        require(chosen == number, "valley", self.valley, expected)
        require(self.per_valley is None or self.valley is not None, "per_valley", self.per_valley, "a valley to divide")
        require((self.at is None) != (self.take is None), "at", self.at, f"a time, or take: {', '.join(typing.get_args(Take))}")
        require(self.window is None or self.take is not None, "window", self.window, "none beside `at`")
        for key in ("window", "overlap_with", "limits"):
            pair = getattr(self, key)
            require(pair is None or pair[0] < pair[1], key, pair, "the lower one first")
        compared = self.take == "negative_overlap"
        require((self.overlap_with is not None) == compared, "overlap_with", self.overlap_with,
                "a window, from and to" if compared else "none: it belongs to take: negative_overlap")  # fmt: skip
        limited = self.take in NEED_LIMITS
        require((self.limits is not None) == limited, "limits", self.limits,
                "two numbers" if limited else f"none: they belong to take: {' or '.join(NEED_LIMITS)}")  # fmt: skip

    @property
    def unit(self) -> str:
        """Unit for pint, '' for a pure number."""
        if self.quantity in RATES:
            return RATES[self.quantity].unit
        if self.take in IN_PS:
            return "ps"
        if self.take in WITHOUT_UNIT or self.per_valley is not None or self.valleys == "spread":
            return ""
        return _pint_unit(SERIES[self.quantity].unit)


def _pint_unit(unit: str) -> str:
    """'cm2 s-1' of the output files → 'cm^2/s'."""
    above: list[str] = []
    below: list[str] = []
    for name, power in re.findall(r"([A-Za-z]+)(-?\d+)?", unit):
        size = abs(int(power or 1))
        (below if power.startswith("-") else above).append(name + (f"^{size}" if size > 1 else ""))
    return "/".join([("*".join(above) or "1") if above or below else "", *below])


@dataclasses.dataclass(frozen=True)
class Target(Reading):
    """A reading, and what it ought to be: a value, or anything between limits. Texts with units, numbers for pure numbers."""

    tolerance: Any = None
    """The deviation from `value`, or beyond a limit, that counts as 1 in the sum of squares."""
    value: Any = None
    """Wanted value; met within `tolerance`."""
    at_least: Any = None
    """Lowest value that meets the target."""
    at_most: Any = None
    """Highest value that meets it."""
    relative_to: Reading | None = None
    """A reading that divides this one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded = self.at_least is not None or self.at_most is not None
        require((self.value is not None) != bounded, "value", self.value, "a value, or at_least and at_most, or one of both")
        for key in ("value", "tolerance", "at_least", "at_most"):
            if (given := getattr(self, key)) is not None or key == "tolerance":
                try:
                    object.__setattr__(self, key, self._number(given))
                except ValueError as error:
                    require(False, key, given, str(error))
        require(self.tolerance > 0, "tolerance", self.tolerance, "a value above 0")
        low, high = self.bounds
        require(low <= high, "at_most", self.at_most, "at least at_least")

    def _number(self, given: object) -> float:
        """A number in `unit`. Raises ValueError with what is expected instead."""
        if self.shown_unit:
            return float(Quantity(self.shown_unit).parse(given))
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError("a number without a unit")
        return float(given)

    @property
    def shown_unit(self) -> str:
        """Unit of the reading, '' for a pure number or a ratio."""
        return "" if self.relative_to is not None else self.unit

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which values it is met, in `shown_unit`."""
        if self.value is not None:
            return self.value - self.tolerance, self.value + self.tolerance
        return (-math.inf if self.at_least is None else self.at_least), (math.inf if self.at_most is None else self.at_most)


@dataclasses.dataclass(frozen=True)
class Search:
    """How the numbers are sought."""

    method: Literal["least_squares", "evolution", "nearest"] = "least_squares"
    """Least squares from the start; differential evolution over the whole ranges, then least squares; or only the next."""
    nearest: Annotated[bool, OnOff()] = False
    """Afterwards, the smallest sum of distances from `material` with which the targets stay met: it moves few numbers."""
    iterations: int = 20
    """Most iterations of least squares, and again of the nearest set."""
    generations: int = 50
    """Of the evolution."""
    population: int = 30
    """Sets of numbers in a generation."""
    seed: int = 1
    """Of the evolution."""

    def __post_init__(self) -> None:
        for key, least in (("iterations", 1), ("generations", 1), ("population", 5), ("seed", 0)):
            require(getattr(self, key) >= least, key, getattr(self, key), f"{least} or more")


@dataclasses.dataclass(frozen=True)
class Fit(Document):
    """A file for the verb `fit`."""

    material: str
    """Shipped material or file: distances count from its numbers."""
    input: str | dict[str, Any]
    """What the runs have in common: the path of an input, or its keys. Its material does not count."""
    runs: dict[str, dict[str, Any]]
    """By name, the dotted keys that a run changes."""
    targets: dict[str, Target]
    """What is wanted, by name."""
    parameters: tuple[str, ...] | Literal["estimated", "ranged"]
    """Numbers that move: keys, also with * (`intervalley_phonons.*.electron`), or all estimated, or all with a range."""
    start: str | None = None
    """Material at which the search starts; `material` without it."""
    penalty: float = 0.0
    """Weight of the squared distance from `material`, in units of the ranges, beside the squared deviations."""
    search: Search = Search()
    directory: str = "fits/fit"
    """Of the results."""

    def __post_init__(self) -> None:
        require(bool(self.targets), "targets", self.targets, "at least one")
        require(0 <= self.penalty < math.inf, "penalty", self.penalty, "0 or more")
        for name, target in self.targets.items():
            for key, reading in {"run": target, "relative_to.run": target.relative_to}.items():
                if reading is not None and reading.run is not None:
                    expected = f"one of the runs {', '.join(self.runs)}"
                    require(reading.run in self.runs, f"targets.{name}.{key}", reading.run, expected)


@dataclasses.dataclass(frozen=True)
class Task:
    """A fit with everything that its file names."""

    fit: Fit
    material: Material
    start: Material
    configs: dict[str, Config]  # Inputs of the runs by name
    keys: tuple[str, ...]  # Of the numbers that move

    @property
    def text(self) -> str:
        """The complete file, except how the search goes on and where its results are."""
        import yaml

        data = schema.dump(dataclasses.replace(self.fit, search=Search(), directory=""))
        return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True))


def load(path: Path, directory: str | None = None) -> Task:
    """The fit of a file, its results in `directory` instead. Raises InputError."""
    fit = schema.validate(Fit, schema.read_yaml(path), str(path))
    folder = path.absolute().parent
    if directory is not None:
        fit = dataclasses.replace(fit, directory=directory)
    located = {key: loading.located("material", getattr(fit, key), folder) for key in ("material", "start")}
    fit = dataclasses.replace(fit, **located)
    if isinstance(fit.input, str):
        fit = dataclasses.replace(fit, input=str(folder / fit.input))
    material = materials.load(fit.material)
    start = materials.load(fit.start) if fit.start else material
    keys = _chosen(material, fit.parameters, str(path))
    _check_start(material, start, keys, str(path))
    _check_valleys(material, fit, str(path))
    return Task(fit, material, start, {name: _config(fit, name, folder, str(path)) for name in fit.runs}, keys)


def _config(fit: Fit, name: str, folder: Path, origin: str) -> Config:
    """Input of a run with series at least as long as its readings. Raises InputError."""
    common: dict[str, Any] = fit.input if isinstance(fit.input, dict) else schema.read_yaml(Path(fit.input))
    folder = folder if isinstance(fit.input, dict) else Path(fit.input).parent
    changes = [f"{key}={schema.one_line(value)}" for key, value in fit.runs[name].items()]
    config = loading.from_data({"material": fit.material, **common}, changes, f"{origin}: runs.{name}", folder)
    config = dataclasses.replace(config, material=fit.material)
    if config.sweep is not None or config.landscape or config.rates != "auto":
        raise InputError(f"{origin}: runs.{name}: found a sweep, a landscape or rates of a file, expected a homogeneous sample")
    for target_name, target in fit.targets.items():
        for reading in filter(None, (target, target.relative_to)):
            for key, times in {"at": (reading.at,), "window": reading.window or ()}.items():
                late = max((t for t in times if t is not None), default=0.0)
                if reading.run == name and late > config.time.end:
                    where = f"targets.{target_name}.{'' if reading is target else 'relative_to.'}{key}"
                    expected = f"a time within the run {name}, which ends at {config.time.end:g} ps"
                    raise KeyInputError(origin, where, f"found {late:g} ps, expected {expected}")
    return dataclasses.replace(config, momentum=dataclasses.replace(config.momentum, angles=4))  # moments need m = 0 and 1


def _chosen(material: Material, wanted: tuple[str, ...] | str, origin: str) -> tuple[str, ...]:
    """Keys of the numbers that move, in the order of the material. Raises InputError."""
    numbers = dict(materials.numbers(material))
    if isinstance(wanted, str):
        keys = {k for k, n in numbers.items() if n.range and (wanted == "ranged" or n.confidence == "estimated")}
    else:
        keys = set()
        for pattern in wanted:
            named = fnmatch.filter(numbers, pattern)
            if not named:
                problem = schema.unknown_key(pattern, [k for k, n in numbers.items() if n.range])
                raise KeyInputError(origin, "parameters", f"found '{pattern}', {problem}")
            if (bare := numbers[named[0]]).range is None and len(named) == 1:
                expected = "a number with a range in the material file"
                raise KeyInputError(origin, "parameters", f"found '{pattern}' ({bare.confidence}), expected {expected}")
            keys |= {key for key in named if numbers[key].range}
    idle = {key for key in keys if not isinstance(wanted, tuple) and _idle(material, key)}
    if not keys - idle:
        raise KeyInputError(origin, "parameters", f"found {wanted!r}, expected at least one number with a range")
    return tuple(key for key in numbers if key in keys - idle)


def _idle(material: Material, key: str) -> bool:
    """Whether nothing that can be read depends on a number: strain, the film beside a sheet, a band that is not needed."""
    *_, name, last = ("", *key.split("."))
    given = last == "splitting" and material.valleys[name].energy is not None
    return given or last == "gauge_factor" or (key.startswith("film.") and material.dielectric is not None)


def _check_start(material: Material, start: Material, keys: tuple[str, ...], origin: str) -> None:
    """Raises InputError where the start is another kind of material, or has numbers outside their ranges."""
    numbers, begin = dict(materials.numbers(material)), dict(materials.numbers(start))
    if numbers.keys() != begin.keys():
        raise KeyInputError(
            origin, "start", f"found '{start.name}', expected a material with the same numbers as {material.name}"
        )
    for key, number in numbers.items():
        low, high = number.range or (number.value, number.value)
        if key in keys and not low <= begin[key].value <= high:
            raise KeyInputError(origin, "start", f"found {key} outside its range, expected it inside that of {material.name}")
        if key not in keys and begin[key].value != number.value:
            raise KeyInputError(origin, "start", f"found another {key}, expected that of {material.name}, since it does not move")


def _check_valleys(material: Material, fit: Fit, origin: str) -> None:
    for name, target in fit.targets.items():
        for prefix, reading in (("", target), ("relative_to.", target.relative_to)):
            for key in ("valley", "per_valley"):
                valley = None if reading is None else getattr(reading, key)
                if valley is not None and valley not in material.valleys:
                    known = schema.unknown_key(valley, material.valleys).removeprefix("unknown key; ")
                    where = f"targets.{name}.{prefix}{key}"
                    raise KeyInputError(origin, where, f"found '{valley}', expected a valley of the material; {known}")
