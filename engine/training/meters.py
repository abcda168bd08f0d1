"""What the steps of an epoch gave: loss terms, whether they were applied, and the time spent waiting for data."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from utils.distributed import sum_over_ranks
from utils.errors import NumericsError

T = TypeVar("T")


class DataTimer:
    """Seconds that a loop waits for its next item: time in which a device has nothing new to do.

    Args:
        seconds: Counted before.
        clock: Tells the time in seconds.
    """

    def __init__(self, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with the time of getting each one counted."""
        iterator = None
        while True:
            start = self._clock()
            try:
                iterator = iter(items) if iterator is None else iterator
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += self._clock() - start
            yield item


class StepMetrics:
    """Loss terms of a step and whether it changed the weights, read while the next step is under way.

    Args:
        step: Its number, from 1.
        rate: Its learning rate.
        samples: Names of its samples.
        terms: Scalars on the device.
        applied: Bool on the device.
    """

    def __init__(self, step: int, rate: float, samples: list[str], terms: dict[str, Tensor], applied: Tensor) -> None:
        self.step, self.rate, self.samples = step, rate, samples
        self._names = list(terms)
        self._values = torch.stack([value.double() for value in (applied, *terms.values())])
        self._arrived = None
        if self._values.is_cuda:
            on_host = torch.empty(self._values.shape, dtype=self._values.dtype, pin_memory=True)
            self._values = on_host.copy_(self._values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> tuple[bool, dict[str, float]]:
        """Whether it was applied, and its terms; waits for this step, not for later ones."""
        if self._arrived is not None:
            self._arrived.synchronize()
        applied, *values = self._values.tolist()
        return bool(applied), dict(zip(self._names, values, strict=True))


class LossMeter:
    """Running sums of the loss terms of an epoch, kept on the device so that steps don't wait.

    Args:
        sums: This rank's part of the sums of the steps before an interruption.
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
