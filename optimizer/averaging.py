"""An exponential moving average of a model's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError


class ModelAverage:
    """Shadow of a model's state that follows it slowly: shadow <- d x shadow + (1 - d) x model.

    Parameters and floating-point buffers (the norms' running statistics, which belong to averaged weights) are
    averaged in float32 at least, whatever the model's precision; integer buffers (`num_batches_tracked`) are copied.
    In the first updates d is min(decay, (1 + n) / (10 + n)) with n the updates made so far, so that the start is soon
    forgotten.

    Args:
        model: the bare model, not its DistributedDataParallel or compiled wrapper, whose names differ.
        decay: d in the long run, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        for name, value in model.state_dict().items():
            self.shadow[name] = value.detach().to(_shadow_dtype(value), copy=True)
        device = next(iter(self.shadow.values())).device
        self.updates = torch.zeros((), dtype=torch.float64, device=device)  # there, so that no update waits for it

    @torch.no_grad()
    def update(self, model: nn.Module, applied: Tensor) -> None:
        """Move the average towards the model's present state; call it after each optimizer step.

        Where `applied`, a bool on the device, is false, nothing moves.
        """
        decay = ((1 + self.updates) / (10 + self.updates)).clamp(max=self.decay)
        averages, values = [], []
        for name, value in model.state_dict().items():
            shadow = self.shadow[name]
            if shadow.is_floating_point():
                averages.append(shadow)
                values.append(value.to(shadow))
            else:
                shadow.copy_(value)
        steps = torch._foreach_sub(values, averages)
        torch._foreach_mul_(steps, torch.where(applied, 1 - decay, 0.0).to(steps[0].dtype))
        torch._foreach_add_(averages, steps)
        self.updates += applied

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged state into the model, in the model's own types."""
        for name, value in model.state_dict().items():
            value.copy_(self.shadow[name])

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Lend the averaged state to the model, for a validation; its own comes back afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.copy_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in model.state_dict().items():
                    value.copy_(own[name])

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """`updates` and `shadow` (name -> tensor, not copied): all that a bit-exact resume needs."""
        return {"updates": int(self.updates), "shadow": dict(self.shadow)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave; the decay stays the one this average was built with.

        Raises:
            CheckpointError: names or shapes differ from this model's.
        """
        shadow = state["shadow"]
        if shadow.keys() != self.shadow.keys():
            odd = sorted(shadow.keys() ^ self.shadow.keys())
            raise CheckpointError(
                f"the saved weight average is of another model: {len(odd)} names differ, such as {odd[0]}; "
                "give the options it was trained with, or train from the start with --resume never"
            )
        for name, value in shadow.items():
            if value.shape != self.shadow[name].shape:
                raise CheckpointError(
                    f"the saved weight average has {name} of shape {tuple(value.shape)}, the model has "
                    f"{tuple(self.shadow[name].shape)}; give the options it was trained with"
                )
        for name, value in shadow.items():
            self.shadow[name].copy_(value)
        self.updates.fill_(state["updates"])


def _shadow_dtype(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
