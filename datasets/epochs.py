"""The epochs of a training run: what each draws, and its loader."""

from pathlib import Path

from datasets.dataset import TrainingDataset
from datasets.loader import SafeDataLoader, TrainLoader
from datasets.sampling.audit import audit_epoch, describe_audit, wanted_histogram, write_audit
from datasets.sampling.class_uniform import CropSample, load_centroids, sample_epoch
from datasets.sampling.sampler import EpochSampler
from utils.distributed import Process, from_first_rank
from utils.logging import get_logger


class TrainingEpochs:
    """Called with (epoch, batches to leave out at the front) -> this rank's loader of the rest of the epoch.

    Args:
        dataset: The augmented samples.
        process: This process.
        batch_size: Samples per process and batch.
        class_uniform_pct: Share of crops centred on class centroids, 0 to 1.
        class_uniform_tile: Tile of the centroids, pixels.
        max_cu_epoch: Last epoch with class-uniform sampling.
        cache_folder: Keeps the centroids, in a file named after the data and the tile.
        num_workers: Loader processes.
        worker_timeout: Seconds without a batch after which a loader process counts as stuck.
        limit: Batches per epoch at most; None: all.
        audit_path: Gets a line of JSON at the start of each epoch, about what is drawn; see `audit_epoch`.

    Raises:
        OptionError: A share or tile that cannot work, or an epoch that doesn't fill one batch.
        DataError: A label is missing or wrong.
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        process: Process,
        *,
        batch_size: int,
        class_uniform_pct: float,
        class_uniform_tile: int,
        max_cu_epoch: int,
        cache_folder: Path,
        num_workers: int,
        worker_timeout: int = 300,
        limit: int | None = None,
        audit_path: Path | None = None,
    ) -> None:
        self.dataset, self.process, self.batch_size = dataset, process, batch_size
        self._loader = TrainLoader(dataset, num_workers, process.device.type == "cuda", worker_timeout)
        self.class_uniform_pct, self.max_cu_epoch, self.limit = class_uniform_pct, max_cu_epoch, limit
        self.audit_path, self._seen, self._seen_epochs = audit_path, set(), 0
        self.centroids = None
        if class_uniform_pct > 0:
            cache = cache_folder / f"centroids_{dataset.split.fingerprint()[:16]}_{class_uniform_tile}.json"
            # one rank reads and writes, so that all have the same lists whatever their disks hold
            centroids = from_first_rank(lambda: load_centroids(dataset.split, class_uniform_tile, cache, True))
            self.centroids = dataset.split.select_centroids(centroids)
        self.batches = len(self._sampler(self.plan(0), 0))

    def plan(self, epoch: int) -> list[CropSample]:
        """The draws of an epoch, over all ranks."""
        length = self.dataset.split.epoch_length
        draws = sample_epoch(length, self.centroids, self._share(epoch), self.dataset.seed, epoch)
        return draws if self.limit is None else draws[: self.limit * self.batch_size * self.process.world_size]

    def __call__(self, epoch: int, start: int) -> SafeDataLoader:
        """See the class; at the start of an epoch the log says what is drawn."""
        draws = self._trained(epoch)
        if start == 0 and self.process.is_main:
            self._report(epoch)
        return self._loader.epoch(self._sampler(draws, start))

    def audit(self, epoch: int) -> dict:
        """What the epoch draws, over all ranks; see `audit_epoch`."""
        if epoch + 1 < self._seen_epochs:
            self._seen, self._seen_epochs = set(), 0
        for earlier in range(self._seen_epochs, epoch + 1):  # plans are repeatable, so this holds after a resume too
            self._seen |= {draw.image for draw in self._trained(earlier)}
        self._seen_epochs = epoch + 1
        names, draws = self.dataset.split.classes.names, self._trained(epoch)
        wanted = wanted_histogram(self.centroids, self._share(epoch), len(draws), names)
        return audit_epoch(epoch, draws, self.dataset.split.epoch_length, self._seen, wanted, names)

    def _report(self, epoch: int) -> None:
        audit = self.audit(epoch)
        if self.centroids is not None:
            get_logger().info(describe_audit(audit))
        if self.audit_path is not None:
            write_audit(self.audit_path, audit)

    def _share(self, epoch: int) -> float:
        return self.class_uniform_pct if epoch <= self.max_cu_epoch else 0.0

    def _trained(self, epoch: int) -> list[CropSample]:
        """The draws without the incomplete last batch, which is dropped."""
        return self.plan(epoch)[: self.batches * self.batch_size * self.process.world_size]

    def _sampler(self, draws: list[CropSample], start: int) -> EpochSampler:
        return EpochSampler(draws, self.process.rank, self.process.world_size, self.batch_size, start)
