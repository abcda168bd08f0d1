"""The criteria with a Triton kernel; PyTorch computes what the kernel doesn't take, and the log says so once.

Run in Triton's interpreter only; never run on a GPU, not measured. Importing this file needs the package triton.
"""

from torch import Tensor

from loss.cross_entropy import CrossEntropy
from loss.ohem import OhemCrossEntropy
from loss.pixelwise import without_autocast
from loss.triton.fused import takes, upsampled_cross_entropy
from utils.kernels import note_fallback


class TritonCrossEntropy(CrossEntropy):
    """`CrossEntropy` on Triton's kernels, where they take the tensors."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        if not _taken(logits, labels):
            return super().forward(logits, labels)
        with without_autocast(logits):
            return upsampled_cross_entropy(logits, labels, self.ignore_label)


class TritonOhemCrossEntropy(OhemCrossEntropy):
    """`OhemCrossEntropy`, which chooses the pixels here too, on Triton's kernels."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N,C,h,w), at any stride, for labels (N,H,W) int64."""
        if not _taken(logits, labels):
            return super().forward(logits, labels)
        with without_autocast(logits):
            return upsampled_cross_entropy(logits, labels, self.ignore_label, self.hard_pixels)


def _taken(logits: Tensor, labels: Tensor) -> bool:
    taken = takes(logits, labels)
    if not taken:
        note_fallback(f"the loss of {logits.dtype} logits on {logits.device.type}")
    return taken


KERNELS = {"ce": TritonCrossEntropy, "ohem": TritonOhemCrossEntropy}
