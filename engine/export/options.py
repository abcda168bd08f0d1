"""Options of scripts/export.py."""

from dataclasses import dataclass

from engine.inference.small_weights import SMALL_WEIGHTS
from utils.errors import OptionError
from utils.options import check, numbers, option

FILES = {  # of the formats that run elsewhere; the first one is named with --snapshot
    "onnx": ("model.onnx",),
    "torch-export": ("model.pt2",),
    "onnx-int8": ("model_int8.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "openvino-int8": ("model_int8.xml", "model_int8.bin"),
    "web": ("model.html",),
    "web-int8": ("model_int8.html",),
}
OUTPUTS = ("labels", "confidence", "probabilities")
MIN_AGREEMENT = {"float32": 0.999, "float16": 0.995, "int8": 0.95}  # least share of equal labels
MAX_LOSS = {"float32": 0.001, "float16": 0.002, "int8": 0.01}  # of mean IoU, as a fraction
HALVES = ("safetensors", "onnx", "openvino")
WEB = ("web", "web-int8")
USERS = {  # of options that not all formats use
    **{"eval": ("safetensors",), "license": ("safetensors",), "onnxruntime_web": WEB},
    **dict.fromkeys(("size", "dynamic", "outputs", "calibration", "int8_budget", "data_root", "split"), tuple(FILES)),
    **dict.fromkeys(("num_images", "min_agreement", "max_loss", "arch", "dataset"), tuple(FILES)),
}


def _format(text: str) -> str:
    return "torch-export" if text == "torch" else text


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_names.__name__ = "names with commas between them"


@dataclass(frozen=True)
class ExportOptions:
    """export"""

    snapshot: str | None = option(None, "one of our snapshots; for a model also bare weights")
    out: str | None = option(None, "output folder")
    format: str = option(
        "safetensors",
        "what is written (torch: torch-export)",
        choices=("safetensors", "release", *FILES),
        parse=_format,
    )
    eval: str | None = option(None, "safetensors: folder that eval.py left for this snapshot; its scores are shown")
    half: bool = option(False, "safetensors, onnx, openvino: filters in float16, for half the size")
    license: str | None = option(None, "safetensors: licence of the weights, for the card, such as cc-by-nc-4.0")
    size: tuple | None = option(None, "fix height,width, and one image at a time; unset: any", parse=numbers(int))
    dynamic: bool = option(False, "take images of any size, which is the default")
    outputs: tuple | None = option(
        None, f"what the file gives, of {', '.join(OUTPUTS)}; unset: labels, for web confidence too", parse=_names
    )
    onnxruntime_web: str | None = option(None, "web: folder of the npm package onnxruntime-web")
    calibration: str | None = option(
        None,
        "folder of images, folders in it included, that labels are compared on, and int8 is calibrated on: else on the"
        " train split of --data_root",
    )
    int8_budget: float | None = option(
        None,
        "points of mean IoU that int8 may cost on the images of --data_root; parts of the model that cost more stay in"
        " float32; unset: none do for that",
    )
    data_root: str | None = option(None, "data set's folder: labels are compared, and scored, on its images instead")
    split: str = option("val", "which of its splits")
    num_images: int = option(32, "images that are used at most, evenly spaced")
    min_agreement: float | None = option(None, "least share of equal labels; unset: 0.999, half 0.995, int8 0.95")
    max_loss: float | None = option(None, "largest loss of mean IoU; unset: 0.001, half 0.002, int8 0.01")
    arch: str | None = option(None, "bare weights: model name")
    dataset: str | None = option(None, "bare weights: data set whose classes they know")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        if not self.out:
            raise OptionError("--out is missing: name a folder")
        if self.snapshot is None:
            object.__setattr__(self, "snapshot", str(SMALL_WEIGHTS))
        if self.half and self.format not in HALVES:
            raise OptionError(f"--half: is for --format {', '.join(HALVES)}, not {self.format}; leave it out")
        if self.format in FILES:
            self._check_runtime()

    def notes(self) -> list[str]:
        """A line for each option that was given and has no effect."""
        given = [name for name in USERS if getattr(self, name) != getattr(type(self), name)]
        notes = [
            f"--{name} has no effect: it is for --format {', '.join(USERS[name])}, not {self.format}"
            for name in given
            if self.format not in USERS[name]
        ]
        if self.format in FILES:
            images = "are the images that are compared"
            if "calibration" in given and self.data_root and self.precision != "int8":
                notes.append(f"--calibration has no effect: those of --data_root {images}, and nothing is calibrated")
            unscored = [name for name in ("split", "max_loss") if name in given and not self.data_root]
            notes += [f"--{name} has no effect: those of --calibration {images}, without labels" for name in unscored]
        return notes

    def _check_runtime(self) -> None:
        self._check_budget()
        if not self.calibration and not self.data_root:
            raise OptionError(
                "name --calibration FOLDER or --data_root DIR: the file is compared with the model on images, and int8"
                " calibrated on some"
            )
        if self.dynamic and self.size:
            raise OptionError("--dynamic and --size exclude each other: any size, or one")
        outputs = self.outputs or OUTPUTS[: 2 if self.format.startswith("web") else 1]
        known = "labels" in outputs and set(outputs) <= set(OUTPUTS)
        check(known, "--outputs", ",".join(outputs), f"labels, and further ones of {', '.join(OUTPUTS[1:])}")
        object.__setattr__(self, "outputs", tuple(name for name in OUTPUTS if name in outputs))
        fits = self.size is None or (len(self.size) == 2 and min(self.size) > 0)
        check(fits, "--size", self.size, "give height,width in pixels")
        least, most = self.min_agreement, self.max_loss
        check(least is None or 0 <= least <= 1, "--min_agreement", least, "a share of the labels, from 0 to 1")
        check(most is None or 0 <= most <= 1, "--max_loss", most, "a fraction of mean IoU, from 0 to 1")
        check(self.num_images >= 1, "--num_images", self.num_images, "must be at least 1")

    def _check_budget(self) -> None:
        if self.int8_budget is None:
            return
        check(self.int8_budget >= 0, "--int8_budget", self.int8_budget, "points of mean IoU, at least 0")
        if self.precision != "int8" or not self.data_root:
            raise OptionError(
                "--int8_budget: is for --format openvino-int8 or onnx-int8 with --data_root DIR, whose labels it needs"
            )

    @property
    def precision(self) -> str:
        """`float32`, `float16` (of filters) or `int8`."""
        return "float16" if self.half else precision_of(self.format)

    @property
    def limits(self) -> tuple[float, float]:
        """Least share of equal labels, and largest loss of mean IoU."""
        least, most = MIN_AGREEMENT[self.precision], MAX_LOSS[self.precision]
        most = most if self.int8_budget is None else self.int8_budget / 100
        least = least if self.min_agreement is None else self.min_agreement
        return least, most if self.max_loss is None else self.max_loss


def precision_of(format: str) -> str:
    """`float32` or `int8`: what convolutions compute in."""
    return "int8" if format.endswith("int8") else "float32"
