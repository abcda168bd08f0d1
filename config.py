"""The one list of options: dataclasses -> argparse groups -> validated config objects."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import OptionError
from utils.kernels import KERNELS
from utils.options import OldFlag, Parser, add_old_flags, add_options, collect, numbers, option
from utils.options_file import add_options_file, with_options_file

PRECISIONS = ("off", "bf16", "fp16")
DEVICES = ("auto", "cpu", "cuda")
NORMS = ("plain", "sync", "group", "frozen")
NORM_GROUPS = 32  # of Wu and He, Group Normalization, ECCV 2018
DDP_BACKENDS = ("torch", "apex")
IGNORE_LABEL = 255
RUNTIMES = {".onnx": "onnx", ".xml": "openvino"}  # by the suffix of --snapshot; everything else is PyTorch's
MAX_WORKERS = 256
MAX_SCALE = 100
MAX_RATE = 1e30  # what single precision holds, with some room
MAX_SIDE = 32766  # of an image, in pixels, that OpenCV can resample
OF_SCORES = ("merge", "sliding_overlap", "window_batch")  # flags that mean nothing where a model gives labels
BOUNDARY_THRESHOLDS = (0.0005, 0.001875, 0.00375, 0.005)


def parse_size(text: str) -> int | tuple[int, int]:
    """'512' -> 512 (square); '360,480' -> (360, 480), height and width."""
    sizes = numbers(int)(text)
    if len(sizes) not in (1, 2):
        raise ValueError(text)
    return sizes[0] if len(sizes) == 1 else sizes


parse_size.__name__ = "size"


@dataclass(frozen=True)
class ModelOptions:
    """model"""

    arch: str | None = option(
        None, "model name, or the old dotted name of a release; unset: fenet_r18, with --evaluateF as the snapshot says"
    )
    backbone: str | None = option(
        None, "timm's name of the encoder of fenet, sfnet, sfnet_lite, smp_...; unset: resnet18"
    )
    channels: int | None = option(None, "width of the decoder; unset: the model's own")
    aux: bool | None = option(None, "build auxiliary heads (unset: as the model's name says) and train them")
    boundary: bool = option(False, "build the boundary head and train it")
    dropout: float = option(0.1, "probability of the model's channel dropouts")
    filter_kernel: int = option(9, "side of the enhancement filter")
    filter_padding: str = option("zeros", "padding of the enhancement filter", choices=("zeros", "reflect"))
    filter_weights: str = option(
        "trainable", "how the enhancement filter is trained", choices=("trainable", "frozen", "zero_sum")
    )
    structure: str = option("highpass", "filter of FEM-S", choices=("highpass", "smooth"))
    fem_d: bool = option(True, "build the detail modules FEM-D")
    fem_s: bool = option(True, "build the structure modules FEM-S")
    pretrained: str | None = option(None, "encoder weights: imagenet, timm, torchvision, efficientnet-lite0, or a file")
    partial: bool = option(False, "with --pretrained or --snapshot: load what fits and log what doesn't")
    snapshot: str | None = option(None, "start from the weights of this file")
    restore_optimizer: bool = option(False, "with --snapshot: take over its optimizer and progress too")
    freeze_trunk: bool = option(False, "don't train the encoder")
    fix_bn: bool = option(False, "freeze the norms' statistics and scales")
    syncbn: bool = option(False, "synchronised norms; the default where CUDA and more than one process run")
    norm: str | None = option(
        None,
        "batch norms over each process's crops (plain), over those of all (sync), group norms instead, or frozen ones;"
        " unset: as --fix_bn and --syncbn say; it wins over --syncbn",
        choices=NORMS,
    )
    norm_groups: int | None = option(None, "with --norm group: groups of a norm; unset: 32")

    def __post_init__(self) -> None:
        _at_least("--channels", self.channels, 1)
        _at_least("--filter_kernel", self.filter_kernel, 1)
        if not 0 <= self.dropout < 1:
            raise OptionError(f"--dropout {self.dropout}: must be at least 0 and less than 1")
        if self.restore_optimizer and not self.snapshot:
            raise OptionError("--restore_optimizer: needs --snapshot FILE, whose optimizer is taken over")
        _at_least("--norm_groups", self.norm_groups, 1)
        if self.norm_groups is not None and self.norm != "group":
            raise OptionError("--norm_groups: is for --norm group; add that, or leave it out")
        if self.fix_bn and self.norm not in (None, "frozen"):
            raise OptionError(f"--fix_bn --norm {self.norm}: --fix_bn is --norm frozen; choose one")

    @property
    def freeze_norms(self) -> bool:
        """True if statistics and scales of the batch norms stay as they are."""
        return self.fix_bn or self.norm == "frozen"

    def build_options(self) -> dict:
        """Keyword arguments of `network.build_model`; what was left at its default is left out."""
        names = ("backbone", "channels", "aux", "boundary", "dropout", "filter_kernel", "filter_padding")
        names += ("filter_weights", "structure", "fem_d", "fem_s")
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        changed = {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}
        return changed | ({"norm_groups": self.norm_groups or NORM_GROUPS} if self.norm == "group" else {})


@dataclass(frozen=True)
class DataOptions:
    """data"""

    dataset: str = option("cityscapes", "data set")
    data_root: str | None = option(None, "its folder; unset: $FENET_DATA/<dataset>, then ./data/<dataset>")
    cv: int = option(0, "cross-validation split; 0 is the official one", flags=("--cv_split",))
    train_split: str = option("train", "split to train on")
    val_split: str = option("val", "split to validate on")
    class_uniform_pct: float = option(0.5, "share of crops centred on class centroids")
    class_uniform_tile: int = option(1024, "tile of the class centroids, pixels")
    max_cu_epoch: int = option(100000, "last epoch with class-uniform sampling")
    coarse_boost_classes: tuple | None = option(
        None, "train ids topped up from coarse labels, comma-separated", parse=numbers(int)
    )
    num_workers: int = option(2, "loader processes per process; 0: load in the process itself")
    worker_timeout: int = option(300, "seconds without a batch after which a loader process counts as stuck")
    cache: str = option("off", "decoded training samples: off; ram; disk: in <ckpt>/cache; or a folder")

    def __post_init__(self) -> None:
        if not 0 <= self.class_uniform_pct <= 1:
            raise OptionError(f"--class_uniform_pct {self.class_uniform_pct}: must be a share from 0 to 1")
        _at_least("--class_uniform_tile", self.class_uniform_tile, 1)
        _check_workers(self.num_workers)
        _at_least("--worker_timeout", self.worker_timeout, 1)
        if self.coarse_boost_classes and self.class_uniform_pct == 0:
            raise OptionError("--coarse_boost_classes: needs class-uniform sampling; set --class_uniform_pct above 0")


@dataclass(frozen=True)
class AugmentOptions:
    """augmentation"""

    crop_size: int | tuple = option(720, "training crop: one number, or height,width", parse=parse_size)
    pre_size: int | None = option(None, "resize the short side to this before scaling")
    scale_min: float = option(0.5, "least random scale")
    scale_max: float = option(2.0, "greatest random scale")
    color_aug: float = option(0.25, "strength of the colour jitter; 0: off")
    gblur: bool = option(True, "random Gaussian blur")
    bblur: bool = option(False, "bilateral blur instead of Gaussian")
    augment: str = option(
        "cpu", "where samples are augmented: by the loader processes, or on the device", choices=("cpu", "device")
    )

    def __post_init__(self) -> None:
        for size in self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size,):
            _check_side("--crop_size", size)
        _check_side("--pre_size", self.pre_size)
        if not 0 < self.scale_min <= self.scale_max <= MAX_SCALE:
            raise OptionError(
                f"--scale_min {self.scale_min} --scale_max {self.scale_max}: need 0 < min <= max <= {MAX_SCALE}"
            )
        if self.color_aug < 0:
            raise OptionError(f"--color_aug {self.color_aug}: must not be negative")
        if self.augment == "device" and self.bblur:
            raise OptionError("--augment device --bblur: the bilateral blur needs --augment cpu")

    @property
    def blur(self) -> str:
        """`gaussian`, `bilateral` or `off`."""
        return "bilateral" if self.bblur else "gaussian" if self.gblur else "off"


@dataclass(frozen=True)
class LossOptions:
    """loss"""

    ohem: bool = option(False, "OHEM cross-entropy")
    ohem_thresh: float = option(0.7, "OHEM: pixels up to this probability of their class are kept")
    ohem_min_kept: int = option(100_000, "OHEM: least number of kept pixels per process")
    aux_weight: float = option(1.0, "weight of each auxiliary head")
    boundary_weight: float = option(1.0, "weight of the boundary head")
    img_wt_loss: bool = option(False, "image-weighted cross-entropy")
    batch_weighting: bool = option(False, "class weights over the batch instead of each image")
    wt_bound: float = option(1.0, "upper bound of the class weights", flags=("-wb",))
    jointwtborder: bool = option(False, "boundary label relaxation")
    strict_bdr_cls: tuple = option((), "train ids that relaxation leaves alone, comma-separated", parse=numbers(int))
    rlx_off_epoch: int = option(-1, "epoch at which relaxation ends; -1: never")

    @property
    def name(self) -> str:
        """Name of the criterion; of several flags the first of this order wins: image-weighted, relaxed, OHEM."""
        return "image_weighted" if self.img_wt_loss else "relaxed_boundary" if self.jointwtborder else self.hard_name

    @property
    def hard_name(self) -> str:
        """Name of the criterion without relaxation."""
        return "ohem" if self.ohem else "ce"


@dataclass(frozen=True)
class OptimizerOptions:
    """optimizer and schedule"""

    optimizer: str = option("sgd", "optimizer", choices=("sgd", "adam", "adamw"))
    lr: float = option(0.002, "base learning rate")
    lr_schedule: str = option("poly", "learning rate over time", choices=("poly", "scl-poly"))
    poly_exp: float = option(1.0, "exponent of poly")
    repoly: float = option(1.5, "exponent after relaxation ends (scl-poly)")
    rescale: float = option(1.0, "factor after relaxation ends (scl-poly)")
    warmup_steps: int = option(0, "steps of linear warm-up")
    amsgrad: bool = option(False, "Adam's AMSGrad variant")
    weight_decay: float = option(1e-4, "weight decay")
    no_decay_norm_bias: bool = option(False, "no weight decay on norms and biases")
    momentum: float = option(0.9, "momentum of SGD")
    ema: float = option(0.0, "decay of the weight average, which is then validated and saved as best; 0: off")
    accumulate: int = option(1, "batches per optimizer step")
    global_batch: int | None = option(
        None, "crops per optimizer step over all processes, whose number may change: sets --accumulate"
    )
    bs_mult: int = option(2, "batch per process")
    bs_mult_val: int = option(1, "batch per process in validation")
    max_epoch: int = option(180, "epochs")

    def __post_init__(self) -> None:
        for flag in ("accumulate", "bs_mult", "bs_mult_val", "max_epoch"):
            _at_least(f"--{flag}", getattr(self, flag), 1)
        _at_least("--global_batch", self.global_batch, 1)
        _at_least("--warmup_steps", self.warmup_steps, 0)
        if self.lr <= 0:
            raise OptionError(f"--lr {self.lr}: must be positive")
        for flag in ("lr", "weight_decay", "rescale"):
            if abs(getattr(self, flag)) > MAX_RATE:
                raise OptionError(f"--{flag} {getattr(self, flag)}: must be at most {MAX_RATE}")
        if not 0 <= self.ema < 1:
            raise OptionError(f"--ema {self.ema}: must be at least 0 and less than 1")


@dataclass(frozen=True)
class RunOptions:
    """run"""

    exp: str = option("default", "name of the experiment: results go to <ckpt>/<exp>")
    ckpt: str = option("logs/ckpt", "folder of all experiments")
    tb_path: str | None = option(None, "TensorBoard folder; unset: the experiment's own")
    tb_tag: str = option("", "appended to the name of the TensorBoard run")
    resume: str = option("auto", "auto: go on where this experiment stopped; never; or a snapshot to go on from")
    resume_override: bool = option(False, "go on although options that decide the result changed")
    seed: int = option(0, "seed of everything random")
    deterministic: bool = option(False, "only deterministic kernels; an operation without one is refused")
    device: str = option("auto", "device", choices=DEVICES)
    amp: str = option("off", "mixed precision", choices=PRECISIONS)
    channels_last: bool = option(True, "memory layout of images and weights")
    compile: bool = option(False, "train with code of torch.compile, if it computes the same on the first batch")
    checkpoint_activations: bool = option(False, "less memory: compute much of a step again instead of keeping it")
    kernels: str = option(
        "torch", "of the loss and the enhancement filter; triton's need CUDA and were never run on it", choices=KERNELS
    )
    ddp_backend: str = option("torch", "what shares gradients: PyTorch, or NVIDIA's apex", choices=DDP_BACKENDS)
    grad_compression: str = option("off", "share gradients as bfloat16 (NCCL only)", choices=("off", "bf16"))
    max_steps: int | None = option(None, "stop after this many optimizer steps in all")
    max_skipped_steps: int = option(10, "steps in a row whose loss or gradient isn't finite, at which a run gives up")
    save_every: int | None = option(None, "steps between snapshots, besides the one each epoch")
    log_every: int = option(20, "steps between figures in the log")
    eval_epoch: int = option(0, "first epoch that is validated")
    val_every: int = option(1, "epochs between validations; the last epoch is always validated")
    base_size: int | None = option(None, "long side of the images in validation; unset: their own")
    max_pixels: int = option(2**26, "refuse images of validation with more pixels, at their own size or a scale")
    report: bool = option(True, "write report.html for the best epoch")
    test_mode: bool = option(False, "a few steps and images of everything, to see that it runs")
    dump_augmentation_images: bool = option(False, "write augmented samples of the first epoch as pictures")
    evaluateF: bool = option(False, "only evaluate the boundary F-score of --snapshot")
    eval_thresholds: tuple = option(BOUNDARY_THRESHOLDS, "its thresholds, shares of the diagonal", parse=numbers(float))
    timeout: int = option(120, "seconds after which a process that is silent, or keeps others waiting, ends the job")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for flag in ("max_steps", "save_every", "max_pixels"):
            _at_least(f"--{flag}", getattr(self, flag), 1)
        _check_side("--base_size", self.base_size)
        for flag in ("log_every", "val_every", "max_skipped_steps", "timeout"):
            _at_least(f"--{flag}", getattr(self, flag), 1)
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"--seed {self.seed}: must be at least 0 and less than 2^63")
        if self.compile and self.checkpoint_activations:
            raise OptionError("--compile --checkpoint_activations: the recomputed parts can't be traced; choose one")
        if self.compile and self.kernels == "triton":
            raise OptionError("--compile --kernels triton: nobody has run them together; choose one")
        _check_below("--exp", self.exp, "--ckpt")
        _check_below("--tb_tag", self.tb_tag, "--tb_path")


@dataclass(frozen=True)
class TrainConfig:
    """Everything train.py was asked for."""

    model: ModelOptions
    data: DataOptions
    augment: AugmentOptions
    loss: LossOptions
    optim: OptimizerOptions
    run: RunOptions
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the run leaves its results."""
        return Path(self.run.ckpt) / self.run.exp

    def __post_init__(self) -> None:
        if self.model.boundary and self.loss.boundary_weight == 0:
            raise OptionError("--boundary_weight 0: a head without a loss learns nothing; leave --boundary out")

    def for_processes(self, world_size: int) -> "TrainConfig":
        """The same config with the `accumulate` that `--global_batch` asks for on so many processes.

        Raises:
            OptionError: The global batch is no multiple of what the processes take at a time.
        """
        wanted, at_a_time = self.optim.global_batch, self.optim.bs_mult * world_size
        if wanted is None:
            return self
        if wanted % at_a_time:
            below, above = wanted // at_a_time * at_a_time, -(wanted // -at_a_time) * at_a_time
            sizes = f"{below} or {above}" if below else f"{above}"
            counts = [n for n in range(1, wanted + 1) if wanted % (self.optim.bs_mult * n) == 0]
            nearest = " or ".join(str(n) for n in sorted(sorted(counts, key=lambda n: abs(n - world_size))[:2]))
            raise OptionError(
                f"--global_batch {wanted}: {world_size} processes with --bs_mult {self.optim.bs_mult} take {at_a_time}"
                f" crops at a time; use --global_batch {sizes}{f', or {nearest} processes' if counts else ''}"
            )
        accumulate = wanted // at_a_time
        if self.optim.accumulate not in (1, accumulate):
            raise OptionError(
                f"--global_batch {wanted} --accumulate {self.optim.accumulate}: on {world_size} processes that is"
                f" --accumulate {accumulate}; leave --accumulate out"
            )
        return dataclasses.replace(self, optim=dataclasses.replace(self.optim, accumulate=accumulate))

    def settings(self, world_size: int) -> dict:
        """What decides a run's result, for comparison when it is resumed: batches count over all processes."""
        free = {item.name for item in dataclasses.fields(RunOptions)} - {"seed", "amp", "deterministic"}
        free |= {"num_workers", "data_root", "bs_mult", "accumulate", "bs_mult_val", "aux", "snapshot", "pretrained"}
        free |= {"restore_optimizer", "partial", "arch", "val_split", "worker_timeout", "cache"}
        kept = {name: value for name, value in self.flat().items() if name not in free}
        kept["norm_groups"] = self.model.build_options().get("norm_groups")
        global_batch = self.optim.bs_mult * self.optim.accumulate * world_size
        kept |= {"global_batch": global_batch, "processes": world_size}
        kept |= {"bs_mult": self.optim.bs_mult, "accumulate": self.optim.accumulate}
        # a snapshot's tuples come back as tuples; JSON's and argparse's spellings are made equal by repr
        return {name: repr(value) for name, value in kept.items()}

    def flat(self) -> dict:
        """Every option by name, as plain data."""
        groups = (self.model, self.data, self.augment, self.loss, self.optim, self.run)
        return {name: value for group in groups for name, value in dataclasses.asdict(group).items()}


