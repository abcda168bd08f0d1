"""The epochs of a training run: what each draws, and its loader."""

from pathlib import Path

import numpy as np

from datasets.base import Split
from datasets.dataset import TrainingDataset
from datasets.index import SplitIndex, file_name, labels_digest
from datasets.loader import SafeDataLoader
from datasets.options import DataOptions
from datasets.sampling.audit import audit_epoch, describe_audit, wanted_histogram, write_audit
from datasets.sampling.class_uniform import Centroids, EpochPlan, load_centroids, sample_epoch
from datasets.sampling.sampler import EpochSampler, count_batches
from utils.distributed import Process, from_first_rank
from utils.logging import get_logger


def open_centroids(split: Split, index: SplitIndex, options: DataOptions, folder: Path) -> Centroids | None:
    """What class-uniform sampling may centre crops on; None where it is off.

    One rank reads or makes it, so that all have the same whatever their disks hold.

    Args:
        split: What is trained on.
        index: Of its files, all of them.
        options: Class-uniform sampling.
        folder: Keeps the centroids, in a file named after the data and the tile.

    Raises:
        DataError: A label is missing or wrong.
    """
    if options.class_uniform_pct == 0:
        return None
    tile, content = options.class_uniform_tile, labels_digest(index, split)
    path = folder / f"centroids_{file_name(split)}_{tile}.npz"
    return split.select_centroids(from_first_rank(lambda: load_centroids(split, tile, path, content, True)))


class TrainingEpochs:
    """Called with (epoch, batches to leave out at the front) -> this rank's loader of the rest of the epoch.

    The loader and its workers live as long as the run; the loader of an earlier call is not to be used any more.

    Args:
        dataset: The augmented samples.
        process: This process.
        options: Class-uniform sampling and workers.
        batch_size: Samples per process and batch.
        centroids: What class-uniform sampling centres crops on; None: nothing, where it is off.
        limit: Batches per epoch at most, a multiple of `accumulate`; None: all.
        accumulate: Batches of a step; those at an epoch's end that fill none are left out.
        audit_path: Gets a line of JSON at the start of each epoch, about what is drawn; see `audit_epoch`.

    Raises:
        OptionError: An epoch that doesn't fill one step.
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        process: Process,
        options: DataOptions,
        batch_size: int,
        centroids: Centroids | None = None,
        limit: int | None = None,
        accumulate: int = 1,
        audit_path: Path | None = None,
    ) -> None:
        self.dataset, self.options, self.is_main, self.audit_path = dataset, options, process.is_main, audit_path
        self._seen, self._seen_epochs, self.centroids = np.empty(0, np.int64), 0, centroids
        whole = count_batches(dataset.split.epoch_length, process.world_size, batch_size, accumulate)
        self.batches = whole if limit is None else min(whole, limit)
        self._samples = self.batches * batch_size * process.world_size
        self._sampler = EpochSampler(process.rank, process.world_size, batch_size)
        self._loader = SafeDataLoader(
            dataset,
            options.worker_timeout,
            batch_sampler=self._sampler,
            num_workers=options.num_workers,
            pin_memory=process.device.type == "cuda",
            persistent_workers=options.num_workers > 0,
        )

    def plan(self, epoch: int) -> EpochPlan:
        """The samples that an epoch trains on, over all ranks: without an incomplete last batch, which is dropped."""
        length, probability = self.dataset.split.epoch_length, self._probability(epoch)
        return sample_epoch(length, self.centroids, probability, self.dataset.seed, epoch)[: self._samples]

    def _probability(self, epoch: int) -> float:
        """Of a crop to be centred on a class."""
        return self.options.class_uniform_pct if epoch <= self.options.max_cu_epoch else 0.0

    def __call__(self, epoch: int, start: int) -> SafeDataLoader:
        """An epoch without its first `start` batches; at the start of an epoch the log says what is drawn."""
        if start == 0 and self.is_main:
            self._report(epoch)
        self._sampler.set_epoch(self.plan(epoch), start)
        return self._loader

    def audit(self, epoch: int) -> dict:
        """What the epoch draws, over all ranks; see `audit_epoch`."""
        if epoch + 1 < self._seen_epochs:
            self._seen, self._seen_epochs = np.empty(0, np.int64), 0
        for earlier in range(self._seen_epochs, epoch + 1):  # plans are repeatable, so this holds after a resume too
            self._seen = np.union1d(self._seen, self.plan(earlier).images)
        self._seen_epochs = epoch + 1
        split, draws = self.dataset.split, self.plan(epoch)
        wanted = wanted_histogram(self.centroids, self._probability(epoch), len(draws), split.classes.names)
        return audit_epoch(epoch, draws, split.epoch_length, self._seen, wanted, split.classes.names)

    def _report(self, epoch: int) -> None:
        audit = self.audit(epoch)
        if self.centroids is not None:
            get_logger().info(describe_audit(audit))
        if self.audit_path is not None:
            write_audit(self.audit_path, audit)
