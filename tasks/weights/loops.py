"""The CPU's loops, in numba's Python: each reads its inputs once and allocates nothing.

What they compute is `formula.extrapolate_block`'s, bit for bit; as operations on whole tensors
it takes many passes over the memory, and the import of torch.

Arrays are flat and hold what the file holds: float32 values, the bits of bf16 as uint16, the
bits of fp16 as int16. `tasks.weights.loop_cache` compiles and runs them; nothing else imports this.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

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
def plus(total, value):
    """A sum whose order the vector unit may choose."""
    return total + value


# numba takes the types from the arguments.
# Its arithmetic on two uint32 gives 64 bits, which halves what a vector holds: each step is cut.


@njit
def magnitude(value):
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
    return u16(0x7FC0) if magnitude(value) > INFINITY else u16(rounded)


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


def load(_item):
    """An item of a file's dtype as fp32."""


def stored(_like, _value):
    """An fp32 value in the dtype of `like`."""


@overload(load, strict=False)
def _(item):
    return {
        u16: lambda item: _from_bf16(item),
        i16: lambda item: _from_fp16(item),
        f32: lambda item: item,
    }[item]


@overload(stored, strict=False)
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
        new, old = load(aligned[i]), load(sft[i])
        if in_bf16:
            new, old = _bf16(new), _bf16(old)
            value = _bf16(new + _bf16(factor * _bf16(new - old)))
        else:
            value = _fma(factor, old - new, load(base[i]))
        out[i] = stored(out[i], value)
        nonfinite = u32(nonfinite + (u32(1) if magnitude(load(out[i])) >= INFINITY else u32(0)))
    return nonfinite


@njit
def _block_stats_row(aligned, sft):
    squares, update_squares, product, largest = f32(0), f32(0), f32(0), u32(0)
    for i in range(len(aligned)):
        value = load(aligned[i])
        update = value - load(sft[i])
        squares = plus(squares, value * value)
        update_squares = plus(update_squares, update * update)
        product = plus(product, value * update)
        size = magnitude(update)
        largest = size if size > largest else largest
    return squares, update_squares, product, largest


@njit
def rows(aligned, sft, base, factor, in_bf16, out):
    nonfinite = 0
    for row in range(0, len(out), ROW):
        end = row + ROW
        parts = aligned[row:end], sft[row:end], base[row:end]
        nonfinite += _row(*parts, factor, in_bf16, out[row:end])
    return nonfinite


@njit
def cast(side, out):
    nonfinite = 0
    for i in range(len(out)):
        out[i] = stored(out[i], load(side[i]))
        nonfinite += magnitude(load(out[i])) >= INFINITY
    return nonfinite


@njit
def block_stats(aligned, sft):
    squares, update_squares, product, largest = 0.0, 0.0, 0.0, u32(0)
    for row in range(0, len(aligned), ROW):
        of_row = _block_stats_row(aligned[row : row + ROW], sft[row : row + ROW])
        squares += of_row[0]
        update_squares += of_row[1]
        product += of_row[2]
        largest = max(largest, of_row[3])
    return squares, update_squares, product, largest
