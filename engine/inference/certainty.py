"""How sure a prediction is: temperature, the probability of each label, and the agreement of several passes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.inference.score_maps import parts, predict_labels


@torch.inference_mode()
def temper_(scores: Tensor, merge: str, temperature: float) -> Tensor:
    """Scores (N,C,H,W) whose probabilities are calibrated, in place: merged logits / T, merged probabilities ^ (1 / T).

    It comes after the merging, and labels are taken before it: dividing each pass's logits instead would weigh the
    passes anew, and change labels.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    if temperature == 1:
        return scores
    return scores.div_(temperature) if merge == "logit" else scores.pow_(1 / temperature)


def label_confidence(scores: Tensor, merge: str) -> Tensor:
    """Probability of the likeliest class, (N,H,W) float32, of scores (N,C,H,W) as `merge` says; a part at a time."""
    n, channels, height, width = scores.shape
    confidence = torch.empty(n, height, width, device=scores.device)
    for rows in parts(height, n * channels * width):
        some = scores[..., rows, :]
        top = some.amax(dim=1)
        if merge == "logit":
            confidence[:, rows] = 1 / (some - top.unsqueeze(1)).exp().sum(dim=1)
        else:
            confidence[:, rows] = top / some.sum(dim=1)
    return confidence.clamp_(max=1)


class Votes:
    """The labels of each pass by itself: of a scale, mirrored or not; a byte for each pixel and pass.

    Where windows overlap, the last one's label stands.
    """

    def __init__(self) -> None:
        self._maps: list[Tensor] = []
        self._open: dict[int, Tensor] = {}
        self._size: Sequence[int] = (0, 0)

    def open(self, size: Sequence[int]) -> None:
        """A scale begins, at which images have this (H,W)."""
        self._open, self._size = {}, size

    def cast(self, run: int, scores: Tensor, place: tuple[int, int] = (0, 0)) -> None:
        """Scores (N,C,h,w) of a piece whose first pixel is at `place` (y,x); `run` counts its passes from 0."""
        labels, (y, x) = predict_labels(scores), place
        if run not in self._open:
            self._open[run] = labels.new_zeros(len(labels), *self._size)
        inside = self._open[run][:, y : y + labels.shape[1], x : x + labels.shape[2]]
        inside.copy_(labels[:, : inside.shape[1], : inside.shape[2]])

    def close(self, size: Sequence[int]) -> None:
        """The scale ends; its labels come to the images' `size` (H,W), each from its nearest pixel."""
        for labels in self._open.values():
            if labels.shape[1:] != tuple(size):
                sides = zip(labels.shape[1:], size, strict=True)
                ends = {"start": 0, "device": labels.device}
                rows, columns = (torch.linspace(end=old - 1, steps=new, **ends).round().long() for old, new in sides)
                labels = labels[:, rows][:, :, columns]
            self._maps.append(labels)

    def agreement(self, labels: Tensor) -> Tensor:
        """Share of the passes that give the pixel's own label, (N,H,W) float32, with `labels` (N,H,W) uint8."""
        total = torch.zeros(labels.shape, device=labels.device)
        for each in self._maps:
            total += each == labels
        return total.div_(len(self._maps))
