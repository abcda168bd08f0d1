"""Processes started by torchrun, through torch.distributed; with one process every function is a no-op."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.errors import EnvironmentFault

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process's place in the job."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True on the one process that writes."""
        return self.rank == 0


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` -> device.

    Raises:
        EnvironmentFault: CUDA is asked for and there is none, or fewer GPUs than processes.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EnvironmentFault("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    if local_rank >= torch.cuda.device_count():
        raise EnvironmentFault(
            f"process {local_rank} of this node has no GPU of its own ({torch.cuda.device_count()} found);"
            " start as many processes as GPUs (--nproc_per_node)"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def start(device_name: str, timeout_s: float = 600) -> Process:
    """Join the job that torchrun describes in the environment; without one this is the only process."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        return Process(0, 1, device)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
        except (ValueError, KeyError) as error:
            raise EnvironmentFault(f"WORLD_SIZE={world_size}: {error}; start processes with torchrun") from error
    return Process(dist.get_rank(), world_size, device)


def stop() -> None:
    """Leave the job."""
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum of `tensor` (any dtype, equal shapes) over all processes; integers stay exact."""
    if dist.is_initialized():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def any_rank(flag: bool) -> bool:
    """True everywhere if `flag` is true on any process."""
    return bool(sum_over_ranks(torch.tensor(int(flag))).item())


def gather_objects(value: object) -> list:
    """The plain values of all ranks, in rank order."""
    if not dist.is_initialized():
        return [value]
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_buffers(model: nn.Module) -> None:
    """Give every rank the buffers (batch-norm statistics) of rank 0, the ones that are saved."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def first_rank_first(body: Callable[[], T]) -> T:
    """Run `body` on rank 0, then on the others: they find what it cached."""
    if dist.is_initialized() and dist.get_rank() > 0:
        dist.barrier()
        return body()
    result = body()
    barrier()
    return result


def on_first_of_node(body: Callable[[], T], ask_s: float = 5) -> T:
    """Run `body` on the first process of each node; all get the result (plain data) of their node's.

    It may take long: the processes meet every `ask_s` seconds, so that none counts as lost. What `body` raises is
    raised on all of them.
    """
    if not dist.is_initialized():
        return body()
    node, outcome = os.environ.get("GROUP_RANK", "0"), []
    worker = None
    if os.environ.get("LOCAL_RANK", "0") == "0":
        worker = threading.Thread(target=lambda: outcome.append(_outcome(body)), daemon=True)
        worker.start()
    while True:
        if worker is not None:
            worker.join(ask_s)
        states = [(where, done) for where, first, done in gather_objects((node, worker is not None, outcome)) if first]
        if all(done for _, done in states):
            break
    for _, [(_, error)] in states:
        if error is not None:
            raise error
    return next(value for where, [(value, _)] in states if where == node)


def _outcome(body: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return body(), None
    except BaseException as error:
        return None, error


def from_first_rank(body: Callable[[], T]) -> T:
    """Run `body` on rank 0 only; all ranks get its result, plain data."""
    if not dist.is_initialized():
        return body()
    box = [body() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(box, 0)
    return box[0]


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()
