"""Running sums of an epoch: loss terms, kept on the device, and the time spent waiting for data."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from utils.distributed import sum_over_ranks
from utils.errors import NumericsError

T = TypeVar("T")


class DataTimer:
    """Seconds that a loop waits for its next item: time in which a device has nothing new to do."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with the time of getting each one counted."""
        iterator = None
        while True:
            start = time.monotonic()
            try:
                iterator = iter(items) if iterator is None else iterator
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.monotonic() - start
            yield item


class LossMeter:
    """Running sums of the loss terms of an epoch, kept on the device so that steps don't wait.

    Args:
        sums: Sums of the steps before an interruption, of a mean rank.
        steps: Their number.
    """

    def __init__(self, sums: dict[str, float] | None = None, steps: int = 0) -> None:
        self.sums: dict[str, Tensor | float] = dict(sums or {})
        self.steps: Tensor | int = steps

    def add(self, terms: dict[str, Tensor], applied: Tensor) -> None:
        """Count one step, unless `applied`, a bool on the device, is false."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + torch.where(applied, value.double(), 0.0)
        self.steps = self.steps + applied.long()

    def totals(self, where: str) -> dict[str, float]:
        """Sum of each term over steps and ranks.

        Raises:
            NumericsError: One isn't finite; `where` is part of the message.
        """
        local = torch.tensor([float(value) for value in self.sums.values()], dtype=torch.float64)
        values = sum_over_ranks(local).tolist() if self.sums else []
        totals = dict(zip(self.sums, values, strict=True))
        bad = {name: value for name, value in totals.items() if not np.isfinite(value)}
        if bad:
            raise NumericsError(f"{where}: loss not finite ({bad}); lower --lr, check the labels, or use --amp off")
        return totals

    def means(self, world_size: int, where: str) -> dict[str, float]:
        """Mean of each term over steps and ranks, nothing without a step; raises as `totals`."""
        totals, steps = self.totals(where), int(self.steps)
        return {name: value / steps / world_size for name, value in totals.items()} if steps else {}
