"""The arms of `benchmark.py cpu-demo`: RGB (H,W,3) uint8 -> train ids (H,W) uint8, by PyTorch and other runtimes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datasets.base import ClassTable, Split
from engine.export.build import model_metadata
from engine.export.options import FILES
from engine.export.parity import Label
from engine.export.runtimes import write_runtimes
from engine.inference.exported import load_exported
from network.fusing import ImageToLabels, fuse_for_inference
from reference.network import make_plain
from scripts.benchmarks.shares import count_operations
from utils.resizing import resize

FORMATS = ("onnx", "openvino", "openvino-int8")


def precision_of(arm: str) -> str:
    """`float32`, `bf16` or `int8`."""
    return next((precision for precision in ("bf16", "int8") if arm.endswith(precision)), "float32")


class Plain:
    """Eager float32 PyTorch, NCHW, nothing fused.

    Args:
        model: In evaluation mode; becomes plain itself.
        size: (H,W) of the images.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (model.encoder.mean, model.encoder.std))
        self.model, self.size = make_plain(model), size

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        logits = self.model(((x / 255 - self.mean) / self.std)[None])["logits"]
        return resize(logits, self.size).argmax(1)[0].to(torch.uint8).numpy()

    @torch.no_grad()
    def operations(self) -> int:
        """Of the model for one image."""
        return count_operations(lambda: self.model(torch.zeros(1, 3, *self.size)))


@dataclass(frozen=True)
class Trial:
    """What is timed.

    Attributes:
        arms: By name, `plain` first.
        image: RGB (H,W,3) uint8.
        classes: Names and colours.
        fused: What PyTorch's arms run.
        folder: With the other runtimes' files.
    """

    arms: dict[str, Label]
    image: np.ndarray
    classes: ClassTable
    fused: nn.Module
    folder: Path

    def calls(self) -> dict[str, Callable[[], np.ndarray]]:
        """The arms on the image."""
        return {name: lambda arm=arm: arm(self.image) for name, arm in self.arms.items()}


def build_trial(
    model: nn.Module,
    split: Split,
    image: np.ndarray,
    calibration: list[np.ndarray],
    folder: Path,
    formats: Sequence[str],
    bf16: bool,
) -> Trial:
    """Export a model and load it in all forms.

    Args:
        model: In evaluation mode; becomes the plain one.
        split: Names the classes.
        image: RGB (H,W,3) uint8.
        calibration: Images for int8 of its size.
        folder: For files.
        formats: Those of `FORMATS` that there are arms of.
        bf16: Whether there are arms in bf16.
    """
    size = image.shape[:2]
    metadata = model_metadata(model, split.classes.to_dict(split.dataset), size)
    files = write_runtimes(model, metadata, formats, folder, calibration) if formats else {}
    fused = ImageToLabels(fuse_for_inference(model)).eval().to(memory_format=torch.channels_last)
    arms = {"plain": Plain(model, size), "torch": load_arm("torch", fused, folder)}
    arms |= {name.replace("-", "_"): label for name, label in files.items()}
    if bf16:
        names = ["torch_bf16"]
        names += ["openvino_bf16"] if "openvino" in formats else []
        names += ["openvino_bf16_int8"] if "openvino-int8" in formats else []
        arms |= {name: load_arm(name, fused, folder) for name in names}
    return Trial(arms, image, split.classes, fused, folder)


def load_arm(name: str, fused: nn.Module | None, folder: Path) -> Label:
    """An arm other than `plain`; PyTorch's run `fused`, the others the files in `folder`."""
    runtime, *precisions = name.split("_")
    if runtime == "torch":
        return _by_torch(fused, torch.bfloat16 if precisions else None)
    file = FILES["openvino-int8" if "int8" in precisions else runtime][0]
    return load_exported(folder / file, runtime, amp="bf16" if "bf16" in precisions else "off")


def _by_torch(fused: nn.Module, dtype: torch.dtype | None) -> Label:
    @torch.inference_mode()
    def label(image: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            return fused(torch.from_numpy(image)[None])[0].numpy()

    return label


@torch.no_grad()
def even_classes(model: nn.Module, image: np.ndarray) -> None:
    """Scale the last layer of a fresh model in place: each class's logits get mean 0 and deviation 1 on `image`.

    One class would win everywhere otherwise, and arms would give the same labels whatever they compute.
    """
    ran: list[nn.Conv2d] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [conv.register_forward_hook(lambda module, *_: ran.append(module)) for conv in convolutions]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.encoder.mean, model.encoder.std))
    logits = model(((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None])["logits"]
    for hook in hooks:
        hook.remove()
    last = next(conv for conv in reversed(ran) if conv.out_channels == logits.shape[1])
    deviation, center = torch.std_mean(logits, (0, 2, 3))
    bias: Tensor | float = 0.0 if last.bias is None else last.bias
    last.bias = nn.Parameter((bias - center) / deviation)
    last.weight.div_(deviation.view(-1, 1, 1, 1))


def replay(labels: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A model that gives these labels one after the other."""
    left = iter(labels)
    return lambda image: next(left)
