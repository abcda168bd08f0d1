"""Names -> models. Adding one is a line in `MODELS`; the old dotted names of the releases are aliases."""

from collections.abc import Callable
from functools import partial

from torch import nn

from network.fenet import FENet
from network.layers import NormLayer, group_norm
from network.resnet import BasicBlock, Bottleneck, DeepStemResNet
from network.sfnet import SFNet, SFNetLite
from utils.errors import OptionError

RESNETS = {
    "r18": {"block": BasicBlock, "layers": (2, 2, 2, 2)},
    "r50": {"block": Bottleneck, "layers": (3, 4, 6, 3)},
    "r101": {"block": Bottleneck, "layers": (3, 4, 23, 3)},
    "tiny": {"block": BasicBlock, "layers": (1, 1, 1, 1), "width": 32},
}


def _build(
    model: type[nn.Module],
    encoder: str,
    *,
    norm_layer: NormLayer = nn.BatchNorm2d,
    norm_groups: int | None = None,
    **options,
) -> nn.Module:
    if norm_groups is not None:
        norm_layer = group_norm(norm_groups)
    backbone = DeepStemResNet(norm_layer=norm_layer, **RESNETS[encoder])
    return model(encoder=backbone, norm_layer=norm_layer, **options)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "fenet_tiny": partial(_build, FENet, "tiny", channels=64),  # ours, for laptops, tests and the quickstart
    "fenet_r18": partial(_build, FENet, "r18", channels=128),
    "fenet_r50": partial(_build, FENet, "r50", channels=256),
    "fenet_r101": partial(_build, FENet, "r101", channels=256),
    "sfnet_r18": partial(_build, SFNet, "r18", channels=128),
    "sfnet_r50": partial(_build, SFNet, "r50", channels=256),
    "sfnet_r101": partial(_build, SFNet, "r101", channels=256),
    "sfnet_lite_r18": partial(_build, SFNetLite, "r18", channels=128),
}

_FENET, _SFNET = "network.fenet_resnet_conv_2b_2d.", "network.sfnet_resnet."
ALIASES: dict[str, tuple[str, dict]] = {
    f"{_FENET}DeepR18_FE_deeply": ("fenet_r18", {"aux": False}),
    f"{_FENET}DeepR18_FE_deeply_completely": ("fenet_r18", {}),
    f"{_FENET}DeepR50_FE_deeply_completely": ("fenet_r50", {}),
    f"{_FENET}DeepR101_FE_deeply_completely": ("fenet_r101", {}),
    f"{_SFNET}DeepR18_SF_deeply": ("sfnet_r18", {}),
    f"{_SFNET}DeepR50_SF_deeply": ("sfnet_r50", {}),
    f"{_SFNET}DeepR101_SF_deeply": ("sfnet_r101", {}),
    f"{_SFNET}DeepR18_SFV2_deeply_dsn_FA_Atten": ("sfnet_lite_r18", {}),
}


def list_models() -> list[str]:
    """Names that `build_model` takes, the aliases of the releases left out."""
    return sorted(MODELS)


def resolve_arch(arch: str) -> tuple[str, dict]:
    """Name or old dotted name -> (registered name, options that the old name implies).

    Raises:
        OptionError: Nothing of that name; the message lists the choices.
    """
    name, implied = ALIASES.get(arch, (arch, {}))
    if name not in MODELS:
        raise OptionError(f"--arch {arch}: no such model; choose one of {', '.join(list_models())}")
    return name, dict(implied)


def build_model(arch: str, num_classes: int, **options) -> nn.Module:
    """Build a model with fresh weights; nothing is downloaded and no file is needed.

    The model's `config` attribute (plain data: arch, num_classes, options) rebuilds it.

    Args:
        arch: A name from `list_models`, or an old dotted name.
        num_classes: Number of classes, at least 1.
        options: Of the model's class, such as `aux`, `boundary`, `channels`, `norm_layer`; `norm_groups` builds group
            norms of so many groups.

    Raises:
        OptionError: Unknown name, option or value.
    """
    name, implied = resolve_arch(arch)
    if num_classes < 1:
        raise OptionError(f"num_classes is {num_classes}; a model needs at least 1 class")
    options = {**implied, **options}
    try:
        model = MODELS[name](num_classes=num_classes, **options)
    except (TypeError, ValueError) as error:
        raise OptionError(f"--arch {name}: {error}") from error
    plain = {key: value for key, value in options.items() if key != "norm_layer"}
    model.config = {"arch": name, "num_classes": num_classes, "options": plain}
    return model


def release_key_map(model: nn.Module) -> dict[str, str]:
    """State-dict key of the authors' release -> our key, for all that `model` uses.

    Raises:
        OptionError: The model has no counterpart in the releases.
    """
    if not hasattr(model, "release_key_map"):
        raise OptionError(f"{type(model).__name__} has no counterpart in the releases, so there are no keys to map")
    return model.release_key_map()