LAUNCHER_FLAGS = [
    OldFlag("--local_rank", "torchrun's environment counts", 1),
    OldFlag("--local-rank", "torchrun's environment counts", 1),
]
TRAIN_OLD_FLAGS = [
    *LAUNCHER_FLAGS,
    OldFlag("--apex", "training is distributed whenever torchrun starts it, through torch.nn.parallel"),
    OldFlag("--fpn_dsn_loss", "auxiliary losses are used whenever the model has auxiliary heads"),
    OldFlag("--start_epoch", "--resume sets it", 1),
    OldFlag("--trunk", "--arch names the encoder", 1),
    OldFlag("--hardnm", "the models of this family don't use it", 1),
    OldFlag("--maxSkip", "video augmentation is not part of this family", 1),
    OldFlag("--scf", "video augmentation is not part of this family"),
    OldFlag("--edge_weight", "weighs --joint_edgeseg_loss, which is not part of this family", 1),
    OldFlag("--seg_weight", "weighs --joint_edgeseg_loss, which is not part of this family", 1),
    OldFlag("--att_weight", "weighs --joint_edgeseg_loss, which is not part of this family", 1),
]
REFUSED = {
    "--joint_edgeseg_loss": "is the loss of GSCNN, whose model is not part of this family; leave it out",
    "--icnet_loss": "is the loss of ICNet, whose model is not part of this family; leave it out",
}


