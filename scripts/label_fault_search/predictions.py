"""The models that judge labels, and which of them weren't trained on an image."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import datasets
from datasets.base import Split
from datasets.dataset import load_pair
from datasets.options import find_root
from engine.checkpoint.loading import check_classes
from engine.evaluation.seen import seen_images
from engine.inference.build import LoadedModel, load
from engine.inference.options import PredictOptions
from utils.devices import choose_device
from utils.errors import DataError, OptionError
from utils.files import read_json


@dataclass(frozen=True)
class Judges:
    """Models and the split whose labels they judge.

    Attributes:
        models: At least one, of the split's classes.
        trained_on: Of each model, the names of the split's images that it was trained on.
        split: With labels.
    """

    models: Sequence[LoadedModel]
    trained_on: Sequence[frozenset[str]]
    split: Split

    def judge(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (C,H,W) float32 of an image, and its label: train ids (H,W) uint8.

        The probabilities are the mean of the models that weren't trained on the image, or of all.

        Raises:
            DataError: Image or label can't be read, or they differ in size.
        """
        image, label = load_pair(self.split, index)
        name = self.split.names[index]
        scores = [model.score_image(image, name)[0].float().cpu().numpy() for model in self.chosen(index)]
        return scores[0] if len(scores) == 1 else np.mean(scores, axis=0, dtype=np.float32), label

    def chosen(self, index: int) -> list[LoadedModel]:
        """The models that judge an image."""
        name = self.split.names[index]
        unseen = [model for model, known in zip(self.models, self.trained_on, strict=True) if name not in known]
        return unseen or list(self.models)

    def seen(self, index: int) -> bool:
        """True if all models were trained on an image, whose faults they may have learnt."""
        return all(self.split.names[index] in known for known in self.trained_on)

    def describe(self) -> str:
        """Whom the images are judged by, in words."""
        seen = sum(self.seen(index) for index in range(len(self.split)))
        who = self.models[0].title if len(self.models) == 1 else f"{len(self.models)} models"
        if not seen:
            return f"judged by {who}, not trained on them"
        return f"judged by {who}; {seen} images were trained on, whose faults may have been learnt as well"


def load_judges(options: argparse.Namespace) -> Judges:
    """Models and split of `snapshots`, `arch`, `dataset`, `data_root`, `split`, `cv_split`, `device` and `base_size`.

    Raises:
        OptionError: A file gives labels only, or the split has no labels.
        DataError: The data is missing or wrong.
        CheckpointError: A snapshot is missing, damaged, or of other classes.
    """
    device, models, split = choose_device(options.device), [], None
    if options.dataset:
        split = _open_split(options, options.dataset)
    common = {"arch": options.arch, "device": options.device, "base_size": options.base_size}
    for path in options.snapshots:
        settings = PredictOptions(snapshot=str(path), **common)
        if settings.exported:
            raise OptionError(f"{path}: an exported file gives labels without probabilities; take the snapshot")
        models.append(load(settings, device, split.classes if split else None))
    split = split or _open_split(options, models[0].header["classes"]["dataset"])
    judges = list(zip(models, options.snapshots, strict=True))
    for model, path in judges:
        if model.header:
            check_classes(model.header, split.classes.names, path)
    known = (model.header.get("trained_on") or _trained_on(path) for model, path in judges)
    return Judges(models, [_seen(trained_on, split, options) for trained_on in known], split)


def _open_split(options: argparse.Namespace, dataset: str) -> Split:
    """The split whose labels are judged. Raises `OptionError` or `DataError` where there is none."""
    root = find_root(datasets.resolve_name(dataset), options.data_root)
    split = datasets.build_split(dataset, root, options.split, options.cv_split)
    if not split.has_labels:
        raise OptionError(f"--split {options.split}: this split of {split.dataset} has no labels")
    if not len(split):
        raise DataError(f"--split {options.split}: {root} holds no image of it")
    return split


def _trained_on(snapshot: Path) -> dict | None:
    """What an older snapshot doesn't say itself, by its run's config.json; None where that isn't beside it."""
    config = snapshot.parent / "config.json"
    settings = read_json(config) if config.is_file() else {}
    names = {"split": settings.get("train_split", "train"), "cv": settings.get("cv", 0)}
    return {"dataset": settings["dataset"], **names} if "dataset" in settings else None


def _seen(trained_on: dict | None, split: Split, options: argparse.Namespace) -> frozenset[str]:
    """Names of the images that were trained on; where nothing tells, all of `train` and nothing else."""
    if trained_on is None:
        return frozenset(split.names if split.split == "train" else ())
    return seen_images(trained_on, split.dataset, find_root(split.dataset, options.data_root), split)
