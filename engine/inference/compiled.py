"""A model for inference, compiled by PyTorch where its logits stay what they are."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import EnvironmentFault, first_line
from utils.logging import get_logger

SIZES = 8  # that a model is compiled for; PyTorch's own limit
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 5e-2  # of the logits' difference, relative to the largest logit


class CompiledModel:
    """Images (N,3,H,W) -> what `model` returns; attributes are the model's.

    It is compiled for each size of images, and checked on the first ones against the model as it is. On CUDA it is
    replayed as a CUDA graph. Sizes after the first `SIZES`, and those whose logits differ, are left to the model as it
    is, and the log says so.

    Args:
        model: In evaluation mode, on its device.
        reduced: It will run in reduced precision, where more rounding is allowed.
        backend: Of `torch.compile`.
    """

    def __init__(self, model: nn.Module, reduced: bool = False, backend: str | Callable = "inductor") -> None:
        self._model, self._tolerance = model, REDUCED_TOLERANCE if reduced else TOLERANCE
        cuda = next(model.parameters()).device.type == "cuda"
        mode = "reduce-overhead" if cuda and backend == "inductor" else None  # without autotuning, whose kernels err
        self._compiled = torch.compile(model, backend=backend, mode=mode, dynamic=False)
        self._agrees: dict[Sequence[int], bool] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, images: Tensor) -> dict:
        """See the class. Raises `EnvironmentFault` where the model can't be compiled."""
        size = tuple(images.shape)
        if size not in self._agrees:
            self._agrees[size] = self._check(images)
        return (self._compiled if self._agrees[size] else self._model)(images)

    def _check(self, images: Tensor) -> bool:
        size = "x".join(map(str, images.shape[-2:]))
        if len(self._agrees) >= SIZES:
            get_logger().warning(f"--compile: images of {size} are not compiled, there are more than {SIZES} sizes")
            return False
        try:
            logits = self._compiled(images)["logits"].float()
        except Exception as error:  # the compiler raises many kinds
            raise EnvironmentFault(
                f"--compile: PyTorch can't compile this model here ({first_line(error)}); leave the flag out, or see"
                " that a C++ compiler is installed"
            ) from error
        expected = self._model(images)["logits"].float()
        difference = ((logits - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()
        agrees = difference <= self._tolerance  # False where it isn't a number
        if not agrees:
            get_logger().warning(
                f"--compile: for images of {size} the logits differ by {difference:.1e} of the largest, more than"
                f" {self._tolerance:g}; they are predicted without it"
            )
        return agrees
