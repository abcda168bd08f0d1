"""Composes the options of all rooms into what an entry point parses; old flags and aliases."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from datasets.options import DataOptions
from engine.checkpoint.options import WeightOptions
from engine.demo.options import DemoOptions
from engine.evaluation.options import EvalOptions
from engine.training.options import ComputeOptions, RunOptions, ScheduleOptions, ValidationOptions
from loss.options import LossOptions
from network import check_buildable, is_release_name
from network.options import ModelOptions
from optimizer import OPTIMIZERS, OptimizerOptions, optimizer_options
from transforms.options import AugmentOptions
from utils.errors import OptionError
from utils.options import OldFlag, Parser, add_old_flags, add_options, collect
from utils.options_file import add_options_file, with_options_file

# what may change when a run resumes; everything else decides its result
_FREE = (RunOptions, ScheduleOptions, ComputeOptions, ValidationOptions, WeightOptions)
FREE = {item.name for group in _FREE for item in dataclasses.fields(group)}
FREE -= {"seed", "amp", "deterministic", "global_batch", "max_epoch", "max_iters", "test_mode"}
FREE |= {"num_workers", "worker_timeout", "cache", "data_root", "val_split", "aux", "arch"}


@dataclass(frozen=True)
class TrainConfig:
    """Everything train.py was asked for."""

    model: ModelOptions
    weights: WeightOptions
    data: DataOptions
    augment: AugmentOptions
    loss: LossOptions
    optimizer: OptimizerOptions
    schedule: ScheduleOptions
    compute: ComputeOptions
    validation: ValidationOptions
    run: RunOptions
    notes: list[str] = field(default_factory=list)
    command: str = ""
    arguments: tuple[str, ...] = ()  # of the command line, those of `--options_from` in its place
    resumed_amp: str | None = None  # of the snapshot that the run resumes from, where --amp leaves it open

    def __post_init__(self) -> None:
        check_buildable(self.model)
        if self.model.boundary and self.loss.boundary_weight == 0:
            raise OptionError("--boundary_weight 0: a head without a loss learns nothing; leave --boundary out")
        if self.schedule.max_iters and self.loss.rlx_off_epoch >= 0:
            raise OptionError("--max_iters --rlx_off_epoch: that epoch's place needs a run of epochs; give --max_epoch")
        if self.loss.teacher and self.augment.augment == "device":
            raise OptionError("--teacher: its maps are augmented by the loader; give --augment cpu")
        if self.schedule.bs_mult == 1 and (self.augment.cutmix or self.augment.classmix):
            raise OptionError("--bs_mult 1: --cutmix and --classmix need another crop in the batch; give 2 or more")

    def idle(self) -> list[str]:
        """A line for each option that has no effect in this run."""
        lines, optimizer, run = self.loss.notes(), self.optimizer, self.run
        relaxes = self.loss.name == "relaxed_boundary" and self.loss.rlx_off_epoch >= 0
        if optimizer.lr_schedule == "scl-poly" and not relaxes:
            lines.append("--lr_schedule scl-poly is poly here: it differs where --rlx_off_epoch ends relaxation")
        if "momentum" not in optimizer_options(optimizer.optimizer) and optimizer.momentum != OptimizerOptions.momentum:
            lines.append(f"--momentum has no effect: --optimizer {optimizer.optimizer} has none")
        if run.tb_tag and run.tb_path is None:
            lines.append("--tb_tag has no effect without --tb_path: events are in the run's own folder")
        return lines + [
            f"--{name} has no effect {why}"
            for group, names, used, why in self._users()
            for name in names.split()
            if not used and getattr(group, name) != getattr(type(group), name)
        ]

    def _users(self) -> list[tuple]:
        """Options (of a group, their names) that need others: whether these are as they need them, and else why not."""
        optimizer, schedule = self.optimizer, self.optimizer.lr_schedule
        starts = self.weights.pretrained or self.weights.snapshot or is_release_name(self.model.arch)
        return [
            (self.augment, "corruptions", self.augment.augment_corruption, "without --augment_corruption"),
            (self.loss, "teacher_weight", self.loss.teacher, "without --teacher"),
            (self.weights, "partial", starts, "without --pretrained or --snapshot"),
            (self.data, "class_uniform_tile max_cu_epoch", self.data.class_uniform_pct, "with --class_uniform_pct 0"),
            (optimizer, "encoder_lr lr_decay_by_depth", not self.model.freeze_trunk, "with --freeze_trunk"),
            (optimizer, "poly_exp", schedule in ("poly", "scl-poly"), f"with --lr_schedule {schedule}"),
            (optimizer, "repoly rescale", schedule == "scl-poly", "without --lr_schedule scl-poly"),
        ]

    def evaluation(self) -> EvalOptions:
        """What --evaluateF scores: --snapshot on the validation split. Raises `OptionError` without a snapshot."""
        if self.weights.snapshot is None:
            raise OptionError("--evaluateF: name the weights to score with --snapshot")
        return EvalOptions(
            snapshot=self.weights.snapshot,
            partial=self.weights.partial,
            arch=self.model.arch,
            dataset=self.data.dataset,
            data_root=self.data.data_root,
            split=self.data.val_split,
            cv_split=self.data.cv,
            num_workers=self.data.num_workers,
            base_size=self.validation.base_size,
            max_pixels=self.validation.max_pixels,
            eval_thresholds=self.run.eval_thresholds,
            test_mode=self.run.test_mode,
            amp=self.compute.amp,
            save_dir=self.run.ckpt,
        )

    def for_processes(self, world_size: int) -> "TrainConfig":
        """The same config with the `accumulate` that `--global_batch` asks for on so many processes."""
        return dataclasses.replace(self, schedule=self.schedule.for_processes(world_size))

    def reproducibility_key(self, world_size: int) -> dict[str, str]:
        """What decides a run's result, for comparison when it is resumed: batches count over all processes."""
        kept = {name: value for name, value in self.to_dict().items() if name not in FREE}
        kept["norm_groups"] = self.model.build_options().get("norm_groups")
        schedule = self.schedule
        global_batch = schedule.bs_mult * schedule.accumulate * world_size
        kept |= {"global_batch": global_batch, "processes": world_size}
        kept |= {"bs_mult": schedule.bs_mult, "accumulate": schedule.accumulate, "base_size": self.validation.base_size}
        # a snapshot's tuples come back as tuples; JSON's and argparse's spellings are made equal by repr
        return {name: repr(value) for name, value in kept.items()}

    def to_dict(self) -> dict:
        """Every option by name, as plain data."""
        groups = [getattr(self, item.name) for item in dataclasses.fields(self)]
        groups = [group for group in groups if dataclasses.is_dataclass(group)]
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
LITE_HAS_NONE = (
    "--fpn_dsn_loss is accepted and has no effect: no part of SFNet-Lite's release ever used that auxiliary head, nor"
    " does its recipe here; --aux builds auxiliary heads and trains them"
)
REFUSED = {
    "--joint_edgeseg_loss": "is the loss of GSCNN, whose model is not part of this family; leave it out",
    "--icnet_loss": "is the loss of ICNet, whose model is not part of this family; leave it out",
}


