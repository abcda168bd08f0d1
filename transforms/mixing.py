"""Mixing in a training batch: a box, or some classes, of one crop pasted over another with its labels.

Sources: Yun et al., CutMix, ICCV 2019 (for segmentation French et al., BMVC 2020); Olsson et al., ClassMix, WACV 2021,
whose labels are a network's guess and here the true ones.
"""

import torch
from torch import Tensor

from utils.constants import IGNORE_LABEL
from utils.resizing import at_places

NUM_LABELS = 256


class BatchMixing:
    """Called with a batch -> the same with some crops mixed; a crop's source is the one before it in the batch.

    Choices come from torch's generator of the CPU, and the host waits for nothing.

    Args:
        device: Where the work is done.
        cutmix: Probability that a crop gets a box of its source.
        classmix: Probability that it gets half of its source's classes instead; the two add up to at most 1.
    """

    def __init__(self, device: torch.device, cutmix: float, classmix: float) -> None:
        self.device, self.cutmix, self.classmix = device, cutmix, classmix

    @torch.no_grad()
    def __call__(self, batch: dict) -> dict:
        """`image` float32 (B,3,H,W), `label` (B,H,W) of whole numbers, perhaps `teacher` maps (B,C,h,w) of the crops ->
        the batch with these mixed, on the device, `label` int64."""
        image, label = (batch[key].to(self.device, non_blocking=True) for key in ("image", "label"))
        label = label.long()  # loaders hand over bytes
        source = label.roll(1, 0)
        kind, boxes, scores = torch.rand(len(label)), _draw_boxes(label.shape), torch.rand(len(label), NUM_LABELS)
        kind, boxes, scores = (choice.to(self.device, non_blocking=True) for choice in (kind, boxes, scores))
        boxed = (kind < self.cutmix).view(-1, 1, 1) & _inside(boxes, label.shape)
        classed = ((kind >= self.cutmix) & (kind < self.cutmix + self.classmix)).view(-1, 1, 1)
        pasted = boxed | (classed & _of_half_the_classes(source, scores))
        mixed = {"image": _paste(image, pasted), "label": torch.where(pasted, source, label)}
        if "teacher" in batch:
            maps = batch["teacher"].to(self.device, non_blocking=True)
            mixed["teacher"] = _paste(maps, at_places(pasted, maps.shape[-2:]))
        return batch | mixed


def _paste(maps: Tensor, pasted: Tensor) -> Tensor:
    return torch.where(pasted[:, None], maps.roll(1, 0), maps)


def _draw_boxes(shape: tuple[int, int, int]) -> Tensor:
    """Boxes (B,4): top, bottom, left, right; a uniform share of the area around a uniform centre, cut at the edges."""
    count, *sides = shape
    share = torch.rand(count).sqrt()
    edges = []
    for side in sides:
        center = torch.rand(count) * side
        edges += [center - share * side / 2, center + share * side / 2]
    return torch.stack(edges, 1).round()


def _inside(boxes: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Bool (B,H,W)."""
    top, bottom, left, right = boxes.view(-1, 4, 1, 1).unbind(1)
    rows = torch.arange(shape[1], device=boxes.device).view(-1, 1)
    columns = torch.arange(shape[2], device=boxes.device)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def _of_half_the_classes(label: Tensor, scores: Tensor) -> Tensor:
    """Pixels, bool (B,H,W), of half of the classes that a label (B,H,W) has, rounded up; never ignored ones.

    The classes are those with the highest of the random `scores` (B,256).
    """
    flat = label.flatten(1)
    present = torch.zeros_like(scores).scatter_(1, flat, 1.0)
    present[:, IGNORE_LABEL] = 0
    rank = (scores + present).argsort(1, descending=True).argsort(1)  # those that are there come first
    chosen = (rank < (present.sum(1, keepdim=True) / 2).ceil()) & present.bool()
    return chosen.gather(1, flat).view_as(label)
