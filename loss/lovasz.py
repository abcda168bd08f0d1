"""Lovász-Softmax: a convex stand-in for the Jaccard index (IoU) of each class.

Source: Berman et al., The Lovász-Softmax loss, CVPR 2018, equation 9; errors are counted in steps, not sorted.
"""

import torch
from torch import Tensor

from loss.beside import AddedLoss

STEPS = 16384
"""Errors of less than 1 / STEPS apart may count as equal: the loss is within 1 / STEPS of the sorted one's."""


class LovaszSoftmax(AddedLoss):
    """Mean over the classes of the batch's labels; 0 with a graph where nothing is labelled."""

    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """See `AddedLoss`."""
        terms, present = [], []
        for index, of_class in enumerate(logits.softmax(1).unbind(1)):
            true = labels == index
            # an ignored pixel has no error, so it comes last, where it changes no index
            errors = (true.to(of_class.dtype) - of_class).abs().where(valid, 0.0).flatten()
            terms.append((errors * _jaccard_gradient(errors.detach(), true.flatten())).sum())
            present.append(true.any())
        present = torch.stack(present)
        return torch.stack(terms).where(present, 0.0).sum() / present.sum().clamp(min=1)


def _jaccard_gradient(errors: Tensor, true: Tensor) -> Tensor:
    """Gradient of the Jaccard loss's Lovász extension with respect to errors (P,) from 0 to 1 where `true`, bool (P,).

    Where M of T true pixels and S of the others have larger errors, one more true pixel raises the Jaccard loss
    (M + S) / (T + S) by 1 / (T + S), one more of the others by (T - M) / ((T + S) (T + S + 1)). Pixels of one
    step share what they raise it by together, the mean of two orders: the true pixels first, and the others first.
    """
    step = ((1 - errors) * STEPS).long().clamp(0, STEPS) + (STEPS + 1) * true
    counts = step.new_zeros(2 * (STEPS + 1)).scatter_add_(0, step, torch.ones_like(step)).view(2, -1)
    through = counts.cumsum(1)
    others_before, true_before = (through - counts).to(errors.dtype)
    others_through, true_through = through.to(errors.dtype)
    total = true_through[-1]
    union_before, union_through = ((total + others).clamp(min=1) for others in (others_before, others_through))
    of_others = (total - (true_before + true_through) / 2) / (union_before * union_through)
    of_true = (1 / union_before + 1 / union_through) / 2
    return torch.cat([of_others, of_true])[step]
