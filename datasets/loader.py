"""Loaders for training and evaluation, whose worker processes report faults and shut down cleanly."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datasets.dataset import EvaluationDataset
from datasets.workers import batch_memory, init_worker, kill_workers, signals_held
from utils.errors import MORE_MEMORY, EnvironmentFault, FENetError, OptionError

LOST_WORKER = ("DataLoader worker (pid", "DataLoader timed out", "shared memory")  # how PyTorch says it
WORKER_TIMEOUT = 300.0  # seconds without a batch after which a worker counts as stuck


class SafeDataLoader(DataLoader):
    """A `DataLoader` that raises a worker's fault in the main process as it was, without the worker's traceback.

    Faults travel as values: the data set returns them, the collate function passes the first on, the iterator
    raises it.

    Args:
        dataset: Its samples are collated by `collate`.
        timeout: Seconds without a batch after which a worker counts as stuck: --worker_timeout; None, where there is
            no such option: `WORKER_TIMEOUT`.
        options: Of `DataLoader`.
    """

    def __init__(self, dataset: Dataset, timeout: float | None = None, **options: Any) -> None:
        # a generator of its own: DataLoader draws a seed per epoch, which would disturb the global random state
        generator = torch.Generator().manual_seed(0)
        options |= {"timeout": (timeout or WORKER_TIMEOUT) if options["num_workers"] else 0}
        options |= {"collate_fn": collate, "worker_init_fn": init_worker, "generator": generator}
        super().__init__(_CatchErrors(dataset), **options)
        self._longer = "" if timeout is None else " (--worker_timeout)"

    def __iter__(self) -> Iterator[dict]:
        """Collated batches.

        Raises:
            FENetError: What a data set raised.
            EnvironmentFault: A worker process can't be started, died, or gave nothing for `timeout` seconds.
        """
        batches = None
        try:
            with signals_held():  # workers, and any thread that starts in them, inherit it
                batches = self._start()
            for batch in batches:
                if isinstance(batch, FENetError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if not any(mark in str(error) for mark in LOST_WORKER):
                raise
            kill_workers()
            reason, hint = (
                " ".join(str(error).strip().splitlines()[-1].split()),
                f"{MORE_MEMORY}, or look at the storage",
            )
            if "timed out" in reason:
                reason, hint = f"no batch for {self.timeout:g} s: a loader process hangs", hint + self._longer
            raise EnvironmentFault(f"{reason.rstrip('.')}; {hint}") from error
        finally:
            del batches  # ends the workers of one epoch now; a traceback's collection would wait 5 s for each of them

    def check_worker_number_rationality(self) -> None:
        """Of `DataLoader`, which warns of more workers than processors: they wait, no more."""

    def _start(self) -> Iterator:
        try:
            return super().__iter__()
        except OSError as error:  # no process, or no semaphore, which lies in /dev/shm
            raise EnvironmentFault(f"loader processes can't be started: {error.strerror}; {MORE_MEMORY}") from error


def build_eval_loader(
    dataset: EvaluationDataset,
    indices: Sequence[int],
    batch_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
    timeout: float | None = None,
) -> SafeDataLoader:
    """Loader of the samples `indices`, in this order, the last batch as small as it comes.

    Batches: `image` float32 (B,3,H,W), `label` uint8 (B,H,W) if there are labels, `name` list of str, `index` int64
    (B,). Images of different sizes in one batch raise `OptionError` while iterating: use `batch_size` 1 there.
    """
    batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    options = {"batch_sampler": batches, "num_workers": num_workers, "pin_memory": pin_memory}
    return SafeDataLoader(dataset, timeout, **options)


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

    Samples of tensors: `image` float32 (B,3,H,W), `label` uint8 (B,H,W), which the device makes int64, `name` list of
    str. Samples of raw windows, which differ in size: `windows` uint8 (total bytes), `shapes` of the arrays in it,
    `augmentation` and `name` lists.
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
    return {key: _stack([_narrow(key, sample[key]) for sample in samples]) for key in samples[0]}


def _narrow(key: str, value: Any) -> Any:
    """A sample's label in uint8, an eighth of the bytes on the way to the device; anything else as it is."""
    return value.byte() if key == "label" else value


def _stack(values: list) -> torch.Tensor | list[str]:
    """Tensors or numbers in one tensor; names as they are."""
    if isinstance(values[0], str):
        return values
    tensors = [torch.as_tensor(value) for value in values]
    return torch.stack(tensors, out=batch_memory((len(tensors), *tensors[0].shape), tensors[0].dtype))


def _concatenate(arrays: list[np.ndarray]) -> torch.Tensor:
    """All bytes in one tensor."""
    flat = batch_memory((sum(array.nbytes for array in arrays),), torch.uint8)
    place, start = flat.numpy(), 0
    for array in arrays:
        place[start : start + array.nbytes].reshape(array.shape)[...] = array
        start += array.nbytes
    return flat