def parse_train(argv: Sequence[str]) -> TrainConfig:
    """The command line of train.py -> config.

    Raises:
        OptionError: An unknown option or a value that cannot work.
    """
    parser = Parser(prog="train.py", description="Train a segmentation model, alone or under torchrun.")
    groups = (ModelOptions, DataOptions, AugmentOptions, LossOptions, OptimizerOptions, RunOptions)
    for group in groups:
        add_options(parser, group)
    add_options_file(parser)
    short = parser.add_argument_group("short forms")
    for name in ("sgd", "adam", "adamw"):
        short.add_argument(
            f"--{name}", action="store_const", dest="optimizer", const=name, help=f"= --optimizer {name}"
        )
    short.add_argument("--fp16", action="store_const", dest="amp", const="fp16", help="= --amp fp16")
    short.add_argument("--dataset_dir", dest="data_root", help="= --data_root")
    for flag, reason in REFUSED.items():
        short.add_argument(flag, action="store_true", help=f"refused: {reason}")
    parser.set_defaults(optimizer="sgd", amp="off", data_root=None, notes=[])
    add_old_flags(parser, TRAIN_OLD_FLAGS)
    names = [item.name for group in groups for item in dataclasses.fields(group)]
    namespace = parser.parse_args(with_options_file(argv, names))
    for flag, reason in REFUSED.items():
        if getattr(namespace, flag.strip("-")):
            raise OptionError(f"{flag}: {reason}")
    return TrainConfig(*(collect(group, namespace) for group in groups), notes=namespace.notes)


