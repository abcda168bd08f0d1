"""CUDA without a GPU: what the product and PyTorch ask `torch.cuda` for, and fake tensors as parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CUDA = torch.device("cuda", 0)
ANSWERS = {  # of torch.cuda, for one H100
    "is_available": True,
    "is_initialized": True,
    "is_bf16_supported": True,
    "device_count": 1,
    "current_device": 0,
    "get_device_name": "fake H100",
    "get_device_capability": (9, 0),
    "get_device_properties": SimpleNamespace(
        name="fake H100", major=9, minor=0, multi_processor_count=132, total_memory=80 << 30
    ),
    **dict.fromkeys(("_lazy_init", "set_device", "synchronize", "manual_seed", "manual_seed_all", "set_rng_state")),
}


class Event:
    """A `torch.cuda.Event` that has always happened."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


def pretend() -> None:
    """Make this process, which has loaded the guard, believe in one GPU, on which only fake tensors can live."""
    for name, value in ANSWERS.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    torch.cuda.Event = Event
    torch.cuda.get_rng_state = lambda *_: torch.ByteTensor(16)
    torch._C._cuda_getDevice = lambda: 0  # Dynamo's guards ask for it
    fake_tensor.init_gpu_context = lambda *_: None
    fake_tensor.CONSTANT_NUMEL_LIMIT = 0  # else PyTorch computes small constants, with kernels that aren't there
    FakeTensorMode.avoid_device_init = True  # values in Python's lists become tensors of the CPU first
    nn.Module._apply = _convert
    for name in (
        name for name in vars(nn.init) if name[0] != "_" and name[-1] == "_"
    ):  # first weights, which take a while
        setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    FakeTensor.numpy = lambda self: np.zeros(self.shape, str(self.dtype).removeprefix("torch."))
    torch.Tensor.pin_memory = lambda self, *_: self
    torch.autograd.set_multithreading_enabled(False)  # a backward pass in this thread, whose stack names its line


def _convert(module: nn.Module, function, recurse: bool = True) -> nn.Module:
    """`Module.to` and its kin with new parameters: PyTorch's own can't exchange a fake one's device."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                with torch.no_grad():
                    part._parameters[name] = nn.Parameter(function(value), requires_grad=value.requires_grad)
        part._buffers.update({name: function(value) for name, value in part._buffers.items() if value is not None})
    return module


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """A block in which tensors have shapes, types, strides and devices, and no values."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode
