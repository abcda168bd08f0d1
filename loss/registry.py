"""The losses by name. A new one is a file in this folder and a line in `LOSSES`, or in `ADDED` if it stands beside one.

A loss maps (logits (N,C,h,w) at any stride, labels (N,H,W) int64) to a scalar. It gets `num_classes` and `ignore_label`
if its constructor has arguments of these names, and `class_weights` (C floats, or None); the others, which need
defaults, are its options (`--loss_args`). The constructor raises `ValueError` for a value that can't work.
"""

from collections.abc import Sequence

from torch import nn

from loss.cross_entropy import CrossEntropy
from loss.dice import DiceLoss
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.label_smoothing import LabelSmoothing
from loss.lovasz import LovaszSoftmax
from loss.ohem import OhemCrossEntropy
from loss.relaxed_boundary import RelaxedBoundaryLoss
from utils.keywords import keywords

LOSSES: dict[str, type[nn.Module]] = {
    "ce": CrossEntropy,
    "ohem": OhemCrossEntropy,
    "image_weighted": ImageWeightedCrossEntropy,
    "relaxed_boundary": RelaxedBoundaryLoss,
}
ADDED: dict[str, type[nn.Module]] = {"dice": DiceLoss, "label_smoothing": LabelSmoothing, "lovasz": LovaszSoftmax}
_OF_THE_DATA = ("num_classes", "ignore_label", "class_weights")


def list_losses() -> list[str]:
    """Names that `--loss` takes, sorted."""
    return sorted(LOSSES)


def loss_options(name: str) -> dict:
    """The loss's own options: name -> `inspect.Parameter`."""
    return {key: value for key, value in keywords(LOSSES[name]).items() if key not in _OF_THE_DATA}


def takes_class_weights(name: str) -> bool:
    """Whether the loss has a place for `--class_weights`."""
    return "class_weights" in keywords(LOSSES[name])


def create_loss(
    loss: type[nn.Module],
    num_classes: int,
    ignore_label: int,
    options: dict,
    class_weights: Sequence[float] | None = None,
) -> nn.Module:
    """One criterion; `options` are its own.

    Raises:
        ValueError: A value that can't work.
    """
    data = {"num_classes": num_classes, "ignore_label": ignore_label, "class_weights": class_weights}
    known = keywords(loss)
    return loss(**{key: value for key, value in data.items() if key in known}, **options)