@dataclass(frozen=True)
class PredictOptions:
    """prediction: what eval.py and demo_folder.py share"""

    snapshot: str | None = option(None, "weights, or a file of scripts/export.py")
    runtime: str | None = option(
        None, "what runs --snapshot; unset: by its suffix (.onnx, .xml)", choices=("torch", "onnx", "openvino")
    )
    arch: str | None = option(None, "model name; unset: as the snapshot says")
    dataset: str | None = option(None, "data set, whose classes and colours are used; unset: as the snapshot says")
    inference_mode: str = option(
        "whole",
        "how an image is cut up; the releases' pooling is whole",
        choices=("whole", "sliding"),
        flags=("-im",),
        parse=lambda text: "whole" if text == "pooling" else text,
    )
    scales: tuple = option((1.0,), "scales whose scores are merged, comma-separated", parse=numbers(float))
    flip: bool = option(False, "also run each piece mirrored")
    merge: str = option("prob", "how scores are merged", choices=("prob", "logit", "exp_softmax"))
    sliding_overlap: float = option(1 / 3, "share of a window that its neighbour repeats")
    crop_size: int | None = option(None, "side of a window; unset: the image's short side")
    base_size: int | None = option(None, "long side at scale 1; unset: the image's own")
    window_batch: int = option(4, "windows per forward pass")
    max_pixels: int = option(2**26, "refuse images with more pixels, at their own size or a scale")
    device: str = option("auto", "device", choices=DEVICES)
    amp: str = option("off", "mixed precision", choices=PRECISIONS)
    compile: bool = option(False, "compile the model with PyTorch for each size of images, and check its logits")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise OptionError("--snapshot: name the weights")
        _check_exported(self)

    def predictor(self) -> dict:
        """Keyword arguments of `engine.inference.build_predictor`, which checks their values."""
        names = ("crop_size", "base_size", "scales", "flip", "merge", "window_batch", "max_pixels")
        own = {name: getattr(self, name) for name in names}
        return own | {"mode": self.inference_mode, "overlap": self.sliding_overlap}

    def notes(self) -> list[str]:
        """A line about the flags that were given and have no effect."""
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        given = [f"--{name}" for name in OF_SCORES if getattr(self, name) != defaults[name]]
        if runtime_of(self) == "torch" or not given:
            return []
        return [f"{', '.join(given)}: no effect, because {self.snapshot} gives labels of whole images"]


