"""A model -> files of several runtimes, loaded again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.export.formats import quantise, write_onnx, write_openvino, write_torch_export
from engine.export.options import FILES, precision_of
from engine.export.program import export_program
from engine.inference.exported import ExportedModel, Outputs, load_exported
from network.fusing import ImageToLabels, fuse_for_inference, names_of_filters

TRACED_SIZE = (192, 256)  # where the size is left open


def write_runtimes(
    model: nn.Module, metadata: dict, formats: Sequence[str], folder: Path, calibration: Iterable[np.ndarray] = ()
) -> dict[str, "ExportedModel | Program"]:
    """Trace a model once, write the files of `formats` (keys of `FILES`) into `folder`, and load them again.

    Args:
        model: In evaluation mode, on the CPU.
        metadata: What `model_metadata` gave, or more: `temperature`.
        formats: Which ones; what lies in `folder` besides their files is left over from making them.
        folder: Is there.
        calibration: For int8: RGB images (H,W,3) uint8 of the model's size.

    Returns:
        By format: RGB (H,W,3) uint8 -> train ids (H,W) uint8; their `outputs` take (N,H,W,3) and give all by name.

    Raises:
        OptionError: The model can't be traced.
        EnvironmentFault: A package is missing.
    """
    size, found, onnx = metadata["size"], {}, folder / "model.onnx"
    half = metadata["precision"] == "float16"
    whole = ImageToLabels(fuse_for_inference(model), metadata["outputs"], metadata.get("temperature", 1.0)).eval()
    program = export_program(whole, size or TRACED_SIZE, size is None)
    if set(formats) != {"torch-export"}:
        write_onnx(program, onnx, metadata, half and set(formats) == {"onnx"})
    for format in formats:
        file, header = folder / FILES[format][0], {**metadata, "precision": "float16" if half else precision_of(format)}
        if format == "torch-export":
            write_torch_export(program, file, header)
            found[format] = Program(torch.export.load(file).module(), metadata["outputs"])
            continue
        source = onnx
        if header["precision"] == "int8":
            source = folder / "int8.onnx"
            quantise(onnx, source, calibration, names_of_filters(model))
        if format.startswith("openvino"):
            write_openvino(source, file, header, half)
            found[format] = load_exported(file, "openvino")
        else:  # a web page is made of the ONNX file afterwards
            found[format] = load_exported(source, "onnx")
    return found


@dataclass(frozen=True)
class Program:
    """A `.pt2` file's program, called as an `ExportedModel`."""

    run: nn.Module
    names: Sequence[str]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB (H,W,3) uint8 -> train ids (H,W) uint8."""
        return self.outputs(image[None])["labels"][0]

    def outputs(self, images: np.ndarray) -> Outputs:
        """RGB (N,H,W,3) uint8 -> outputs by name."""
        found = self.run(torch.from_numpy(images))
        found = found if isinstance(found, tuple) else (found,)
        return {name: tensor.numpy() for name, tensor in zip(self.names, found, strict=True)}
