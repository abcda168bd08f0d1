"""Label smoothing as a term beside cross entropy.

Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.
"""

from torch import Tensor

from loss.beside import AddedLoss
from loss.pixelwise import masked_mean


class LabelSmoothing(AddedLoss):
    """Mean over labelled pixels of what a uniform label's cross entropy has above the true label's.

    Cross entropy plus e times this is the cross entropy to labels of 1 - e at the true class and e spread over all.
    """

    def of_pixels(self, logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """See `AddedLoss`."""
        true = logits.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
        return masked_mean(true - logits.mean(1), valid)
