"""Several processes train one model: what norms they use, and how they share gradients."""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from network.parts.enhancement import least_side
from utils.distributed import Process
from utils.errors import EnvironmentFault, OptionError
from utils.nested import named_tensors

# torch 2.13 renamed the argument
RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
SYNC_BUFFERS = "forward_sync_buffers" if RENAMED else "broadcast_buffers"
NVIDIA_PARTS = ("contrib", "normalization", "optimizers")  # folders of every release of NVIDIA's apex


def choose_norm(wanted: str | None, process: Process) -> str:
    """What the norms are on these processes: `plain`, `sync`, `group` or `frozen`.

    Args:
        wanted: One of them; None: `sync` where several processes run on CUDA, else `plain`.
        process: This process.
    """
    several, cuda = process.world_size > 1, process.device.type == "cuda"
    if wanted is None:
        return "sync" if several and cuda else "plain"
    return "plain" if wanted == "sync" and not several else wanted  # of one process's crops, they are the same


def wrap_parallel(
    model: nn.Module, process: Process, backend: str = "torch", *, static_graph: bool = False, compress: bool = False
) -> nn.Module:
    """The model itself on one process; else its wrapper, whose backward averages the gradients over the processes.

    Buffers (norm statistics) are not sent in each step; `broadcast_buffers` does it before validation and saving.

    Args:
        model: On its device; all its trained parameters have to take part in each loss.
        process: This process.
        backend: `torch`, or `apex` (NVIDIA's).
        static_graph: Each step is one forward and one backward pass, so that what DDP learns in the first one holds.
        compress: Send gradients as bfloat16, which halves the traffic; NCCL only.

    Raises:
        OptionError: Compression is asked for and can't be had.
        EnvironmentFault: apex is asked for and isn't there.
    """
    if process.world_size == 1:
        return model
    cuda = process.device.type == "cuda"
    if compress and (not cuda or backend == "apex"):
        raise OptionError("--grad_compression bf16: needs CUDA and --ddp_backend torch; leave it out")
    if backend == "apex":
        return import_apex().DistributedDataParallel(model)
    order_depthwise_weights(model)
    parallel = DistributedDataParallel(
        model,
        device_ids=[process.device.index] if cuda else None,
        gradient_as_bucket_view=True,
        static_graph=static_graph,
        **{SYNC_BUFFERS: False},
    )
    if compress:
        parallel.register_comm_hook(None, bf16_compress_hook)
    settle_buckets(parallel)
    return parallel


def settle_buckets(parallel: DistributedDataParallel) -> None:
    """Make two passes over black images that change nothing.

    DDP rearranges its buckets after the first pass (with a static graph after the second), and with them the order in
    which the gradients of three or more processes are added up. A run that resumes from a snapshot shall add up as one
    that was never stopped.
    """
    model = parallel.module.train()
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    least = least_side(model)
    images = torch.zeros(2, 3, max(128, least), max(192, least), device=next(model.parameters()).device)
    for _ in range(2):
        sum(output.float().mean() for _, output in named_tensors(parallel(images))).backward()
        model.zero_grad(set_to_none=True)
    for buffer, value in before:
        buffer.copy_(value)


def order_depthwise_weights(model: nn.Module) -> None:
    """Give weights (C,1,h,w) the strides that their gradients have, else DDP warns of a mismatch in each run.

    With one channel both memory layouts are the same bytes, and only the stride of that dimension tells them apart.
    """
    for weight in model.parameters():
        if weight.dim() == 4 and weight.shape[1] == 1:
            weight.data = weight.data.as_strided(weight.shape, torch.empty(weight.shape, device="meta").stride())


def import_apex() -> ModuleType:
    """NVIDIA's `apex.parallel`.

    Raises:
        EnvironmentFault: It isn't installed, or what is called apex is something else.
    """
    found = importlib.util.find_spec("apex")
    remedy = "or leave --ddp_backend out, as torch's own DDP does the same"
    if found is None:
        raise EnvironmentFault(
            "--ddp_backend apex: not installed; build a release before 25.07 of https://github.com/NVIDIA/apex (pip"
            f" install apex gets another package), {remedy}"
        )
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    if not any((folder / "parallel").is_dir() for folder in folders):
        if any((folder / part).is_dir() for folder in folders for part in NVIDIA_PARTS):
            fault = "has no apex.parallel, which NVIDIA removed in release 25.07; build an earlier one"
        else:
            fault = "is PyPI's unrelated package of 2013; pip uninstall apex, build https://github.com/NVIDIA/apex"
        raise EnvironmentFault(f"--ddp_backend apex: {found.origin} {fault}, {remedy}")
    try:
        return importlib.import_module("apex.parallel")
    except ImportError as error:
        raise EnvironmentFault(f"--ddp_backend apex: {found.origin} cannot be imported ({error}); {remedy}") from error
