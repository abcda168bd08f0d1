"""Processes started by torchrun, through torch.distributed; with one process every function is a no-op."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from utils.devices import choose_device
from utils.errors import EnvironmentFault, FENetError
from utils.heartbeat import DONE, Heartbeat, is_lost_peer
from utils.signals import StopRequest

TIMEOUT_S = 120.0  # patience with other processes
NCCL_MORE_S = 60.0  # NCCL's beyond that: its watchdog aborts the process, before the heartbeat could say who is lost
JOIN_S = 300.0  # until all have started: they import from disks of different speed
T = TypeVar("T")
_heartbeat: Heartbeat | None = None


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


@contextmanager
def job(device_name: str, timeout_s: float = TIMEOUT_S, stop: StopRequest | None = None) -> Iterator[Process]:
    """Be one process of the job that torchrun describes in the environment; without one, the only process.

    Args:
        device_name: `auto`, `cpu`, `cuda` or `cuda:N`.
        timeout_s: Patience with the other processes: longer silence, or waiting for one, ends the job.
        stop: Is passed on between the processes.

    Raises:
        OptionError: One GPU is named for several processes.
        EnvironmentFault: There is no such device, or the environment is incomplete.
        PeerLostError: A collective operation failed; the message names who is lost.
    """
    global _heartbeat
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    try:
        device = choose_device(device_name, local_rank, world_size)
    except EnvironmentFault as error:
        error.is_said = local_rank > torch.cuda.device_count()  # by the first process that has none
        raise
    if world_size == 1:
        yield Process(0, 1, device)
        return
    _heartbeat, store = _join(world_size, timeout_s, stop)
    try:
        _connect(_heartbeat, store, device, timeout_s)
        yield Process(dist.get_rank(), world_size, device)
    except BaseException as error:
        fault = _heartbeat.blame(str(error).splitlines()[0][:200]) if is_lost_peer(error) else error
        fault.is_said = _heartbeat.close(" ".join(f"{type(fault).__name__}: {fault}".split()))
        if fault is error:
            raise
        raise fault from error
    else:
        _heartbeat.close(DONE)
        dist.destroy_process_group()
    finally:
        _heartbeat = None


def _join(world_size: int, timeout_s: float, stop: StopRequest | None) -> tuple[Heartbeat, dist.Store]:
    try:
        store, rank, _ = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_S)))
    except (ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise EnvironmentFault(f"WORLD_SIZE={world_size}: {reason}; start the processes with torchrun") from error
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun keeps the store, with addresses of processes that are gone, when it starts them again. Otherwise each
        # start has a store of its own, and machines that joined later count their starts from 0.
        store = dist.PrefixStore(f"start_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    heartbeat = Heartbeat(store, rank, world_size, timeout_s, stop)
    heartbeat.await_all(JOIN_S)
    return heartbeat, store


def _connect(heartbeat: Heartbeat, store: dist.Store, device: torch.device, timeout_s: float) -> None:
    place = {"store": store, "rank": heartbeat.rank, "world_size": heartbeat.world_size}
    backend, timeout = "gloo", timeout_s
    if device.type == "cuda":
        backend, timeout = "cpu:gloo,cuda:nccl", timeout_s + NCCL_MORE_S
        place["device_id"] = device  # else NCCL guesses it, and connects in the first step only
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout), **place)
    except dist.DistBackendError as error:
        if heartbeat.find_lost() is not None:
            raise
        reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()[:200]
        raise EnvironmentFault(
            f"NCCL doesn't start on {socket.gethostname()}: {reason}; see whether nvidia-smi shows other programs on"
            " its GPUs and df /dev/shm has room; NCCL_DEBUG=INFO says more"
        ) from error
    except RuntimeError as error:
        raise heartbeat.blame(str(error).splitlines()[0][:200]) from error


def job_id() -> str | None:
    """The number of the job under SLURM, the same when it is started again; None elsewhere."""
    return os.environ.get("SLURM_JOB_ID")


def launcher() -> str | None:
    """The torchrun that started this process, by machine, process and its start; None: none did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    parent, started = os.getppid(), "?"
    try:
        while b"TORCHELASTIC_RUN_ID=" in Path(f"/proc/{parent}/environ").read_bytes():  # a script between the two
            parent = int(_stat(parent)[1])
        started = _stat(parent)[19]  # clock ticks since boot
    except (OSError, IndexError):  # not Linux
        pass
    return f"{socket.gethostname()} {parent} {started}"


