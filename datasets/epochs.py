"""The epochs of a training run: what each draws, and its loader."""

from pathlib import Path

from datasets.dataset import TrainingDataset
from datasets.loader import FaultLoader, build_train_loader
from datasets.sampler import EpochSampler
from datasets.uniform import Draw, epoch_plan, load_centroids, realised_histogram
from utils.distributed import Process, first_rank_first
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
        limit: Batches per epoch at most; None: all.

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
        limit: int | None = None,
    ) -> None:
        self.dataset, self.process, self.batch_size, self.num_workers = dataset, process, batch_size, num_workers
        self.class_uniform_pct, self.max_cu_epoch, self.limit = class_uniform_pct, max_cu_epoch, limit
        self.centroids = None
        if class_uniform_pct > 0:
            cache = cache_folder / f"centroids_{dataset.split.fingerprint()[:16]}_{class_uniform_tile}.json"
            if not cache.exists():
                get_logger().info(f"looking for the classes in {len(dataset)} label maps, once: {cache}")
            centroids = first_rank_first(lambda: load_centroids(dataset.split, class_uniform_tile, cache))
            self.centroids = dataset.split.select_centroids(centroids)
        self.batches = len(self._sampler(self.plan(0), 0))

    def plan(self, epoch: int) -> list[Draw]:
        """The draws of an epoch, over all ranks."""
        share = self.class_uniform_pct if epoch <= self.max_cu_epoch else 0.0
        draws = epoch_plan(self.dataset.split.epoch_length, self.centroids, share, self.dataset.seed, epoch)
        return draws if self.limit is None else draws[: self.limit * self.batch_size * self.process.world_size]

    def __call__(self, epoch: int, start: int) -> FaultLoader:
        """See the class; says in the log what class-uniform sampling drew."""
        draws = self.plan(epoch)[: self.batches * self.batch_size * self.process.world_size]
        if start == 0 and self.centroids is not None:
            names = self.dataset.split.classes.names
            counts = realised_histogram(draws, len(names)).tolist()
            text = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
            wanted = self.class_uniform_pct if epoch <= self.max_cu_epoch else 0
            share = f"{sum(counts)} of {len(draws)} crops centred on a class ({wanted:.0%} wanted)"
            get_logger().info(f"epoch {epoch}: {share}: {text}")
        pin_memory = self.process.device.type == "cuda"
        return build_train_loader(self.dataset, self._sampler(draws, start), self.num_workers, pin_memory)

    def _sampler(self, draws: list[Draw], start: int) -> EpochSampler:
        return EpochSampler(draws, self.process.rank, self.process.world_size, self.batch_size, start)
