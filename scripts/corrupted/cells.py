"""Evaluations on corrupted images: one for each corruption and strength, and one of the images as they are."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.base import Split
from datasets.dataset import EvaluationDataset
from datasets.part import SubsetSplit
from engine.evaluation.build import choose_part, load_with_split
from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.options import EvalOptions
from engine.evaluation.run import shared_loader
from engine.evaluation.scoring import Evaluation, evaluate
from engine.inference.build import LoadedModel
from transforms.corruptions import corrupt, image_rng
from utils.distributed import Process
from utils.files import file_sha256
from utils.logging import get_logger
from utils.metrics.confusion import compute_metrics

Key = tuple[str, int] | None
"""Corruption and strength; None: the images as they are."""
PARTIAL = "partial"  # subfolder with the results of finished images


class CorruptedSplit(SubsetSplit):
    """A split whose images are corrupted as they are loaded, at their own size, from random numbers of their own."""

    def __init__(self, whole: Split, corruption: str, strength: int) -> None:
        super().__init__(whole, range(len(whole)))
        self.corruption, self.strength = corruption, strength

    def load_image(self, index: int) -> np.ndarray:
        """RGB (H,W,3) uint8."""
        rng = image_rng(self.names[index], self.corruption, self.strength)
        return corrupt(super().load_image(index), self.corruption, self.strength, rng)


@dataclass(frozen=True)
class Cell:
    """What was counted, and how long an image took, seconds; None where an earlier call had counted all of them."""

    evaluation: Evaluation
    seconds: float | None


@dataclass(frozen=True)
class RobustnessRun:
    """A model, the images that it is tried on, and what is kept while it runs.

    Attributes:
        options: Of the evaluations.
        process: This process.
        model: The model.
        split: What is evaluated, uncorrupted.
        indices: Of the images in it.
        snapshot_sha256: Of the model's file.
    """

    options: EvalOptions
    process: Process
    model: LoadedModel
    split: Split
    indices: Sequence[int]
    snapshot_sha256: str

    def dataset(self, key: Key) -> EvaluationDataset:
        """Samples of a cell."""
        split = self.split if key is None else CorruptedSplit(self.split, *key)
        return EvaluationDataset(split, self.model.transform)

    def evaluate(self, key: Key) -> Cell:
        """Score each image once; those that an earlier call finished with the same options are not predicted again."""
        settings = {"snapshot": self.snapshot_sha256, "data": self.split.fingerprint(), "corruption": key}
        settings |= {"device": self.process.device.type, "options": self.options.reproducibility_key()}
        if self.model.predict.label_map is not None:
            settings["label_map"] = self.model.predict.label_map.tolist()
        folder = self.options.folder / PARTIAL / ("clean" if key is None else f"{key[0]}_{key[1]}")
        journal = EvaluationJournal(folder, settings, self.split)
        finished = [image for image in journal.start(resume=True) if image.index in self.indices]
        left = sorted(set(self.indices) - {image.index for image in finished})
        start = time.perf_counter()
        evaluation = evaluate(
            self.model.predict,
            shared_loader(self.dataset(key), left, self.options, self.process),
            self.split.classes.num_classes,
            journal=journal,
            finished=finished,
            progress=self.process.is_main,
        )
        return Cell(evaluation, (time.perf_counter() - start) / len(left) if left else None)

    def evaluate_all(self, keys: Sequence[Key]) -> Iterator[tuple[Key, Cell]]:
        """Each cell in turn, with a line in the log and the time that is left."""
        start, names = time.perf_counter(), self.split.classes.names
        for number, key in enumerate(keys, 1):
            cell = self.evaluate(key)
            mean_iou = compute_metrics(cell.evaluation.confusion, names)["mean_iou"]
            left = (time.perf_counter() - start) / number * (len(keys) - number)
            what = "clean" if key is None else f"{key[0]} {key[1]}"
            get_logger().info(
                f"{what}: mean IoU {mean_iou:.4f}; {number} of {len(keys)}"
                + (f", about {left / 60:.1f} min left" if left else "")
            )
            yield key, cell

    def forget(self) -> None:
        """Remove what was kept to resume from."""
        if self.process.is_main:
            shutil.rmtree(Path(self.options.folder) / PARTIAL, ignore_errors=True)


def build_run(options: EvalOptions, process: Process) -> RobustnessRun:
    """Load model and split, refuse what can't be scored; raises as `build_evaluation`."""
    model, split = load_with_split(options, process)
    options = replace(options, amp=model.precision.amp)  # for the records
    indices = choose_part(options, split)
    return RobustnessRun(options, process, model, split, indices, file_sha256(options.snapshot))
