"""`network.parts.depthwise` for CUDA: depthwise convolution of channels_last maps and its gradients, in Triton.

Run in Triton's interpreter only; never run on a GPU, not measured. Importing this file needs the package triton.
"""

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from network.parts import depthwise
from network.triton.kernels import convolve_kernel, taps_gradient_kernel
from utils.kernels import can_run, note_fallback

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_KERNEL = 15  # its taps are counted up to 256
MAX_IMAGES, MAX_PLACES = 65535, 1 << 30  # of a grid; of what 32 bits count, with room
ROWS, COLUMNS, CHANNELS = 4, 8, 32  # of a program that convolves; powers of two
# of a program that makes the kernel's gradient: places in all, (places, taps) at a time, channels; powers of two
SLAB, AT_A_TIME, TAP_CHANNELS = 1024, 256, 16


def depthwise_conv2d(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """As `network.parts.depthwise.depthwise_conv2d`, which computes what the kernels don't take; the log says so once.

    Under autocast x is cast as PyTorch's convolution casts it; the kernel stays as precise as it is. All sums are
    float32, in an order that depends on the shapes alone, so that runs repeat bit by bit.
    """
    if not can_run(x.device):  # maps without values, whose device has no autocast: a model is fused on meta
        return depthwise.depthwise_conv2d(x, kernel, padding)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if takes(x, kernel, padding):
        return _TritonDepthwise.apply(x, kernel)
    what = f"kernel of {kernel.shape[-1]}, padding of {padding}"
    note_fallback(f"the filter of {x.dtype} maps on {x.device.type} ({what})")
    return depthwise.depthwise_conv2d(x, kernel, padding)


def takes(x: Tensor, kernel: Tensor, padding: int) -> bool:
    """Whether the kernels compute this: odd k up to 15, zero padding k//2, channels_last, float32 or half precision."""
    side = kernel.shape[-1]
    return (
        x.dtype in DTYPES
        and kernel.dtype in DTYPES
        and kernel.shape == (x.shape[1], 1, side, side)
        and side % 2 == 1
        and side <= MAX_KERNEL
        and padding == side // 2
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > 0
        and len(x) <= MAX_IMAGES
        and x.numel() // x.shape[1] < MAX_PLACES
    )


class _TritonDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return _convolve(x, _taps(kernel), kernel.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernel = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        by_x, by_kernel = ctx.needs_input_grad
        grad_x = _convolve(grad, _taps(kernel).flip(0), kernel.shape[-1]) if by_x else None
        return grad_x, _kernel_gradient(x, grad, kernel) if by_kernel else None


def _taps(kernel: Tensor) -> Tensor:
    """(C,1,k,k) -> (k*k,C) float32, in which neighbouring channels lie beside each other as they do in the maps."""
    return kernel.flatten(1).t().float().contiguous()


def _convolve(x: Tensor, taps: Tensor, side: int) -> Tensor:
    y = torch.empty_like(x, memory_format=torch.channels_last)
    n, channels, height, width = x.shape
    tiles = triton.cdiv(height, ROWS) * triton.cdiv(width, COLUMNS)
    grid = (tiles, triton.cdiv(channels, CHANNELS), n)
    convolve_kernel[grid](x, taps, y, height, width, channels, SIDE=side, ROWS=ROWS, COLUMNS=COLUMNS, CHANNELS=CHANNELS)
    return y


def _kernel_gradient(x: Tensor, grad: Tensor, kernel: Tensor) -> Tensor:
    """In two stages: sums of slabs, whose size doesn't depend on the device, then the sum of these. No atomics."""
    n, channels, height, width = x.shape
    side, places = kernel.shape[-1], n * height * width
    taps = max(16, triton.next_power_of_2(side * side))
    slab = min(SLAB, triton.next_power_of_2(places))
    slabs = triton.cdiv(places, slab)
    partial = torch.empty(slabs, side * side, channels, dtype=torch.float32, device=x.device)
    taps_gradient_kernel[(slabs, triton.cdiv(channels, TAP_CHANNELS))](
        x, grad, partial, height, width, channels, places,
        SIDE=side, TAPS=taps, SLAB=slab, PLACES=AT_A_TIME // taps, CHANNELS=TAP_CHANNELS,
    )  # fmt: skip
    return partial.sum(0).t().contiguous().view(kernel.shape).to(kernel.dtype)
