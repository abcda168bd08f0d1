"""Loaders for training and evaluation, whose worker processes report faults and shut down cleanly."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from datasets.dataset import EvaluationDataset, TrainingDataset
from datasets.sampler import EpochSampler
from utils.errors import EnvironmentFault, FENetError, OptionError
from utils.signals import SIGNALS, die_with_parent


class FaultLoader(DataLoader):
    """A `DataLoader` that raises a worker's fault in the main process as it was, without the worker's traceback.

    Faults travel as values: the data set returns them, the collate function passes the first on, the iterator
    raises it.
    """

    def __init__(self, dataset: Dataset, **options: Any) -> None:
        # a generator of its own: DataLoader draws a seed per epoch, which would disturb the global random state
        generator = torch.Generator().manual_seed(0)
        options |= {"collate_fn": _collate, "worker_init_fn": _init_worker, "generator": generator}
        super().__init__(_Caught(dataset), **options)

    def __iter__(self) -> Iterator[dict]:
        """Collated batches.

        Raises:
            FENetError: What a data set raised.
            EnvironmentFault: A worker process died.
        """
        try:
            with _signals_held():  # workers, and any thread that starts in them, inherit it
                batches = super().__iter__()
            for batch in batches:
                if isinstance(batch, FENetError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            reason = " ".join(str(error).split())
            raise EnvironmentFault(f"{reason} Free memory (also /dev/shm) or lower --num_workers") from error


def build_train_loader(
    dataset: TrainingDataset, sampler: EpochSampler, num_workers: int = 0, pin_memory: bool = False
) -> FaultLoader:
    """Loader of one epoch, or the rest of one: build it anew for each epoch's sampler.

    Batches: `image` float32 (B,3,H,W), `label` int64 (B,H,W), `name` list of str.
    """
    return FaultLoader(dataset, batch_sampler=sampler, num_workers=num_workers, pin_memory=pin_memory)


def build_eval_loader(
    dataset: EvaluationDataset,
    indices: Sequence[int],
    batch_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> FaultLoader:
    """Loader of the samples `indices`, in this order, the last batch as small as it comes.

    Batches: `image` float32 (B,3,H,W), `label` int64 (B,H,W) if there are labels, `name` list of str, `index` int64
    (B,). Images of different sizes in one batch raise `OptionError` while iterating: use `batch_size` 1 there.
    """
    batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    return FaultLoader(dataset, batch_sampler=batches, num_workers=num_workers, pin_memory=pin_memory)


class _Caught(Dataset):
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


def _collate(samples: list[dict | FENetError]) -> dict | FENetError:
    """Samples -> batch; the first fault instead, if there is one."""
    for sample in samples:
        if isinstance(sample, FENetError):
            return sample
    sizes = {f"{sample['image'].shape[-1]}x{sample['image'].shape[-2]}" for sample in samples}
    if len(sizes) > 1:
        return OptionError(
            f"images of different sizes ({', '.join(sorted(sizes))}) don't fit in one batch of {len(samples)};"
            " set --bs_mult_val 1 (train.py) or --batch_size 1 (eval.py)"
        )
    return default_collate(samples)


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
