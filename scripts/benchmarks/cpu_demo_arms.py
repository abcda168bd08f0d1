"""The arms of `benchmark.py cpu-demo`: RGB (H,W,3) uint8 -> train ids (H,W) uint8, by PyTorch and other runtimes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datasets.base import Split
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


def build_arms(
    model: nn.Module, split: Split, size: tuple[int, int], calibration: list[np.ndarray], folder: Path, bf16: bool
) -> dict[str, Label]:
    """Arms by name, `plain` first.

    Args:
        model: In evaluation mode; becomes the plain one.
        split: Names the classes.
        size: (H,W) of the images.
        calibration: Images for int8.
        folder: For files.
        bf16: Whether there are arms in bf16.
    """
    metadata = model_metadata(model, split.classes.to_dict(split.dataset), size)
    files = write_runtimes(model, metadata, FORMATS, folder, calibration)
    fused = ImageToLabels(fuse_for_inference(model)).eval().to(memory_format=torch.channels_last)
    arms = {"plain": Plain(model, size), "torch": _by_torch(fused, None)}
    arms |= {name.replace("-", "_"): label for name, label in files.items()}
    if bf16:
        arms["torch_bf16"] = _by_torch(fused, torch.bfloat16)
        arms["openvino_bf16"] = load_exported(folder / FILES["openvino"][0], "openvino", amp="bf16")
        arms["openvino_bf16_int8"] = load_exported(folder / FILES["openvino-int8"][0], "openvino", amp="bf16")
    return arms


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
