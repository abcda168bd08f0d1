"""Loaders for training and evaluation, whose worker processes report faults and shut down cleanly."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from datasets.dataset import EvaluationDataset, TrainingDataset
from datasets.sampling.sampler import EpochSampler
from utils.errors import EnvironmentFault, FENetError, OptionError
from utils.signals import SIGNALS, die_with_parent

LOST_WORKER = ("DataLoader worker (pid", "DataLoader timed out")  # how PyTorch says it
WORKER_TIMEOUT = 300.0  # seconds without a batch after which a worker counts as stuck


class SafeDataLoader(DataLoader):
    """A `DataLoader` that raises a worker's fault in the main process as it was, without the worker's traceback.

    Faults travel as values: the data set returns them, the collate function passes the first on, the iterator
    raises it.

    Args:
        dataset: Its samples are collated by `collate`.
        timeout: Seconds without a batch after which a worker counts as stuck.
        options: Of `DataLoader`.
    """

    def __init__(self, dataset: Dataset, timeout: float = WORKER_TIMEOUT, **options: Any) -> None:
        # a generator of its own: DataLoader draws a seed per epoch, which would disturb the global random state
        generator = torch.Generator().manual_seed(0)
        options |= {"timeout": timeout if options["num_workers"] else 0}
        options |= {"collate_fn": collate, "worker_init_fn": _init_worker, "generator": generator}
        super().__init__(_CatchErrors(dataset), **options)

    def __iter__(self) -> Iterator[dict]:
        """Collated batches.

        Raises:
            FENetError: What a data set raised.
            EnvironmentFault: A worker process died, or gave nothing for `timeout` seconds.
        """
        try:
            with _signals_held():  # workers, and any thread that starts in them, inherit it
                batches = super().__iter__()
            for batch in batches:
                if isinstance(batch, FENetError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if not any(mark in str(error) for mark in LOST_WORKER):
                raise
            _kill_workers()
            reason = " ".join(str(error).split())
            hint = "free memory (also /dev/shm), look at the storage, or lower --num_workers"
            if "timed out" in reason:
                reason, hint = f"no batch for {self.timeout:g} s: a loader process hangs", f"{hint} (--worker_timeout)"
            raise EnvironmentFault(f"{reason.rstrip('.')}; {hint}") from error


def _kill_workers() -> None:
    """Ends processes that may be stuck, for which PyTorch and Python would wait; the run is over.

    PyTorch answers the end of each with an exception, at any place.
    """
    for child in multiprocessing.active_children():
        for step in (child.kill, child.join, child.join):
            with suppress(RuntimeError):
                step()


class TrainLoader:
    """The loaders of a run's epochs. Worker processes live as long as the run; what they make depends on draws only.

    Args:
        dataset: The samples.
        num_workers: Loader processes; 0: this process itself.
        pin_memory: Hand over batches from which CUDA can copy without waiting.
        timeout: Seconds without a batch after which a worker counts as stuck.
    """

    def __init__(
        self, dataset: TrainingDataset, num_workers: int = 0, pin_memory: bool = False, timeout: float = WORKER_TIMEOUT
    ) -> None:
        self._batches = _Batches()
        self._loader = SafeDataLoader(
            dataset,
            batch_sampler=self._batches,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            timeout=timeout,
        )

    def epoch(self, sampler: EpochSampler) -> SafeDataLoader:
        """One epoch, or the rest of one; the loader of the epoch before is not to be used any more.

        Batches: what `collate` makes of the data set's samples.
        """
        self._batches.sampler = sampler
        return self._loader


class _Batches:
    """A batch sampler that is another one each epoch."""

    sampler: EpochSampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list]:
        return iter(self.sampler)


def build_train_loader(
    dataset: TrainingDataset, sampler: EpochSampler, num_workers: int = 0, pin_memory: bool = False
) -> SafeDataLoader:
    """Loader of one epoch, or the rest of one. Batches as of `TrainLoader.epoch`."""
    return TrainLoader(dataset, num_workers, pin_memory).epoch(sampler)


def build_eval_loader(
    dataset: EvaluationDataset,
    indices: Sequence[int],
    batch_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> SafeDataLoader:
    """Loader of the samples `indices`, in this order, the last batch as small as it comes.

    Batches: `image` float32 (B,3,H,W), `label` int64 (B,H,W) if there are labels, `name` list of str, `index` int64
    (B,). Images of different sizes in one batch raise `OptionError` while iterating: use `batch_size` 1 there.
    """
    batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    return SafeDataLoader(dataset, batch_sampler=batches, num_workers=num_workers, pin_memory=pin_memory)


class _CatchErrors(Dataset):
    """A data set that returns its faults as values."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> dict | FENetError:
        try:
            return self.dataset[key]
        except FENetError as error:
            return error


def collate(samples: list[dict | FENetError]) -> dict | FENetError:
    """Samples -> batch; the first fault instead, if there is one.

    Samples of tensors: `image` float32 (B,3,H,W), `label` int64 (B,H,W), `name` list of str. Samples of raw windows,
    which differ in size: `windows` uint8 (total bytes), `shapes` of the arrays in it, `augmentation` and `name` lists.
    """
    for sample in samples:
        if isinstance(sample, FENetError):
            return sample
    if "windows" in samples[0]:
        arrays = [array for sample in samples for array in sample["windows"]]
        rest = {key: [sample[key] for sample in samples] for key in samples[0] if key != "windows"}
        return rest | {"windows": _concatenate(arrays), "shapes": [array.shape for array in arrays]}
    sizes = {f"{sample['image'].shape[-1]}x{sample['image'].shape[-2]}" for sample in samples}
    if len(sizes) > 1:
        return OptionError(
            f"images of different sizes ({', '.join(sorted(sizes))}) don't fit in one batch of {len(samples)};"
            " set --bs_mult_val 1 (train.py) or --batch_size 1 (eval.py)"
        )
    return default_collate(samples)


def _concatenate(arrays: list[np.ndarray]) -> torch.Tensor:
    """All bytes in one tensor, made where the main process can read it: what is copied here is copied once."""
    total = sum(array.nbytes for array in arrays)
    if get_worker_info() is None:
        flat = torch.empty(total, dtype=torch.uint8)
    else:
        flat = torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(total))
    place, start = flat.numpy(), 0
    for array in arrays:
        place[start : start + array.nbytes].reshape(array.shape)[...] = array
        start += array.nbytes
    return flat


@contextmanager
def _signals_held() -> Iterator[None]:
    """Holds requests to stop back from the calling thread; they arrive at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(worker_id: int) -> None:
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
