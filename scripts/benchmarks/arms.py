"""`benchmark.py train-step`, `loss`, `hpf`, `infer`, `eval`: our code against its plain formulation.

Plain is eager float32 PyTorch in NCHW layout, with OHEM by a full sort and the high-pass filter as a subtraction; on a
GPU it has cuDNN's benchmark mode and TF32 convolutions. Ours have the precision and layout that training has there;
both get the same values. A compiled arm whose results differ, or that fails to compile, is left out, and that is said.
"""

import argparse
import copy
from collections.abc import Callable

import torch

import network
from engine.inference.compile import CompiledModel, CompiledStep
from engine.inference.precision import AUTOCAST, Precision
from engine.inference.predictor import build_predictor
from engine.inference.score_maps import predict_labels
from engine.training.step import train_step
from loss import LossOptions, OhemCrossEntropy, SegmentationLoss, build_loss
from network.fusing import fuse_for_inference
from network.parts.enhancement import FeatureFilter
from network.registry import model_options, resolve_arch
from optimizer import OptimizerOptions, build_optimizer
from reference.inference import predict_plain
from reference.loss import PlainOhemCrossEntropy
from reference.network import make_plain, plain_filter
from scripts.benchmarks.shares import arm_shares
from scripts.benchmarks.timing import Arms, errors_of, reference_of, time_arms
from utils.errors import NumericsError
from utils.resizing import resize

