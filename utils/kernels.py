"""`--kernels`: whether Triton can run here, and what is said where it can't."""

import functools
import os

import torch

from utils.errors import OptionError
from utils.logging import get_logger
from utils.optional import import_package

KERNELS = ("torch", "triton")


def can_run(device: torch.device) -> bool:
    """Whether Triton's kernels run on tensors of `device`: CUDA, or the CPU in its interpreter, as the tests do."""
    return device.type == "cuda" or (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


def check_kernels(kernels: str, device: torch.device) -> None:
    """Refuse kernels that can't run on `device`, before anything is built with them.

    Raises:
        OptionError: Triton's, on a device other than CUDA.
        EnvironmentFault: Triton's, and the package isn't installed.
    """
    if kernels != "triton":
        return
    if not can_run(device):
        raise OptionError(f"--kernels triton: runs on CUDA, and this run is on {device.type}; use --kernels torch")
    require_triton()


def require_triton() -> None:
    """Raises `EnvironmentFault` if the package triton isn't installed."""
    import_package("triton", "--kernels triton", "pip install triton, or use --kernels torch")


@functools.cache  # once a process
def note_fallback(what: str) -> None:
    """Say in the log that PyTorch computes `what`, although Triton was asked for."""
    get_logger().info(f"--kernels triton: PyTorch's own operations compute {what}")
