"""Watches every operator of a block, and notes what would be wrong or slow on a GPU, with the line of our code."""

import sys
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fakecuda import rules
from tests.fakecuda.counting import Counts, launches, tensors

HERE = Path(__file__).resolve().parent
ROOT = f"{HERE.parents[1]}/"
TOOLS = {str(HERE / f"{name}.py") for name in ("watch", "runs", "device", "session")}
TORCH = str(Path(torch.__file__).parent)
OF_DEVICES = {"_to_copy", "copy_", "_copy_from", "_foreach_copy_"}  # those that may see two devices


class Fault(Exception):
    """What would be wrong on a GPU: `kind: what, at FILE:LINE (FUNCTION)`."""


class Place:
    """The line of our code that is run, tools of these tests left out."""

    def __init__(self) -> None:
        frame = sys._getframe(2)
        self.file = self.function = self.line = ""
        self.foreign = False  # another library's code lies between it and PyTorch
        while frame is not None:
            path = frame.f_code.co_filename
            library = "site-packages" in path  # which a virtual environment may have within our folder
            if path.startswith(ROOT) and path not in TOOLS and not library:
                self.file, self.line = path[len(ROOT) :], frame.f_lineno
                self.function = frame.f_code.co_qualname.split(".<locals>")[0]
                return
            self.foreign |= library and not path.startswith(TORCH)
            frame = frame.f_back

    def __str__(self) -> str:
        node = torch._C._current_autograd_node()
        return f"{self.file}:{self.line} ({self.function})" + (f" in {node.name()}" if node else "")


def device_of(tensor: Tensor) -> torch.device:
    """Its device; a fake one's without a call that is watched, too."""
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def written(func: OpOverload, args: tuple) -> list:
    """The arguments that an operator changes in place."""
    infos = (argument.alias_info for argument in func._schema.arguments)
    return [value for value, info in zip(args, infos, strict=False) if info is not None and info.is_write]


class Watch(TorchDispatchMode):
    """Notes faults and counts; an operator that can't be run without values ends the block with its `Fault`.

    Args:
        waits: (file, function) where the host may wait.
        half: N of the maps (N,C,H,W) that are meant to be of half precision; 0: of any.
    """

    def __init__(self, waits: Collection[tuple[str, str]] = (), half: int = 0) -> None:
        super().__init__()
        self.waits, self.half = waits, half
        self.counts, self.faults = Counts(), set()
        self.excused: set[tuple[str, str]] = set()  # rows of the tables that were needed

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.prim.device.default:  # what a fake tensor's `device` asks, many times
            return args[0].fake_device
        kwargs = kwargs or {}
        read = tensors((args, kwargs))
        name = func.overloadpacket.__name__
        self._check_devices(name, read)
        if self._waits(func, name, args, kwargs, read):
            self._check_wait(name, Place())
        if name == "_local_scalar_dense":  # there is no value, on the CPU neither
            return 1
        if name == "bincount":  # whose length depends on the values
            return args[0].new_empty(args[2])
        if torch.are_deterministic_algorithms_enabled() and name in rules.NOT_DETERMINISTIC:
            self._note(f"not deterministic: {name}", Place())
        try:
            out = None if name.startswith("_fused_") else func(*args, **kwargs)  # PyTorch has no fake ones of them
        except NotImplementedError as error:
            raise Fault(f"no fake kernel: {name}, at {Place()}") from error
        made = tensors(out if out is not None else written(func, args))
        if any(device_of(tensor).type == "cuda" for tensor in (*read, *made)):
            self.counts.add(func, args, kwargs, out, made)
            if self.half:
                self._check_type(func, read, made)
        return out

    def _note(self, what: str, place: Place) -> None:
        self.faults.add(f"{what}, at {place}")

    def _check_devices(self, name: str, read: list[Tensor]) -> None:
        devices = {device_of(tensor).type for tensor in read if tensor.dim()}
        if len(devices) > 1 and name not in OF_DEVICES:
            raise Fault(f"mixed devices: {name} of {' and '.join(sorted(devices))}, at {Place()}")

    @staticmethod
    def _waits(func: OpOverload, name: str, args: tuple, kwargs: dict, read: list[Tensor]) -> bool:
        """Whether the host has to wait until the device has a value, or a copy is made."""
        cuda = any(device_of(tensor).type == "cuda" for tensor in read)
        if name == "_to_copy":
            device = kwargs.get("device")
            return device is not None and device != device_of(read[0]) and not kwargs.get("non_blocking")
        if name == "copy_":
            waiting = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            return waiting and len({device_of(tensor) for tensor in read}) > 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            fill = name != "index" and args[2].numel() == 1 and len(masks) == len(args[1])  # as masked_fill does it
            return cuda and bool(masks) and not fill
        tags = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
        return cuda and any(tag in func.tags for tag in tags)

    def _check_wait(self, name: str, place: Place) -> None:
        if (place.file, place.function) not in self.waits:
            raise Fault(f"host sync: {name}, at {place}")
        self.excused.add((place.file, place.function))

    def _check_type(self, func: OpOverload, read: list[Tensor], made: list[Tensor]) -> None:
        """Maps (N,C,H,W) of the forward pass are of half precision, and so is all that goes into products."""
        name, forward = func.overloadpacket.__name__, torch._C._current_autograd_node() is None
        slow = name in rules.PRODUCTS and any(tensor.dtype == torch.float32 for tensor in read)
        if not slow and not (forward and launches(func) and any(map(self._is_wide, made))):
            return
        place = Place()
        key = (place.file, place.function)
        if place.foreign or place.file.startswith(rules.PRODUCTS_IN_FLOAT32 if slow else rules.MAPS_IN_FLOAT32):
            return
        if slow or key not in rules.FLOAT32:
            self._note(f"float32: {name} of {[tuple(tensor.shape) for tensor in read]}", place)
        else:
            self.excused.add(key)

    def _is_wide(self, tensor: Tensor) -> bool:
        is_map = tensor.dim() == 4 and tensor.shape[0] == self.half and tensor.shape[-1] > 1
        return is_map and tensor.dtype == torch.float32
