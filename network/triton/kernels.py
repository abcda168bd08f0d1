"""The kernels of `network.triton.depthwise`, in Triton. Importing this file needs the package triton.

Run in Triton's interpreter only; never run on a GPU, not measured. Maps are (N,C,H,W) in channels_last: a place's
channels lie beside each other. SIDE is the convolution's k.
"""

import triton
import triton.language as tl


@triton.jit
def convolve_kernel(
    x, taps, y, height, width, channels,
    SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """y = x convolved with taps (k*k,C) float32; a program has ROWS x COLUMNS places and CHANNELS channels of an image.

    What is read of x serves all the program's rows: it meets another tap in each of them.
    """
    strips = tl.cdiv(width, COLUMNS)
    image = tl.program_id(2).to(tl.int64)
    first_row, first_column = tl.program_id(0) // strips * ROWS, tl.program_id(0) % strips * COLUMNS
    line, column = tl.arange(0, ROWS), first_column + tl.arange(0, COLUMNS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = (channel < channels)[None, :]
    total = tl.zeros([ROWS, COLUMNS, CHANNELS], tl.float32)
    for down in range(0, ROWS + SIDE - 1):
        source_row = first_row - SIDE // 2 + down
        tap_row = down - line
        meets = (tap_row >= 0) & (tap_row < SIDE)
        for across in range(0, SIDE):
            source_column = column - SIDE // 2 + across
            inside = (source_row >= 0) & (source_row < height) & (source_column >= 0) & (source_column < width)
            place = (image * height + source_row) * width + source_column
            value = tl.load(x + place[:, None] * channels + channel[None, :], mask=inside[:, None] & known, other=0.0)
            tap = tl.load(
                taps + (tap_row * SIDE + across)[:, None] * channels + channel[None, :],
                mask=meets[:, None] & known,
                other=0.0,
            )
            total += tap[:, None, :] * value.to(tl.float32)[None, :, :]
    row = first_row + line
    place = (image * height + row[:, None]) * width + column[None, :]
    exists = (row < height)[:, None] & (column < width)[None, :]
    offset = place[:, :, None] * channels + channel[None, None, :]
    tl.store(y + offset, total.to(y.dtype.element_ty), mask=exists[:, :, None] & known[None, :, :])


@triton.jit
def taps_gradient_kernel(
    x, gradient, partial, height, width, channels, places,
    SIDE: tl.constexpr, TAPS: tl.constexpr, SLAB: tl.constexpr, PLACES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """partial (slabs,k*k,C) float32: what SLAB places of the batch, in their order, add to each tap's gradient."""
    slab = tl.program_id(0)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    tap = tl.arange(0, TAPS)
    down, across = tap // SIDE - SIDE // 2, tap % SIDE - SIDE // 2
    total = tl.zeros([TAPS, CHANNELS], tl.float32)
    for first in range(0, SLAB, PLACES):
        place = slab * SLAB + first + tl.arange(0, PLACES)
        exists = place < places
        slope = tl.load(
            gradient + place.to(tl.int64)[:, None] * channels + channel[None, :],
            mask=exists[:, None] & known[None, :],
            other=0.0,
        ).to(tl.float32)
        row = (place // width % height)[:, None] + down[None, :]
        column = (place % width)[:, None] + across[None, :]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        inside = inside & exists[:, None] & (tap < SIDE * SIDE)[None, :]
        source = place.to(tl.int64)[:, None] + (down * width + across)[None, :]
        value = tl.load(
            x + source[:, :, None] * channels + channel[None, None, :],
            mask=inside[:, :, None] & known[None, None, :],
            other=0.0,
        ).to(tl.float32)
        total += tl.sum(slope[:, None, :] * value, axis=0)
    offset = (slab * SIDE * SIDE + tap).to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(partial + offset, total, mask=(tap < SIDE * SIDE)[:, None] & known[None, :])
