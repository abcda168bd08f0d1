"""Options of the model."""

import dataclasses
from dataclasses import dataclass

from utils.errors import OptionError
from utils.options import check, option

DEFAULT_ARCH = "fenet_r18"
NORMS = ("plain", "sync", "group", "frozen")
NORM_GROUPS = 32  # Wu and He, Group Normalization, ECCV 2018
BUILT = ("backbone", "channels", "aux", "boundary", "dropout", "filter_kernel", "filter_padding", "filter_weights")
BUILT += ("structure", "fem_d", "fem_s")


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
        for name in ("channels", "filter_kernel", "norm_groups"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"--{name}", value, "must be at least 1")
        check(0 <= self.dropout < 1, "--dropout", self.dropout, "must be at least 0 and less than 1")
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
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        changed = {name: getattr(self, name) for name in BUILT if getattr(self, name) != defaults[name]}
        return changed | ({"norm_groups": self.norm_groups or NORM_GROUPS} if self.norm == "group" else {})
