"""The CPU's loops for weights plus a low-rank update, in numba's Python; see `tasks.weights.loops`.

BlockStats are made in fp64 in a fixed order, without fused operations: every machine, and
`expo verify` in operations of its own, get the same bits.

    update   Δ[i, j] = fp32(scale · Σ_k left[i, k] · right[k, j])     k ascending
    output   fp32(θ_sft + (1 + α) · Δ), rounded to the output dtype
    DoRA     fp32(m / ‖θ_sft + Δ‖ · (θ_sft + Δ)), then extrapolated as any aligned weight
"""

import numpy as np
from numba import njit, types

from tasks.weights.loops import INFINITY, ROW, load, magnitude, plus, stored

u32, f32, f64 = types.uint32, types.float32, types.float64


@njit
def _product_row(left, tile, skip, total):
    """total[j] = Σ_k left[k] · tile[k, skip + j], four of k a pass over `total`."""
    rank, width = len(left), len(total)
    for j in range(width):
        total[j] = 0.0
    k = 0
    while k + 4 <= rank:
        first, second = f64(load(left[k])), f64(load(left[k + 1]))
        third, fourth = f64(load(left[k + 2])), f64(load(left[k + 3]))
        rows = tile[k], tile[k + 1], tile[k + 2], tile[k + 3]
        for j in range(width):
            value = total[j] + first * rows[0][skip + j]
            value = value + second * rows[1][skip + j]
            value = value + third * rows[2][skip + j]
            total[j] = value + fourth * rows[3][skip + j]
        k += 4
    while k < rank:
        factor, row = f64(load(left[k])), tile[k]
        for j in range(width):
            total[j] = total[j] + factor * row[skip + j]
        k += 1


@njit
def low_rank(left, right, scale, first, tile, total, out):
    rank, width = right.shape
    last = first + len(out)
    for start in range(0, width, len(total)):
        stop = min(start + len(total), width)
        for k in range(rank):
            for j in range(start, stop):
                tile[k, j - start] = f64(load(right[k, j]))
        for row in range(first // width, (last - 1) // width + 1):
            begin, end = max(start, first - row * width), min(stop, last - row * width)
            if begin < end:
                _product_row(left[row], tile, begin - start, total[: end - begin])
                place = row * width + begin - first
                for j in range(end - begin):
                    out[place + j] = f32(scale * total[j])


@njit
def _add_row(update, sft, factor, out):
    nonfinite = u32(0)
    for i in range(len(out)):
        value = f32(f64(load(sft[i])) + factor * f64(update[i]))
        out[i] = stored(out[i], value)
        nonfinite = u32(nonfinite + (u32(1) if magnitude(load(out[i])) >= INFINITY else u32(0)))
    return nonfinite


@njit
def _stats_row(update, sft):
    squares, update_squares, product, largest = f32(0), f32(0), f32(0), u32(0)
    for i in range(len(update)):
        value = f32(load(sft[i]) + update[i])
        squares = plus(squares, value * value)
        update_squares = plus(update_squares, update[i] * update[i])
        product = plus(product, value * update[i])
        size = magnitude(update[i])
        largest = size if size > largest else largest
    return squares, update_squares, product, largest


@njit
def add_rows(update, sft, factor, out):
    nonfinite = 0
    for row in range(0, len(out), ROW):
        end = row + ROW
        nonfinite += _add_row(update[row:end], sft[row:end], factor, out[row:end])
    return nonfinite


@njit
def stats(update, sft):
    squares, update_squares, product, largest = 0.0, 0.0, 0.0, u32(0)
    for row in range(0, len(update), ROW):
        of_row = _stats_row(update[row : row + ROW], sft[row : row + ROW])
        squares += of_row[0]
        update_squares += of_row[1]
        product += of_row[2]
        largest = max(largest, of_row[3])
    return squares, update_squares, product, largest


@njit
def dora(update, sft, magnitudes, width):
    for row in range(len(magnitudes)):
        start, stop = row * width, row * width + width
        squares = 0.0
        for i in range(start, stop):
            value = f64(load(sft[i])) + f64(update[i])
            squares = squares + value * value
        factor = f64(load(magnitudes[row])) / np.sqrt(squares)
        for i in range(start, stop):
            update[i] = f32(factor * (f64(load(sft[i])) + f64(update[i])))
