"""Time our code against its plain formulation, in alternating rounds in one process.

Usage: python scripts/benchmark.py WHAT --json FILE [options]
WHAT: train-step, loss, hpf, infer, eval, data, cpu-demo, scaling

Each arm's result is first checked against the plain one (`max_error`). Then rounds alternate over the arms; the first
ones are warm-up and don't count. Figures are medians in seconds, `spread` is the interquartile range, `ratio` is
plain / arm (higher is faster), `peak_memory_ratio` is arm / plain. Plain is eager float32 PyTorch in NCHW
layout, with OHEM by a full sort and the high-pass filter as a subtraction; on a GPU it has cuDNN's benchmark mode and
TF32 convolutions. On a CPU plain has glibc's malloc as it comes, and our arms as our programs set it
(utils/machine.py): an arm runs once untimed after each change, so that it is timed with its memory in place.
`data`, `cpu-demo` and `scaling` are described in scripts/benchmarks/data.py, benchmark_cpu_demo.py and
benchmarks/scaling.py.
"""

import argparse
import copy
import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import network
from engine.inference.compile import CompiledModel, CompiledStep
from engine.inference.precision import Precision
from engine.inference.predictor import build_predictor
from engine.inference.score_maps import predict_labels
from engine.training.step import train_step
from loss import LossOptions, OhemCrossEntropy, SegmentationLoss, build_loss
from network.fusing import fuse_for_inference
from network.parts.enhancement import FeatureFilter
from optimizer import OptimizerOptions, build_optimizer
from reference.inference import predict_plain
from reference.loss import PlainOhemCrossEntropy
from reference.network import make_plain, plain_filter
from scripts.benchmarks.cpu_demo import measure_cpu_demo
from scripts.benchmarks.data import measure_data
from scripts.benchmarks.scaling import measure_scaling
from utils.cli import run_main
from utils.distributed import choose_device
from utils.errors import NumericsError, OptionError
from utils.files import write_json
from utils.kernels import KERNELS, check_kernels
from utils.machine import keep_freed_memory
from utils.options import Parser, numbers

