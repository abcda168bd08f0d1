"""Tensors by name -> a module, with a report of what fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from utils.errors import CheckpointError

Scale = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of RGB images in [0, 1]
TRAINING_HEADS = ("aux_heads.", "boundary_head.", "dsn.")  # ours and the releases'; evaluation has no use for them


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
            if names := getattr(self, kind):
                text += f"; {counted(names, kind)}"
        return text


def counted(names: Sequence[str], kind: str) -> str:
    """`4 missing (a, b, c, ...)`."""
    return f"{len(names)} {kind}" + (f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "")


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
        other = "of another architecture: name the right --arch, or --partial"
        if not (report.missing or report.unexpected):
            other = "for other classes or channels: --partial starts these anew"
        raise CheckpointError(f"{report}; they are {other}")
    if not report.loaded:
        raise CheckpointError(f"{report}; nothing in this file fits the model")
    module.load_state_dict({**own, **{name: weights[name] for name in report.loaded}})
    return report


@dataclass
class EncoderWeights:
    """Weights as they came: tensors by their own names, a hash, and the scale of their images where it is known."""

    name: str
    weights: Mapping[str, Tensor]
    sha256: str
    scale: Scale | None = None
