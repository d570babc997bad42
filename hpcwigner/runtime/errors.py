"""The errors that end a command with one line instead of a traceback."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class InputError(Exception):
    """The user's input is wrong. The message is one line: file, key, value found, value expected."""


class RunError(Exception):
    """A run cannot continue. Raised on all ranks together; the message is one line."""


class WriteError(Exception):
    """A file could not be written on this rank. Ends all ranks; the message is one line."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what HDF5 raises on a full or lost disk into a WriteError of one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise WriteError(f"{path}: cannot be written ({error})") from None