@dataclass(frozen=True)
class EvalOptions(PredictOptions):
    """evaluation"""

    data_root: str | None = option(None, "its folder; unset: $FENET_DATA/<dataset>, then ./data/<dataset>")
    split: str = option("val", "split to evaluate")
    cv_split: int = option(0, "cross-validation split", flags=("--cv",))
    save_dir: str | None = option(None, "output folder", flags=("--ckpt_path",))
    exp_name: str = option("", "subfolder of --save_dir")
    batch_size: int = option(1, "images per process and batch")
    dump_images: bool = option(False, "write predictions: pred/ (label ids), color/, overlay/, diff/")
    submission: str | None = option(None, "FILE.zip of label ids for a benchmark server, checked before it is written")
    report: bool = option(False, "write report.html: scores, charts, best and worst images on one page")
    boundary: bool = option(False, "also score boundaries: F-score at --eval_thresholds, Boundary IoU")
    eval_thresholds: tuple = option(
        BOUNDARY_THRESHOLDS, "thresholds of the F-score, shares of the diagonal", parse=numbers(float)
    )
    bootstrap: int = option(2000, "resamples of the images for 95 %% intervals; 0: no intervals")
    resume: bool = option(False, "go on where a killed evaluation with the same --save_dir stopped")
    split_index: int = option(0, "which part of the split, from 0")
    split_count: int = option(1, "parts that the split is cut into; each leaves its scores in part_INDEX_of_COUNT/")
    partial: bool = option(False, "load what fits of the snapshot and say what doesn't")
    num_workers: int = option(2, "loader processes per process")
    test_mode: bool = option(False, "a few images only")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.save_dir:
            raise OptionError("--save_dir: name the output folder")
        _check_below("--exp_name", self.exp_name, "--save_dir")
        if not 0 <= self.split_index < self.split_count:
            raise OptionError(
                f"--split_index {self.split_index} --split_count {self.split_count}: the index runs from 0 to count - 1"
            )
        _at_least("--batch_size", self.batch_size, 1)
        _check_workers(self.num_workers)
        _at_least("--bootstrap", self.bootstrap, 0)
        if not self.eval_thresholds or min(self.eval_thresholds) < 0:
            raise OptionError(f"--eval_thresholds {self.eval_thresholds}: give one or more numbers from 0 on")
        _check_submission(self)

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.save_dir) / self.exp_name

    @property
    def scores_folder(self) -> Path:
        """Where the scores go: those of one part of a split must not stand for those of another, or of all of it."""
        part = f"part_{self.split_index}_of_{self.split_count}" if self.split_count > 1 else ""
        return self.folder / part

    def settings(self) -> dict:
        """What decides an image's result and files, besides snapshot, data and device."""
        free = {"snapshot", "data_root", "save_dir", "exp_name", "num_workers", "device", "bootstrap", "resume"}
        free |= {"submission", "max_pixels", "debug", "split_index", "split_count"}
        kept = {name: value for name, value in dataclasses.asdict(self).items() if name not in free}
        # a result that was kept without its file must not stand for the file of an earlier evaluation
        return kept | {"predictions": self.dump_images or self.submission is not None}


