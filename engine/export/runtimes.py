"""A model -> files of several runtimes, loaded again."""

import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.export.budget import Budget, to_dicts
from engine.export.formats import write_onnx, write_openvino, write_torch_export
from engine.export.int8 import Quantiser
from engine.export.options import FILES, precision_of
from engine.export.program import export_program
from engine.inference.exported import ExportedModel, Outputs, load_exported
from network.fusing import ImageToLabels, fuse_for_inference, names_of_filters
from utils.errors import DataError
from utils.logging import get_logger

TRACED_SIZE = (192, 256)  # where the size is left open


def write_runtimes(
    model: nn.Module,
    metadata: dict,
    formats: Sequence[str],
    folder: Path,
    calibration: Iterable[np.ndarray] = (),
    budget: Budget | None = None,
) -> dict[str, "ExportedModel | Program"]:
    """Trace a model once, write the files of `formats` (keys of `FILES`) into `folder`, and load them again.

    Args:
        model: In evaluation mode, on the CPU.
        metadata: What `model_metadata` gave, or more: `temperature`.
        formats: Which ones; what lies in `folder` besides their files is left over from making them.
        folder: Is there.
        calibration: For int8: RGB images (H,W,3) uint8 of the model's size.
        budget: What int8 may cost; None: no part stays in float32 for that.

    Returns:
        By format: RGB (H,W,3) uint8 -> train ids (H,W) uint8; their `outputs` take (N,H,W,3) and give all by name,
        their `header` is `metadata` and more.

    Raises:
        OptionError: The model can't be traced.
        CheckpointError: No int8 file is within the budget.
        EnvironmentFault: A package is missing.
    """
    size, found, onnx = metadata["size"], {}, folder / "model.onnx"
    half, quantiser = metadata["precision"] == "float16", None
    whole = ImageToLabels(fuse_for_inference(model), metadata["outputs"], metadata.get("temperature", 1.0)).eval()
    say, start = get_logger().info, time.perf_counter()
    program = export_program(whole, size or TRACED_SIZE, size is None)
    say(f"traced in {time.perf_counter() - start:.0f} s; writing {', '.join(FILES[format][0] for format in formats)}")
    if set(formats) != {"torch-export"}:
        write_onnx(program, onnx, metadata, half and set(formats) == {"onnx"})
    for format in formats:
        file, header = folder / FILES[format][0], {**metadata, "precision": "float16" if half else precision_of(format)}
        if format == "torch-export":
            write_torch_export(program, file, header)
            found[format] = Program(torch.export.load(file).module(), metadata["outputs"], header)
        elif header["precision"] == "int8":
            quantiser = quantiser or Quantiser(onnx, calibration, names_of_filters(model))
            found[format] = _write_int8(quantiser, onnx, format, file, header, budget)
        else:
            found[format] = _convert(onnx, format, file, header, half)
    return found


def _write_int8(
    quantiser: Quantiser, onnx: Path, format: str, file: Path, header: dict, budget: Budget | None
) -> ExportedModel:
    floats: Collection[str] = ()
    if budget is not None:
        trials = budget.choose(partial(_try, quantiser, onnx, format, header), quantiser.groups)
        floats = trials[-1].floats or ()
        header = header | {"int8_budget": budget.points, "int8_trials": to_dicts(trials)}
    source = file.with_name("int8.onnx")
    quantiser.write(source, header, floats)
    return _convert(source, format, file, header)


def _try(quantiser: Quantiser, onnx: Path, format: str, header: dict, floats: Collection[str] | None) -> ExportedModel:
    """A file whose `floats` are in float32 (None: all), loaded; it is gone when this returns."""
    with tempfile.TemporaryDirectory(dir=onnx.parent) as folder:
        source = onnx
        if floats is not None:
            source = Path(folder) / "int8.onnx"
            quantiser.write(source, header, floats)
        return _convert(source, format, Path(folder) / FILES[format][0], header)


def _convert(source: Path, format: str, file: Path, header: dict, half: bool = False) -> ExportedModel:
    """An ONNX file as the file of a format, loaded; a web page is made of the ONNX file afterwards."""
    if format.startswith("openvino"):
        write_openvino(source, file, header, half)
        return load_exported(file, "openvino")
    if file.suffix == ".onnx" and source != file:
        source = Path(shutil.copyfile(source, file))
    return load_exported(source, "onnx")


@dataclass(frozen=True)
class Program:
    """A `.pt2` file's program, called as an `ExportedModel`."""

    run: nn.Module
    names: Sequence[str]
    header: dict

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB (H,W,3) uint8 -> train ids (H,W) uint8."""
        return self.outputs(image[None])["labels"][0]

    def outputs(self, images: np.ndarray) -> Outputs:
        """RGB (N,H,W,3) uint8 -> outputs by name. Raises `DataError` where it doesn't take images of this size."""
        try:
            found = self.run(torch.from_numpy(images))
        except AssertionError as error:  # a guard of the program
            raise DataError(f"the program doesn't take images of {images.shape[1:3]} ({error})") from error
        found = found if isinstance(found, tuple) else (found,)
        return {name: tensor.numpy() for name, tensor in zip(self.names, found, strict=True)}
