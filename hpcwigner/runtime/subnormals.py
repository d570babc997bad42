"""Numbers below 2e-308 are zero while time advances.

Far from the spot, high in energy, a state falls to 1e-237 and products of it below what a double holds in full. Processors
go on with such subnormal numbers, but up to ten times more slowly; nothing that is observed depends on them.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hpcwigner.runtime.compiled import njit

FLUSH = 0x8040
"""Bits of x86's control register MXCSR: subnormal results become zero, and so do subnormal operands."""


def _call(builder: Any, name: str, word: Any) -> None:
    pointer = builder.bitcast(word, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [pointer])


@intrinsic
def _stored(_context):  # type: ignore[no-untyped-def]
    def generate(_context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        word = cgutils.alloca_once(builder, ir.IntType(32))
        _call(builder, "llvm.x86.sse.stmxcsr", word)
        return builder.load(word)

    return types.uint32(), generate


@intrinsic
def _loaded(_context, _value):  # type: ignore[no-untyped-def]
    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        word = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(arguments[0], word)
        _call(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


@njit(cache=True)
def _control() -> int:
    return _stored()  # type: ignore[no-any-return]


@njit(cache=True)
def _set_control(value: int) -> None:
    _loaded(np.uint32(value))


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Subnormal numbers are zero in this thread; elsewhere than on x86 nothing changes."""
    if platform.machine() not in ("x86_64", "AMD64"):
        yield
        return
    before = _control()
    _set_control(before | FLUSH)
    try:
        yield
    finally:
        _set_control(before)
