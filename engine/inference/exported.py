"""Files that scripts/export.py wrote, run by ONNX Runtime or OpenVINO on the CPU. Nothing in a file is executed."""

import functools
import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.base import ClassTable
from engine.checkpoint.archive import METADATA_KEY
from engine.checkpoint.fields import check_trained_on
from engine.inference.precision import Choice, settle_precision
from utils.errors import CheckpointError, DataError, EnvironmentFault
from utils.files import file_sha256

CPU = torch.device("cpu")
# `labels` (N,H,W) uint8; perhaps `confidence` (N,H,W) and `probabilities` (N,C,H,W), float32
Outputs = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Outputs]  # RGB (N,H,W,3) uint8 -> what the file gives
Start = Callable[[Choice], Run]


@dataclass(frozen=True)
class ExportedModel:
    """An exported file, ready to run with as many threads as PyTorch has.

    Attributes:
        path: The file.
        header: Its description: `config`, `classes` (as in a snapshot), `mean`, `std`, `size` ([H,W], None: any), ...
        max_pixels: Larger images are refused; None: none are.
        run: RGB (N,H,W,3) uint8 -> outputs by name; N is 1 where the file has one size.
        precision: In which it computes, and why.
    """

    path: Path
    header: dict
    max_pixels: int | None
    run: Run
    precision: Choice

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB (H,W,3) uint8 -> train ids (H,W) uint8; raises as `outputs`."""
        return self.outputs(image[None])["labels"][0]

    def outputs(self, images: np.ndarray) -> Outputs:
        """RGB (N,H,W,3) uint8 -> everything that the file gives, by name.

        Raises:
            DataError: The file doesn't take images of this size.
        """
        size, image = self.header["size"], images[0]
        if self.max_pixels is not None and image.shape[0] * image.shape[1] > self.max_pixels:
            raise DataError(
                f"image of {image.shape[1]}x{image.shape[0]} pixels: more than --max_pixels {self.max_pixels}; raise"
                " that if there is the memory, or shrink the image"
            )
        if size is not None and tuple(size) != image.shape[:2]:
            raise DataError(
                f"image of {image.shape[0]}x{image.shape[1]} (height x width): {self.path} takes {size[0]}x{size[1]}"
                " only; resize the image, or export without --size"
            )
        try:
            found = self.run(np.ascontiguousarray(images))
        except Exception as error:  # both libraries raise many kinds
            raise DataError(f"{self.path}: fails for an image of {image.shape[:2]} ({_reason(error)})") from error
        highest = found["labels"].max()
        if highest >= len(self.header["classes"]["names"]):
            raise CheckpointError(f"{self.path}: gives label {highest} and names no class for it; export it again")
        return found

    def scores(self, images: Tensor) -> Tensor:
        """A predictor: normalised images (N,3,H,W) -> scores (N,C,H,W), 1 at the label and else 0."""
        mean, std = (torch.tensor(self.header[name]).view(3, 1, 1) for name in ("mean", "std"))
        pixels = ((images.float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        labels = [torch.from_numpy(self(image.permute(1, 2, 0).numpy())) for image in pixels]
        scores = F.one_hot(torch.stack(labels).long(), len(self.header["classes"]["names"]))
        return scores.permute(0, 3, 1, 2).float().to(images.device)


def load_exported(path: str | Path, runtime: str, max_pixels: int | None = None, amp: str = "off") -> ExportedModel:
    """Load a file that scripts/export.py wrote.

    Args:
        path: `.onnx`, or the `.xml` of an OpenVINO pair.
        runtime: `onnx` or `openvino`.
        max_pixels: See `ExportedModel`.
        amp: Precision: `auto`, `off` or, of OpenVINO, `bf16`; what is int8 in the file stays int8.

    Raises:
        CheckpointError: It is missing, damaged, without our description, or of another kind than `runtime` runs.
        EnvironmentFault: The runtime isn't installed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; check --snapshot")
    suffix, load = LOADERS[runtime]
    if path.suffix != suffix:
        raise CheckpointError(f"{path}: --runtime {runtime} runs {suffix} files; check --snapshot and --runtime")
    header, start = load(path)
    if not _is_description(header):
        raise CheckpointError(f"{path}: says neither classes nor normalisation; export it with scripts/export.py")
    precision = _settle(amp, runtime, header)
    return ExportedModel(path, header, max_pixels, start(precision), precision)


