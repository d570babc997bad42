"""Reads YAML files into frozen dataclasses, and checks units, ranges and unknown keys; for inputs and material files.

A field declares its unit in its type: `Annotated[float, Quantity("ps")]` is kept in ps, and the file must give a unit that
converts to it. PyYAML reads the syntax, pydantic validates, pint converts. All three are imported only when a file is read,
which one rank does; the dataclasses are plain Python and are sent to the other ranks.
"""

import abc
import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hpcwigner.runtime import yaml_files
from hpcwigner.runtime.errors import InputError

T = TypeVar("T")


class KeyInputError(InputError):
    """The value of one key of a file is refused."""

    def __init__(self, origin: str, key: str, problem: str) -> None:
        super().__init__(origin, key, problem)
        self.origin, self.key, self.problem = origin, key, problem

    def __str__(self) -> str:
        return f"{self.origin}: {self.key}: {self.problem}"


def key_of(field: str) -> str:
    """Key of a dataclass's field in files: a word that Python keeps for itself has an underscore behind it as a field."""
    return field.removesuffix("_")


class Document:
    """Base of a dataclass that is read as a whole; unknown keys are refused in it and in every dataclass below it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "alias_generator": key_of}


class Parsed(abc.ABC):
    """Type annotation of a field that `parse` reads and `write` turns back; the two are exact inverses."""

    @abc.abstractmethod
    def parse(self, value: object) -> Any:
        """Value inside the program. Raises ValueError with what is expected instead, such as "a whole number"."""

    @abc.abstractmethod
    def describe(self) -> str:
        """What the file may give, for the list of keys."""

    def write(self, value: Any) -> Any:
        """Plain data that `parse` turns back into exactly `value`."""
        return value

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.parse, serialization=write)


@functools.cache
def _units() -> Any:
    import pint

    registry = pint.UnitRegistry(cache_folder=None)
    registry.define("um = micrometer")
    return registry


@dataclasses.dataclass(frozen=True)
class Quantity(Parsed):
    """A number with a unit: `Annotated[float, Quantity("ps")]` is kept in ps inside the program.

    `shown` is the unit in which it is written back, `words` are texts accepted instead of a number ("auto");
    `minimum` and `maximum` are in `unit`, `positive` excludes 0.
    """

    unit: str
    shown: str = ""
    positive: bool = False
    minimum: float = -math.inf
    maximum: float = math.inf
    words: tuple[str, ...] = ()

    def parse(self, value: object) -> float | str:
        if isinstance(value, str):
            return value if value in self.words else _number(self, value)
        return self.number(value)

    def number(self, value: object) -> float:
        """Value in `unit`. Raises ValueError with what was expected."""
        unit = self.shown or self.unit
        expected = " or ".join([f"a number with a unit, such as '1 {unit}'", *map(repr, self.words)])
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(expected)
        try:
            quantity = _units().Quantity(value if isinstance(value, str) else float(value))
            magnitude = float(quantity.magnitude)
        except Exception as error:  # pint raises errors of many kinds for texts that it cannot read
            raise ValueError(expected) from error
        if quantity.units == _units().Unit(""):  # not `unitless`, which degrees and percent are for pint
            raise ValueError(f"a unit, such as '{magnitude:g} {unit}'")
        same_kind = ("percent" in self.unit) == ("percent" in str(quantity.units))  # 130 meV is not 1.3 meV/percent
        if not same_kind or not quantity.is_compatible_with(self.unit):
            raise ValueError(f"{expected} ({quantity.units:~P} does not convert to {unit})")
        number = float(f"{quantity.to(self.unit).magnitude:.15g}")  # 0.5 um is 500 nm, not 500.00000000000006
        limits = {
            "a finite number": math.isfinite(number),
            "a value above 0": not self.positive or number > 0,
            f"at least {self.minimum:g} {self.unit}": number >= self.minimum,
            f"at most {self.maximum:g} {self.unit}": number <= self.maximum,
        }
        if broken := [limit for limit, kept in limits.items() if not kept]:
            raise ValueError(broken[0])
        return number

    def write(self, value: float | str) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, int | float):  # another alternative of a union: pydantic tries them in turn
            raise TypeError(f"found {value!r}, expected a number")
        if self.shown:
            text = f"{self.as_shown(value)!r} {self.shown}"
            if self.parse(text) == value:
                return text
        return f"{value!r} {self.unit}"

    def describe(self) -> str:
        limits = [", above 0"] * self.positive + [f", at least {self.as_shown(self.minimum):g}"] * math.isfinite(self.minimum)
        limits += [f", at most {self.maximum:g} {self.unit}"] * math.isfinite(self.maximum)
        return " or ".join([f"number in {self.shown or self.unit}{''.join(limits)}", *(f"`{word}`" for word in self.words)])

    def as_shown(self, value: float) -> float:
        """The number in the unit in which it is written."""
        return float(f"{_units().Quantity(value, self.unit).to(self.shown or self.unit).magnitude:.15g}")


@functools.lru_cache(4096)
def _number(quantity: Quantity, text: str) -> float:
    """Pint takes half a millisecond, and material files have 150 numbers."""
    return quantity.number(text)


@dataclasses.dataclass(frozen=True)
class OnOff(Parsed):
    """`on` or `off`, kept as a bool."""

    def parse(self, value: object) -> Any:
        if isinstance(value, bool):
            return value
        if value not in ("on", "off"):
            raise ValueError(self.describe())
        return value == "on"

    def describe(self) -> str:
        return "on or off"


class _RefusedError(ValueError):
    """A value that only the whole dataclass can judge; `key` is relative to the dataclass."""

    def __init__(self, key: str, problem: str) -> None:
        self.key, self.problem = key, problem
        super().__init__(f"{key}: {problem}")


def require(condition: bool, key: str, value: object, expected: str) -> None:
    """For __post_init__: refuses the value of `key` unless `condition` holds. Raises ValueError."""
    if not condition:
        raise _RefusedError(key, f"found {_shorten(value)}, expected {expected}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in the YAML file `path`. Raises InputError when it is missing, not YAML or no mapping."""
    data = yaml_files.read(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected YAML with keys and values, found {_shorten(data)}")
    return data


@functools.cache
def _adapter(cls: Any) -> Any:
    """Pydantic's validator for a dataclass or a type hint: building it takes longer than most of its uses."""
    import pydantic

    return pydantic.TypeAdapter(cls)


def validate(cls: type[T], data: object, origin: str, prefix: str = "") -> T:
    """Instance of the dataclass `cls` from plain `data`. Messages name the file `origin` and the key `prefix` of `data` in it.

    Raises KeyInputError with one line: file, key, value found, value expected or nearest known key.
    """
    import pydantic

    try:
        return typing.cast(T, _adapter(typing.cast(Any, cls)).validate_python(data))
    except pydantic.ValidationError as error:
        keys, problem = _explain(cls, error.errors(), data)
        raise KeyInputError(origin, ".".join([*filter(None, [prefix]), *keys]), problem) from None


def nested(cls: type[T], data: object, key: str) -> T:
    """For Parsed.parse: instance of the dataclass `cls` from the data at `key` of a value. Raises ValueError as `require`."""
    try:
        return validate(cls, data, "")
    except KeyInputError as error:
        raise _RefusedError(".".join(filter(None, (key, error.key))), error.problem) from None


_EXPECTED = {"bool": "on or off", "dataclass": "keys and values", "dict": "keys and values", "float": "a number",
             "int": "a whole number", "string": "text", "too": "at most {max_length} values", "tuple": "a list"}  # fmt: skip
"""What to say by the first word of pydantic's type of error; its own words otherwise."""
_UNKNOWN = ("unexpected_keyword_argument", "invalid_key")


def _explain(cls: type, errors: list[Any], data: object) -> tuple[list[str], str]:
    """Key, in parts, and problem of the error to report.

    Of the alternatives of a union, the one that accepts most of the data is the one that the user meant.
    """
    located = [(_keys_of(error, data), error) for error in errors]
    meant = [(keys, error) for keys, error in located if not _of_another_alternative(cls, keys, error, data)]
    located = meant or located
    deepest = max(len(keys) for keys, _ in located)
    located = [(keys, error) for keys, error in located if len(keys) == deepest]
    refusals = [item for item in located if isinstance(item[1].get("ctx", {}).get("error"), _RefusedError)]
    keys, error = next((item for item in located if item[1]["type"] in _UNKNOWN), [*refusals, located[0]][0])
    if error["type"] in _UNKNOWN:
        return keys, unknown_key(keys[-1], _known_fields(cls, keys[:-1], data))
    if error["type"] == "missing":
        return keys, "missing, and it has no default"
    refused = error.get("ctx", {}).get("error")
    if isinstance(refused, _RefusedError):
        return [*keys, *filter(None, refused.key.split("."))], refused.problem
    alternatives = dict.fromkeys(_expected(e) for k, e in located if k == keys)
    return keys, f"found {_shorten(error['input'])}, expected {' or '.join(alternatives)}"


def _of_another_alternative(cls: type, keys: list[str], error: Any, data: object) -> bool:
    """Whether a key is unknown to, or missing in, a dataclass that the user did not mean."""
    if error["type"] not in (*_UNKNOWN, "missing"):
        return False
    return (keys[-1] in _known_fields(cls, keys[:-1], data)) == (error["type"] in _UNKNOWN)


def _keys_of(error: Any, data: Any) -> list[str]:
    """The parts of a pydantic error's location that are keys of the file; the others name alternatives of a union."""
    keys: list[str] = []
    for part in error["loc"]:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, Mapping) and part in data):
            data = data[part]
            keys.append(str(part))
    return [*keys, str(error["loc"][-1])] if error["type"] == "missing" else keys


