"""The product's own objects on a GPU that isn't there: a training step, a prediction, an exported graph."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

import network
from config import TrainConfig, parse_train
from datasets.loader import collate
from engine.evaluation import measuring
from engine.export.program import export_program
from engine.inference.build import wrap_model
from engine.inference.certainty import Votes, label_confidence
from engine.inference.options import PredictOptions
from engine.inference.predictor import Predictor
from engine.inference.score_maps import predict_labels
from engine.training.build import adapt_model, build_learner, build_schedule, create_model
from engine.training.learner import Learner
from engine.training.meters import LossMeter, StepMetrics
from engine.training.options import ValidationOptions
from engine.training.plan import TrainSchedule
from engine.training.resume import Checkpoint
from engine.training.validator import Validator
from loss import class_weights
from network.fusing import ImageToLabels, fuse_for_inference
from tests.fakecuda import rules
from tests.fakecuda.counting import Counts
from tests.fakecuda.device import CUDA, fake_cuda
from tests.fakecuda.matrix import CLASSES
from tests.fakecuda.scene import TABLE, Scene
from tests.fakecuda.watch import Fault, Watch
from transforms import DeviceAugment, build_train_transform
from utils.distributed import Process
from utils.signals import StopRequest


@dataclass(frozen=True)
class Result:
    """What a run did: faults in words, rows of the tables that it needed, and what it cost."""

    faults: list[str]
    excused: list[list[str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, watch: Watch, *more: str) -> "Result":
        """What `watch` saw, and further faults."""
        return cls(sorted({*watch.faults, *more}), sorted(map(list, watch.excused)), watch.counts.to_dict())

    def to_dict(self) -> dict:
        """The fields."""
        return asdict(self)


def train(*argv: str) -> Result:
    """An optimizer step as train.py makes it, and what the trainer does with its results."""
    config, process = parse_train(argv), Process(0, 1, CUDA)
    torch.use_deterministic_algorithms(config.compute.deterministic)
    with fake_cuda():
        return _watched_step(*_prepare(config, process), config)


def resume(written: str, now: str) -> Result:
    """A step with options `now` from the snapshot that a step with options `written` left on a CPU."""
    before, config = (parse_train(options.split()) for options in (written, now))
    with fake_cuda():
        first, batches = _prepare(before, Process(0, 1, torch.device("cpu")))
        learner, _ = _prepare(config, Process(0, 1, CUDA))
        with Watch():
            first.step(batches, 0, build_schedule(before, 10, first.process))
            snapshot = {"model": first.model.state_dict(), "training": first.state_dict()}
        learner.load(Checkpoint(Path("last.pth"), snapshot))
        return _watched_step(learner, batches, config)


def _prepare(config: TrainConfig, process: Process) -> tuple[Learner, list[dict]]:
    """What makes a step, and the batches of one."""
    model = network.use_kernels(adapt_model(create_model(config, CLASSES), config, process), "torch")
    transform, augment = build_train_transform(config.augment, process.device, model.encoder.mean, model.encoder.std)
    weights = class_weights(config.loss.class_weights, [str(i) for i in range(CLASSES)])
    learner = build_learner(config, process, model, CLASSES, augment, weights)
    learner.start_epoch(0)
    return learner, [_batch(config, transform, augment) for _ in range(config.schedule.accumulate)]


def _watched_step(learner: Learner, batches: list[dict], config: TrainConfig) -> Result:
    fused = getattr(learner.optimizer, "_step_supports_amp_scaling", False)
    half = 0 if learner.precision.dtype is None else config.schedule.bs_mult
    watch, schedule = Watch(() if fused else rules.WAITS_OF_UNFUSED, half), build_schedule(config, 10, learner.process)
    result = watched(lambda: _step(learner, batches, schedule, watch.counts), watch)
    return result if result.faults else Result.of(watch, *faults_of_state(learner))


def _step(learner: Learner, batches: list[dict], schedule: TrainSchedule, counts: Counts) -> None:
    with torch.autograd.graph.saved_tensors_hooks(counts.save, lambda tensor: tensor):
        terms, applied = learner.step(batches, 0, schedule)
    StepMetrics(1, learner.lr, [], terms, applied)
    LossMeter().add(terms, applied)


def _batch(config: TrainConfig, transform, augment: DeviceAugment | None) -> dict:
    """A batch as the loader gives it; its values don't matter."""
    count, side = config.schedule.bs_mult, config.augment.crop_size
    if augment is None:
        labels = torch.zeros(count, side, side, dtype=torch.uint8)
        return {"image": torch.zeros(count, 3, side, side), "label": labels}
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (side, 2 * side, 3), np.uint8), np.zeros((side, 2 * side), np.uint8)
    return collate([transform({"name": "", "image": image, "label": label}, rng) for _ in range(count)])


