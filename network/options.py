"""Options of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from network.fenet import FENet
from network.parts.enhancement import FILTER_PADDINGS, FILTER_WEIGHTS, STRUCTURES
from network.registry import MODELS, model_options, resolve_arch
from utils.errors import OptionError
from utils.keywords import describe, keywords, parse_keywords
from utils.options import check, check_choices, option

DEFAULT_ARCH = "fenet_r18"
NORMS = ("plain", "sync", "group", "frozen")
NORM_GROUPS = 32  # Wu and He, Group Normalization, ECCV 2018
UNSET = ("backbone", "channels", "aux")
OWN = ("boundary", "dropout", "filter_kernel", "filter_padding", "filter_weights", "structure", "fem_d", "fem_s")


def _own(name: str, help: str, **more):
    """An option whose default is the model's."""
    return option(None, f"{help}; unset: the model's own, {keywords(FENet)[name].default} for FENet", **more)


def _further(arch: str) -> dict:
    """Options of a model that have no flag."""
    return {key: item for key, item in model_options(arch).items() if key not in (*UNSET, *OWN, "norm_groups")}


@dataclass(frozen=True)
class ModelOptions:
    """model"""

    arch: str | None = option(
        None, "model name, or the old dotted name of a release; unset: fenet_r18, with --evaluateF as the snapshot says"
    )
    model_args: str = option(
        "",
        "its options that have no flag, key=value,...: "
        + ("; ".join(f"{arch}: {describe(_further(arch))}" for arch in MODELS if _further(arch)) or "none so far"),
    )
    backbone: str | None = option(
        None, "timm's name of the encoder of fenet, sfnet, sfnet_lite, smp_...; unset: resnet18"
    )
    channels: int | None = option(None, "width of the decoder; unset: the model's own")
    aux: bool | None = option(None, "build auxiliary heads (unset: as the model's name says) and train them")
    boundary: bool | None = _own("boundary", "build the boundary head and train it")
    dropout: float | None = _own("dropout", "probability of the model's channel dropouts")
    filter_kernel: int | None = _own("filter_kernel", "side of the enhancement filter")
    filter_padding: str | None = _own(
        "filter_padding", "padding of the enhancement filter", choices=tuple(FILTER_PADDINGS)
    )
    filter_weights: str | None = _own("filter_weights", "how the enhancement filter is trained", choices=FILTER_WEIGHTS)
    structure: str | None = _own("structure", "filter of FEM-S", choices=STRUCTURES)
    fem_d: bool | None = _own("fem_d", "build the detail modules FEM-D")
    fem_s: bool | None = _own("fem_s", "build the structure modules FEM-S")
    freeze_trunk: bool = option(False, "don't train the encoder")
    freeze_stages: int = option(0, "don't train the encoder's first stages, 1 to 4, nor their norms' statistics; 0: do")
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
        names = [*UNSET, *OWN, "norm_groups"]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        object.__setattr__(self, "_given", given)  # no field: it is how the options came, not what they are
        self._take_defaults()
        check_choices(self)
        for name in ("channels", "filter_kernel", "norm_groups"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"--{name}", value, "must be at least 1")
        check(self.filter_kernel % 2, "--filter_kernel", self.filter_kernel, "must be odd")
        check(0 <= self.dropout < 1, "--dropout", self.dropout, "must be at least 0 and less than 1")
        check(0 <= self.freeze_stages <= 4, "--freeze_stages", self.freeze_stages, "an encoder has 4; give 0 to 4")
        if self.freeze_stages and self.freeze_trunk:
            raise OptionError(
                f"--freeze_trunk --freeze_stages {self.freeze_stages}: the whole encoder, or a part; choose one"
            )
        if self.norm_groups is not None and self.norm != "group":
            raise OptionError("--norm_groups: is for --norm group; add that, or leave it out")
        if self.fix_bn and self.norm not in (None, "frozen"):
            raise OptionError(f"--fix_bn --norm {self.norm}: --fix_bn is --norm frozen; choose one")
        self.build_options()

    def _take_defaults(self) -> None:
        """Fill in what is the model's own; what it doesn't know is FENet's."""
        known = {**keywords(FENet), **model_options(self.name)}
        for name in OWN:
            if getattr(self, name) is None:
                object.__setattr__(self, name, known[name].default)

    @property
    def name(self) -> str:
        """Registered name of the model."""
        return resolve_arch(self.arch or DEFAULT_ARCH)[0]

    @property
    def implied(self) -> dict:
        """Options that an old dotted name stands for."""
        return resolve_arch(self.arch or DEFAULT_ARCH)[1]

    def like(self, arch: str, options: Mapping) -> "ModelOptions":
        """The model of a snapshot, `arch` with `options` as its `config` has them, but what was given here wins.

        Where `--arch` names another model, these options stay as they are.
        """
        if self.arch is not None and self.name != arch:
            return self
        known = {**options, **(self.implied if self.arch else {}), **self._given}
        flags = {name: known.get(name) for name in (*UNSET, *OWN)}
        if self.norm is None and options.get("norm_groups"):
            if self.fix_bn:
                raise OptionError("--fix_bn: the snapshot has group norms, without statistics to freeze; leave it out")
            flags |= {"norm": "group", "norm_groups": known["norm_groups"]}
        further = {key: value for key, value in options.items() if key in _further(arch)}
        settings = ",".join([*(f"{key}={value}" for key, value in further.items()), *filter(None, [self.model_args])])
        return replace(self, arch=self.arch or arch, model_args=settings, **flags)

    @property
    def freeze_norms(self) -> bool:
        """True if statistics and scales of the batch norms stay as they are."""
        return self.fix_bn or self.norm == "frozen"

    @property
    def wanted_norm(self) -> str | None:
        """One of `NORMS`; None: it depends on the processes."""
        return "frozen" if self.freeze_norms else self.norm or ("sync" if self.syncbn else None)

    def build_options(self) -> dict:
        """Keyword arguments of `network.build_model`; what is the model's own default is left out.

        Raises:
            OptionError: The model has no such option.
        """
        defaults = {name: item.default for name, item in {**keywords(FENet), **model_options(self.name)}.items()}
        given = {name: getattr(self, name) for name in UNSET if getattr(self, name) is not None}
        given |= {name: getattr(self, name) for name in OWN if getattr(self, name) != defaults[name]}
        if self.norm == "group":
            given["norm_groups"] = self.norm_groups or NORM_GROUPS
        if given.get("aux") is False and "aux" not in model_options(self.name):
            del given["aux"]
        for name in given.keys() - model_options(self.name).keys():
            flag = "--norm group" if name == "norm_groups" else f"--{name}"
            takers = ", ".join(arch for arch in MODELS if name in model_options(arch))
            why = "has an encoder of its own" if name == "backbone" else "has no such option"
            raise OptionError(f"{flag}: {self.name} {why}; leave it out, or give --arch one of {takers}")
        return given | parse_keywords("--model_args", self.model_args, f"--arch {self.name}", _further(self.name))