def _expected(error: Any) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if (expected := _EXPECTED.get(error["type"].split("_")[0])) is None:
        return str(error["msg"]).removeprefix("Input should be ").replace("False", "off")
    return expected.format(**error.get("ctx", {}))


def _known_fields(cls: type, keys: Sequence[str], data: Any) -> list[str]:
    """Names of the fields at a key, given in parts: of the dataclasses that share most names with the data there."""
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else {str(k): value for k, value in data.items()}[key]
    alternatives = [(len({*fields} & {*data}), fields) for fields in _fields_at(cls, keys)]
    most = max((shared for shared, _ in alternatives), default=0)
    return list(dict.fromkeys(name for shared, fields in alternatives if shared == most for name in fields))


def _fields_at(hint: Any, key: Sequence[str]) -> Iterator[list[str]]:
    """Names of the fields of every dataclass that a value of type `hint` may hold at a key, given in parts."""
    cls = typing.get_origin(hint) or hint
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        hints = field_hints(hint)
        if not key:
            yield list(hints)
        elif key[0] in hints:  # else another alternative of a union is meant
            yield from _fields_at(hints[key[0]], key[1:])
        return
    if cls in (dict, tuple):
        if not key or (cls is tuple and not key[0].isdecimal()):
            return
        key = key[1:]
    for argument in typing.get_args(hint):
        yield from _fields_at(argument, key)


