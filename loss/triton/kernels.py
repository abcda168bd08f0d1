"""The kernels of `loss.triton.fused`, in Triton. Importing this file needs the package triton.

Run in Triton's interpreter only; never run on a GPU, not measured.
"""

import triton
import triton.language as tl

SLACK = tl.constexpr(0.01)  # pixels; rounding moves the first pixel behind a source row by less, up to 2^15 pixels


@triton.jit
def _place(index, scale, source):
    """Pixels along one side -> the source row (or column) before each, and the share of the one behind it."""
    place = index.to(tl.float32) * scale
    before = tl.minimum(place.to(tl.int32), source - 1)
    return before, place - before


@triton.jit
def _corner(image, row, column, channel, stride_c, stride_y, stride_x, mask):
    """Logits (places, channels) in float32 of one image, at a row and a column for each place."""
    place = row.to(tl.int64) * stride_y + column.to(tl.int64) * stride_x
    offset = place[:, None] + channel.to(tl.int64)[None, :] * stride_c
    return tl.load(image + offset, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _corners(image, upper, left, h, w, channel, stride_c, stride_y, stride_x, mask):
    """The logits (places, channels) around each place: upper left, upper right, lower left, lower right."""
    lower, right = tl.minimum(upper + 1, h - 1), tl.minimum(left + 1, w - 1)
    a = _corner(image, upper, left, channel, stride_c, stride_y, stride_x, mask)
    b = _corner(image, upper, right, channel, stride_c, stride_y, stride_x, mask)
    c = _corner(image, lower, left, channel, stride_c, stride_y, stride_x, mask)
    d = _corner(image, lower, right, channel, stride_c, stride_y, stride_x, mask)
    return a, b, c, d


@triton.jit
def _mix(a, b, c, d, share_y, share_x):
    """Bilinear mean (places, channels) of what stands around each place."""
    down, across = share_y[:, None], share_x[:, None]
    return (1 - down) * ((1 - across) * a + across * b) + down * ((1 - across) * c + across * d)


@triton.jit
def cross_entropy_kernel(
    logits, labels, values, log_sums,
    stride_n, stride_c, stride_y, stride_x,
    h, w, height, width, scale_y, scale_x, ignore_label,
    classes: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Each pixel's cross entropy and log-sum-exp over the classes; a program has PIXELS pixels of an image.

    The classes come CLASSES at a time, with a running maximum. A label that is no class gives NaN.
    """
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    upper, share_y = _place(pixel // width, scale_y, h)
    left, share_x = _place(pixel % width, scale_x, w)
    label = tl.load(labels + image * height * width + pixel, mask=inside, other=0)
    top = tl.full([PIXELS], float("-inf"), tl.float32)
    total = tl.zeros([PIXELS], tl.float32)
    true = tl.full([PIXELS], float("nan"), tl.float32)
    for first in range(0, classes, CLASSES):
        channel = first + tl.arange(0, CLASSES)
        mask = inside[:, None] & (channel < classes)[None, :]
        a, b, c, d = _corners(logits + image * stride_n, upper, left, h, w, channel, stride_c, stride_y, stride_x, mask)
        up = _mix(a, b, c, d, share_y, share_x)
        up = tl.where((channel < classes)[None, :], up, float("-inf"))
        higher = tl.maximum(top, tl.max(up, axis=1))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(up - higher[:, None]), axis=1)
        top = higher
        here = (label >= first) & (label < tl.minimum(first + CLASSES, classes))
        true = tl.where(here, tl.sum(tl.where(channel[None, :] == label[:, None], up, 0.0), axis=1), true)
    log_sum = top + tl.log(total)
    value = tl.where(label == ignore_label, 0.0, log_sum - true)
    tl.store(values + image * height * width + pixel, value, mask=inside)
    tl.store(log_sums + image * height * width + pixel, log_sum, mask=inside)


@triton.jit
def gradient_kernel(
    logits, labels, log_sums, factor, gradient,
    stride_n, stride_c, stride_y, stride_x, out_n, out_c, out_y, out_x,
    h, w, height, width, scale_y, scale_x, inverse_y, inverse_x,
    classes: tl.constexpr, span_y: tl.constexpr, span_x: tl.constexpr, CELLS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The gradient of CELLS places of an image's logits, CLASSES classes of them, gathered from all pixels they reach.

    The pixels lie in four quadrants around a place. Within one, all are mixed from the same four logits, which are
    read once. `log_sums` is inf where a pixel doesn't count.
    """
    image = tl.program_id(1).to(tl.int64)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    channel = tl.program_id(2) * CLASSES + tl.arange(0, CLASSES)
    row, column, owned = cell // w, cell % w, cell < h * w
    mask = owned[:, None] & (channel < classes)[None, :]
    total = tl.zeros([CELLS, CLASSES], tl.float32)
    for quadrant in range(4):
        upper, left = row - 1 + quadrant // 2, column - 1 + quadrant % 2
        a, b, c, d = _corners(
            logits + image * stride_n, tl.maximum(upper, 0), tl.maximum(left, 0), h, w,
            channel, stride_c, stride_y, stride_x, mask,
        )  # fmt: skip
        first_y = tl.maximum(tl.ceil(upper * inverse_y - SLACK), 0.0).to(tl.int32)
        first_x = tl.maximum(tl.ceil(left * inverse_x - SLACK), 0.0).to(tl.int32)
        for step in range(0, span_y * span_x):
            y, x = first_y + step // span_x, first_x + step % span_x
            at_y, share_y = _place(y, scale_y, h)
            at_x, share_x = _place(x, scale_x, w)
            read = owned & (at_y == upper) & (at_x == left) & (y < height) & (x < width)
            pixel = image * height * width + y * width + x
            log_sum = tl.load(log_sums + pixel, mask=read, other=float("inf"))
            label = tl.load(labels + pixel, mask=read, other=-1)
            # the last row has no other one behind it: both shares of its pixels are its own
            down = tl.where(at_y == row, 1 - share_y, 0.0) + tl.where(tl.minimum(at_y + 1, h - 1) == row, share_y, 0.0)
            across = tl.where(at_x == column, 1 - share_x, 0.0)
            across += tl.where(tl.minimum(at_x + 1, w - 1) == column, share_x, 0.0)
            slope = tl.exp(_mix(a, b, c, d, share_y, share_x) - log_sum[:, None])
            slope -= (channel[None, :] == label[:, None]).to(tl.float32)
            counted = read & (log_sum != float("inf"))
            total += tl.where(counted[:, None], slope * (down * across)[:, None], 0.0)
    place = row.to(tl.int64) * out_y + column.to(tl.int64) * out_x
    offset = image * out_n + place[:, None] + channel.to(tl.int64)[None, :] * out_c
    tl.store(gradient + offset, (total * tl.load(factor)).to(gradient.dtype.element_ty), mask=mask)
