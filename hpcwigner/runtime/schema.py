"""Reads YAML files into typed dataclasses: units, ranges and unknown keys are checked here, for inputs and materials alike.

A field declares its unit in its type, `Quantity("ps")` for a float kept in ps; the file must then carry a unit that
converts to it. pydantic does the validation, pint the units, PyYAML the syntax. All three are imported only when a file
is read (one rank does that): the dataclasses themselves are plain and travel to the other ranks as they are.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hpcwigner.runtime.errors import InputError

T = TypeVar("T")


@functools.cache
def _units() -> Any:
    import pint

    registry = pint.UnitRegistry(cache_folder=None)
    registry.define("um = micrometer")
    return registry


class Parsed:
    """Type annotation that reads a field with `parse` and writes it back with `write`, both exact inverses."""

    def parse(self, value: object) -> Any:
        """Value inside the program; raises ValueError with what was expected."""
        raise NotImplementedError

    def write(self, value: Any) -> Any:
        """Plain data that `parse` turns back into exactly `value`."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.parse)


@dataclasses.dataclass(frozen=True)
class Quantity(Parsed):
    """A number with a unit: `Annotated[float, Quantity("ps")]` is kept in ps inside the program.

    `shown` is the unit in which it is written back, `words` are texts accepted instead of a number ("auto");
    `minimum` and `maximum` are in `unit`, `positive` excludes 0.
    """

    unit: str
    shown: str = ""
    positive: bool = False
    minimum: float | None = None
    maximum: float | None = None
    words: tuple[str, ...] = ()

    def parse(self, value: object) -> float | str:
        if isinstance(value, str) and value in self.words:
            return value
        unit = self.shown or self.unit
        expected = " or ".join([f"a number with a unit, such as '1 {unit}'", *map(repr, self.words)])
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"expected {expected}")
        try:
            quantity = _units().Quantity(value if isinstance(value, str) else float(value))
            magnitude = float(quantity.magnitude)
        except Exception as error:
            raise ValueError(f"expected {expected}") from error
        if quantity.unitless and not _units().Unit(self.unit).dimensionless:
            raise ValueError(f"expected a unit, such as '{magnitude:g} {unit}'")
        try:
            number = float(quantity.to(self.unit).magnitude)
        except Exception as error:
            raise ValueError(f"expected {expected} ({quantity.units:~P} does not convert to {unit})") from error
        return self._in_range(float(f"{number:.15g}"))  # 0.5 um is 500 nm, not 500.00000000000006

    def _in_range(self, number: float) -> float:
        if not abs(number) < float("inf"):
            raise ValueError("expected a finite number")
        if self.positive and number <= 0:
            raise ValueError("expected a value above 0")
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"expected at least {self.minimum:g} {self.unit}")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"expected at most {self.maximum:g} {self.unit}")
        return number

    def write(self, value: float | str) -> str:
        if isinstance(value, str):
            return value
        if self.shown:
            text = f"{self.as_shown(value)!r} {self.shown}"
            if self.parse(text) == value:
                return text
        return f"{value!r} {self.unit}"

    def as_shown(self, value: float) -> float:
        """The number in the unit in which it is written."""
        return float(f"{_units().Quantity(value, self.unit).to(self.shown or self.unit).magnitude:.15g}")


def require(condition: bool, key: str, found: object, expected: str) -> None:
    """For __post_init__: refuses a value of `key` that only the whole dataclass can judge. Raises ValueError."""
    if not condition:
        raise ValueError(f"{key}: found {_shorten(found)}, expected {expected}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in the YAML file `path`. Raises InputError when it is missing, not YAML or no mapping."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}: not valid YAML{where}: {getattr(error, 'problem', None) or 'syntax error'}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected YAML with keys and values, found {_shorten(data)}")
    return data


def validate(cls: type[T], data: Mapping[str, Any], origin: str) -> T:
    """Instance of the dataclass `cls` from plain `data`; `origin` names the file in error messages.

    Raises InputError with one line: file, key, what was found, what is expected, the nearest known key.
    """
    import pydantic

    _refuse_unknown_keys(cls, data, (), origin)
    try:
        return pydantic.TypeAdapter(cls).validate_python(data)
    except pydantic.ValidationError as error:
        # Of a union's alternatives, the one that got furthest into the data is the one the user meant.
        depths = [len(_keys_of(e["loc"], data)) + e["type"].startswith("missing") for e in error.errors()]
        alike = [e for e, depth in zip(error.errors(), depths, strict=True) if depth == max(depths)]
        raise InputError(f"{origin}: {_explain(alike, data)}") from None


