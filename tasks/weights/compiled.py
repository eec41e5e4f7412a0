"""The CPU's loops, compiled by numba: each reads its inputs once and needs no buffer of its own.

What they compute is `formula.extrapolate_block`'s, bit for bit; as operations on whole tensors
it takes many passes over the memory, and the import of torch.

Arrays are flat and hold what the file holds: float32 values, the bits of bf16 as uint16, the
bits of fp16 as int16. The loops run without the interpreter's lock. They are compiled once for
each combination of dtypes, and kept on disk for the next process.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from tasks.weights.compiled_cache import kept
from tasks.weights.recipe import Arithmetic

__all__ = ["Array", "block_stats", "extrapolate"]

Array = NDArray[np.uint16] | NDArray[np.int16] | NDArray[np.float32]

# Sums of squares are of rows so short that fp32 keeps six digits of them.
ROW = 8192

i16, u16, u32, f32 = types.int16, types.uint16, types.uint32, types.float32
INFINITY = u32(0x7F800000)  # the bits of fp32; those of NaN, but for the sign, are above


@intrinsic
def _fma(_context, _factor, _other, _addend):
    """factor · other + addend, rounded once."""
    return f32(f32, f32, f32), lambda _context, builder, _signature, values: builder.fma(*values)


@intrinsic
def _bits(_context, _value):
    return u32(f32), lambda _c, builder, _s, values: builder.bitcast(values[0], ir.IntType(32))


@intrinsic
def _float(_context, _bits):
    return f32(u32), lambda _c, builder, _s, values: builder.bitcast(values[0], ir.FloatType())


@njit(fastmath={"reassoc", "nsz"})
def _plus(total, value):
    """A sum whose order the vector unit may choose."""
    return total + value


# numba takes the types from the arguments.
# Its arithmetic on two uint32 gives 64 bits, which halves what a vector holds: each step is cut.


@njit
def _magnitude(value):
    """The bits of |value|: ordered as the values are, and NaN above infinity."""
    return u32(_bits(value) & u32(0x7FFFFFFF))


@njit
def _from_bf16(bits):
    return _float(u32(u32(bits) << u32(16)))


@njit
def _to_bf16(value):
    """To nearest even."""
    bits = _bits(value)
    odd = u32(u32(bits >> u32(16)) & u32(1))
    rounded = u32(u32(u32(bits + u32(0x7FFF)) + odd) >> u32(16))
    return u16(0x7FC0) if _magnitude(value) > INFINITY else u16(rounded)


@intrinsic
def _from_fp16(_context, _item):
    def generate(_c, builder, _s, values):
        return builder.fpext(builder.bitcast(values[0], ir.HalfType()), ir.FloatType())

    return f32(i16), generate


@intrinsic
def _to_fp16(_context, _value):
    """To nearest even."""

    def generate(_c, builder, _s, values):
        return builder.bitcast(builder.fptrunc(values[0], ir.HalfType()), ir.IntType(16))

    return i16(f32), generate


def _load(_item):
    """An item of a file's dtype as fp32."""


def _stored(_like, _value):
    """An fp32 value in the dtype of `like`."""


@overload(_load, strict=False)
def _(item):
    return {
        u16: lambda item: _from_bf16(item),
        i16: lambda item: _from_fp16(item),
        f32: lambda item: item,
    }[item]


@overload(_stored, strict=False)
def _(like, value):
    return {
        u16: lambda like, value: _to_bf16(value),
        i16: lambda like, value: _to_fp16(value),
        f32: lambda like, value: value,
    }[like]


@njit
def _bf16(value):
    return _from_bf16(_to_bf16(value))


@njit
def _row(aligned, sft, base, factor, in_bf16, out):
    nonfinite = u32(0)
    for i in range(len(out)):
        new, old = _load(aligned[i]), _load(sft[i])
        if in_bf16:
            new, old = _bf16(new), _bf16(old)
            value = _bf16(new + _bf16(factor * _bf16(new - old)))
        else:
            value = _fma(factor, old - new, _load(base[i]))
        out[i] = _stored(out[i], value)
        nonfinite = u32(nonfinite + (u32(1) if _magnitude(_load(out[i])) >= INFINITY else u32(0)))
    return nonfinite


@njit
def _block_stats_row(aligned, sft):
    squares, update_squares, product, largest = f32(0), f32(0), f32(0), u32(0)
    for i in range(len(aligned)):
        value = _load(aligned[i])
        update = value - _load(sft[i])
        squares = _plus(squares, value * value)
        update_squares = _plus(update_squares, update * update)
        product = _plus(product, value * update)
        size = _magnitude(update)
        largest = size if size > largest else largest
    return squares, update_squares, product, largest


@kept
def _rows(aligned, sft, base, factor, in_bf16, out):
    nonfinite = 0
    for row in range(0, len(out), ROW):
        end = row + ROW
        parts = aligned[row:end], sft[row:end], base[row:end]
        nonfinite += _row(*parts, factor, in_bf16, out[row:end])
    return nonfinite


@kept
def _cast(side, out):
    nonfinite = 0
    for i in range(len(out)):
        out[i] = _stored(out[i], _load(side[i]))
        nonfinite += _magnitude(_load(out[i])) >= INFINITY
    return nonfinite


@kept
def _block_stats(aligned, sft):
    squares, update_squares, product, largest = 0.0, 0.0, 0.0, u32(0)
    for row in range(0, len(aligned), ROW):
        of_row = _block_stats_row(aligned[row : row + ROW], sft[row : row + ROW])
        squares += of_row[0]
        update_squares += of_row[1]
        product += of_row[2]
        largest = max(largest, of_row[3])
    return squares, update_squares, product, largest


def extrapolate(aligned: Array, sft: Array, alpha: float, arithmetic: Arithmetic, out: Array) -> int:
    """Writes the extrapolation of `formula.extrapolate_block`; returns how many of it are NaN or Inf."""
    if arithmetic == "parity":
        return int(_rows(aligned, sft, aligned, np.float32(alpha), True, out))
    weight = np.float32(-alpha)
    if weight in (0, 1):
        return int(_cast(sft if weight else aligned, out))
    # lerp starts from the nearer end.
    if abs(weight) < 0.5:
        return int(_rows(aligned, sft, aligned, weight, False, out))
    return int(_rows(aligned, sft, sft, weight - np.float32(1), False, out))


def block_stats(aligned: Array, sft: Array) -> tuple[float, float, float, float]:
    """‖θ‖₂², ‖Δ‖₂², θ·Δ and max |Δ| of θ = θ_aligned and Δ = θ_aligned − θ_sft, in fp32.

    The sums are of rows in fp32, added up in fp64. The last is NaN where Δ has one.
    """
    squares, update_squares, product, largest = _block_stats(aligned, sft)
    return squares, update_squares, product, float(np.uint32(largest).view(np.float32))
