"""Tensors by name -> a module, with a report of what fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from engine.checkpoint.digests import is_snapshot
from utils.errors import CheckpointError

TRAINING_HEADS = ("aux_heads.", "boundary_head.", "dsn.")  # ours and the releases'; evaluation has no use for them


def find_weights(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file's content: a snapshot's (averaged weights first), bare, or under `state_dict`.

    Raises:
        CheckpointError: There is none.
    """
    if is_snapshot(content):
        average = content.get("average")
        content = content.get("model") if average is None else average
    elif isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: holds no state dict, which is tensors by name; take another file")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


@dataclass
class LoadReport:
    """Names of tensors by what became of them."""

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # the model's, not in the file: they stay as they were
    mismatched: list[str] = field(default_factory=list)  # of another shape: they stay as they were
    unexpected: list[str] = field(default_factory=list)  # the file's, not in the model
    unused: list[str] = field(default_factory=list)  # heads for training in the file, which the model doesn't build

    @property
    def complete(self) -> bool:
        """True if every tensor of the model was loaded and nothing was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        text = f"{self.source}: {len(self.loaded)} of {total} tensors loaded"
        for kind in ("missing", "mismatched", "unexpected", "unused"):
            names = getattr(self, kind)
            if names:
                text += f"; {len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        return text


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str, partial: bool) -> LoadReport:
    """Copy `weights` into `module`, whose keys they have.

    Args:
        module: Gets the weights, in place.
        weights: Tensors by the module's names.
        source: Where they come from, for messages.
        partial: Load what fits; otherwise anything missing, left over or misshapen is refused.

    Raises:
        CheckpointError: The weights don't fit; then `module` is unchanged.
    """
    own = module.state_dict()
    report = LoadReport(source)
    for name, tensor in own.items():
        fits = name in weights and weights[name].shape == tensor.shape
        (report.loaded if fits else report.mismatched if name in weights else report.missing).append(name)
    for name in weights:
        if name not in own:
            (report.unused if name.startswith(TRAINING_HEADS) else report.unexpected).append(name)
    if not partial and not report.complete:
        raise CheckpointError(f"{report}; they are of another architecture: name the right --arch, or --partial")
    if not report.loaded:
        raise CheckpointError(f"{report}; nothing in this file fits the model")
    module.load_state_dict({**own, **{name: weights[name] for name in report.loaded}})
    return report
