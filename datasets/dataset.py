"""The data sets that PyTorch's loaders read: one for training draws, one for evaluation."""

from collections.abc import Callable

import numpy as np
from torch.utils.data import Dataset

from datasets.base import Split
from datasets.instances import INSTANCES, InstanceFiles
from datasets.pixel_file import PixelFile
from datasets.sampling.class_uniform import CropSample
from datasets.teacher_maps import TeacherMaps
from utils.errors import DataError, OptionError

Transform = Callable[[dict, np.random.Generator], dict]


class TrainingDataset(Dataset):
    """Augmented samples; one depends on (seed, epoch, index of the draw) only, not on workers or processes.

    Args:
        split: A labelled split.
        transform: (sample, rng) -> sample; gets `image` uint8 (H,W,3), `label` uint8 (H,W), `name`, `epoch` and,
            for a draw with a centroid, `centroid` (x, y). Image and label may be read-only.
        seed: Seed of the run.
        cache: The split's decoded pixels, from which samples are made if given.
        teacher: What a teacher says of the images; a sample then has its map as `teacher`, float16 (C,h,w).

    Raises:
        OptionError: The split has no labels.
    """

    def __init__(
        self,
        split: Split,
        transform: Transform,
        seed: int,
        cache: PixelFile | None = None,
        teacher: TeacherMaps | None = None,
    ) -> None:
        if not split.has_labels:
            raise OptionError(f"split {split.split} of data set {split.dataset} has no labels to train on")
        self.split, self.transform, self.seed, self.cache, self.teacher = split, transform, seed, cache, teacher

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, draw: CropSample) -> dict:
        """What the transform makes of it, such as `image` float32 (3,H,W), `label` int64 (H,W) with 255 where
        ignored, `name`.

        Raises:
            DataError: A file is unreadable or wrong.
        """
        image, label = load_pair(self.split, draw.image) if self.cache is None else self.cache.load(draw.image)
        sample = {"name": self.split.names[draw.image], "image": image, "label": label, "epoch": draw.epoch}
        if self.teacher is not None:
            sample["teacher"] = self.teacher.load(draw.image)
        if draw.centroid is not None:
            sample["centroid"] = draw.centroid
        return self.transform(sample, sample_rng(self.seed, draw.epoch, draw.index))


class EvaluationDataset(Dataset):
    """Samples at their native size, in the order of the split.

    Args:
        split: Any split.
        transform: (sample, rng) -> sample, without randomness.
        instances: Of the split, where they are asked for.
    """

    def __init__(self, split: Split, transform: Transform, instances: InstanceFiles | None = None) -> None:
        self.split, self.transform, self.instances = split, transform, instances

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> dict:
        """`image` float32 (3,H,W), `label` int64 (H,W) if the split has labels, `name`, `index`, and where they
        are asked for `instances` int32 (H,W).

        Raises:
            DataError: A file is unreadable or wrong.
        """
        split, sample = self.split, {"name": self.split.names[index]}
        if split.has_labels:
            sample["image"], sample["label"] = load_pair(split, index)
        else:
            sample["image"] = split.load_image(index)
        sample = self.transform(sample, sample_rng(0, 0, index)) | {"index": index}
        if self.instances is not None:
            sample[INSTANCES] = self.instances.load(index)
            if sample[INSTANCES].shape != tuple(sample["label"].shape):
                raise DataError(f"{self.instances.path(index)}: not of the label's size; get the file again")
        return sample


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """All randomness of one training sample."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index])))


def load_pair(split: Split, index: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB (H,W,3) and train ids (H,W), uint8, of a labelled split.

    Raises:
        DataError: A file is unreadable or wrong, or they are not of one size.
    """
    image, label = split.load_image(index), split.load_label(index)
    (height, width), (label_height, label_width) = image.shape[:2], label.shape
    if (height, width) != (label_height, label_width):
        turned = (height, width) == (label_width, label_height)
        remedy = "turn one of them by 90 degrees" if turned else "take the label that was drawn on this image"
        raise DataError(
            f"{split.describe(index)}: the label is {label_width}x{label_height} pixels, the image"
            f" {width}x{height}; they must be of one size: {remedy}"
        )
    return image, label
