"""The convolution that a CPU's roofline is measured with, by PyTorch and by OpenVINO, in float32, bf16 and int8.

3x3, 128 -> 128 channels. OpenVINO computes a chain of them, so that turning NCHW into its own layout and back, once a
call, hardly counts. Int8: activations are unsigned with one scale, weights signed with one; values are cut to
[0, `TOP`], as behind a ReLU.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.inference.exported import import_runtime, openvino_core
from utils.errors import EnvironmentFault

SIDE, CHAIN, TOP, LEVELS = 3, 4, 4.0, 255
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Sample:
    """Images (1,C,H,W) in [0, 1] in steps of 1/255, and weights (C,C,3,3) that keep their size."""

    images: Tensor
    weight: Tensor

    @classmethod
    def draw(cls, channels: int, height: int, width: int) -> "Sample":
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, LEVELS + 1, (1, channels, height, width), generator=generator) / LEVELS
        weight = torch.randn(channels, channels, SIDE, SIDE, generator=generator)
        return cls(images, weight * (2 / (channels * SIDE**2)) ** 0.5)

    @property
    def operations(self) -> int:
        """Of one convolution: two for a multiply-add."""
        return 2 * self.weight.numel() * self.images.shape[-2] * self.images.shape[-1]

    @property
    def scale(self) -> float:
        """Of int8 weights."""
        return float(self.weight.abs().max()) / 127

    def result(self, times: int, cut: bool) -> Tensor:
        """After so many convolutions in float32, each cut to [0, TOP] where `cut`."""
        x = self.images
        for _ in range(times):
            x = F.conv2d(x, self.weight, padding=SIDE // 2)
            x = x.clamp(0, TOP) if cut else x
        return x


@dataclass(frozen=True)
class Convolutions:
    """What one runtime computes: `run` gives (1,C,H,W) after `times` convolutions."""

    times: int
    run: Callable[[], Tensor]


def build_convolutions(sample: Sample, precision: str) -> dict[str, Convolutions]:
    """By name of the runtime, `torch` and, where it is installed, `openvino`.

    Args:
        sample: What is convolved.
        precision: `float32`, `bf16` or `int8`.
    """
    found = {"torch": Convolutions(1, _torch_int8(sample) if precision == "int8" else _torch(sample, precision))}
    try:
        found["openvino"] = Convolutions(CHAIN, _openvino(sample, precision))
    except EnvironmentFault:
        pass
    return found


def _torch(sample: Sample, precision: str) -> Callable[[], Tensor]:
    x, weight = (
        values.to(DTYPES[precision], memory_format=torch.channels_last) for values in (sample.images, sample.weight)
    )
    return torch.inference_mode()(lambda: F.conv2d(x, weight, padding=SIDE // 2))


def _torch_int8(sample: Sample) -> Callable[[], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and all that PyTorch itself has for int8
        image = sample.images.contiguous(memory_format=torch.channels_last)
        x = torch.quantize_per_tensor(image, 1 / LEVELS, 0, torch.quint8)
        weight = torch.quantize_per_tensor(sample.weight, sample.scale, 0, torch.qint8)
    packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [SIDE // 2] * 2, [1, 1], 1)
    return lambda: torch.ops.quantized.conv2d(x, packed, TOP / LEVELS, 0)


def _openvino(sample: Sample, precision: str) -> Callable[[], Tensor]:
    operators = import_runtime("openvino.opset13")
    int8 = precision == "int8"
    image = operators.parameter(list(sample.images.shape), np.uint8 if int8 else np.float32)
    values = (LEVELS * sample.images).round().to(torch.uint8) if int8 else sample.images
    x = operators.multiply(operators.convert(image, "f32"), _scalar(operators, 1 / LEVELS)) if int8 else image
    for _ in range(CHAIN):
        weight = _int8_weight(operators, sample) if int8 else operators.constant(sample.weight.numpy())
        x = operators.convolution(x, weight, [1, 1], [SIDE // 2] * 2, [SIDE // 2] * 2, [1, 1])
        if int8:
            ends = (_scalar(operators, value) for value in (0, TOP, 0, TOP))
            x = operators.fake_quantize(x, *ends, LEVELS + 1)
    if int8:
        x = operators.convert(operators.multiply(x, _scalar(operators, LEVELS / TOP)), "u8")
    run = _compile(operators.result(x), image, "bf16" if precision == "bf16" else "f32")
    return lambda: torch.from_numpy(run(values.numpy()))


def _int8_weight(operators: Any, sample: Sample) -> Any:
    whole = operators.constant((sample.weight / sample.scale).round().to(torch.int8).numpy())
    return operators.multiply(operators.convert(whole, "f32"), _scalar(operators, sample.scale))


def _scalar(operators: Any, value: float) -> Any:
    return operators.constant(np.full((1, 1, 1, 1), value, np.float32))


def _compile(result: Any, image: Any, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = import_runtime("openvino").Model([result], [image])
    request = openvino_core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda values: request.infer([values], share_inputs=True, share_outputs=True)[0]


def as_float(result: Tensor) -> Tensor:
    """What a runtime gave, in float32: its levels times their size where it is int8."""
    if result.is_quantized:
        return result.dequantize()
    return result * (TOP / LEVELS) if result.dtype == torch.uint8 else result.float()
