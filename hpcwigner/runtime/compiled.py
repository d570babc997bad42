"""numba's compiler, loaded without what our kernels can do without: 9 MB and 50 files more in every rank."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, cast


@contextlib.contextmanager
def _as_if_missing(*packages: str) -> Iterator[None]:
    """Makes imports of packages that nobody has loaded yet fail for a while, as Python documents for None in sys.modules."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast(Any, None)))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _as_if_missing("scipy", "yaml"):
    from numba import njit
    from numba.core import entrypoints

    entrypoints.init_all = lambda: None  # looks for extensions of numba in the metadata of every package installed

    @njit(cache=True)
    def _nothing() -> None: ...

    _nothing()  # the first call is when numba looks into SciPy for a BLAS, which our kernels do not use

__all__ = ["njit"]
