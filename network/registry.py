"""The models by name. A new one is a file in this folder and a line in `MODELS`; old dotted names are aliases.

A model is built by a call with `num_classes` and maps images as `fenet.FENet` does. It has an `encoder` with `mean` and
`std` (RGB, of images in [0, 1]) and `aux_heads`, perhaps empty. Its further keywords, which need defaults, are its
options: on the command line the flags of these names (`--channels`, `--dropout`, ...), the others in `--model_args`.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

from torch import nn

from network.encoders.resnet import BasicBlock, Bottleneck, DeepStemResNet
from network.encoders.timm_encoder import DEFAULT_BACKBONE, TimmEncoder
from network.fenet import FENet
from network.parts.layers import NormLayer, group_norm
from network.release_names import ALIASES, explain_absence
from network.sfnet import SFNet, SFNetLite
from network.smp_model import DECODERS, SmpModel
from utils.errors import OptionError
from utils.keywords import keywords

RESNETS = {
    "r18": {"block": BasicBlock, "layers": (2, 2, 2, 2)},
    "r50": {"block": Bottleneck, "layers": (3, 4, 6, 3)},
    "r101": {"block": Bottleneck, "layers": (3, 4, 23, 3)},
    "tiny": {"block": BasicBlock, "layers": (1, 1, 1, 1), "width": 32},
}


def on_resnet(
    model: type[nn.Module],
    encoder: str,
    *,
    norm_layer: NormLayer = nn.BatchNorm2d,
    norm_groups: int | None = None,
    **options,
) -> nn.Module:
    """`model` on one of our own encoders."""
    if norm_groups is not None:
        norm_layer = group_norm(norm_groups)
    backbone = DeepStemResNet(norm_layer=norm_layer, **RESNETS[encoder])
    return model(encoder=backbone, norm_layer=norm_layer, **options)


def on_timm(
    model: type[nn.Module],
    *,
    backbone: str = DEFAULT_BACKBONE,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int = 128,
    **options,
) -> nn.Module:
    """`model` on the encoder of timm that `backbone` names."""
    return model(encoder=TimmEncoder(backbone, mean, std), channels=channels, **options)


ON_TIMM = {
    "fenet": partial(on_timm, FENet),
    "sfnet": partial(on_timm, SFNet),
    "sfnet_lite": partial(on_timm, SFNetLite),
}
PEERS = {f"smp_{decoder}": partial(SmpModel, decoder) for decoder in DECODERS}
MODELS: dict[str, Callable[..., nn.Module]] = {
    "fenet_tiny": partial(on_resnet, FENet, "tiny", channels=64),  # ours, for laptops, tests and the quickstart
    "fenet_r18": partial(on_resnet, FENet, "r18", channels=128),
    "fenet_r50": partial(on_resnet, FENet, "r50", channels=256),
    "fenet_r101": partial(on_resnet, FENet, "r101", channels=256),
    "sfnet_r18": partial(on_resnet, SFNet, "r18", channels=128),
    "sfnet_r50": partial(on_resnet, SFNet, "r50", channels=256),
    "sfnet_r101": partial(on_resnet, SFNet, "r101", channels=256),
    "sfnet_lite_r18": partial(on_resnet, SFNetLite, "r18", channels=128),
    **ON_TIMM,
    **PEERS,
}
EXTRAS = dict.fromkeys(ON_TIMM, "timm") | dict.fromkeys(PEERS, "segmentation_models_pytorch")  # packages they need
# what the builders and the data decide
_NO_OPTIONS = {"num_classes", "encoder", "norm_layer", "model", "decoder", "mean", "std"}


def list_models() -> list[str]:
    """Names that `build_model` takes here: no aliases of the releases, no models whose extra package is missing."""
    return sorted(name for name in MODELS if name not in EXTRAS or find_spec(EXTRAS[name]))


def model_options(name: str) -> dict[str, inspect.Parameter]:
    """Options of a registered model, with its own defaults."""
    builder = MODELS[name]
    found = keywords(builder)
    if isinstance(builder, partial):
        found = {**(keywords(builder.args[0]) if inspect.isclass(builder.args[0]) else {}), **found}
        found |= {key: found[key].replace(default=value) for key, value in builder.keywords.items()}
    return {key: item for key, item in found.items() if key not in _NO_OPTIONS}


def resolve_arch(arch: str) -> tuple[str, dict]:
    """Name or old dotted name -> (registered name, options that the old name implies).

    Raises:
        OptionError: Nothing of that name; the message lists the choices, or the nearest to a release's model.
    """
    name, implied = ALIASES.get(arch, (arch, {}))
    if name not in MODELS:
        why = explain_absence(arch) or f"no such model; choose one of {', '.join(list_models())}"
        raise OptionError(f"--arch {arch}: {why}")
    return name, dict(implied)
