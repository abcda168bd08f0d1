"""The straightforward formulation of OHEM cross-entropy: the reference that tests and benchmarks compare with."""

import torch.nn.functional as F
from torch import Tensor, nn


class PlainOhemCrossEntropy(nn.Module):
    """As `OhemCrossEntropy`, by the definition: upsample, softmax, sort all probabilities, mask, cross-entropy.

    Args:
        thresh: Probability of the true class up to which a pixel is hard.
        min_kept: Pixels that are kept at least.
        ignore_label: Label of the pixels that don't count.
    """

    def __init__(self, thresh: float, min_kept: int, ignore_label: int = 255) -> None:
        super().__init__()
        self.thresh, self.min_kept, self.ignore_label = thresh, min_kept, ignore_label

    @classmethod
    def like(cls, other: nn.Module) -> "PlainOhemCrossEntropy":
        """With the options of an `OhemCrossEntropy`."""
        return cls(other.thresh, other.min_kept, other.ignore_label)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w) for labels (N,H,W) int64."""
        logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=True)
        valid = labels != self.ignore_label
        if 0 < self.min_kept <= int(valid.sum()):
            prob = logits.detach().softmax(dim=1)
            prob = prob.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1).where(valid, 1.0)
            smallest = prob.flatten().sort().values
            valid = valid & (prob <= max(self.thresh, float(smallest[self.min_kept - 1])))
        if not valid.any():
            return logits.sum() * 0
        return F.cross_entropy(logits, labels.where(valid, self.ignore_label), ignore_index=self.ignore_label)
