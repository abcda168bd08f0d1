"""The device that a process computes on, and a GPU of the machine that this PyTorch can't use."""

import functools
import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from utils.errors import EnvironmentFault, OptionError
from utils.logging import get_logger

FORMS = "auto, cpu, cuda, or one GPU of several such as cuda:1"  # of --device
DEVICE_FILE, DRIVER_FILE = Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version")
# newest first: the oldest driver that runs a CUDA major version's programs (NVIDIA's table of minor version
# compatibility), and a folder of PyTorch's index that has such a build of PyTorch 2.10 or newer
BUILDS = ((580, 13, "cu130"), (525, 12, "cu126"))
DRIVER_VERSION = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]  # what asks for it


def device_name(text: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as it is; raises `ValueError` for all else."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError(text)
    return text


device_name.__name__ = FORMS


def choose_device(name: str, local_rank: int = 0, processes: int = 1) -> torch.device:
    """The device of a process; a GPU becomes the current one.

    Args:
        name: `auto`, `cpu`, `cuda` or `cuda:N`.
        local_rank: Number of the process on this machine.
        processes: Of the job.

    Raises:
        OptionError: There is no such name, or one GPU is named for several processes.
        EnvironmentFault: CUDA is asked for and there is none, there are fewer GPUs than processes, or `auto` would let
            several processes compute on the CPU of a machine whose GPU this PyTorch can't use.
    """
    try:
        device_name(name)
    except ValueError:
        raise OptionError(f"--device {name}: must be {FORMS}") from None
    if name == "cpu":
        return torch.device("cpu")
    if has_cuda():
        index = _own_gpu(name, local_rank, processes)
        torch.cuda.set_device(index)
        return torch.device("cuda", index)
    fault = unusable_gpu()
    if name != "auto" or (fault and processes > 1):
        remedy = f": {fault}; or use --device cpu" if fault else "; use --device cpu"
        raise EnvironmentFault(f"--device {name}: PyTorch finds no CUDA device here{remedy}")
    if fault:
        _say_once(f"computing on the CPU: {fault}; --device cpu leaves this warning out")
    return torch.device("cpu")


def has_cuda() -> bool:
    """True if PyTorch can use a GPU; its own warning of an old driver is left to `unusable_gpu`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


def _own_gpu(name: str, local_rank: int, processes: int) -> int:
    count, named = torch.cuda.device_count(), name.partition(":")[2]
    if named and processes > 1:
        raise OptionError(
            f"--device {name}: names one GPU for {processes} processes; use --device cuda, and choose the GPUs with"
            " CUDA_VISIBLE_DEVICES"
        )
    if named and int(named) >= count:
        raise EnvironmentFault(f"--device {name}: PyTorch finds {count} GPU(s) here, counted from cuda:0; name another")
    # torchrun shows all of its processes the same GPUs, SLURM each task its own, which is number 0 there
    if count == 1 and "CUDA_VISIBLE_DEVICES" in os.environ and not dist.is_torchelastic_launched():
        return 0
    if local_rank >= count:
        raise EnvironmentFault(
            f"process {local_rank} of this node has no GPU of its own ({count} found);"
            " start as many processes as GPUs (--nproc_per_node)"
        )
    return int(named or local_rank)


@functools.cache
def unusable_gpu() -> str | None:
    """In words: a GPU of this machine that PyTorch can't use, with its driver, the build of PyTorch, and what to do.

    None where there is none, or where it is hidden by CUDA_VISIBLE_DEVICES.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return None
    driver = _driver_version()
    if driver is None:
        return None
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    return (
        f"this machine has an NVIDIA GPU (driver {driver}) that PyTorch {torch.__version__} ({build}) can't use;"
        f" {_remedy(driver, torch.version.cuda)}"
    )


def _driver_version() -> str | None:
    """Of the machine's NVIDIA driver, or `unknown`; None without a GPU."""
    try:
        said = subprocess.run(DRIVER_VERSION, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    if found := re.match(r"\d+(\.\d+)+", said):
        return found[0]
    if not DEVICE_FILE.exists():
        return None
    text = DRIVER_FILE.read_text() if DRIVER_FILE.exists() else ""
    found = re.search(r"Kernel Module.*?\s(\d+(\.\d+)+)\s", text)
    return found[1] if found else "unknown"


def _remedy(driver: str, cuda: str | None) -> str:
    major = int(driver.split(".")[0]) if driver != "unknown" else None
    fitting = [(version, folder) for oldest, version, folder in BUILDS if major is None or major >= oldest]
    if not fitting:
        return f"install driver {BUILDS[-1][0]} or newer"
    if major is not None and cuda and int(cuda.split(".")[0]) <= fitting[0][0]:
        return "driver and build fit, so look at what nvidia-smi says, and start a container with --gpus all"
    folder = fitting[-1 if major is None else 0][1]
    return (
        "pip install --force-reinstall 'torch>=2.10' torchvision --index-url"
        f" https://download.pytorch.org/whl/{folder} installs a build that fits"
    )


@functools.cache
def _say_once(warning: str) -> None:
    get_logger().warning(warning)


@contextmanager
def without_benchmark() -> Iterator[None]:
    """cuDNN chooses its kernels by rule, not by trial: for sizes that vary, where each new one would be tried out."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def float32_precision() -> str:
    """In words: whether float32 convolutions and matrix products on CUDA are computed in TF32."""
    backends = {"convolutions": torch.backends.cudnn, "matrix products": torch.backends.cuda.matmul}
    return ", ".join(f"{name} {'on' if backend.allow_tf32 else 'off'}" for name, backend in backends.items())
