"""From a file to a predictor: snapshots, bare weights and exported files, for evaluation, demo and Python users."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datasets.base import ClassTable
from engine.checkpoint.loading import check_classes, load_model
from engine.inference.batch import LABELS, BatchPredictor
from engine.inference.certainty import label_confidence
from engine.inference.compile import CompiledModel
from engine.inference.exported import ExportedModel, load_exported
from engine.inference.options import PredictOptions
from engine.inference.precision import Choice, settle_precision, warn_if_emulated
from engine.inference.predictor import Predictor
from engine.inference.score_maps import predict_labels
from network.fusing import fuse_for_inference
from transforms import build_eval_transform
from utils.logging import get_logger


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to predict, and what is known of it.

    Attributes:
        title: The model's name, or of an exported model its file's.
        classes: Names, colours and label ids.
        mean: Of the encoder's images per channel, 0 to 1; `std` alike.
        predict: Batches -> scores.
    precision: In which it computes, and why.
        header: What the file says of itself: `config`, `classes` (with `dataset`), ...; empty for bare weights.
        report: What was and was not loaded, a line.
        exported: The file's own program, of an exported model.
    """

    title: str
    classes: ClassTable
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    predict: BatchPredictor
    precision: Choice
    header: dict
    report: str = ""
    exported: ExportedModel | None = None

    @cached_property
    def transform(self):
        """(sample, rng) -> sample with `image` float32 (3,H,W), normalised."""
        return build_eval_transform(self.mean, self.std)

    def score_image(self, image: np.ndarray, name: str = "image") -> Tensor:
        """RGB (H,W,3) uint8 and what it is called in messages -> scores (1,C,H,W), on the model's device.

        Raises:
            DataError: The image is too large, or of a size that an exported file doesn't take.
            NumericsError: A score is not finite.
        """
        sample = self.transform({"image": image}, np.random.default_rng(0))
        return self.predict({"image": sample["image"][None], "name": [name]})

    def label_image(self, image: np.ndarray, name: str = "image") -> np.ndarray:
        """The same -> train ids (H,W) uint8."""
        if self.exported is not None:  # without the way over scores
            return self.exported(image)
        return predict_labels(self.score_image(image, name))[0].cpu().numpy()

    def label_with_confidence(self, image: np.ndarray, name: str = "image") -> tuple[np.ndarray, np.ndarray]:
        """The same -> train ids (H,W) uint8, and their calibrated probabilities (H,W) float32; of no exported file."""
        scores = self.score_image(image, name)
        labels = predict_labels(scores)
        confidence = label_confidence(self.predict.calibrate_(scores), self.predict.merge)
        return labels[0].cpu().numpy(), confidence[0].cpu().numpy()


def load(
    options: PredictOptions, device: torch.device, classes: ClassTable | None = None, partial: bool = False
) -> LoadedModel:
    """Load `options.snapshot`, with the precision, fusing and compiling that the options ask for.

    Args:
        options: Such as `PredictOptions(snapshot="best.pth")`: eval.py's defaults.
        device: Where to compute; an exported file runs on the CPU.
        classes: Those of the data, which the file has to have; None: as the file says.
        partial: Load what fits.

    Raises:
        OptionError: Bare weights without `arch` and `classes`.
        CheckpointError: Unreadable, damaged, or of other classes.
        EnvironmentFault: A package that the file needs isn't installed.
    """
    names = classes.names if classes else None
    if not options.exported:
        model, header, report = load_model(options.snapshot, options.arch, names, partial)
        classes = classes or ClassTable.from_dict(header["classes"])
        note_size(header, options)
        return wrap_model(model, options, device, classes, header, str(report))
    exported = load_exported(options.snapshot, options.runs_on, options.max_pixels, options.amp)
    header, title = exported.header, Path(options.snapshot).name
    if names:
        check_classes(header, names, options.snapshot)
    classes = classes or ClassTable.from_dict(header["classes"])
    note_size(header, options)
    predict = BatchPredictor(exported.scores, device, merge=LABELS)
    mean, std, precision = header["mean"], header["std"], exported.precision
    get_logger().info(f"precision: {precision}")
    return LoadedModel(title, classes, mean, std, predict, precision, header, exported=exported)


def note_size(header: Mapping | None, options: PredictOptions) -> None:
    """Say at which size a run validated its images, where they aren't brought to any here."""
    size = ((header or {}).get("trained_on") or {}).get("base_size")
    if size is not None and options.base_size is None:
        get_logger().info(
            f"{options.snapshot}: its run validated at --base_size {size}; here images come in their own size"
        )


def wrap_model(
    model: nn.Module,
    options: PredictOptions,
    device: torch.device,
    classes: ClassTable,
    header: dict,
    report: str = "",
) -> LoadedModel:
    """A model of the registry, ready to predict as `options` ask for; `model` itself is left as it is."""
    arch, run = model.config["arch"], fuse_for_inference(model).to(device, memory_format=torch.channels_last)
    precision = settle_precision(options.amp, "inference", device, arch)
    get_logger().info(f"precision: {precision}")
    warn_if_emulated(precision, device)
    if options.compile:
        run = CompiledModel(run, precision.dtype is not None)
    predictor, encoder = Predictor(run, options.settings()), model.encoder
    temperature = header.get("temperature", 1.0)  # of a calibrated snapshot
    predict = BatchPredictor(predictor, device, precision.dtype, options.merge, temperature)
    return LoadedModel(arch, classes, encoder.mean, encoder.std, predict, precision, header, report)
