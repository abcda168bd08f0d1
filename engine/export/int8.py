"""ONNX files in float32 -> with convolutions in int8, some of which may stay in float32."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.checkpoint.archive import METADATA_KEY
from engine.export.formats import INPUT, quiet
from engine.inference.exported import import_runtime


class Quantiser:
    """Measures scales on images once, and writes files whose convolutions are int8.

    Weights are signed with a scale per channel, activations unsigned with a zero point; the range is that of all
    images, behind a ReLU or ReLU6 where one follows: before it most of 256 levels would be for values that it cuts off.
    Both are written as pairs of QuantizeLinear and DequantizeLinear. The first and the last convolution stay
    in float32: they cost little time, and with the first in eight bits about twice as many labels change.

    Args:
        onnx_file: In float32; files are left beside it.
        images: RGB (H,W,3) uint8 of sizes that the file takes; read when the first file is written.
        keep: Further convolutions that stay in float32, by names of modules: the high-pass filters, whose kernels hold
            one large weight among small ones.

    Attributes:
        groups: Names of the other convolutions, by the part of the model that they are of.

    Raises:
        EnvironmentFault: A package is missing.
    """

    def __init__(self, onnx_file: Path, images: Iterable[np.ndarray], keep: Sequence[str]) -> None:
        onnx, self._library = import_runtime("onnx"), import_runtime("onnxruntime.quantization")
        self._prepared, self._ranges = onnx_file.with_name("prepared.onnx"), onnx_file.with_name("ranges.json")
        self._images = images
        with quiet():
            self._library.quant_pre_process(onnx_file, self._prepared, skip_symbolic_shape=True)
        nodes = [node for node in onnx.load(self._prepared).graph.node if node.op_type == "Conv"]
        kept = [node for node in nodes if any(f"{name}.weight" in node.input[1] for name in keep)]
        self._kept = {node.name for node in (nodes[0], nodes[-1], *kept)}
        self.groups: dict[str, list[str]] = defaultdict(list)
        for node in nodes:
            if node.name not in self._kept:
                self.groups[part_of(node.input[1])].append(node.name)

    def write(self, path: Path, header: dict | None = None, floats: Collection[str] = ()) -> None:
        """Write a file.

        Args:
            path: The new file.
            header: For its metadata; None: as the file in float32 has it.
            floats: Groups that stay in float32 too.
        """
        library = self._library
        kept = self._kept.union(*(self.groups[name] for name in floats))
        with quiet():
            library.quantize_static(
                self._prepared,
                path,
                _reader(library.CalibrationDataReader, self._images),
                op_types_to_quantize=["Conv", "Relu", "Clip"],
                nodes_to_exclude=sorted(kept),
                per_channel=True,
                activation_type=library.QuantType.QUInt8,
                weight_type=library.QuantType.QInt8,
                calibration_cache_path=self._ranges,
            )
        if header is not None:
            onnx = import_runtime("onnx")
            model = onnx.load(path)
            onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(header)})
            onnx.save(model, path)


def part_of(weight: str) -> str:
    """The part of a model that a convolution is of, by its weight's name: stages of encoders, blocks of decoders.

    `model.encoder.layer2.0.conv1.weight` is of `encoder.layer2`, `model.fem_d.0.fuse.0.weight` of `fem_d`. What an
    exporter made anew is of `others`.
    """
    names = weight.removeprefix("model.").split(".")[:-1]
    if not names:
        return "others"
    if names[0] == "encoder":
        end = next((i for i, name in enumerate(names) if re.search(r"\d", name)), len(names) - 1)
        return ".".join(names[: end + 1])
    return ".".join([name for name in names if not name.isdigit()][:2] if names[0] == "decoder" else names[:1])


def _reader(base: type, images: Iterable[np.ndarray]) -> Any:
    """The images, as ONNX Runtime's calibration asks for them."""

    class Reader(base):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None]}

    return Reader()
