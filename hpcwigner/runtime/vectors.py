"""Vectors of eight numbers for compiled kernels: load, store, arithmetic, each one instruction or two.

numba's compiler vectorizes a loop only after it has shown that no array overlaps another, which it gives up with more than a
few arrays. Loops over these vectors need no such proof, and sums stay in registers. A change in this file needs the cached
kernels removed, as numba notices changes of their own file only.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 8  # One AVX-512 register, two AVX2 registers
_LLVM = ir.VectorType(ir.DoubleType(), WIDTH)
Generated = tuple[Any, Callable[..., Any]]


class _Vector(types.Type):  # type: ignore[misc]
    """The numba type."""


VECTOR = _Vector("Vector")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _LLVM)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _LLVM.as_pointer())


@intrinsic
def load(_typing: Any, array: Any, _index: Any) -> Generated:
    """Eight numbers of a contiguous array from its flat `index` on, which is not checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *arguments), align=8)

    return VECTOR(array, types.intp), generate


@intrinsic
def store(_typing: Any, vector: Any, array: Any, _index: Any) -> Generated:
    """Writes a vector into a contiguous array from its flat `index` on, which is not checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[0], _address(context, builder, signature.args[1], *arguments[1:]), align=8)
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), generate


@intrinsic
def splat(_typing: Any, _number: Any) -> Generated:
    """Eight times the same number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(32), WIDTH)
        first = builder.insert_element(ir.Constant(_LLVM, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, first, ir.Constant(lanes, [0] * WIDTH))

    return VECTOR(types.float64), generate


@intrinsic
def multiply(_typing: Any, a: Any, b: Any) -> Generated:
    """a·b."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return VECTOR(a, b), generate


@intrinsic
def multiply_add(_typing: Any, a: Any, b: Any, c: Any) -> Generated:
    """a·b + c, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_LLVM, [_LLVM] * 3), f"llvm.fma.v{WIDTH}f64")
        return builder.call(fused, arguments)

    return VECTOR(a, b, c), generate