Arms = dict[str, Callable[[], torch.Tensor | tuple[torch.Tensor, ...]]]
LAST = torch.channels_last
OPT_IN = ("triton", "compiled")  # arms that users have to ask for
EVAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def build_loss_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """One head at stride 4: loss and the gradient of its logits."""
    height, width = options.size
    logits = 3 * torch.randn(options.batch, 19, height // 4, width // 4, device=device)
    labels = torch.randint(0, 19, (options.batch, height, width), device=device)
    labels[:, : height // 10] = 255

    def arm(criterion: torch.nn.Module) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            x = logits.detach().requires_grad_()
            criterion(x, labels).backward()
            return x.grad

        return run

    arms = {"plain": arm(PlainOhemCrossEntropy()), "ours": arm(OhemCrossEntropy())}
    if options.kernels == "triton":
        arms["triton"] = arm(build_loss(LossOptions(loss="ohem"), 19, kernels="triton").criterion)
    return arms


def build_hpf_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """The 9x9 filter at stride 4, C = 128, forward alone and with its backward."""
    height, width = options.size
    x = torch.randn(options.batch, 128, height // 4, width // 4, device=device)
    upstream = torch.randn_like(x)
    layer = FeatureFilter(128).to(device)

    def arm(call: Callable, layout: torch.memory_format, backward: bool) -> Callable:
        source, gradient = x.to(memory_format=layout), upstream.to(memory_format=layout)

        def run() -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
            if not backward:
                with torch.no_grad():
                    return call(source)
            leaf = source.detach().requires_grad_()
            layer.weight.grad = None
            call(leaf).backward(gradient)
            return leaf.grad, layer.weight.grad

        return run

    def plain(y: torch.Tensor) -> torch.Tensor:
        return plain_filter(layer, y)

    arms = {
        "plain": arm(plain, torch.contiguous_format, True),
        "fused": arm(layer, LAST, True),
        "plain_forward": arm(plain, torch.contiguous_format, False),
        "folded_forward": arm(layer, LAST, False),
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
        return F.interpolate(logits, options.size, mode="bilinear", align_corners=True).argmax(1)

    def arm(net: Callable[[torch.Tensor], dict]) -> Callable[[], torch.Tensor]:
        predictor = build_predictor(net, merge="logit")

        def run() -> torch.Tensor:
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                return predict_labels(predictor(images.to(memory_format=LAST)))

        return run

    arms = {"plain": plain, "ours": arm(fused)}
    return arms | {"compiled": arm(CompiledModel(fused, dtype is not None))} if device.type == "cuda" else arms


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
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            return predict_labels(predictor(image.to(memory_format=LAST)))

    return {"plain": lambda: predict_plain(reference, image, crop, EVAL_SCALES, flip=True).argmax(1), "ours": ours}


def build_train_arms(options: argparse.Namespace, device: torch.device) -> Arms:
    """One optimizer step with OHEM on all heads; what is compared is the loss of the first one."""
    labels = torch.randint(0, 19, (options.batch, *options.size))
    batch = {"image": torch.randn(options.batch, 3, *options.size), "label": labels}
    model = network.build_model(options.arch, 19, dropout=0.0)
    reference = make_plain(copy.deepcopy(model)).to(device).train()
    model = model.to(device, memory_format=LAST)
    plain_optimizer = torch.optim.SGD(reference.parameters(), 1e-4, 0.9, weight_decay=1e-4)
    plain_criterion = SegmentationLoss(PlainOhemCrossEntropy())

    def plain() -> torch.Tensor:
        plain_optimizer.zero_grad()
        loss = plain_criterion(reference(batch["image"].to(device)), labels.to(device))["total"]
        loss.backward()
        plain_optimizer.step()
        return loss.detach()

    def arm(net: torch.nn.Module, compiled: bool = False) -> Callable[[], torch.Tensor]:
        optimizer = build_optimizer(net, OptimizerOptions(lr=1e-4))
        precision, criterion = Precision.build(options.amp, device), SegmentationLoss(OhemCrossEntropy())
        if compiled:
            net = CompiledStep(net.train(), criterion, precision.dtype, device, LAST).start(net, batch)

        def run() -> torch.Tensor:
            return train_step(net.train(), criterion, optimizer, [batch], precision, device, LAST)[0]["total"]

        return run

    arms = {"plain": plain, "ours": arm(model)}
    return arms | {"compiled": arm(copy.deepcopy(model), compiled=True)} if device.type == "cuda" else arms


BUILDERS = {
    "train-step": build_train_arms,
    "loss": build_loss_arms,
    "hpf": build_hpf_arms,
    "infer": build_infer_arms,
    "eval": build_eval_arms,
}


def reference_of(arm: str) -> str:
    """The plain arm that `arm` is compared with: of the same kind, as `plain_forward` for `folded_forward`."""
    return "plain_forward" if arm.endswith("_forward") else "plain"


def errors_of(arms: Arms) -> dict[str, float]:
    """Per arm: share of labels that differ from the plain arm's, or the largest relative difference of values."""
    results = {name: [value.detach().clone() for value in _as_tuple(run())] for name, run in arms.items()}
    return {name: max(map(_error, values, results[reference_of(name)])) for name, values in results.items()}


def _as_tuple(result: torch.Tensor | tuple) -> tuple:
    """What an arm returns, as several tensors."""
    return result if isinstance(result, tuple) else (result,)


def _error(value: torch.Tensor, plain: torch.Tensor) -> float:
    if not value.is_floating_point():
        return float((value != plain).double().mean())
    return float((value - plain).abs().max() / plain.abs().max())


def time_arms(arms: Arms, rounds: int, warmup: int, device: torch.device) -> dict[str, dict]:
    """Seconds of each arm in alternating rounds, and its peak memory: all that CUDA holds, or on a CPU what it adds."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    peaks: dict[str, int] = {}
    cuda = device.type == "cuda"
    for turn in range(warmup + rounds):
        for name, run in arms.items():
            if not cuda:
                keep_freed_memory(not name.startswith("plain"))
                run()
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
                peaks[name] = torch.cuda.max_memory_allocated()
            elif turn == 0:
                peaks[name] = peak_cpu_bytes(run)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = {}
    for name, values in seconds.items():
        quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        rows[name] = {"median": medians[name], "spread": quartiles[2] - quartiles[0]}
        rows[name]["ratio"] = medians[reference_of(name)] / medians[name]
        if peaks[name]:  # other runtimes' memory isn't PyTorch's, and isn't known
            rows[name]["peak_memory_ratio"] = peaks[name] / peaks[reference_of(name)]
    return rows


def peak_cpu_bytes(run: Callable[[], object]) -> int:
    """The most memory that tensors made in `run` take at once, counted by PyTorch's profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
        run()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held, default=0)


def hardware(device: torch.device) -> dict:
    """What ran."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": device.type, "name": name, "threads": torch.get_num_threads()}


def check_numbers(options: argparse.Namespace, **least: int) -> None:
    """Raises `OptionError` for numbers that nothing can be timed with: below `least`, or a size of less than 32."""
    for name, lowest in least.items():
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise OptionError(f"--{name} {value}: must be at least {lowest}")
    if options.size is not None and (len(options.size) != 2 or min(options.size) < 32):
        raise OptionError(f"--size {','.join(map(str, options.size))}: give height,width from 32 on")


def body(argv: Sequence[str]) -> None:
    """Parse, check, time, write."""
    parser = Parser(prog="benchmark.py", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=(*BUILDERS, "data", "cpu-demo", "scaling"))
    parser.add_argument("--json", required=True, help="result file")
    parser.add_argument("--arch", default="fenet_r18", help="model")
    parser.add_argument(
        "--size", type=numbers(int), help="height,width; unset: 1024 or 1024,2048 on CUDA, smaller on a CPU"
    )
    parser.add_argument("--batch", type=int, help="images; unset: 2 in training, else 1")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), help="of our arm; unset: bf16 on CUDA, off on a CPU")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="device")
    parser.add_argument(
        "--kernels",
        default="torch",
        choices=KERNELS,
        help="triton: loss and hpf get arms of it, which `ratio` leaves out",
    )
    parser.add_argument("--rounds", type=int, default=11, help="rounds that count")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them")
    parser.add_argument(
        "--tolerance", type=float, default=None, help="largest max_error; unset: 1e-4, or 0.05 with amp"
    )
    parser.add_argument("--snapshot", help="cpu-demo: trained weights; unset: fresh ones")
    parser.add_argument("--data_root", help="cpu-demo with --snapshot: its data set; unset: as in train.py")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    check_numbers(options, rounds=1, warmup=0, batch=1)
    device = choose_device("cpu" if options.what == "scaling" else options.device)
    check_kernels(options.kernels, device)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    square = options.what in ("train-step", "scaling")
    if options.what in ("data", "hpf"):
        options.size = options.size or (1024, 2048)
    if options.what == "cpu-demo":
        device, cuda, options.size = torch.device("cpu"), False, options.size or (512, 1024)
    if options.what == "eval" and not cuda:
        options.size = options.size or (128, 256)
    options.size = options.size or ((1024, 1024 if square else 2048) if cuda else (256, 256 if square else 512))
    options.batch = options.batch or (2 if square else 1)
    options.amp = options.amp or ("bf16" if cuda else "off")
    torch.manual_seed(0)
    result = measure_data(options, device) if options.what == "data" else measure(options, device)
    result |= {"what": options.what, "hardware": hardware(device), "rounds": options.rounds}
    result |= {"versions": {"python": platform.python_version(), "torch": torch.__version__}}
    write_json(options.json, result)
    for name, row in result["arms"].items():
        print(f"{name:<16} {1e3 * row['median']:9.2f} ms +- {1e3 * row['spread']:.2f}  ratio {row['ratio']:.2f}")
    print(f"max error {result['max_error']:.2e}; written to {options.json}")


def measure(options: argparse.Namespace, device: torch.device) -> dict:
    """Check and time the arms of `options.what`."""
    if options.what == "cpu-demo":
        return measure_cpu_demo(options, lambda arms: time_arms(arms, options.rounds, options.warmup, device))
    if options.what == "scaling":
        return measure_scaling(options)
    arms = BUILDERS[options.what](options, device)
    errors = errors_of(arms)
    tolerance = options.tolerance or (1e-4 if options.amp == "off" and device.type == "cpu" else 0.05)
    if max(errors.values()) > tolerance:
        raise NumericsError(f"{options.what}: results differ from the plain formulation by {errors}, over {tolerance}")
    rows = time_arms(arms, options.rounds, options.warmup, device)
    by_default = [name for name in rows if not name.startswith(("plain", *OPT_IN))]
    best = max(rows[name]["ratio"] for name in by_default if reference_of(name) == "plain")
    return {
        "ratio": best,
        "max_error": max(errors.values()),
        "arms": rows,
        "sizes": {"size": list(options.size), "batch": options.batch, "arch": options.arch, "amp": options.amp},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
