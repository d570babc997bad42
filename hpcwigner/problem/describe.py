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
from hpcwigner.runtime import schema

START = "<!-- The rest is written by `python -m hpcwigner.problem.describe`. -->\n\n"
_NAMES = {int: "whole number", float: "number", str: "text", bool: "on or off", Any: "value"}


def markdown() -> str:
    """Tables of the keys at the top and in each block."""
    hints = typing.get_type_hints(Config, include_extras=True)
    blocks = {name: block for name, hint in hints.items() if (block := _block(hint))}
    return "\n".join([_table(Config), *(f"## `{name}`\n\n{b.__doc__}\n\n{_table(b)}" for name, b in blocks.items())])


def _table(block: type) -> str:
    return "\n".join(["| Key | Value | Default | Meaning |", "|---|---|---|---|", *_rows(block, ""), ""])


def _rows(block: type, prefix: str) -> Iterator[str]:
    """Rows for the fields of a dataclass and of those that its values may be; blocks of Config have tables of their own."""
    hints, texts = typing.get_type_hints(block, include_extras=True), _field_docstrings(block)
    for field in dataclasses.fields(block):
        hint = hints[field.name]
        inner = _block(hint)
        if not (inner and block is Config):
            yield f"| `{prefix}{field.name}` | {_value(hint)} | {_default(field, hint)} | {texts[field.name]} |"
            if inner:
                yield from _rows(inner, f"{prefix}{field.name}.")


def _field_docstrings(cls: type) -> dict[str, str]:
    """The text below each field of a class."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(field.target): ast.literal_eval(text.value)
        for field, text in itertools.pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _block(hint: Any) -> type | None:
    """The dataclass that a value of this type may be."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    return next(filter(None, map(_block, typing.get_args(hint))), None)


def _value(hint: Any) -> str:
    """What a key may be given."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is typing.Annotated:
        return str(arguments[1].describe())
    if kind is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if kind in (typing.Union, types.UnionType):
        return " or ".join(_value(argument) for argument in arguments if argument is not type(None))
    if kind is tuple:
        return f"[{_value(arguments[0])}, …]"
    if kind is dict:
        return f"{{NAME: {_value(arguments[1])}, …}}"
    return "keys below" if _block(hint) else _NAMES[hint]


def _default(field: dataclasses.Field[Any], hint: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()}`"
    if field.default is None or field.default is dataclasses.MISSING:
        return "" if field.default is None else "required"
    text = schema.one_line(schema.dump(field.default, hint))
    return f"`{ {'true': 'on', 'false': 'off'}.get(text, text) }`"


if __name__ == "__main__":
    path = Path("inputs/README.md")
    path.write_text(path.read_text(encoding="utf-8").partition(START)[0] + START + markdown(), encoding="utf-8")