TRAIN_GROUPS = [item.type for item in dataclasses.fields(TrainConfig) if dataclasses.is_dataclass(item.type)]


def default_settings() -> dict[str, str]:
    """`TrainConfig.reproducibility_key` of a run without options, on one process, in float32."""
    return TrainConfig(*(group() for group in TRAIN_GROUPS)).reproducibility_key(1) | {"amp": repr("off")}


def train_parser() -> Parser:
    """The parser of train.py."""
    parser = Parser(prog="train.py", description="Train a segmentation model, alone or under torchrun.")
    for group in TRAIN_GROUPS:
        add_options(parser, group)
    add_options_file(parser)
    _add_short_forms(parser)
    parser.set_defaults(optimizer="sgd", amp="auto", data_root=None, notes=[])
    add_old_flags(parser, TRAIN_OLD_FLAGS)
    return parser


def parse_train(argv: Sequence[str]) -> TrainConfig:
    """The command line of train.py -> config.

    Raises:
        OptionError: An unknown option or a value that cannot work.
    """
    names = [item.name for group in TRAIN_GROUPS for item in dataclasses.fields(group)]
    arguments = with_options_file(argv, names)
    namespace = train_parser().parse_args(arguments)
    for flag, reason in REFUSED.items():
        if getattr(namespace, flag.strip("-")):
            raise OptionError(f"{flag}: {reason}")
    command = shlex.join(["python", "train.py", *argv])
    groups = [collect(group, namespace) for group in TRAIN_GROUPS]
    notes = namespace.notes
    if groups[0].name.startswith("sfnet_lite"):
        notes = [LITE_HAS_NONE if note.startswith("--fpn_dsn_loss") else note for note in notes]
    return TrainConfig(*groups, notes, command, tuple(arguments))


