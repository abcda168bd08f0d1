"""Who loads what: batches of an epoch's samples per process, and the part of a split that a process evaluates."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from datasets.sampling.class_uniform import CropSample
from utils.errors import OptionError


class EpochSampler(Sampler[list[CropSample]]):
    """Batches of one process from samples that all processes share; told the samples of each epoch.

    Global batch k is `samples[k * G : (k + 1) * G]` with G = `batch_size` x `world_size`; rank r takes its r-th slice.
    An incomplete last batch is dropped, so that every rank makes the same number of steps.

    Args:
        rank: This process, from 0.
        world_size: Number of processes.
        batch_size: Samples per process and step.
    """

    def __init__(self, rank: int, world_size: int, batch_size: int) -> None:
        assert 0 <= rank < world_size and batch_size > 0
        self.rank, self.world_size, self.batch_size = rank, world_size, batch_size
        self.samples: Sequence[CropSample] = ()
        self.start = self.end = 0

    def set_epoch(self, samples: Sequence[CropSample], start: int = 0) -> None:
        """What the next iteration is over.

        Args:
            samples: The epoch's, equal on every rank.
            start: Global batches to leave out at the front, to resume in the middle of an epoch.

        Raises:
            OptionError: The samples do not fill a single global batch.
        """
        assert start >= 0
        self.end = count_batches(len(samples), self.world_size, self.batch_size)
        self.samples, self.start = samples, start

    def __len__(self) -> int:
        return max(0, self.end - self.start)

    def __iter__(self) -> Iterator[list[CropSample]]:
        for step in range(self.start, self.end):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield list(self.samples[first : first + self.batch_size])


def count_batches(samples: int, world_size: int, batch_size: int, accumulate: int = 1) -> int:
    """Batches that each process makes of an epoch's samples, without those at the end that don't fill a step.

    Raises:
        OptionError: They don't fill a single batch, or step.
    """
    if samples < batch_size * world_size:
        most, fewer = samples // world_size, " or use fewer processes" if world_size > 1 else ""
        remedy = f"lower --bs_mult to {most}{fewer}" if most else "use fewer processes"
        where = f" on each of {world_size} processes" if world_size > 1 else ""
        raise OptionError(f"--bs_mult {batch_size}: an epoch of {samples} samples fills no batch{where}; {remedy}")
    batches = samples // (batch_size * world_size)
    if batches < accumulate:
        raise OptionError(
            f"--accumulate {accumulate}: an epoch has {batches} batches; lower it, --global_batch or --bs_mult"
        )
    return batches // accumulate * accumulate


def evaluation_indices(n: int, rank: int, world_size: int) -> list[int]:
    """The samples, of n, that this rank evaluates: over all ranks each exactly once, none padded."""
    return list(range(rank, n, world_size))