def _refuse_unknown_keys(hint: Any, data: object, path: tuple[str, ...], origin: str) -> None:
    if dataclasses.is_dataclass(hint) and isinstance(data, Mapping):
        hints = typing.get_type_hints(hint, include_extras=True)
        known = [field.name for field in dataclasses.fields(hint)]
        for key, value in data.items():
            if key not in known:
                raise InputError(f"{origin}: {unknown_key('.'.join((*path, str(key))), known)}")
            _refuse_unknown_keys(hints[key], value, (*path, str(key)), origin)
        return
    container = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if container is dict and isinstance(data, Mapping):
        for key, value in data.items():
            _refuse_unknown_keys(arguments[1], value, (*path, str(key)), origin)
    elif container in (tuple, list) and isinstance(data, list):
        for index, value in enumerate(data):
            _refuse_unknown_keys(arguments[0], value, (*path, str(index)), origin)
    elif container in (typing.Union, types.UnionType, typing.Annotated):
        for argument in arguments[:1] if container is typing.Annotated else arguments:
            _refuse_unknown_keys(argument, data, path, origin)


def _keys_of(location: Iterable[object], data: Any) -> list[str]:
    """The parts of pydantic's error location that are keys of the file (the rest names alternatives it tried)."""
    keys: list[str] = []
    for part in location:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, Mapping) and part in data):
            data = data[part]
            keys.append(str(part))
    return keys


def _explain(errors: Sequence[Any], data: Any) -> str:
    """The first error, with what other alternatives expect for the same key."""
    error = errors[0]
    key = ".".join(_keys_of(error["loc"], data))
    if error["type"] in ("missing", "missing_argument"):
        return f"{'.'.join(filter(None, (key, str(error['loc'][-1]))))}: missing, and it has no default"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if ": found " in message:  # from `require` in a __post_init__
        return ".".join(filter(None, (key, message)))
    message = message if message.startswith("expected") else f"expected {message}"
    if any(e["type"] == "tuple_type" and e["loc"][:1] == error["loc"][:1] for e in errors[1:]):
        message += " or a list"
    return f"{key}: found {_shorten(error['input'])}, {message}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Text for a key nobody knows, with the nearest one that exists (its last part is compared)."""
    known = sorted(known)
    close = difflib.get_close_matches(key.rsplit(".", 1)[-1], known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{key}: unknown key; {hint}(known here: {', '.join(known)})"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def dump(instance: Any, parsed: Parsed | None = None) -> Any:
    """Plain data that `validate` turns back into an equal instance, with units written out."""
    if isinstance(instance, list | tuple):
        return [dump(item, parsed) for item in instance]
    if isinstance(instance, dict):
        return {key: dump(value, parsed) for key, value in instance.items()}
    if parsed is not None and instance is not None:
        return parsed.write(instance)
    if not dataclasses.is_dataclass(instance) or isinstance(instance, type):
        return instance
    hints = typing.get_type_hints(type(instance), include_extras=True)
    return {
        field.name: dump(getattr(instance, field.name), _parsed_in(hints[field.name])) for field in dataclasses.fields(instance)
    }


def _parsed_in(hint: Any) -> Parsed | None:
    """The Parsed annotation in a type hint, also inside unions and tuples."""
    for item in getattr(hint, "__metadata__", ()):
        if isinstance(item, Parsed):
            return item
    return next((found for argument in typing.get_args(hint) if (found := _parsed_in(argument))), None)


def shown(instance: Any, key: str) -> tuple[float | str, str]:
    """What an instance has at a dotted key, for tables and axes: a number and its unit, or else a text and ''."""
    parsed: Parsed | None = None
    value = instance
    for name in key.split("."):
        if dataclasses.is_dataclass(value):
            parsed = _parsed_in(typing.get_type_hints(type(value), include_extras=True)[name])
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    if isinstance(parsed, Quantity) and isinstance(value, float):
        return parsed.as_shown(value), parsed.shown or parsed.unit
    if parsed is None and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    return _flow(dump(value, parsed)), ""


def _flow(data: Any) -> str:
    import yaml

    text = yaml.safe_dump(data, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True)
    return str(text.removesuffix("\n").removesuffix("\n..."))