def faults_of_state(learner: Learner) -> list[str]:
    """Parameters without a gradient; gradients and optimizer tensors that a fused step can't walk beside them."""
    found, names = [], {id(value): name for name, value in learner.model.named_parameters()}
    for group in learner.optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            if parameter.grad is None:
                found.append(f"no gradient: {name}")
                continue
            beside = {"grad": parameter.grad, **learner.optimizer.state[parameter]}
            for key, value in beside.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and not _alike(value, parameter):
                    found.append(f"strides: {key} of {name} {value.stride()}, the parameter's are {parameter.stride()}")
                if group.get("fused") and isinstance(value, Tensor) and value.device != parameter.device:
                    found.append(f"mixed devices: {key} of {name}")
    return found


def _alike(a: Tensor, b: Tensor) -> bool:
    strides = all(x == y for side, x, y in zip(a.shape, a.stride(), b.stride(), strict=True) if side > 1)
    return strides and (a.dtype, a.device) == (b.dtype, b.device)


def model_of(arch: str) -> nn.Module:
    """A registered model in evaluation mode, of fake tensors; call it in a block of `fake_cuda`."""
    return network.build_model(arch, CLASSES).eval()


def watched(run: Callable[[], object], watch: Watch) -> Result:
    """What `watch` sees of `run`; without inference mode, in which operators that are made of others come whole."""
    call = torch.no_grad()(Predictor.__call__.__wrapped__)
    try:
        with mock.patch.object(Predictor, "__call__", call), watch:
            run()
    except Fault as fault:
        return Result.of(watch, str(fault))
    return Result.of(watch)


def predict(arch: str, **options) -> Result:
    """Scores, labels and confidence of a batch, as eval.py and the demo make them, of a calibrated snapshot.

    `options` are those of `PredictOptions`.
    """
    with fake_cuda():
        header = {"temperature": 1.5}
        predict = wrap_model(model_of(arch), PredictOptions("none.pth", **options), CUDA, TABLE, header).predict
        batch = {"image": torch.zeros(1, 3, 128, 256), "name": ["image"]}

        def run() -> None:
            votes = Votes()
            scores = predict(batch, votes)
            votes.agreement(predict_labels(scores))
            label_confidence(predict.calibrate_(scores), predict.merge)

        return watched(run, Watch(rules.WAITS_OF_PREDICTION))


def at_once(work: Callable, *args: object) -> Future:
    """`in_background` on this thread: tensors without values, and what watches them, are of one thread."""
    future = Future()
    future.set_result(work(*args))
    return future


def validate(arch: str, amp: str) -> Result:
    """A training run's validation, with its report's measures."""
    with fake_cuda():
        model = model_of(arch).to(CUDA, memory_format=torch.channels_last)
        validator = Validator(Scene(), model.encoder, ValidationOptions(), Process(0, 1, CUDA), amp=amp)
        with mock.patch.object(measuring, "in_background", at_once):
            return watched(lambda: validator.validate(model, StopRequest()), Watch(rules.WAITS_OF_PREDICTION))


def compiled(arch: str, loss: str, synchronised: bool, **options: object) -> Result:
    """A step under PyTorch's compiler; nothing is counted."""
    from tests.fakecuda.compiled import breaks_of  # its compiler takes seconds

    return Result(breaks_of(arch, loss, synchronised, **options))


def export(arch: str) -> Result:
    """The graph of an exported file, made on the CPU as always, on a GPU."""
    program = export_program(ImageToLabels(fuse_for_inference(model_of(arch))).eval(), (192, 256), dynamic=True)
    module = program.module()
    for node in module.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": CUDA}
    module.recompile()
    with fake_cuda():
        image = torch.zeros(1, 256, 320, 3, dtype=torch.uint8, device=CUDA)
        module.to(CUDA)
        return watched(lambda: module(image), Watch())