def _is_description(header: object) -> bool:
    """True for what an `ExportedModel` can work with."""
    try:
        ClassTable.from_dict(header["classes"])
        pixels, size = [*header["mean"], *header["std"]], header["size"]
        if "trained_on" in header:
            check_trained_on(header["trained_on"])
        described = isinstance(header["config"], dict) and len(pixels) == 6 and all(map(math.isfinite, pixels))
        return described and (size is None or [int(side) for side in size] == size and len(size) == 2)
    except (TypeError, ValueError, LookupError, AttributeError):
        return False


def _settle(amp: str, runtime: str, header: dict) -> Choice:
    runtime = f"{runtime} int8" if header.get("precision") == "int8" else runtime
    return settle_precision(amp, "inference", CPU, str(header["config"].get("arch")), runtime=runtime)


def import_runtime(name: str) -> ModuleType:
    """An optional package that exports or runs models. Raises `EnvironmentFault` if it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise EnvironmentFault(f"needs the package {package} ({error}); pip install {package}") from error


def openvino_core() -> Any:
    """The one `openvino.Core` of this process, kept to its end. Raises `EnvironmentFault` if OpenVINO isn't installed.

    Of two, the first to go frees a stack for signals (sigaltstack) that the second puts back when it goes: the process
    dies of the next signal that has a handler, as SIGCHLD has one of PyTorch's loader.
    """
    return _core(import_runtime("openvino"))


@functools.cache
def _core(openvino: ModuleType) -> Any:
    return openvino.Core()


def _load_onnx(path: Path) -> tuple[dict | None, Start]:
    runtime = import_runtime("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    with _usable(path, "ONNX file"):
        # data of tensors in other files is read from the file's own folder only: the library refuses other paths
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        header = _parse(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))
        name, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
        _check_outputs(names)
    return header, lambda _: lambda images: dict(zip(names, session.run(None, {name: images}), strict=True))


def _load_openvino(path: Path) -> tuple[dict | None, Start]:
    core = openvino_core()
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise CheckpointError(f"{weights}: no such file; an OpenVINO model is an .xml and a .bin, keep them together")
    with _usable(path, "OpenVINO model"):
        model = core.read_model(path, weights)
        header = _parse(model.get_rt_info([METADATA_KEY]).value if model.has_rt_info([METADATA_KEY]) else None)
        if header is not None and header.get("weights_file_sha256") != file_sha256(weights):
            raise ValueError(f"{weights.name} is damaged or another model's")

    def start(precision: Choice) -> Run:
        # named, because by itself it takes bfloat16 on some CPUs; what is int8 in the file stays int8
        settings = {"INFERENCE_PRECISION_HINT": "f32" if precision.amp == "off" else precision.amp}
        with _usable(path, "OpenVINO model"):
            compiled = core.compile_model(model, "CPU", settings | {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
            names = [output.any_name for output in compiled.outputs]
            _check_outputs(names)
        request = compiled.create_infer_request()

        def run(images: np.ndarray) -> Outputs:
            found = request.infer([images])
            return {name: found[i].copy() for i, name in enumerate(names)}

        return run

    return header, start


def _check_outputs(names: Sequence[str]) -> None:
    if "labels" not in names:
        raise ValueError("it has no output called labels")


@contextmanager
def _usable(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # both libraries raise many kinds
        raise CheckpointError(f"{path}: not a usable {kind} ({_reason(error)}); export it again") from error


LOADERS = {"onnx": (".onnx", _load_onnx), "openvino": (".xml", _load_openvino)}


def _parse(text: str | None) -> dict | None:
    return None if text is None else json.loads(text)


def _reason(error: Exception) -> str:
    """The last line, because OpenVINO's first ones name places in its own source."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
