"""The CPU's loop for fp8 weights, in numba's Python; see `tasks.weights.loops`."""


def dequantize(raw, first, width, grid, block_rows, block_columns, values, out):
    done, count = 0, len(raw)
    while done < count:
        row, column = divmod(first + done, width)
        block = column // block_columns
        end = min(count, done + min(width, (block + 1) * block_columns) - column)
        scale = grid[row // block_rows, block]
        for i in range(done, end):
            out[i] = values[raw[i]] * scale
        done = end