LAST = torch.channels_last
OPT_IN = ("triton", "compiled")  # arms that users have to ask for
COMPILED_ON = ("cuda",)  # devices that have a compiled arm
EVAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def build_loss_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """One head at stride 4: loss and the gradient of its logits."""
    height, width = options.size
    dtype = AUTOCAST[options.amp]
    logits = 3 * torch.randn(options.batch, 19, height // 4, width // 4, device=device, dtype=dtype)
    labels = torch.randint(0, 19, (options.batch, height, width), device=device)
    labels[:, : height // 10] = 255
    trained = logits.to(memory_format=LAST) if device.type == "cuda" else logits

    def arm(criterion: torch.nn.Module, source: torch.Tensor) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            x = source.detach().requires_grad_()
            with autocast(device, x.dtype):
                loss = criterion(x, labels)
            loss.backward()
            return x.grad

        return run

    ours = OhemCrossEntropy()
    arms = {"plain": arm(PlainOhemCrossEntropy.like(ours), logits.float()), "ours": arm(ours, trained)}
    if options.kernels == "triton":
        arms["triton"] = arm(build_loss(LossOptions(loss="ohem"), 19, kernels="triton").criterion, trained)
    return arms


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Mixed precision of this type; float32 or None: none."""
    dtype = None if dtype == torch.float32 else dtype
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def build_hpf_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """The 9x9 filter at stride 4, C = 128, forward alone and with its backward."""
    height, width = options.size
    x = torch.randn(options.batch, 128, height // 4, width // 4, device=device, dtype=AUTOCAST[options.amp])
    upstream = torch.randn_like(x)
    layer = FeatureFilter(128).to(device)

    def arm(call: Callable, layout: torch.memory_format, backward: bool) -> Callable:
        dtype = x.dtype if layout is LAST else torch.float32
        source, gradient = (values.to(dtype, memory_format=layout) for values in (x, upstream))

        def run() -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
            if not backward:
                with torch.no_grad(), autocast(device, dtype):
                    return call(source)
            leaf = source.detach().requires_grad_()
            layer.weight.grad = None
            with autocast(device, dtype):
                y = call(leaf)
            y.backward(gradient)
            return leaf.grad, layer.weight.grad

        return run

    def plain(y: torch.Tensor) -> torch.Tensor:
        return plain_filter(layer, y)

    arms = {
        "plain": arm(plain, torch.contiguous_format, True),
        "fused": arm(layer, LAST, True),
        "plain_forward": arm(plain, torch.contiguous_format, False),
        "fused_forward": arm(layer, LAST, False),
    }
    if options.kernels == "triton":
        by_triton = network.use_kernels(copy.copy(layer), "triton")  # the same weight, whose gradient an arm takes
        arms |= {"triton": arm(by_triton, LAST, True), "triton_forward": arm(by_triton, LAST, False)}
    return arms


def build_infer_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """Image on the device -> labels on the device."""
    images = torch.randn(options.batch, 3, *options.size, device=device)
    model = network.build_model(options.arch, 19).to(device).eval()
    reference = make_plain(copy.deepcopy(model))
    fused = fuse_for_inference(model).to(memory_format=LAST)
    dtype = Precision.build(options.amp, device).dtype

    @torch.no_grad()
    def plain() -> torch.Tensor:
        logits = reference(images)["logits"]
        return resize(logits, options.size).argmax(1)

    def arm(net: Callable[[torch.Tensor], dict]) -> Callable[[], torch.Tensor]:
        predictor = build_predictor(net, merge="logit")

        def run() -> torch.Tensor:
            with autocast(device, dtype):
                return predict_labels(predictor(images.to(memory_format=LAST)))

        return run

    arms = {"plain": plain, "ours": arm(fused)}
    if device.type in COMPILED_ON:
        compiled = CompiledModel(fused, dtype is not None)
        with torch.no_grad(), autocast(device, dtype):
            agrees = compiled.agrees_on(images.to(memory_format=LAST))
        arms |= {"compiled": arm(compiled)} if agrees else left_out()
    return arms


def left_out() -> Arms:
    """No arm, which is said; why it is so a warning has said."""
    print("the compiled arm is left out: it fails, or its results differ")
    return {}


def build_eval_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """Sliding windows as high as the image, at seven scales, mirrored too. Image on the device -> labels there."""
    image = torch.randn(1, 3, *options.size, device=device)
    model = network.build_model(options.arch, 19).to(device).eval()
    reference = make_plain(copy.deepcopy(model))
    crop = min(options.size)
    predictor = build_predictor(
        fuse_for_inference(model).to(memory_format=LAST), "sliding", crop, scales=EVAL_SCALES, flip=True
    )
    dtype = Precision.build(options.amp, device).dtype

    def ours() -> torch.Tensor:
        with autocast(device, dtype):
            return predict_labels(predictor(image.to(memory_format=LAST)))

    return {"plain": lambda: predict_plain(reference, image, crop, EVAL_SCALES, flip=True).argmax(1), "ours": ours}


def build_without_dropout(arch: str, num_classes: int) -> torch.nn.Module:
    """A model whose steps are the same each time."""
    has_dropout = "dropout" in model_options(resolve_arch(arch)[0])
    return network.build_model(arch, num_classes, **({"dropout": 0.0} if has_dropout else {}))


def build_train_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """One optimizer step with OHEM on all heads; what is compared is the loss of the first one."""
    batch = {"image": torch.randn(options.batch, 3, *options.size)}
    batch["label"] = torch.randint(0, 19, (options.batch, *options.size))
    if device.type == "cuda":  # as the loader gives them
        batch = {name: values.pin_memory() for name, values in batch.items()}
    model = build_without_dropout(options.arch, 19)
    reference = make_plain(copy.deepcopy(model)).to(device).train()
    model = model.to(device, memory_format=LAST)
    plain_optimizer = torch.optim.SGD(reference.parameters(), 1e-4, 0.9, weight_decay=1e-4)
    plain_criterion = SegmentationLoss(PlainOhemCrossEntropy.like(OhemCrossEntropy()))

    def plain() -> torch.Tensor:
        plain_optimizer.zero_grad()
        images, labels = (batch[name].to(device, non_blocking=True) for name in ("image", "label"))
        loss = plain_criterion(reference(images), labels)["total"]
        loss.backward()
        plain_optimizer.step()
        return loss.detach()

    def arm(net: torch.nn.Module, name: str) -> Arms:
        optimizer = build_optimizer(net, OptimizerOptions(lr=1e-4))
        precision, criterion = Precision.build(options.amp, device), SegmentationLoss(OhemCrossEntropy())
        if name == "compiled":
            eager, net = net, CompiledStep(net.train(), criterion, precision.dtype, device, LAST).start(net, batch)
            if net is eager:
                return left_out()

        def run() -> torch.Tensor:
            return train_step(net.train(), criterion, optimizer, [batch], precision, device, LAST)[0]["total"]

        return {name: run}

    arms = {"plain": plain} | arm(model, "ours")
    return arms | arm(copy.deepcopy(model), "compiled") if device.type in COMPILED_ON else arms


BUILDERS = {
    "train-step": build_train_arms,
    "loss": build_loss_arms,
    "hpf": build_hpf_arms,
    "infer": build_infer_arms,
    "eval": build_eval_arms,
}


def measure_arms(options: argparse.Namespace, device: torch.device) -> dict:
    """Check and time the arms of `options.what`.

    Raises:
        NumericsError: A result isn't the plain formulation's.
    """
    arms = BUILDERS[options.what](options, device)
    errors = errors_of(arms)
    tolerance = options.tolerance
    if tolerance is None:
        tolerance = 1e-4 if options.amp == "off" and device.type == "cpu" else 0.05
    if not all(error <= tolerance for error in errors.values()):  # nor is NaN
        raise NumericsError(f"{options.what}: results differ from the plain formulation by {errors}, over {tolerance}")
    rows = time_arms(arms, options.rounds, options.warmup, device)
    by_default = [name for name in rows if not name.startswith(("plain", *OPT_IN))]
    best = max(rows[name]["ratio"] for name in by_default if reference_of(name) == "plain")
    shares = {"roofline": arm_shares(options, arms, rows)} if device.type == "cpu" else {}
    return {
        "ratio": best,
        "max_error": max(errors.values()),
        "arms": rows,
        "sizes": {"size": list(options.size), "batch": options.batch, "arch": options.arch, "amp": options.amp},
        **shares,
    }
