"""Learning from a teacher's probabilities.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, at temperature 1; for each pixel as in Liu et
al., Structured Knowledge Distillation, CVPR 2019, equation 1.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from loss.pixelwise import masked_mean, without_autocast
from utils.resizing import at_places, resize


class DistillationLoss(nn.Module):
    """Kullback-Leibler divergence of the model's probabilities from the teacher's, at the size of the teacher's map.

    Args:
        ignore_label: Label of the pixels that don't count, such as those outside the image.
    """

    def __init__(self, ignore_label: int = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Scalar, in nats: mean over the pixels of the map whose label counts; 0 with a graph without any.

        Args:
            logits: (N,C,h,w) at any stride.
            teacher: The teacher's logits (N,C,H/4,W/4), float16.
            labels: (N,H,W) int64.
        """
        with without_autocast(logits):
            size = teacher.shape[-2:]
            found = resize(logits.float(), size).log_softmax(1)
            wanted = teacher.float().log_softmax(1)
            divergence = F.kl_div(found, wanted, reduction="none", log_target=True).sum(1)
            return masked_mean(divergence, at_places(labels, size) != self.ignore_label)
