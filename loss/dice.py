"""Dice loss: one minus the overlap of probabilities and labels, the same for rare classes and frequent ones.

Source: Milletari et al., V-Net, 3DV 2016, equation in section 3 (squares in the denominator), mean over classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.beside import AddedLoss


class DiceLoss(AddedLoss):
    """Mean over the classes of the batch's labels of 1 - 2 sum(p g) / (sum(p²) + sum(g)); 0 where there are none."""

    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """See `AddedLoss`."""
        pixels = (0, 2, 3)
        probability = logits.softmax(1) * valid[:, None]
        true = F.one_hot(labels.where(valid, 0), logits.shape[1]).permute(0, 3, 1, 2) * valid[:, None]
        overlap, squares, count = (probability * true).sum(pixels), probability.square().sum(pixels), true.sum(pixels)
        present = count > 0
        loss = 1 - 2 * overlap / torch.where(present, squares + count, 1.0)
        return loss.where(present, 0.0).sum() / present.sum().clamp(min=1)
