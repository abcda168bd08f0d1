"""A model that maps images to labels -> files for other runtimes: torch.export, ONNX, OpenVINO."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from engine.checkpoint.archive import METADATA_KEY
from engine.inference.exported import import_runtime, openvino_core
from utils.errors import EnvironmentFault, first_line
from utils.files import disk_faults, file_sha256, write_atomically

SIDES = (64, 16384)  # least and greatest side of an image where the size is left open
INPUT, AXES = "image", ("batch", "height", "width")


def check_packages(format: str) -> None:
    """Raises `EnvironmentFault` if a package that files of `format` need isn't installed."""
    if format != "torch-export":
        for package in ("onnx", "onnxscript", "openvino" if format.startswith("openvino") else "onnxruntime"):
            import_runtime(package)
    if format.endswith("int8"):
        import_runtime("onnxruntime.quantization")


def write_torch_export(program: ExportedProgram, path: Path, header: dict) -> None:
    """Write a `.pt2` file for `torch.export.load`, with `header` as an extra file of that name."""
    buffer = io.BytesIO()  # at a full disk PyTorch ends the process
    torch.export.save(program, buffer, extra_files={METADATA_KEY: json.dumps(header)})
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def write_onnx(program: ExportedProgram, path: Path, header: dict, half: bool = False) -> None:
    """Write an ONNX file with `header` in its metadata; where it was traced isn't written.

    Args:
        program: Its outputs are those that `header` names, of `labels` alone where it names none.
        path: The new file.
        header: `size` None: the file's axes are named `AXES`.
        half: Keep filters in float16; they are computed with in float32.

    Raises:
        EnvironmentFault: A package is missing.
    """
    for package in ("onnx", "onnxscript"):
        import_runtime(package)
    names = list(header.get("outputs", ["labels"]))
    with quiet():
        result = torch.onnx.export(
            program, input_names=[INPUT], output_names=names, dynamo=True, verbose=False, external_data=False
        )
    for node in result.model.graph.all_nodes():
        node.metadata_props.clear()
    result.model.metadata_props[METADATA_KEY] = json.dumps(header)
    with disk_faults(path):
        result.save(path)
        _finish(path, header["size"] is None, half)


def _finish(path: Path, is_open: bool, half: bool) -> None:
    """Name the axes of an ONNX file that leaves them open, and halve its filters, in place."""
    onnx = import_runtime("onnx")
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output] if is_open else ():
        sides = value.type.tensor_type.shape.dim
        places = (0, 2, 3) if value.name == "probabilities" else (0, 1, 2)
        for place, name in zip(places, AXES, strict=True):
            sides[place].dim_param = name
    for tensor in list(model.graph.initializer) if half else ():
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            cast = onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
    onnx.save(model, path)


def write_openvino(onnx_file: Path, path: Path, header: dict, half: bool = False) -> None:
    """Write an ONNX file as an OpenVINO pair: `path` (.xml) and a .bin beside it, weights in float16 only if `half`.

    Raises:
        EnvironmentFault: OpenVINO isn't installed.
    """
    openvino = import_runtime("openvino")
    model = openvino_core().read_model(onnx_file)
    try:
        openvino.save_model(model, path, compress_to_fp16=half)
        header = {**header, "weights_file_sha256": file_sha256(path.with_suffix(".bin"))}
        model.set_rt_info(json.dumps(header), [METADATA_KEY])
        openvino.save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:  # a full disk's, too
        raise EnvironmentFault(f"{path}: cannot be written ({first_line(error)}); is the disk full?") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' chatter, which is about their own insides."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
