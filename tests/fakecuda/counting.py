"""What a step costs by its operators alone: launches, bytes that pass between memory and kernels, multiply-adds."""

import functools
from collections import Counter
from math import prod

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

FREE = {"_unsafe_view", "_reshape_alias", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty", "detach"}
FREE |= {"new_empty_strided"}
# the argument of which no value is read: it is written over, or asked for its shape
UNREAD = dict.fromkeys(("fill_", "zero_", "copy_", "bernoulli_", "zeros_like", "ones_like", "full_like"), 0)
UNREAD |= {"new_zeros": 0, "new_full": 0, "nll_loss2d_backward": 1, "max_pool2d_with_indices_backward": 1}

PICKED = {"gather", "index", "index_select"}  # of the first argument, as much is read as is returned


def launches(func: OpOverload) -> bool:
    """Whether an operator starts a kernel: all but views and allocations."""
    return not func.is_view and func.overloadpacket.__name__ not in FREE


def values_read(func: OpOverload, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors whose values an operator reads."""
    unread = UNREAD.get(func.overloadpacket.__name__, -1)
    more = {name: value for name, value in kwargs.items() if name not in _results(func)}
    return tensors(([arg for i, arg in enumerate(args) if i != unread], more))


@functools.cache
def _results(func: OpOverload) -> set[str]:
    return {argument.name for argument in func._schema.arguments if argument.is_out}


def tensors(tree: object) -> list[Tensor]:
    """The tensors in nested lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def bytes_of(tensors: list[Tensor]) -> int:
    """Bytes that tensors occupy, without the copies that an expanded one shows."""
    return sum(
        prod(side for side, stride in zip(t.shape, t.stride(), strict=True) if stride) * t.element_size()
        for t in tensors
    )


def multiply_adds(func: OpOverload, args: tuple, out: Tensor | tuple) -> int:
    """Of convolutions and matrix products, their backward passes included; 0 for anything else."""
    name = func.overloadpacket.__name__
    if name == "convolution":
        return out.numel() * prod(args[1].shape[1:])
    if name == "convolution_backward":
        grad, _, weight, *_, mask = args
        return grad.numel() * prod(weight.shape[1:]) * sum(mask[:2])
    if name in ("mm", "bmm"):
        return out.numel() * args[0].shape[-1]
    return out.numel() * args[1].shape[-1] if name in ("addmm", "baddbmm") else 0


class Counts:
    """Sums over the operators of a step on the device."""

    def __init__(self) -> None:
        self.kernels = self.bytes = self.multiply_adds = self.saved_bytes = 0
        self.by_operator: Counter[str] = Counter()
        self._saved: dict[int, torch.UntypedStorage] = {}

    def add(self, func: OpOverload, args: tuple, kwargs: dict, out: object, made: list[Tensor]) -> None:
        """Count one operator by its arguments and what it returns; `made` are the tensors that it writes."""
        if launches(func):
            name = func.overloadpacket.__name__
            self.kernels += 1
            read = values_read(func, args, kwargs)
            if name in PICKED and bytes_of(made) < bytes_of(read[:1]):
                read[0] = made[0]
            self.bytes += (size := bytes_of(read) + bytes_of(made))
            self.by_operator[name] += size
            self.multiply_adds += multiply_adds(func, args, out)

    def save(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept for the backward pass, once for all that share its memory; parameters are not."""
        storage = tensor.untyped_storage()
        if tensor.is_cuda and not isinstance(tensor, torch.nn.Parameter) and storage._cdata not in self._saved:
            self._saved[storage._cdata] = storage  # held, or another one might get its address
            self.saved_bytes += storage.nbytes()
        return tensor

    def to_dict(self) -> dict[str, int]:
        """The four sums."""
        return {name: getattr(self, name) for name in ("kernels", "bytes", "multiply_adds", "saved_bytes")}
