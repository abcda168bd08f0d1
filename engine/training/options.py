"""Options of a training run: its length, how a step is computed, validation, and where results go."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from engine.evaluation.options import check_thresholds
from engine.inference.precision import CHOICES
from utils.devices import FORMS, device_name
from utils.errors import OptionError
from utils.kernels import KERNELS
from utils.metrics.boundary import F_SCORE_THRESHOLDS
from utils.options import check, check_below, check_side, numbers, option

MAX_EPOCH = 180  # of a run whose length nothing names
MOST = 10**12  # of anything that is counted: a snapshot keeps 64 bits
DDP_BACKENDS = ("torch", "apex")


@dataclass(frozen=True)
class ScheduleOptions:
    """length of the run"""

    accumulate: int = option(1, "batches per optimizer step")
    global_batch: int | None = option(
        None, "crops per optimizer step over all processes, whose number may change: sets --accumulate"
    )
    bs_mult: int = option(2, "batch per process")
    max_epoch: int | None = option(None, f"epochs; unset: {MAX_EPOCH}, or as --max_iters says")
    max_iters: int | None = option(
        None, "optimizer steps, instead of epochs: the run's length and the schedule's; the last epoch may be cut short"
    )
    max_steps: int | None = option(None, "stop after this many optimizer steps in all; the schedule's length stays")
    max_skipped_steps: int = option(10, "steps in a row whose loss or gradient isn't finite, at which a run gives up")
    save_every: int | None = option(None, "steps between snapshots, besides the one each epoch")
    log_every: int = option(20, "steps between figures in the log")

    def __post_init__(self) -> None:
        _check_positive(self, "accumulate", "global_batch", "bs_mult", "max_epoch", "max_steps", "max_skipped_steps")
        _check_positive(self, "save_every", "log_every", "max_iters")
        if self.max_iters is not None and self.max_epoch is not None:
            given = f"--max_iters {self.max_iters} --max_epoch {self.max_epoch}"
            raise OptionError(f"{given}: both are the run's length; choose one")
        if self.max_iters is None and self.max_epoch is None:
            object.__setattr__(self, "max_epoch", MAX_EPOCH)

    def for_processes(self, world_size: int) -> "ScheduleOptions":
        """The same options with the `accumulate` that `--global_batch` asks for on so many processes.

        Raises:
            OptionError: The global batch is no multiple of what the processes take at a time.
        """
        wanted, at_a_time = self.global_batch, self.bs_mult * world_size
        if wanted is None:
            return self
        if wanted % at_a_time:
            below, above = wanted // at_a_time * at_a_time, -(wanted // -at_a_time) * at_a_time
            sizes = f"{below} or {above}" if below else f"{above}"
            counts = [n for n in range(1, wanted + 1) if wanted % (self.bs_mult * n) == 0]
            nearest = " or ".join(str(n) for n in sorted(sorted(counts, key=lambda n: abs(n - world_size))[:2]))
            raise OptionError(
                f"--global_batch {wanted}: {world_size} processes with --bs_mult {self.bs_mult} take {at_a_time}"
                f" crops at a time; use --global_batch {sizes}{f', or {nearest} processes' if counts else ''}"
            )
        accumulate = wanted // at_a_time
        if self.accumulate not in (1, accumulate):
            raise OptionError(
                f"--global_batch {wanted} --accumulate {self.accumulate}: on {world_size} processes that is"
                f" --accumulate {accumulate}; leave --accumulate out"
            )
        return dataclasses.replace(self, accumulate=accumulate)


@dataclass(frozen=True)
class ComputeOptions:
    """computation"""

    seed: int = option(0, "seed of everything random")
    deterministic: bool = option(False, "only deterministic kernels; an operation without one is refused")
    device: str = option("auto", f"device: {FORMS}", parse=device_name)
    amp: str = option(
        "auto",
        "precision: off (float32), bf16, fp16; auto: as the snapshot that is resumed, else bf16 where the CPU has"
        " instructions for it, but with --deterministic float32",
        choices=CHOICES,
    )
    channels_last: bool = option(True, "memory layout of images and weights")
    compile: bool = option(False, "train with torch.compile, if loss and gradients of the first batch are the same")
    checkpoint_activations: bool = option(
        False, "less memory: recompute much of the forward pass during the backward pass"
    )
    kernels: str = option(
        "torch", "of the loss and the enhancement filter; triton's need CUDA and were never run on it", choices=KERNELS
    )
    ddp_backend: str = option("torch", "what averages gradients: PyTorch, or NVIDIA's apex", choices=DDP_BACKENDS)
    grad_compression: str = option("off", "average gradients in bfloat16 (NCCL only)", choices=("off", "bf16"))

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**63, "--seed", self.seed, "must be at least 0 and less than 2^63")
        if self.compile and self.checkpoint_activations:
            raise OptionError("--compile --checkpoint_activations: the recomputed parts can't be traced; choose one")
        if self.compile and self.kernels == "triton":
            raise OptionError("--compile --kernels triton: nobody has run them together; choose one")


@dataclass(frozen=True)
class ValidationOptions:
    """validation"""

    bs_mult_val: int = option(1, "batch per process in validation")
    eval_epoch: int = option(0, "first epoch that is validated")
    val_every: int = option(1, "epochs between validations; the last epoch is always validated")
    patience: int | None = option(None, "end the run after so many validations in a row without a higher mIoU")
    base_size: int | None = option(None, "long side of the images in validation; unset: their own")
    max_pixels: int = option(2**26, "refuse images of validation with more pixels, at their own size or a scale")
    report: bool = option(True, "write report.html for the best epoch")

    def __post_init__(self) -> None:
        _check_positive(self, "bs_mult_val", "val_every", "max_pixels", "patience")
        check_side("--base_size", self.base_size)


@dataclass(frozen=True)
class RunOptions:
    """run"""

    exp: str = option("default", "name of the experiment: results go to <ckpt>/<exp>")
    ckpt: str = option("logs/ckpt", "folder of all experiments")
    tb_path: str | None = option(None, "TensorBoard folder; unset: the experiment's own")
    tb_tag: str = option("", "appended to the name of the TensorBoard run")
    resume: str = option("auto", "auto: the newest snapshot of this experiment; never; or a snapshot")
    resume_override: bool = option(False, "resume although training data or options that decide the result changed")
    test_mode: bool = option(False, "a few steps and images of everything, to see that it runs")
    dump_augmentation_images: bool = option(False, "write augmented samples of the first epoch as pictures")
    evaluateF: bool = option(False, "only evaluate the boundary F-score of --snapshot")
    eval_thresholds: tuple = option(
        F_SCORE_THRESHOLDS, "its thresholds, fractions of the image's diagonal", parse=numbers(float)
    )
    timeout: int = option(120, "seconds after which a process that is silent, or keeps others waiting, ends the job")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        _check_positive(self, "timeout")
        check_below("--exp", self.exp, "--ckpt")
        check_below("--tb_tag", self.tb_tag, "--tb_path")
        check_thresholds(self.eval_thresholds)

    @property
    def folder(self) -> Path:
        """Where the run leaves its results."""
        return Path(self.ckpt) / self.exp

    @property
    def tensorboard_folder(self) -> Path:
        """Where TensorBoard events go: the run's folder, or a run of its own below --tb_path."""
        if self.tb_path is None:
            return self.folder
        return Path(self.tb_path) / (f"{self.exp}_{self.tb_tag}" if self.tb_tag else self.exp)


def _check_positive(options: object, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        check(value is None or value >= 1, f"--{name}", value, "must be at least 1")
        check(value is None or value <= MOST, f"--{name}", value, f"must be at most {MOST}")
