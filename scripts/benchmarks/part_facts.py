"""Facts of the parts that libraries decide about: the 9x9 filter, the loss, the fused model of inference."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

import network
from engine.inference.compile import REDUCED_TOLERANCE
from loss import LossOptions, OhemCrossEntropy, build_loss
from network.fusing import fuse_for_inference
from network.parts.enhancement import FeatureFilter
from reference.loss import PlainOhemCrossEntropy
from scripts.benchmarks.facts import CLASSES, CPU, LAST, LAYOUTS, Place, Row, Trial, difference

CHANNELS = 2  # of the filter that are computed in float64 too
TOLERANCES = {torch.bfloat16: 2e-2, torch.float32: 2e-3}  # the latter with TF32


def filter_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """The 9x9 filter at stride 4: cuDNN or PyTorch's own kernel by layout, type and cuDNN's benchmark mode; Triton."""
    layouts = LAYOUTS if place.kernels == "torch" else {"channels_last": LAST}
    for dtype in TOLERANCES:
        for name, layout in layouts.items():
            for trials in (True, False) if layout is LAST and place.kernels == "torch" else (True,):
                words = f"{str(dtype).removeprefix('torch.')} {name}{'' if trials else ' without trials'}"
                yield words, partial(_filter, place, dtype, layout, trials)


def _filter(place: Place, dtype: torch.dtype, layout: torch.memory_format, trials: bool) -> dict:
    torch.backends.cudnn.benchmark = trials
    torch.manual_seed(0)
    n, channels, side = (2, 8, 32) if place.small else (2, 128, 256)
    maps, upstream = torch.randn(2, n, channels, side, side)
    layer = network.use_kernels(FeatureFilter(channels), place.kernels)
    expected = _in_float64(layer, maps, upstream)
    layer = layer.to(place.device)
    x = maps.to(place.device, dtype, memory_format=layout).requires_grad_()
    gradient = upstream.to(place.device, dtype, memory_format=layout)

    def forward() -> Tensor:
        with torch.autocast(place.device.type, dtype, enabled=dtype != torch.float32):
            return layer(x)

    def both() -> tuple[Tensor, ...]:
        y = forward()
        return y, *torch.autograd.grad(y, (x, layer.weight), gradient)

    y, by_x, by_weight = both()
    found = (y[:, :CHANNELS], by_x[:, :CHANNELS], by_weight[:CHANNELS])
    errors = [difference(a, b) for a, b in zip(found, expected, strict=True)]
    with torch.no_grad():
        alone = place.milliseconds(forward)
    row = {"forward_ms": alone, "with_backward_ms": place.milliseconds(both), "errors": errors}
    return row | {"ok": max(errors) < TOLERANCES[dtype]}


def _in_float64(layer: FeatureFilter, maps: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
    """Result and gradients of the first channels, by maps and weights, on the CPU."""
    few = FeatureFilter(CHANNELS).double()
    few.weight.data.copy_(layer.weight[:CHANNELS])
    x = maps[:, :CHANNELS].double().requires_grad_()
    y = few(x)
    return y, *torch.autograd.grad(y, (x, few.weight), upstream[:, :CHANNELS].double())


def loss_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """OHEM on a head of two crops in bf16, with the gradient of its logits, beside the plain formula in float32."""
    for stride in (4, 16, 32):
        yield f"ohem at stride {stride}", partial(_loss, place, stride)


def _loss(place: Place, stride: int) -> dict:
    torch.manual_seed(0)
    side = 128 if place.small else 1024
    logits = 3 * torch.randn(2, CLASSES, side // stride, side // stride)
    logits = logits.to(place.device, torch.bfloat16, memory_format=LAST)
    labels = torch.randint(0, CLASSES, (2, side, side)).to(place.device)
    labels[:, : side // 10] = 255
    criterion = build_loss(LossOptions(loss="ohem"), CLASSES, kernels=place.kernels).criterion

    def run(of: torch.nn.Module = criterion, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor]:
        leaf = logits.to(dtype).detach().requires_grad_()
        with torch.autocast(place.device.type, torch.bfloat16, enabled=dtype != torch.float32):
            value = of(leaf, labels)
        return value, torch.autograd.grad(value, leaf)[0]

    plain = run(PlainOhemCrossEntropy.like(OhemCrossEntropy()), torch.float32)
    errors = [difference(a, b) for a, b in zip(run(), plain, strict=True)]
    peak = place.peak_bytes(run)
    row = {"ms": place.milliseconds(run), "mib": peak and round(peak / 2**20, 1), "errors": errors}
    return row | {"ok": max(errors) < TOLERANCES[torch.bfloat16]}


def fuse_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """What validation runs: the fused model in bf16, after a step of training, beside the CPU's model in float32."""
    yield "fenet_r18", partial(_fuse, place)


def _fuse(place: Place) -> dict:
    trial = Trial.build(place, "fenet_r18", side=64 if place.small else 256)
    trial.run()
    images = torch.randn(1, 3, *((64, 96) if place.small else (512, 1024)))
    reference = network.use_kernels(copy.deepcopy(trial.model), "torch").to(CPU).eval()
    fused = fuse_for_inference(trial.model).to(memory_format=LAST)
    there = images.to(place.device, memory_format=LAST)

    @torch.inference_mode()
    def run() -> Tensor:
        with torch.autocast(place.device.type, torch.bfloat16):
            return fused(there)["logits"]

    with torch.inference_mode():
        expected = reference(images)["logits"]
    found = run().float().cpu()
    error = float(((found - expected).abs().max() / expected.abs().max()).item())
    unlike = (found.argmax(1) != expected.argmax(1)).double().mean().item()
    row = {"ms": place.milliseconds(run), "error": error, "labels_unlike": unlike}
    return row | {"ok": error < REDUCED_TOLERANCE}
