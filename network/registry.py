"""Names -> models. Adding one is a line in `MODELS`; the old dotted names of the releases are aliases."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

from torch import nn

from network.fenet import FENet
from network.foreign import freeze_unused
from network.parts.layers import NormLayer, group_norm
from network.encoders.resnet import BasicBlock, Bottleneck, DeepStemResNet
from network.sfnet import SFNet, SFNetLite
from network.smp_model import DECODERS, SmpModel
from network.encoders.timm_encoder import DEFAULT_BACKBONE, TimmEncoder
from utils.errors import OptionError, first_line

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


def _build_on_timm(
    model: type[nn.Module],
    *,
    backbone: str = DEFAULT_BACKBONE,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int = 128,
    **options,
) -> nn.Module:
    return model(encoder=TimmEncoder(backbone, mean, std), channels=channels, **options)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "fenet_tiny": partial(_build, FENet, "tiny", channels=64),  # ours, for laptops, tests and the quickstart
    "fenet_r18": partial(_build, FENet, "r18", channels=128),
    "fenet_r50": partial(_build, FENet, "r50", channels=256),
    "fenet_r101": partial(_build, FENet, "r101", channels=256),
    "sfnet_r18": partial(_build, SFNet, "r18", channels=128),
    "sfnet_r50": partial(_build, SFNet, "r50", channels=256),
    "sfnet_r101": partial(_build, SFNet, "r101", channels=256),
    "sfnet_lite_r18": partial(_build, SFNetLite, "r18", channels=128),
    # on the encoder that `backbone` names; both need packages of requirements-extras.txt
    "fenet": partial(_build_on_timm, FENet),
    "sfnet": partial(_build_on_timm, SFNet),
    "sfnet_lite": partial(_build_on_timm, SFNetLite),
    **{f"smp_{decoder}": partial(SmpModel, decoder) for decoder in DECODERS},
}
EXTRAS = {
    **dict.fromkeys(("fenet", "sfnet", "sfnet_lite"), "timm"),
    **{f"smp_{decoder}": "segmentation_models_pytorch" for decoder in DECODERS},
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
    """Names that `build_model` takes here: no aliases of the releases, no models whose extra package is missing."""
    return sorted(name for name in MODELS if name not in EXTRAS or find_spec(EXTRAS[name]))


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
            norms of so many groups; for models on any encoder also `backbone`, and `mean` and `std` of its images.

    Raises:
        OptionError: Unknown name, option or value.
        EnvironmentFault: The model needs an optional package that isn't installed.
    """
    name, implied = resolve_arch(arch)
    if num_classes < 1:
        raise OptionError(f"num_classes is {num_classes}; a model needs at least 1 class")
    if "backbone" in options and name not in EXTRAS:
        raise OptionError(f"--backbone: {name} has an encoder of its own; --backbone goes with {', '.join(EXTRAS)}")
    options = {**implied, **options}
    try:
        model = MODELS[name](num_classes=num_classes, **options)
    except (TypeError, ValueError) as error:
        raise OptionError(f"--arch {name}: {error}") from error
    plain = {key: value for key, value in options.items() if key != "norm_layer"}
    if name in EXTRAS:
        _check_parts(name, model)
        encoder = model.encoder  # said in full, because timm's defaults may change
        plain |= {"backbone": encoder.backbone, "mean": list(encoder.mean), "std": list(encoder.std)}
    model.config = {"arch": name, "num_classes": num_classes, "options": plain}
    return model


def _check_parts(name: str, model: nn.Module) -> None:
    try:
        freeze_unused(model)
    except Exception as error:  # the other libraries raise many kinds
        raise OptionError(
            f"--backbone {model.encoder.backbone}: doesn't go with {name} ({first_line(error)}); take another encoder"
        ) from error


def release_key_map(model: nn.Module) -> dict[str, str]:
    """State-dict key of the authors' release -> our key, for all that `model` uses.

    Raises:
        OptionError: The model has no counterpart in the releases.
    """
    key_map = model.release_key_map() if hasattr(model, "release_key_map") else {}
    if not key_map:
        raise OptionError(f"{type(model).__name__} on this encoder has no counterpart in the releases: no keys to map")
    return key_map
