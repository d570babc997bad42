"""Reads an input file into a Config and writes it back; overrides, paths, and the points of a sweep are resolved here."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcwigner.exciton import materials
from hpcwigner.problem.config import Config, Sweep
from hpcwigner.runtime import schema, yaml_files
from hpcwigner.runtime.errors import InputError
from hpcwigner.runtime.schema import KeyInputError
from hpcwigner.storage import provenance
from hpcwigner.terms.extension import versions

Overrides = Sequence[str] | Mapping[str, Any]
"""Values by dotted key: texts "key=value", or a mapping, in which texts are read as YAML too and other values are as they are."""


def load(source: Path | Mapping[str, Any], overrides: Overrides = ()) -> Config:
    """Config of an input, a file or the data of one, with overrides applied. Raises InputError.

    Paths of files that the run reads start at the input's folder (of data: the current one) and become absolute: a run
    directory's input names the same.
    """
    if isinstance(source, Mapping):
        return from_data(source, overrides, "input", Path.cwd())
    return from_data(schema.read_yaml(source), overrides, str(source), source.absolute().parent)


def load_one(source: Path | Mapping[str, Any], overrides: Overrides, directory: str | None, number: int | None) -> Config:
    """Config of an input, or of point `number` of its sweep, with its output in `directory` if given. Raises InputError."""
    config = load(source, overrides)
    config = config.in_directory(directory) if directory else config
    return config if number is None else point(config, number).config


def require_no_sweep(config: Config) -> Config:
    """The same input. Raises InputError where it is not one run."""
    if config.sweep is not None:
        raise InputError("sweep: found an input with a sweep, expected --point N (in Python point=N): this takes one point")
    return config


def from_data(data: Mapping[str, Any], overrides: Overrides, origin: str, folder: Path) -> Config:
    """Config of `data`, all points of a sweep validated; `origin` is for messages, paths start at `folder`. Raises InputError."""
    plain = copy.deepcopy(dict(data))
    for override in overrides.items() if isinstance(overrides, Mapping) else map(_split, overrides):
        _override(plain, *override)
    sweep: Sweep | None = None
    if (block := plain.pop("sweep", None)) is not None:
        sweep = schema.validate(Sweep, block, origin, "sweep")
        vary = {key: [located(key, value, folder) for value in values] for key, values in sweep.vary.items()}
        sweep = dataclasses.replace(sweep, vary=vary)
    plain = {key: located(key, value, folder) for key, value in plain.items()}
    config = dataclasses.replace(_validated(plain, sweep.choices()[0] if sweep else {}, origin), sweep=sweep)
    points(config, origin)
    return config


def to_yaml(config: Config) -> str:
    """The complete input as YAML text: it loads back to an equal Config."""
    import yaml

    return str(yaml.safe_dump(schema.dump(config), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True))


def provenance_of(config: Config, ranks: int) -> dict[str, str | int]:
    """Attributes of every output file of a complete input. To be called on one rank: it starts git."""
    return provenance.attributes(to_yaml(config), ranks, versions(config.extensions))


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    number: int
    values: Mapping[str, Any]  # As the input gives them, by dotted key
    config: Config  # Complete, without the sweep, in a directory of its own

    @property
    def name(self) -> str:
        """Directory and values, for messages."""
        values = ", ".join(f"{key} {value}" for key, value in self.values.items())
        return f"{Path(self.config.output.directory).name} ({values})"


def points(config: Config, origin: str = "sweep") -> list[Point]:
    """The runs of a sweep; none without one. Raises InputError, naming the value of a point that does not fit."""
    sweep = config.sweep
    if sweep is None:
        return []
    data, runs = schema.dump(dataclasses.replace(config, sweep=None)), []
    for number, choice in enumerate(sweep.choices()):
        run = _validated(data, choice, origin).in_directory(str(Path(config.output.directory, f"point_{number:03d}")))
        runs.append(Point(number, {key: value for key, (_, value) in choice.items()}, run))
    return runs


def point(config: Config, number: int) -> Point:
    """One run of a sweep. Raises InputError when there is none of that number."""
    if config.sweep is None:
        raise InputError(f"--point {number}: found an input without a sweep block, expected one")
    runs = points(config)
    if not 0 <= number < len(runs):
        raise InputError(f"--point {number}: found a sweep of {len(runs)} points, expected a number from 0 to {len(runs) - 1}")
    return runs[number]


def _validated(data: Mapping[str, Any], choice: Mapping[str, tuple[int, Any]], origin: str) -> Config:
    """Config of `data` with one choice of a sweep's values. Raises InputError, by the name of the varied value at fault."""
    plain = copy.deepcopy(dict(data))
    for key, (_, value) in choice.items():
        _substitute(plain, key, value, f"{origin}: sweep.vary.{key}")
    if plain.get("initial", "none") != "none":
        plain.setdefault("pump", False)
    try:
        return schema.validate(Config, plain, origin)
    except KeyInputError as error:
        if not choice:
            raise
        key, problem = error.key, error.problem
    for varied, (index, _) in choice.items():
        if f"{key}.".startswith(f"{varied}."):
            raise KeyInputError(origin, f"sweep.vary.{varied}[{index}]{key.removeprefix(varied)}", problem)
    values = ", ".join(f"{varied}[{index}]" for varied, (index, _) in choice.items())
    raise KeyInputError(origin, key, f"{problem} (with the values {values} of sweep.vary)")


_PATHS = {"material": (), "rates": ("auto",), "initial": ("none", "equilibrium")}
"""Keys that may name a file to read, with the words that do not."""


def located(key: str, value: Any, folder: Path) -> Any:
    """The value of a dotted key, made absolute if it is the path of a file to read; so are `file` keys of blocks."""
    if str(key).split(".")[0] in ("sample", "pump", "extensions"):
        if isinstance(value, dict):
            return {name: located(f"{key}.{name}", part, folder) for name, part in value.items()}
        if isinstance(value, list):
            return [located(key, part, folder) for part in value]
        return str(folder / value) if key.endswith(".file") and isinstance(value, str) else value
    if key not in _PATHS or not isinstance(value, str) or value in _PATHS[key]:
        return value
    return value if key == "material" and not materials.is_path(value) else str(folder / value)


def _split(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text}: expected path.to.key=value")
    return key, value


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    origin = f"--set {key}={value}"
    try:
        parsed = yaml_files.parse(value) if isinstance(value, str) else copy.deepcopy(value)
    except ValueError:
        raise InputError(f"{origin}: the value is not valid YAML") from None
    _substitute(data, key, parsed, origin)


def _substitute(data: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Puts `value` at the dotted `key` of plain data; entries of a list are counted from 0. Raises InputError."""
    *parents, last = key.split(".")
    block: Any = data
    for parent in parents:
        block = block.setdefault(parent, {}) if isinstance(block, dict) else block[_entry(block, parent, origin)]
        if not isinstance(block, dict | list):
            raise InputError(f"{origin}: '{parent}' holds a value, not keys")
    block[last if isinstance(block, dict) else _entry(block, last, origin)] = value


def _entry(block: list[Any], name: str, origin: str) -> int:
    """Number of a list's entry. Raises InputError."""
    if not name.isdecimal() or int(name) >= len(block):
        raise InputError(f"{origin}: found '{name}' in a list, expected a number from 0 to {len(block) - 1}")
    return int(name)
