"""Flush subnormal numbers to zero while stepping.

Far from the spot and high in energy a state decays to 1e-237, and products of such values fall below 2e-308, the smallest
normal double. Processors handle these subnormal numbers up to ten times more slowly, and no observable depends on them.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

FLUSH = 0x8040
"""Bits 15 (flush to zero: results) and 6 (denormals are zero: operands) of the x86 control register MXCSR."""


def _call(builder: Any, name: str, word: Any) -> None:
    """Emit a call of the LLVM intrinsic `name` with the address of a 32-bit word."""
    pointer = builder.bitcast(word, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [pointer])


@intrinsic
def _store_mxcsr(_context):  # type: ignore[no-untyped-def]
    def generate(_context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        word = cgutils.alloca_once(builder, ir.IntType(32))
        _call(builder, "llvm.x86.sse.stmxcsr", word)
        return builder.load(word)

    return types.uint32(), generate


@intrinsic
def _load_mxcsr(_context, _value):  # type: ignore[no-untyped-def]
    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        word = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(arguments[0], word)
        _call(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


@njit(cache=True)
def _control() -> int:
    return _store_mxcsr()  # type: ignore[no-any-return]


@njit(cache=True)
def _set_control(value: int) -> None:
    _load_mxcsr(np.uint32(value))


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Treat subnormal numbers as zero in this thread. Does nothing on processors other than x86."""
    if platform.machine() not in ("x86_64", "AMD64"):
        yield
        return
    before = _control()
    _set_control(before | FLUSH)
    try:
        yield
    finally:
        _set_control(before)
