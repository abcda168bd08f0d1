"""Who loads what: batches of an epoch's plan per process, and the share of a split that a process evaluates."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from datasets.sampling.class_uniform import CropSample
from utils.errors import OptionError


class EpochSampler(Sampler[list[CropSample]]):
    """Batches of one process from a plan that all processes share.

    Global batch k is `plan[k * G : (k + 1) * G]` with G = `batch_size` x `world_size`; rank r takes its r-th slice. An
    incomplete last batch is dropped, so that every rank makes the same number of steps.

    Args:
        plan: The epoch's draws, equal on every rank.
        rank: This process, from 0.
        world_size: Number of processes.
        batch_size: Samples per process and step.
        start_step: Global batches to leave out at the front, to go on in the middle of an epoch.

    Raises:
        OptionError: The plan does not fill a single global batch.
    """

    def __init__(
        self, plan: Sequence[CropSample], rank: int, world_size: int, batch_size: int, start_step: int = 0
    ) -> None:
        assert 0 <= rank < world_size and batch_size > 0 and start_step >= 0
        self.plan, self.rank, self.batch_size, self.start_step = plan, rank, batch_size, start_step
        self.global_batch = batch_size * world_size
        if len(plan) < self.global_batch:
            raise OptionError(
                f"the {len(plan)} samples of an epoch do not fill one batch of {batch_size} on each of {world_size}"
                " processes; lower --bs_mult or use fewer processes"
            )

    def __len__(self) -> int:
        return max(0, len(self.plan) // self.global_batch - self.start_step)

    def __iter__(self) -> Iterator[list[CropSample]]:
        for step in range(self.start_step, len(self.plan) // self.global_batch):
            first = step * self.global_batch + self.rank * self.batch_size
            yield list(self.plan[first : first + self.batch_size])


def evaluation_indices(n: int, rank: int, world_size: int) -> list[int]:
    """The samples, of n, that this rank evaluates: over all ranks each exactly once, none padded."""
    return list(range(rank, n, world_size))