def _check_submission(options: EvalOptions) -> None:
    if options.submission is None:
        return
    path, pred = Path(options.submission), options.folder / "pred"
    if path.suffix != ".zip":
        raise OptionError(f"--submission {path}: must be named FILE.zip")
    if path.is_dir():
        raise OptionError(f"--submission {path}: is a folder; name a file in it")
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(pred)):
        raise OptionError(f"--submission {path}: lies among the predictions in {pred}; write it elsewhere")
    if os.path.realpath(path) == os.path.realpath(options.snapshot):
        raise OptionError(f"--submission {path}: is the snapshot; name another file")
    for flag, partly in (("--split_count", options.split_count > 1), ("--test_mode", options.test_mode)):
        if partly:
            raise OptionError(
                f"--submission with {flag}: a part of a split is no submission; predict all of it in one run (torchrun"
                " shares it out among processes)"
            )


EVAL_OLD_FLAGS = [
    *LAUNCHER_FLAGS,
    OldFlag("--mode", "fine labels are what is evaluated", 1),
    OldFlag("--dataset_cls", "--dataset names it", 1),
    OldFlag("--dist_bn", "norms are not synchronised in evaluation"),
    OldFlag("--profile", "see scripts/benchmark.py"),
    OldFlag("--fixed_aspp_pool", "the models of this family don't use it"),
    OldFlag("--trunk", "--arch names the encoder", 1),
]


