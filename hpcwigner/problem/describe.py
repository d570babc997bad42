"""The list of all input keys, from the dataclasses of the input: `python -m hpcwigner.problem.describe` writes it anew."""

import ast
import dataclasses
import inspect
import itertools
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcwigner.problem.config import Config
from hpcwigner.problem.shapes import Curvature, EnergyField, Field, Height, Map, Slope, StrainField
from hpcwigner.runtime import schema
from hpcwigner.space.walls import Surface

START = "<!-- The rest is written by `python -m hpcwigner.problem.describe`. -->\n\n"


def _unit(hint: Any) -> str:
    """Unit in which a quantity is shown."""
    quantity = schema.parsed_in(hint)
    assert isinstance(quantity, schema.Quantity)
    return quantity.shown or quantity.unit


_NAMES: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "on or off", Any: "value"}
_NAMES |= {
    variable: f"number in {' or '.join(map(_unit, units))}"
    for variable, *units in zip(
        (Height, Slope, Curvature), typing.get_args(EnergyField), typing.get_args(StrainField), strict=True
    )
}


def markdown() -> str:
    """Tables of the keys at the top and in each block, and of the fields that some of them take."""
    blocks = {f"`{name}`": blocks[0] for name, hint in schema.field_hints(Config).items() if (blocks := _blocks(hint))}
    tables = [f"## {name}\n\n{_text(block)}\n\n{_table(block)}" for name, block in blocks.items()]
    walls = f"## Walls\n\n{_text(Surface)}\n\n{_table(Surface)}"
    return "\n".join([_table(Config), *tables, walls, f"## Fields\n\n{_text(Field)}\n\n{_table(Field, Map)}"])


def _text(block: Any) -> str:
    """The docstring of a block, in one paragraph."""
    return " ".join(str(block.__doc__).split())


def _table(*blocks: Any) -> str:
    rows = [row for block in blocks for row in _rows(block, "")]
    return "\n".join(["| Key | Value | Default | Meaning |", "|---|---|---|---|", *rows, ""])


def _rows(block: Any, prefix: str) -> Iterator[str]:
    """Rows for the fields of a dataclass and of those that its values may be; blocks of Config have tables of their own."""
    cls = typing.get_origin(block) or block
    hints, texts = schema.field_hints(block), _field_docstrings(cls)
    for field in dataclasses.fields(cls):
        key = schema.key_of(field.name)
        hint = hints[key]
        inner = _blocks(hint)
        if not (inner and block is Config):
            yield f"| `{prefix}{key}` | {_value(hint)} | {_default(field, hint)} | {texts[field.name]} |"
            for part in inner:
                yield from _rows(part, f"{prefix}{key}.")


def _field_docstrings(cls: type) -> dict[str, str]:
    """The text below each field of a class and of its base classes."""
    texts: dict[str, str] = {}
    for part in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        (tree,) = ast.parse(inspect.getsource(part)).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                texts[ast.unparse(field.target)] = ast.literal_eval(text.value)
    return texts


def _blocks(hint: Any) -> list[Any]:
    """The dataclasses that a value of this type may be, without those of walls and fields, which have tables of their own."""
    cls = typing.get_origin(hint) or hint
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return [] if cls in (Field, Map, Surface) else [hint]
    return list(dict.fromkeys(itertools.chain.from_iterable(map(_blocks, typing.get_args(hint)))))


def _value(hint: Any) -> str:
    """What a key may be given."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is typing.Annotated:
        return str(arguments[1].describe())
    if kind is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if _is_field(hint):
        tensor = [_value(argument) for argument in arguments if _blocks(argument)]
        return " or ".join([f"[field](#fields) in {_unit(arguments[0])}", *tensor])
    if kind in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_value(argument) for argument in arguments if argument is not type(None)))
    if kind is tuple:
        return f"[{_value(arguments[0])}, …]"
    if kind is dict:
        return f"{{NAME: {_value(arguments[1])}, …}}"
    if hint is Surface:
        return "[wall](#walls)"
    return "keys below" if _blocks(hint) else _NAMES[hint]


def _is_field(hint: Any) -> bool:
    """Whether a value of this type may be a field of the position."""
    return any(typing.get_origin(argument) is Field for argument in typing.get_args(hint))


def _default(field: dataclasses.Field[Any], hint: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()}`"
    if field.default is None or field.default is dataclasses.MISSING:
        return "absent" if field.default is None else "required"
    text = schema.one_line(schema.dump(field.default, hint))
    return f"`{ {'true': 'on', 'false': 'off'}.get(text, text) }`"


if __name__ == "__main__":
    path = Path("inputs/README.md")
    path.write_text(path.read_text(encoding="utf-8").partition(START)[0] + START + markdown(), encoding="utf-8")
