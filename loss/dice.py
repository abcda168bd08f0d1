"""Dice loss: one minus the overlap of probabilities and labels, the same for rare classes and frequent ones.

Source: Milletari et al., V-Net, 3DV 2016, equation in section 3 (squares in the denominator), mean over classes.
"""

import torch
from torch import Tensor

from loss.beside import AddedLoss


class DiceLoss(AddedLoss):
    """Mean over the classes of the batch's labels of 1 - 2 sum(p g) / (sum(p²) + sum(g)); 0 where there are none."""

    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """See `AddedLoss`."""
        sums = []
        for index, of_class in enumerate(logits.softmax(1).unbind(1)):
            true = labels == index
            squares = of_class.where(valid, 0.0).square()
            sums.append(torch.stack([of_class.where(true, 0.0).sum(), squares.sum(), true.sum()]))
        overlap, squares, count = torch.stack(sums, 1)
        present = count > 0
        loss = 1 - 2 * overlap / torch.where(present, squares + count, 1.0)
        return loss.where(present, 0.0).sum() / present.sum().clamp(min=1)