def parse_eval(argv: Sequence[str]) -> tuple[EvalOptions, list[str]]:
    """The command line of eval.py -> options, and notes about flags that mean nothing any more."""
    parser = Parser(prog="eval.py", description="Score a snapshot on a split, alone or under torchrun.")
    add_options(parser, EvalOptions)
    short = parser.add_argument_group("short forms")
    short.add_argument("--dataset_dir", dest="data_root", help="= --data_root")
    short.add_argument("--single_scale", action="store_const", dest="scales", const=(1.0,), help="= --scales 1.0")
    parser.set_defaults(data_root=None, scales=(1.0,), notes=[])
    add_old_flags(parser, EVAL_OLD_FLAGS)
    namespace = parser.parse_args(argv)
    options = collect(EvalOptions, namespace)
    return options, namespace.notes + options.notes()


@dataclass(frozen=True)
class DemoOptions(PredictOptions):
    """demo"""

    source: str | None = option(
        None,
        "folder of images, one image or video, or a quoted pattern such as 'shots/**/*.jpg'",
        flags=("--demo_folder", "--demo_floder"),
    )
    save_dir: str = option("demo_results", "output folder")
    recursive: bool = option(False, "also take the folders inside the folder; their names become part of the results'")
    opacity: float = option(0.5, "of the colours over the image")
    legend: bool = option(False, "name the classes that occur under each overlay")
    side_by_side: bool = option(False, "put the input to the left of each overlay")
    label_ids: bool = option(False, "also write the data set's original label ids of each image, as 8-bit PNG")
    mask_video: bool = option(False, "also write the class colours of each video")
    show_fps: bool = option(True, "draw the frames processed per second into videos")
    max_frames: int | None = option(None, "frames that are taken of each video; unset: all")

    def __post_init__(self) -> None:
        if not self.source:
            raise OptionError("--source: name a folder, an image, a video or a pattern (--demo_folder is the same)")
        super().__post_init__()
        if not self.save_dir:
            raise OptionError("--save_dir: name the output folder")
        if not 0 <= self.opacity <= 1:
            raise OptionError(f"--opacity {self.opacity}: must be from 0 to 1")
        _at_least("--max_frames", self.max_frames, 1)


