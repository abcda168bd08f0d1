"""What this machine has for a run."""

import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from datasets.cache import free_memory
from engine.checkpoint.pretrained_packages import PACKAGES
from engine.training.memory import usable_memory
from network.registry import model_options, resolve_arch
from utils.machine import loader_processes, usable_cores

PRETRAINED = "efficientnet-lite0"
SMALL_WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "fenet_tiny_synthetic.safetensors"
CPU_SHARE = 0.6  # of the free memory, for a step


@dataclass(frozen=True)
class Machine:
    """What a run can use.

    Attributes:
        device: As train.py takes it: `cpu`, `cuda`, or another of several GPUs, `cuda:1`.
        memory: Bytes that a step may take of the device's.
        free: Bytes of main memory.
        loaders: Loader processes that don't disturb training.
        has_encoder: timm and the ImageNet weights `PRETRAINED` are installed.
        can_cache: `--cache ram` works here.
    """

    device: str
    memory: float
    free: float
    loaders: int
    has_encoder: bool
    can_cache: bool = True

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.partition(":")[0]

    @property
    def small_weights(self) -> str:
        """The repository's own, of `fenet_tiny`."""
        return str(SMALL_WEIGHTS)

    @staticmethod
    def model_options(arch: str) -> Collection[str]:
        """Names of the options that a model has."""
        return model_options(resolve_arch(arch)[0]).keys()


def look_around(device: torch.device, gpu_memory: float | None = None) -> Machine:
    """This machine; `gpu_memory`: GiB of the GPU that may be used, None: all."""
    free = free_memory() if sys.platform == "linux" else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory, loaders = CPU_SHARE * free, max(0, min(loader_processes(), usable_cores() - torch.get_num_threads()))
    if device.type == "cuda":
        size = torch.cuda.get_device_properties(device).total_memory
        memory = usable_memory(min(size, gpu_memory * 2**30) if gpu_memory else size)
        loaders = loader_processes()
    return Machine(
        str(device) if device.index else device.type,
        memory,
        free,
        loaders,
        has_encoder=bool(find_spec("timm") and find_spec("torchvision") and PACKAGES[PRETRAINED].find()),
        can_cache=hasattr(os, "memfd_create"),
    )
