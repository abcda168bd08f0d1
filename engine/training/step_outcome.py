"""What a training step gave, read while the next one is under way, so that the device never waits for the host."""

import torch
from torch import Tensor


class StepMetrics:
    """Loss terms of a step and whether it changed the weights, on their way from the device.

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
