"""Flush subnormal numbers, below 2e-308, to zero while stepping: they slow down processors tenfold (README.md)."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

FLUSH = 0x8040  # Bits 15 (flush to zero: results) and 6 (denormals are zero: operands) of the x86 control register MXCSR


class _Environment(ctypes.Structure):
    """C's fenv_t on 64-bit x86 under Linux."""

    _fields_ = (("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32))


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Treat subnormal numbers as zero in this thread. Does nothing on other systems than Linux on x86."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        yield
        return
    library, environment = ctypes.CDLL(None), _Environment()
    library.fegetenv(ctypes.byref(environment))
    before = environment.mxcsr
    environment.mxcsr |= FLUSH
    library.fesetenv(ctypes.byref(environment))
    try:
        yield
    finally:
        library.fegetenv(ctypes.byref(environment))
        environment.mxcsr = before
        library.fesetenv(ctypes.byref(environment))
