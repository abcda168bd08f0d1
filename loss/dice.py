"""Dice loss: one minus the overlap of probabilities and labels, the same for rare classes and frequent ones.

Source: Milletari et al., V-Net, 3DV 2016, equation in section 3 (squares in the denominator), mean over classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loss.pixelwise import at_label_size, without_autocast


class DiceLoss(nn.Module):
    """Mean over the classes of the batch's labels of 1 - 2 sum(p g) / (sum(p²) + sum(g)); 0 where nothing is labelled.

    Args:
        ignore_label: Label of the pixels that don't count.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        with without_autocast(logits):
            logits = at_label_size(logits, labels)
            valid = labels != self.ignore_label
            probability = logits.softmax(1) * valid[:, None]
            true = F.one_hot(labels.where(valid, 0), logits.shape[1]).permute(0, 3, 1, 2) * valid[:, None]
            overlap, squares, count = ((a * b).sum((0, 2, 3)) for a, b in _pairs(probability, true))
            present = count > 0
            loss = 1 - 2 * overlap / torch.where(present, squares + count, 1.0)
            return loss.where(present, 0.0).sum() / present.sum().clamp(min=1)


def _pairs(probability: Tensor, true: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (probability, true), (probability, probability), (true, true)
