"""Releasing collectively what was allocated collectively."""

from __future__ import annotations

import contextlib
from types import TracebackType

from hpcwigner.runtime.errors import InputError, RunError


class CollectiveStack(contextlib.ExitStack):
    """Runs its callbacks when all ranks leave together: at the normal end, or by an error that all ranks raise.

    An error of one rank alone ends the program; a collective call on the way out would wait for the other ranks for ever.
    """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        if kind is not None and not issubclass(kind, InputError | RunError):
            self.pop_all()
            return False
        return super().__exit__(kind, error, trace)
