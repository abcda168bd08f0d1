"""A microscope on a snapshot: the loaded model with its variants, the images, and what is written down of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from datasets.dataset import EvaluationDataset
from engine.checkpoint.loading import load_model
from engine.evaluation.build import choose_part, load_with_split
from engine.evaluation.options import EvalOptions
from engine.evaluation.run import shared_loader
from engine.inference.build import LoadedModel
from engine.report.page import versions
from network.fenet import STRIDES
from network.parts.enhancement import FeatureFilter
from scripts.make_receipt import describe_machine
from scripts.microscopes.counting import Counts, SwitchedPredictor, count
from scripts.microscopes.responses import describe_filter
from scripts.microscopes.scores import EVERYWHERE, describe_variants
from scripts.microscopes.variants import MEANINGS, MODULES, TRAINED, build_variants, filters_of, modules_of
from utils.distributed import Process
from utils.errors import CheckpointError
from utils.files import file_sha256
from utils.machine import present_revision
from utils.metrics.bootstrap import LEVEL, SEED


@dataclass(frozen=True)
class Microscope:
    """A FENet, ready to be looked at.

    Attributes:
        options: How images are predicted, as in eval.py.
        process: The only one.
        loaded: What eval.py predicts with.
        predict: The same with each variant in turn.
        filters: The enhancement filters by dotted name, as trained.
        dataset: Samples of the split.
        indices: Those that are looked at.
        band: Pixels on each side of a true boundary that are near it.
    """

    options: EvalOptions
    process: Process
    loaded: LoadedModel
    predict: SwitchedPredictor
    filters: Mapping[str, FeatureFilter]
    dataset: EvaluationDataset
    indices: Sequence[int]
    band: int

    def count(self) -> dict[str, Counts]:
        """Predict and count all images with all variants."""
        loader = shared_loader(self.dataset, self.indices, self.options, self.process)
        return count(self.predict, loader, self.dataset.split.classes.num_classes, self.band)

    def describe(self, counts: Mapping[str, Counts]) -> dict:
        """What `microscope.json` holds."""
        options, split = self.options, self.dataset.split
        variants = describe_variants(counts, split.classes.names, options.bootstrap)
        titles = {variant.name: variant.title for variant in self.predict.variants}
        return {
            "snapshot_sha256": file_sha256(options.snapshot),
            "arch": self.loaded.title,
            "dataset": split.dataset,
            "split": split.split,
            "data_sha256": split.fingerprint(),
            "num_images": len(self.indices),
            "protocol": options.protocol(),
            "device": self.process.device.type,
            "hardware": describe_machine(),
            "revision": present_revision(),
            "versions": versions(),
            "mean_iou": variants[TRAINED]["places"][EVERYWHERE]["mean_iou"],
            "band": self.band,
            "meanings": MEANINGS,
            "bootstrap": {"over": "images", "level": LEVEL, "resamples": options.bootstrap, "seed": SEED},
            "variants": {name: {"title": titles[name]} | row for name, row in variants.items()},
            "filters": {name: {"title": title_of(name)} | describe_filter(own) for name, own in self.filters.items()},
        }


def open_microscope(options: EvalOptions, device: torch.device, band: int) -> Microscope:
    """Load model and split.

    Raises:
        OptionError: The split has no labels, or bare weights without `--arch` and `--dataset`.
        DataError: The data is missing or wrong.
        CheckpointError: The snapshot is missing, damaged, of other classes, or of a model without such modules.
    """
    process = Process(0, 1, device)
    loaded, split = load_with_split(options, process)
    options = replace(options, amp=loaded.precision.amp)  # for the record
    run = loaded.predict.predictor.model
    if not modules_of(run):
        raise CheckpointError(
            f"{options.snapshot}: {loaded.title} has no FEM-D and no FEM-S to look at; give a snapshot of a FENet"
        )
    model, _, _ = load_model(options.snapshot, options.arch, split.classes.names, options.partial)  # not fused
    predict = SwitchedPredictor(loaded.predict, run, build_variants(model, device))
    dataset = EvaluationDataset(split, loaded.transform)
    indices = choose_part(options, split)
    return Microscope(options, process, loaded, predict, filters_of(model), dataset, indices, band)


def title_of(name: str) -> str:
    """'FEM-D 1, strides 4 and 8' of `fem_d.0.filter`: the levels that the filter is used on."""
    kind, number, _ = name.split(".")
    strides = STRIDES[int(number) : int(number) + 2]
    return f"{MODULES[kind]} {int(number) + 1}, strides {' and '.join(map(str, strides))}"
