"""Changes to YAML data, and to the text or the bytes of a YAML file."""

import copy
from typing import Any

import numpy as np
import yaml

from fuzzing.values import neighbour, plausible, value

Place = tuple[Any, Any]  # A block or a list, and the key or number of an entry in it


def places(tree: Any) -> list[Place]:
    """Every entry of nested blocks and lists."""
    found: list[Place] = []
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, entry in entries:
        found += [(tree, key), *places(entry)]
    return found


def changed(rng: np.random.Generator, data: dict[str, Any]) -> dict[str, Any]:
    """A copy of `data` with one to three changes; of a third of them with plausible ones, which reach further."""
    data = copy.deepcopy(data)
    if rng.random() < 0.35:
        ends = [(block, key) for block, key in places(data) if not isinstance(block[key], dict | list)]
        for _ in range(rng.integers(1, 4)):
            block, key = ends[rng.integers(len(ends))]
            block[key] = plausible(rng, block[key])
        return data
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _change(rng, data)
    return data


def _change(rng: np.random.Generator, data: dict[str, Any]) -> None:
    everywhere = places(data)
    if not everywhere:
        return
    block, key = everywhere[rng.integers(len(everywhere))]
    other, other_key = everywhere[rng.integers(len(everywhere))]
    kind = rng.integers(12)
    if kind < 4:
        block[key] = value(rng)
    elif kind < 7:
        block[key] = neighbour(rng, block[key])
    elif kind == 7:
        del block[key]
    elif kind == 8 and isinstance(block, dict):
        block[_misspelt(rng, key)] = block.pop(key)
    elif kind == 9:
        block[key] = copy.deepcopy(other[other_key])
    elif kind == 10:
        block[key] = [block[key]] * int(rng.integers(1, 4)) if rng.random() < 0.5 else {str(key): block[key]}
    elif isinstance(block, dict):
        block[str(other_key)] = value(rng)
    else:
        block.append(value(rng))


def _misspelt(rng: np.random.Generator, key: Any) -> str:
    word = str(key)
    at = int(rng.integers(len(word) + 1))
    return [word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word.upper(), f" {word}", word + ".", ""][rng.integers(6)]


def as_bytes(rng: np.random.Generator, data: dict[str, Any]) -> bytes:
    """The file's content: mostly clean YAML of `data`, sometimes with damaged text."""
    text = yaml.dump(data, allow_unicode=True, sort_keys=False, default_flow_style=bool(rng.integers(2)), Dumper=_Plain)
    return _damaged(rng, text) if rng.random() < 0.25 else text.encode("utf-8", "surrogatepass")


class _Plain(yaml.SafeDumper):
    """Without anchors for values that stand at two places."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
"""Aliases of aliases: 9⁹ words if they were written out."""
LINES = ("? [a, b]\n: c\n", "<<: {temperature: 5 K}\n", "<<: *nothing\n", "<<: 3\n", "self: &self {self: *self}\n", "list: &list [*list]\n",
         "temperature: 3 K\ntemperature: 4 K\n", "%YAML 9.9\n---\n", "---\na: b\n", "...\n", "\t- a\n", "x: !!python/object/apply:os.getcwd []\n",
         "x: !unknown 3\n", "x: !!binary '*'\n", "x: !!float abc\n", "x: 2020-13-45\n", "x: 2020-01-01\n", "x: 190:20:30\n", "- a\n", "@\n",
         "temperature: !!int 'x'\n", "x: !!set {a, b}\n", "x: !!timestamp '2001-99-99'\n", "x: 'unfinished\n", "x: |\n", "# only\n",
         "[" * 3000 + "]" * 3000, "{a: " * 2000 + "}" * 2000, "- " * 3000 + "\n", "a" * 200000 + ": 1\n", LAUGHS,
         LAUGHS + "material: *a8\n", "temperature: &t 20 K\nspace: {length: *t}\n", "time: !!map [a]\n", "x: !!pairs [a]\n", "x: !!omap [{a: 1, b: 2}]\n")  # fmt: skip


SYNTAX = b":[]{},&*!|>'\"%@`#-?\t \n"
"""Characters that mean something in YAML."""


def _damaged(rng: np.random.Generator, text: str) -> bytes:
    kind = rng.integers(10)
    at = int(rng.integers(len(text) + 1))
    if kind < 3:
        lines = text.splitlines(keepends=True)
        lines.insert(int(rng.integers(len(lines) + 1)), LINES[rng.integers(len(LINES))])
        return "".join(lines).encode("utf-8", "surrogatepass")
    if kind == 3:
        return text[:at].encode("utf-8", "surrogatepass")
    if kind == 4:
        return text.encode(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"][rng.integers(4)], "surrogatepass")
    if kind == 5:
        return text.replace("\n", ["\r", "\r\n", "\n\n", "\x85", "\u2028", "\n\t", "\0\n"][rng.integers(7)]).encode(
            "utf-8", "surrogatepass"
        )
    data = bytearray(text.encode("utf-8", "surrogatepass") or b"x")
    if kind == 9:
        return [b"", b"\n", b"\x00", b"\xff\xfe", b"\x89HDF\r\n\x1a\n", b"null", b"3", b"[]", b"{}"][rng.integers(9)]
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(data)))
        if kind == 6:
            data[place] = int(rng.integers(256))
        elif kind == 7:
            data[place] = SYNTAX[rng.integers(len(SYNTAX))]
        else:
            data[place:place] = bytes(rng.integers(0, 256, rng.integers(1, 5), dtype=np.uint8))
    return bytes(data)
