"""Reads YAML strictly: a key given twice, aliases that unfold without end and other traps of the format are refused."""

import copy
import functools
from pathlib import Path
from typing import Any

from hpcwigner.runtime.errors import InputError

MOST_ENTRIES = 100_000  # Of all blocks and lists together, with aliases written out
DEEPEST = 50  # Blocks and lists inside each other


class _RefusedError(Exception):
    """The text is YAML, and yet no input. The message is one line."""


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader without silent duplicates: YAML forbids them, PyYAML takes the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            given = [key.value for key, _ in getattr(node, "value", ()) if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if twice := [key for number, key in enumerate(given) if key in given[:number]]:
                raise _RefusedError(f"at line {node.start_mark.line + 1} found the key '{twice[0]:.40}' twice, expected it once")
            return super().construct_mapping(node, deep)

    return Loader


@functools.lru_cache(32)
def _data(text: str) -> Any:
    """Sweeps and fits read a material again and again, and PyYAML takes a tenth of a second for one."""
    import yaml

    data = yaml.load(text, Loader=_loader())
    _check_size(data)
    return data


def parse(text: str) -> Any:
    """Plain data of a YAML text. Raises ValueError with one line on what is wrong."""
    import yaml

    try:
        return copy.deepcopy(_data(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "syntax error"
        raise ValueError(f"not valid YAML{where}: {' '.join(str(problem).split())}") from None
    except _RefusedError as error:
        raise ValueError(f"not usable YAML: {error}") from None
    except RecursionError:
        raise ValueError(f"not usable YAML: found more than {DEEPEST} levels of blocks and lists, expected fewer") from None
    except Exception as error:  # PyYAML converts explicitly tagged values (!!float abc) with Python's functions and their errors
        raise ValueError(f"not valid YAML: found a value that its tag does not fit ({type(error).__name__})") from None


def _check_size(data: Any) -> None:
    """Refuses aliases that unfold into very much, or that contain themselves."""
    count, level = 0, [data]
    for _ in range(DEEPEST):
        inside: list[Any] = []
        for part in level:
            entries = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple | set) else ()
            count += len(entries)
            if count > MOST_ENTRIES:
                raise _RefusedError(f"found more than {MOST_ENTRIES} entries with aliases written out, expected fewer")
            inside += entries
        level = inside
    if level:
        raise RecursionError


def read(path: Path) -> Any:
    """Plain data of the YAML file `path`. Raises InputError when it is missing or not YAML."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
