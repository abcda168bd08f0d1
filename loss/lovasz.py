"""Lovász-Softmax: a convex stand-in for the Jaccard index (IoU) of each class.

Source: Berman et al., The Lovász-Softmax loss, CVPR 2018, algorithm 1 and equation 9.
"""

import torch
from torch import Tensor

from loss.beside import AddedLoss


class LovaszSoftmax(AddedLoss):
    """Mean over the classes of the batch's labels; 0 with a graph where nothing is labelled.

    Each class's pixels are sorted, which takes a CPU about ten times as long as cross entropy.
    """

    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """See `AddedLoss`."""
        terms, present = [], []
        for index, of_class in enumerate(logits.softmax(1).unbind(1)):
            true = labels == index
            # an ignored pixel has no error, so it comes last, where it changes no index
            errors = (true.to(of_class.dtype) - of_class).abs().where(valid, 0.0).flatten()
            errors, order = errors.sort(descending=True)
            terms.append(errors @ _jaccard_gradient(true.flatten()[order].to(of_class.dtype)))
            present.append(true.any())
        present = torch.stack(present)
        return torch.stack(terms).where(present, 0.0).sum() / present.sum().clamp(min=1)


def _jaccard_gradient(true: Tensor) -> Tensor:
    """Gradient of the Jaccard loss's Lovász extension with respect to errors in this order; `true` is 0 or 1, (P,)."""
    total = true.sum()
    intersection = total - true.cumsum(0)
    union = total + (1 - true).cumsum(0)
    loss = 1 - intersection / union
    return torch.cat([loss[:1], loss.diff()])
