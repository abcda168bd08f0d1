"""Options of an evaluation."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from datasets.instances import check_has_instances
from datasets.options import choose_workers
from engine.evaluation.class_map import REFUSED, read_class_map
from engine.inference.options import PredictOptions
from network import is_release_name
from utils.errors import OptionError
from utils.machine import MOST_LOADERS
from utils.metrics.boundary import F_SCORE_THRESHOLDS
from utils.options import check, check_below, numbers, option


@dataclass(frozen=True)
class EvalOptions(PredictOptions):
    """evaluation"""

    data_root: str | None = option(None, "its folder; unset: $FENET_DATA/<dataset>, then ./data/<dataset>")
    split: str = option("val", "split to evaluate")
    cv_split: int = option(0, "cross-validation split", flags=("--cv",))
    save_dir: str | None = option(None, "output folder", flags=("--ckpt_path",))
    exp_name: str = option("", "subfolder of --save_dir")
    batch_size: int = option(1, "images per process and batch")
    dump_images: bool = option(False, "write predictions: pred/ (label ids), color/, overlay/, diff/")
    submission: str | None = option(None, "FILE.zip of label ids for a benchmark server, checked before it is written")
    report: bool = option(False, "write report.html: scores, charts, best and worst images on one page")
    confidence: bool = option(
        False, "write and score how sure the model is: confidence/ (16 bits), uncertainty/ (overlays), calibration"
    )
    boundary: bool = option(False, "also score boundaries: F-score at --eval_thresholds, Boundary IoU")
    eval_thresholds: tuple = option(
        F_SCORE_THRESHOLDS, "thresholds of the F-score, fractions of the image's diagonal", parse=numbers(float)
    )
    instance_scores: bool = option(
        False, "also score Cityscapes' instance-weighted IoU (iIoU), from *_instanceIds.png beside its labels"
    )
    class_map: str | None = option(
        None,
        'JSON file {"class of the model": "class of the data" or null, ...}, to score on data that share only some'
        " classes; classes of equal name need no entry",
    )
    bootstrap: int = option(2000, "resamples of the images for 95 %% intervals; 0: no intervals")
    resume: bool = option(False, "resume a killed evaluation with the same --save_dir")
    split_index: int = option(0, "which part of the split, from 0")
    split_count: int = option(1, "parts that the split is cut into; each leaves its scores in part_INDEX_of_COUNT/")
    partial: bool = option(False, "load what fits of the snapshot and say what doesn't")
    num_workers: int | None = option(
        None, f"loader processes per process; unset: its share of the cores, 1 to {MOST_LOADERS}"
    )
    test_mode: bool = option(False, "a few images only")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.save_dir:
            raise OptionError("--save_dir: name the output folder")
        check_below("--exp_name", self.exp_name, "--save_dir")
        if not 0 <= self.split_index < self.split_count:
            raise OptionError(
                f"--split_index {self.split_index} --split_count {self.split_count}: the index runs from 0 to count - 1"
            )
        check(self.batch_size >= 1, "--batch_size", self.batch_size, "must be at least 1")
        object.__setattr__(self, "num_workers", choose_workers(self.num_workers))
        check(self.bootstrap >= 0, "--bootstrap", self.bootstrap, "must not be negative")
        check_thresholds(self.eval_thresholds)
        if self.instance_scores and self.dataset is not None:
            check_has_instances(self.dataset)
        _check_submission(self)
        if self.class_map is not None:
            for name in REFUSED:
                if getattr(self, name):
                    raise OptionError(f"--class_map --{name}: only with the model's own classes; leave one out")
            self.class_names()

    def notes(self) -> list[str]:
        """Those of `PredictOptions`, and one about thresholds that nothing is scored at."""
        idle = self.eval_thresholds != F_SCORE_THRESHOLDS and not self.boundary
        return super().notes() + ["--eval_thresholds: no effect without --boundary"] * idle

    def class_names(self) -> dict[str, str | None]:
        """What `--class_map` says. Raises as `read_class_map`."""
        return read_class_map(self.class_map)

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.save_dir) / self.exp_name

    @property
    def scores_folder(self) -> Path:
        """Where the scores go: those of one part of a split must not stand for those of another, or of all of it."""
        return self.folder / (f"part_{self.part}" if self.split_count > 1 else "")

    @property
    def part(self) -> str:
        """The part of the split in words."""
        return f"{self.split_index}_of_{self.split_count}"

    @property
    def writes_predictions(self) -> bool:
        """Whether predicted label ids are written."""
        return self.dump_images or self.submission is not None

    def protocol(self) -> dict:
        """How images are scored, for the record."""
        names = ("inference_mode", "scales", "flip", "merge", "base_size", "crop_size", "sliding_overlap", "amp")
        return {name: getattr(self, name) for name in (*names, "split_index", "split_count")}

    def describe_protocol(self) -> str:
        """The protocol as its flags, for the log."""
        if self.exported:
            return f"labels of whole images by {self.runs_on} --amp {self.amp}"
        mode = f"--inference_mode {self.inference_mode}"
        if self.inference_mode == "sliding":
            mode += f" --crop_size {self.crop_size or 'unset (the short side)'}"
            mode += f" --sliding_overlap {self.sliding_overlap:.3g}"
        scales, flip = ",".join(f"{scale:g}" for scale in self.scales), "--flip" if self.flip else "--no_flip"
        if is_release_name(self.arch) and not self.flip:
            flip += " (the releases' eval.py flipped unless told not to; here --flip does)"
        size = self.base_size or "unset (the images' own)"
        return f"{mode} --scales {scales} {flip} --base_size {size} --merge {self.merge} --amp {self.amp}"

    def reproducibility_key(self) -> dict:
        """What decides an image's result and files, besides snapshot, data and device."""
        free = {"snapshot", "data_root", "save_dir", "exp_name", "num_workers", "device", "bootstrap", "resume"}
        free |= {"class_map", "submission", "max_pixels", "debug", "split_index", "split_count"}
        kept = {name: value for name, value in dataclasses.asdict(self).items() if name not in free}
        # a result that was kept without its file must not stand for the file of an earlier evaluation
        return kept | {"predictions": self.writes_predictions}


def check_thresholds(values: tuple[float, ...]) -> None:
    """Raises `OptionError` for thresholds of the F-score that cannot work."""
    fits = values and 0 <= min(values) <= max(values) <= 1
    check(fits, "--eval_thresholds", values, "give one or more fractions of the diagonal, from 0 to 1")


def _check_submission(options: EvalOptions) -> None:
    if options.submission is None:
        return
    path, pred = Path(options.submission), options.folder / "pred"
    if path.suffix != ".zip":
        raise OptionError(f"--submission {path}: must be named FILE.zip")
    if path.is_dir():
        raise OptionError(f"--submission {path}: is a folder; name a file in it")
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(pred)):
        raise OptionError(f"--submission {path}: lies among the predictions in {pred}; write it elsewhere")
    if os.path.realpath(path) == os.path.realpath(options.snapshot):
        raise OptionError(f"--submission {path}: is the snapshot; name another file")
    for flag, partly in (("--split_count", options.split_count > 1), ("--test_mode", options.test_mode)):
        if partly:
            raise OptionError(
                f"--submission with {flag}: a part of a split is no submission; predict all of it in one run (torchrun"
                " shares it out among processes)"
            )