def parse_demo(argv: Sequence[str]) -> tuple[DemoOptions, list[str]]:
    """The command line of demo_folder.py -> options, and notes about flags that mean nothing any more."""
    parser = Parser(prog="demo_folder.py", description="Segment images and videos and draw the result.")
    add_options(parser, DemoOptions)
    add_old_flags(parser, LAUNCHER_FLAGS)
    parser.set_defaults(notes=[])
    namespace = parser.parse_args(argv)
    options = collect(DemoOptions, namespace)
    return options, namespace.notes + options.notes()


def data_root(dataset: str, given: str | None) -> Path:
    """`--data_root`, or `$FENET_DATA/<dataset>` if there is such a folder, or `./data/<dataset>`."""
    if given is not None:
        return Path(given)
    shared = os.environ.get("FENET_DATA")
    if shared and (Path(shared) / dataset).is_dir():
        return Path(shared) / dataset
    return Path("data") / dataset


def runtime_of(options: PredictOptions) -> str:
    """`torch`, `onnx` or `openvino`: what runs the snapshot."""
    return options.runtime or RUNTIMES.get(Path(options.snapshot).suffix, "torch")


def _check_exported(options: PredictOptions) -> None:
    """An exported file gives labels, so nothing can be merged, and what it was made from is settled."""
    if runtime_of(options) == "torch":
        return
    fixed = {"arch": None, "inference_mode": "whole", "scales": (1.0,), "flip": False, "base_size": None}
    fixed |= {"crop_size": None, "amp": "off", "partial": False, "compile": False}
    for name, value in fixed.items():
        if getattr(options, name, value) != value:
            raise OptionError(
                f"--{name}: {options.snapshot} gives labels of whole images at one scale, in its own precision; leave"
                " the flag out, or take the snapshot that it was exported from"
            )
    if options.device == "cuda":
        raise OptionError(f"--device cuda: {options.snapshot} runs on the CPU here; leave the flag out")


def _at_least(flag: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise OptionError(f"{flag} {value}: must be at least {least}")


def _check_below(flag: str, name: str, folder: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise OptionError(f"{flag} {name}: a name below {folder}, without ..")


def _check_side(flag: str, value: int | None) -> None:
    if value is not None and not 1 <= value <= MAX_SIDE:
        raise OptionError(f"{flag} {value}: must be from 1 to {MAX_SIDE} pixels")


def _check_workers(value: int) -> None:
    if not 0 <= value <= MAX_WORKERS:
        raise OptionError(f"--num_workers {value}: must be from 0 to {MAX_WORKERS}; one per CPU core is plenty")
