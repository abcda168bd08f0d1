"""Options of prediction: what eval.py and demo_folder.py share."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from datasets import resolve_name
from engine.inference.precision import CHOICES
from engine.inference.settings import MAX_PIXELS, MERGES, MODES, PROBABLE, SETTINGS, InferenceSettings
from network import resolve_arch
from utils.devices import FORMS, device_name
from utils.errors import OptionError
from utils.options import check_choices, numbers, option

RUNTIMES = {".onnx": "onnx", ".xml": "openvino"}  # by the suffix of --snapshot; everything else is PyTorch's
RUN_TIME_PRECISIONS = {"onnx": ("auto", "off"), "openvino": ("auto", "off", "bf16")}  # --amp of exported files
OF_SCORES = ("merge", "sliding_overlap", "window_batch")  # flags that mean nothing where a model gives labels
OF_WINDOWS = ("crop_size", "sliding_overlap", "window_batch")  # and those where there are no windows
OF_MODELS = {"arch": None, "inference_mode": "whole", "scales": (1.0,), "flip": False, "base_size": None}
# what an exported file has fixed, or doesn't give
OF_MODELS |= {"crop_size": None, "partial": False, "compile": False, "confidence": False}


@dataclass(frozen=True)
class PredictOptions:
    """prediction: what eval.py and demo_folder.py share"""

    snapshot: str | None = option(None, "weights, or a file of scripts/export.py")
    runtime: str | None = option(
        None, "what runs --snapshot; unset: by its suffix (.onnx, .xml)", choices=("torch", "onnx", "openvino")
    )
    arch: str | None = option(None, "model name; unset: as the snapshot says")
    dataset: str | None = option(None, "data set, whose classes and colours are used; unset: as the snapshot says")
    inference_mode: str = option(
        "whole",
        "whole image or sliding windows; the releases' pooling is whole",
        choices=MODES,
        flags=("-im",),
        parse=lambda text: "whole" if text == "pooling" else text,
    )
    scales: tuple = option((1.0,), "scales whose scores are merged, comma-separated", parse=numbers(float))
    flip: bool = option(False, "also predict each piece mirrored")
    merge: str = option("prob", "how scores are merged", choices=MERGES)
    sliding_overlap: float = option(1 / 3, "overlap of neighbouring windows, as a fraction of a window")
    crop_size: int | None = option(None, "side of a window; unset: the image's short side")
    base_size: int | None = option(None, "long side at scale 1; unset: the image's own")
    window_batch: int = option(4, "windows per forward pass")
    max_pixels: int = option(MAX_PIXELS, "refuse images with more pixels, at their own size or a scale")
    device: str = option("auto", f"device: {FORMS}", parse=device_name)
    amp: str = option(
        "auto",
        "precision: off (float32, or f32), bf16, fp16; auto: bf16 where the CPU has it and mIoU stays",
        choices=CHOICES,
        flags=("--precision",),
        parse=lambda text: "off" if text == "f32" else text,
    )
    compile: bool = option(False, "compile the model for each image size, and check its logits")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise OptionError("--snapshot: name the weights")
        check_choices(self)
        self.settings()
        if self.dataset is not None:
            object.__setattr__(self, "dataset", resolve_name(self.dataset))
        if self.arch is not None:
            resolve_arch(self.arch)
        if self.exported:
            self._check_exported()
        if getattr(self, "confidence", False):
            self.check_probable("--confidence")

    def check_probable(self, flag: str) -> None:
        """Raises `OptionError`, which names `flag`, where merged scores have no probabilities."""
        if self.merge not in PROBABLE:
            raise OptionError(f"{flag} --merge {self.merge}: gives no probabilities; take {' or '.join(PROBABLE)}")

    def _check_exported(self) -> None:
        """An exported file gives labels, so nothing can be merged, and what it was made from is settled."""
        for name, value in OF_MODELS.items():
            if getattr(self, name, value) != value:
                raise OptionError(
                    f"--{name}: {self.snapshot} gives labels of whole images at one scale, in its own precision; leave"
                    " the flag out, or take the snapshot that it was exported from"
                )
        allowed = RUN_TIME_PRECISIONS[self.runs_on]
        if self.amp not in allowed:
            raise OptionError(
                f"--amp {self.amp}: {self.snapshot} takes {', '.join(allowed)}; leave the flag out, or take the"
                " snapshot that it was exported from"
            )
        if self.device.startswith("cuda"):
            raise OptionError(f"--device {self.device}: {self.snapshot} runs on the CPU here; leave the flag out")

    @property
    def runs_on(self) -> str:
        """`torch`, `onnx` or `openvino`: what runs the snapshot."""
        return self.runtime or RUNTIMES.get(Path(self.snapshot).suffix, "torch")

    @property
    def exported(self) -> bool:
        """True if `snapshot` is a file of scripts/export.py that gives labels."""
        return self.runs_on != "torch"

    def settings(self) -> InferenceSettings:
        """How images are cut up and scores merged. Raises `OptionError` for a value outside its range."""
        flags = {"mode": "inference_mode", "overlap": "sliding_overlap"}
        return InferenceSettings(**{name: getattr(self, flags.get(name, name)) for name in SETTINGS})

    def notes(self) -> list[str]:
        """A line about the flags that were given and have no effect."""
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        names = OF_SCORES if self.exported else OF_WINDOWS if self.inference_mode == "whole" else ()
        given = [f"--{name}" for name in names if getattr(self, name) != defaults[name]]
        if not given:
            return []
        why = f"{self.snapshot} gives labels of whole images" if self.exported else "--inference_mode is whole"
        return [f"{', '.join(given)}: no effect, because {why}"]