def _stat(process: int) -> list[str]:
    """What Linux says of a process: state, parent, ..."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def is_requeued() -> bool:
    """True if SLURM starts this job again."""
    count = os.environ.get("SLURM_RESTART_COUNT", "0")
    return count.isdigit() and int(count) > 0


def note(place: str, bounded: bool = False) -> None:
    """Say where this process is, for the error line of a job that is lost.

    Args:
        place: In words.
        bounded: No process is here for as long as the job's timeout, unless it waits for a lost one.
    """
    if _heartbeat is not None:
        _heartbeat.note(place, bounded)


def barrier() -> None:
    """Wait for all processes, however long one of them works; who is lost meanwhile ends the job."""
    if _heartbeat is not None:
        _heartbeat.meet()


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
    """The plain values of all ranks, in rank order; ranks may come late."""
    if not dist.is_initialized():
        return [value]
    barrier()
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def on_main_rank(body: Callable[[], object]) -> None:
    """Run `body` on rank 0 while the others wait, for however long; a fault there is raised on all of them."""
    fault = None
    if not dist.is_initialized() or dist.get_rank() == 0:
        note("work of rank 0 alone")
        try:
            body()
        except FENetError as error:
            fault = error
    faults = [fault]
    if dist.is_initialized():
        barrier()
        dist.broadcast_object_list(faults, 0)
    if faults[0] is not None:
        raise faults[0]


def check_equal(values: Mapping[str, object], what: str, fault: type[FENetError]) -> None:
    """Raise `fault` on all ranks, naming rank and difference, unless `values` are those of rank 0 on each of them."""
    first, *others = gather_objects(dict(values))
    for rank, given in enumerate(others, 1):
        for name in first.keys() | given.keys():
            if first.get(name) != given.get(name):
                raise fault(
                    f"rank {rank} and rank 0 differ in their {what}: {name} is {given.get(name)!r} there and"
                    f" {first.get(name)!r} on rank 0; start every process with the same command, data and versions"
                )


def broadcast_buffers(model: nn.Module) -> None:
    """Give every rank the buffers (batch-norm statistics) of rank 0, the ones that are saved."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def node_by_node(body: Callable[[], T]) -> T:
    """Run `body` on rank 0, then on the first process of every other node, then on all others.

    So a download is there when the next ones look for it: on a disk that nodes share it is done once, on disks of
    their own once on each. A fault of one process is raised on all.
    """
    first_of_job = not dist.is_initialized() or dist.get_rank() == 0
    turn = 0 if first_of_job else 1 if os.environ.get("LOCAL_RANK", "0") == "0" else 2
    results: list[T] = []
    for current in range(3):
        fault = None
        if current == turn:
            note("work of one node after the other")
            try:
                results.append(body())
            except FENetError as error:
                fault = error
        for error in gather_objects(fault):
            if error is not None:
                raise error
    return results[0]


def on_first_of_node(body: Callable[[], T]) -> T:
    """Run `body` on the first process of each node while the others wait; all get their node's result (plain data).

    What `body` raises is raised on all of them.
    """
    if not dist.is_initialized():
        return body()
    node, outcome = os.environ.get("GROUP_RANK", "0"), None
    if os.environ.get("LOCAL_RANK", "0") == "0":
        note("work of the first process of its node")
        outcome = _outcome(body)
    states = [(where, outcome) for where, outcome in gather_objects((node, outcome)) if outcome is not None]
    for _, (_, error) in states:
        if error is not None:
            raise error
    return next(value for where, (value, _) in states if where == node)


def _outcome(body: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return body(), None
    except Exception as error:
        return None, error


def from_first_rank(body: Callable[[], T]) -> T:
    """Run `body` on rank 0 only; all ranks get its result, plain data."""
    results: list[T | None] = [None]

    def run() -> None:
        results[0] = body()

    on_main_rank(run)
    if dist.is_initialized():
        dist.broadcast_object_list(results, 0)
    return results[0]
