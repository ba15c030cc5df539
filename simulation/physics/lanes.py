"""Four doubles in one register for compiled functions, as MuJoCo's own dot products use them.

Summing in the same four lanes gives the same bits as libmujoco; numba does not vectorise short
sums by itself, because it may not reorder them.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

_VECTOR = ir.VectorType(ir.DoubleType(), 4)


class Float64x4(types.Type):
    """Numba's type of four doubles."""

    def __init__(self) -> None:
        super().__init__(name="Float64x4")


float64x4 = Float64x4()


@register_model(Float64x4)
class _Float64x4Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def _operator(function: Any, instruction: str) -> None:
    """Let compiled functions apply a Python operator to two vectors, lane by lane."""

    @type_callable(function)
    def typer(context):  # type: ignore[no-untyped-def]
        def resolve(left, right):  # type: ignore[no-untyped-def]
            if left is float64x4 and right is float64x4:
                return float64x4
            return None

        return resolve

    @lower_builtin(function, Float64x4, Float64x4)
    def lower(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return getattr(builder, instruction)(*args)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")


@intrinsic
def load(typingctx, pointer, index):  # type: ignore[no-untyped-def]
    """Return the four doubles from `pointer[index]` on."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at = builder.bitcast(builder.gep(args[0], [args[1]]), _VECTOR.as_pointer())
        return builder.load(at, align=8)

    return float64x4(pointer, types.intp), codegen


@intrinsic
def store(typingctx, pointer, index, vector):  # type: ignore[no-untyped-def]
    """Write four doubles to memory from `pointer[index]` on."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at = builder.bitcast(builder.gep(args[0], [args[1]]), _VECTOR.as_pointer())
        builder.store(args[2], at, align=8)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, float64x4), codegen


@intrinsic
def broadcast(typingctx, value):  # type: ignore[no-untyped-def]
    """Return four copies of a double."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, args[0], cgutils.int32_t(0))
        lanes = ir.Constant(ir.VectorType(cgutils.int32_t, 4), [0, 0, 0, 0])
        return builder.shuffle_vector(first, undefined, lanes)

    return float64x4(types.float64), codegen


@intrinsic
def lane_sum(typingctx, vector):  # type: ignore[no-untyped-def]
    """Return the sum of the lanes in MuJoCo's order, (0 + 2) + (1 + 3)."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        lane = [builder.extract_element(args[0], cgutils.int32_t(i)) for i in range(4)]
        return builder.fadd(builder.fadd(lane[0], lane[2]), builder.fadd(lane[1], lane[3]))

    return types.float64(float64x4), codegen


@intrinsic
def doubles_at(typingctx, address):  # type: ignore[no-untyped-def]
    """Return an address as a pointer to doubles."""
    return _pointer_to(types.float64)


@intrinsic
def singles_at(typingctx, address):  # type: ignore[no-untyped-def]
    """Return an address as a pointer to numbers of single precision."""
    return _pointer_to(types.float32)


@intrinsic
def ints_at(typingctx, address):  # type: ignore[no-untyped-def]
    """Return an address as a pointer to 32-bit integers."""
    return _pointer_to(types.int32)


def _pointer_to(item: types.Type) -> tuple[Any, Any]:
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(item)(types.uintp), codegen


@intrinsic
def address_of(typingctx, pointer):  # type: ignore[no-untyped-def]
    """Return a pointer as an address."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ptrtoint(args[0], context.get_value_type(types.uintp))

    return types.uintp(pointer), codegen


@intrinsic
def offset(typingctx, pointer, count):  # type: ignore[no-untyped-def]
    """Return a pointer to `pointer[count]`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


@intrinsic
def pointers(typingctx, value):  # type: ignore[no-untyped-def]
    """Return a named tuple with pointers in place of its arrays, valid while those live.

    Compiled code counts references to arrays and wraps negative indices; in functions as short
    as these, that takes longer than what they compute.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return _to_pointers(context, builder, value, args[0])

    return _pointer_type(value)(value), codegen


def _pointer_type(kind: types.Type) -> types.Type:
    if isinstance(kind, types.Array):
        return types.CPointer(kind.dtype)
    if isinstance(kind, types.BaseNamedTuple):
        items = [_pointer_type(item) for item in kind]
        return types.BaseTuple.from_types(items, kind.instance_class)
    return kind


def _to_pointers(context: Any, builder: Any, kind: types.Type, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    if isinstance(kind, types.BaseNamedTuple):
        items = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
        plain = [_to_pointers(context, builder, *item) for item in items]
        return context.make_tuple(builder, _pointer_type(kind), plain)
    return value