def _add_short_forms(parser: argparse.ArgumentParser) -> None:
    short = parser.add_argument_group("short forms")
    for name in OPTIMIZERS:
        short.add_argument(
            f"--{name}", action="store_const", dest="optimizer", const=name, help=f"= --optimizer {name}"
        )
    modes = ("train", "trainval", "val")
    short.add_argument("--mode", dest="train_split", choices=modes, help="= --train_split")
    short.add_argument("--fp16", action="store_const", dest="amp", const="fp16", help="= --amp fp16")
    short.add_argument("--dataset_dir", dest="data_root", help="= --data_root")
    for flag, reason in REFUSED.items():
        short.add_argument(flag, action="store_true", help=f"refused: {reason}")


EVAL_OLD_FLAGS = [
    *LAUNCHER_FLAGS,
    OldFlag("--mode", "fine labels are what is evaluated", 1),
    OldFlag("--dataset_cls", "--dataset names it", 1),
    OldFlag("--dist_bn", "norms are not synchronised in evaluation"),
    OldFlag("--profile", "see scripts/benchmark.py"),
    OldFlag("--fixed_aspp_pool", "the models of this family don't use it"),
    OldFlag("--trunk", "--arch names the encoder", 1),
]


def eval_parser() -> Parser:
    """The parser of eval.py."""
    parser = Parser(prog="eval.py", description="Score a snapshot on a split, alone or under torchrun.")
    add_options(parser, EvalOptions)
    short = parser.add_argument_group("short forms")
    short.add_argument("--dataset_dir", dest="data_root", help="= --data_root")
    short.add_argument("--single_scale", action="store_const", dest="scales", const=(1.0,), help="= --scales 1.0")
    parser.set_defaults(data_root=None, scales=(1.0,), notes=[])
    add_old_flags(parser, EVAL_OLD_FLAGS)
    return parser


def parse_eval(argv: Sequence[str]) -> tuple[EvalOptions, list[str]]:
    """The command line of eval.py -> options, and notes about flags that mean nothing any more."""
    namespace = eval_parser().parse_args(argv)
    options = collect(EvalOptions, namespace)
    return options, namespace.notes + options.notes()


def demo_parser() -> Parser:
    """The parser of demo_folder.py."""
    parser = Parser(prog="demo_folder.py", description="Segment images and videos and draw the result.")
    add_options(parser, DemoOptions)
    add_old_flags(parser, LAUNCHER_FLAGS)
    parser.set_defaults(notes=[])
    return parser


def parse_demo(argv: Sequence[str]) -> tuple[DemoOptions, list[str]]:
    """The command line of demo_folder.py -> options, and notes about flags that mean nothing any more."""
    namespace = demo_parser().parse_args(argv)
    options = collect(DemoOptions, namespace)
    return options, namespace.notes + options.notes()
