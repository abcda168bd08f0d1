"""What a loader's worker processes do about signals, threads, memory and the end of the main process."""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import cv2
import torch
from torch.utils.data import get_worker_info

from utils.signals import SIGNALS, die_with_parent


@contextmanager
def signals_held() -> Iterator[None]:
    """Holds requests to stop back from the calling thread; they arrive at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def init_worker(worker_id: int) -> None:
    """One thread per worker; signals to the whole job (Ctrl-C, a scheduler's SIGTERM) are left to the main process.

    It may still need batches to finish its step; however it ends, this process ends too. A SIGTERM from the main
    process itself, how DataLoader and Python's exit end a worker that hangs, is obeyed.
    """
    die_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)  # where workers are not forked, nothing blocks it
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):  # macOS and Windows can't tell who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()


def _obey(sender: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != sender:
        pass
    os._exit(0)


def kill_workers() -> None:
    """Ends processes that may be stuck, for which PyTorch and Python would wait; the run is over.

    PyTorch answers the end of each with an exception, at any place.
    """
    for child in multiprocessing.active_children():
        for step in (child.kill, child.join, child.join):
            with suppress(RuntimeError):
                step()


def batch_memory(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of any content. In a worker it lies where the main process can read it, so that it isn't copied."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = _shared_storage(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)


def _shared_storage(size: int) -> torch.UntypedStorage:
    """Bytes in a file without a name. PyTorch would take one in /dev/shm, of which a container has 64 MB by default."""
    try:
        handle = os.memfd_create("fenet-batch")
    except (AttributeError, OSError):  # not Linux, or the kernel forbids it
        return torch.UntypedStorage._new_shared(size)
    try:
        os.ftruncate(handle, size)
        return torch.UntypedStorage._new_shared_fd_cpu(handle, size)
    finally:
        os.close(handle)  # the storage has its own
