"""How much memory a training step takes: a formula, its one figure measured on small crops of the very model."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from config import TrainConfig
from datasets.base import IGNORE_LABEL
from engine.inference.precision import AUTOCAST
from engine.training.build import adapt_model, create_model
from loss import build_loss
from network.parts.pyramid_conv import PyramidConv
from utils.distributed import Process

CONTEXT, USABLE = 2**29, 0.92  # bytes that CUDA takes before the first tensor; the rest is never without gaps
PROBE_SIDE = 64  # of the smaller probe, unless the model pads it; the larger is twice that
PROBE_BATCH = 2
# peak of a step over what it saves; measured, see docs/doctor.md
TRANSIENT = {"off": 1.3, "bf16": 1.65, "fp16": 1.65}
# the same with --checkpoint_activations, which saves less and makes it anew for a moment
TRANSIENT_RECOMPUTED = {"off": 2.6, "bf16": 4.8, "fp16": 4.8}
OPTIMIZER_TENSORS = {"sgd": 1, "adam": 2, "adamw": 2}  # per parameter


class StepMemory:
    """Memory of a training step: fixed + transient x (constant + per_pixel x batch x height x width) bytes.

    `fixed` is 4 bytes for each parameter, its gradient and the optimizer's (and the weight average's) tensors. What a
    step saves for its backward pass grows with the pixels, so `per_pixel` and `constant` come from two forward passes
    on small crops; `transient` is for what it needs for a moment.

    Args:
        model: On the CPU.
        criterion: Outputs and labels -> named terms.
        num_classes: Number of classes.
        config: What train.py is asked for: optimizer, weight average, precision (`auto`: as on a GPU).
    """

    def __init__(self, model: nn.Module, criterion: Callable, num_classes: int, config: TrainConfig) -> None:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        every = sum(t.numel() for t in (*model.parameters(), *model.buffers()))
        options, compute = config.optimizer, config.compute
        amp = "off" if compute.amp == "auto" else compute.amp
        copies = 1 + OPTIMIZER_TENSORS.get(options.optimizer, 2) + options.amsgrad
        self.transient = (TRANSIENT_RECOMPUTED if compute.checkpoint_activations else TRANSIENT)[amp]
        self.fixed = 4 * (every + copies * trained + (every if options.ema else 0))
        side = max(PROBE_SIDE, getattr(model, "least", 0))
        sides = (side, 2 * side)
        first, second = (saved_bytes(model, criterion, num_classes, PROBE_BATCH, one, AUTOCAST[amp]) for one in sides)
        pixels = [PROBE_BATCH * one**2 for one in sides]
        self.per_pixel = (second - first) / (pixels[1] - pixels[0])
        self.constant = max(0.0, first - self.per_pixel * pixels[0])

    def saved(self, batch: int, height: int, width: int) -> float:
        """Bytes that a step saves for its backward pass."""
        return self.constant + self.per_pixel * batch * height * width

    def total(self, batch: int, height: int, width: int) -> float:
        """Bytes of a training step at its peak; see `usable_memory` for what a GPU has for it."""
        return self.fixed + self.transient * self.saved(batch, height, width)

    def largest_batch(self, limit: float, height: int, width: int) -> int:
        """How many images fit into `limit` bytes."""
        return int(
            (limit - self.fixed - self.transient * self.constant) // (self.transient * self.per_pixel * height * width)
        )

    def largest_crop(self, limit: float, batch: int) -> int:
        """Side of the largest square crop, a multiple of 32, of which `batch` fit into `limit` bytes; 0: none."""
        pixels = (limit - self.fixed - self.transient * self.constant) / (self.transient * self.per_pixel * batch)
        return int(max(0.0, pixels) ** 0.5) // 32 * 32


def usable_memory(size: float) -> float:
    """Bytes that a training step may take of a GPU with so many."""
    return max(0.0, USABLE * size - CONTEXT)


def build_step_memory(config: TrainConfig, num_classes: int) -> StepMemory:
    """The formula for the model, loss and precision that train.py would use."""
    config = replace(config, model=replace(config.model, filter_padding="zeros"))  # reflection takes larger crops
    model = adapt_model(create_model(config, num_classes), config, Process(0, 1, torch.device("cpu")))
    for module in model.modules():
        if isinstance(module, PyramidConv):
            module.coarse_first = False  # as on a GPU, which takes more
    return StepMemory(model.train(), build_loss(config.loss, num_classes, IGNORE_LABEL), num_classes, config)


def saved_bytes(
    model: nn.Module, criterion: Callable, num_classes: int, batch: int, side: int, amp: torch.dtype | None
) -> int:
    """Bytes of all that one forward pass saves for the backward pass, each storage once, weights not counted."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.zeros(batch, 3, side, side)
    labels = torch.arange(side).expand(batch, side, side) % num_classes
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", amp, enabled=amp is not None):
            loss = criterion(model(images), labels)["total"]
    assert loss.requires_grad
    return sum(sizes.values())