def field_hints(hint: Any) -> dict[str, Any]:
    """Types of the fields of a dataclass; those of a generic one, such as `Sourced[float]`, with its parameters filled in."""
    cls = typing.get_origin(hint) or hint
    given = dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(hint), strict=False))
    hints = typing.get_type_hints(cls, include_extras=True)
    return {key_of(field.name): _filled(hints[field.name], given) for field in dataclasses.fields(cls)}


def _filled(hint: Any, given: Mapping[Any, Any]) -> Any:
    """A type with its type variables replaced by those given."""
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(variable, variable) for variable in variables)] if variables else hint


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Problem of a key that does not exist, with the nearest one that does."""
    known = sorted(known)
    return "unknown key; " + f"{did_you_mean(key, known)} (known here: {', '.join(known)})".lstrip()


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Text that asks for the nearest known word, or '' if none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"did you mean '{close[0]}'?" if close else ""


def _shorten(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def dump(instance: Any, hint: Any = None) -> Any:
    """Plain data that `validate` turns back into an equal instance, with units written out; fields that are None are left out."""
    return _adapter(typing.cast(Any, hint or type(instance))).dump_python(instance, mode="json", exclude_none=True, by_alias=True)


def parsed_in(hint: Any) -> Parsed | None:
    """The Parsed annotation in a type hint, also inside unions, tuples and dicts."""
    own = [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Parsed)]
    return next(filter(None, (*own, *map(parsed_in, typing.get_args(hint)))), None)


def _alternative(hint: Any, cls: type) -> Any:
    """The part of a type hint that stands for the dataclass `cls`, with its parameters if it is generic; None without one."""
    if (typing.get_origin(hint) or hint) is cls:
        return hint
    return next(filter(None, (_alternative(argument, cls) for argument in typing.get_args(hint))), None)


def shown(instance: Any, key: str) -> tuple[float | str, str]:
    """Value at a dotted key for tables and axes: a number and its unit, or a text and ''."""
    hint, value, plain = None, instance, dump(instance)
    for name in key.split("."):
        if isinstance(value, tuple):
            value, plain = value[int(name)], plain[int(name)]
            continue
        if dataclasses.is_dataclass(value):
            hint = field_hints(_alternative(hint, type(value)) or type(value))[name]
        value, plain = value[name] if isinstance(value, Mapping) else _attribute(value, name), plain.get(name)
    parsed = parsed_in(hint)
    if isinstance(parsed, Quantity) and isinstance(value, float):
        return parsed.as_shown(value), parsed.shown or parsed.unit
    if parsed is None and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    return one_line(plain), ""


def _attribute(instance: Any, key: str) -> Any:
    return next(getattr(instance, field.name) for field in dataclasses.fields(instance) if key_of(field.name) == key)


def one_line(data: Any) -> str:
    """Plain data as YAML in one line."""
    import yaml

    text = yaml.safe_dump(data, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True)
    return str(text.removesuffix("\n").removesuffix("\n..."))
