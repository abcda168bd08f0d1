"""ImageNet weights from timm's hub and from torchvision's, as they come."""

import socket
from collections.abc import Callable

from torch import Tensor, nn

from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.weights import EncoderWeights
from utils.constants import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import EnvironmentFault, OptionError, first_line
from utils.optional import import_extra, import_torchvision

# deep-stem encoders of exactly these keys and shapes, by depth; ResNet-18 with a 128-wide stem has none
TIMM_TWINS = {50: "resnet50s.gluon_in1k", 101: "resnet101s.gluon_in1k"}
TORCHVISION = {18: "resnet18", 50: "resnet50", 101: "resnet101"}  # but for the stem and layer1's first block
TORCHVISION_FAMILIES = ("resnet", "resnext", "wide_resnet")  # whose keys are timm's too
OFFLINE = "efficientnet-lite0 with --backbone tf_efficientnet_lite0"  # weights that need no network
TIMEOUT = 10  # seconds that a server may take to answer


def from_timm(encoder: nn.Module) -> EncoderWeights:
    """Of the encoder itself, or of a deep stem's exact twin.

    Raises:
        OptionError: It has neither, or no weights.
        EnvironmentFault: timm is missing, or the hub can't be reached.
    """
    depth = getattr(encoder, "depth", None)
    name = getattr(encoder, "backbone", None) or TIMM_TWINS.get(depth)
    if name is None and depth is None:
        raise OptionError(f"--pretrained: {type(encoder).__name__} is no encoder of timm's; give a file")
    if name is None:
        raise OptionError(
            f"--pretrained: timm has no twin of the deep-stem ResNet-{depth} (only of {sorted(TIMM_TWINS)});"
            f" give the SFNet authors' file resnet{depth}-deep-stem (docs/models.md), use --pretrained"
            " torchvision --partial (all but stem and first block), leave the option out, or take --arch fenet"
            " --backbone resnet18, whose stem is an ordinary one"
        )
    timm = import_extra("timm", "--pretrained timm")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise OptionError(f"--pretrained timm: timm has no weights for {name}; leave the option out, or give a file")
    _check_hub()
    weights = _download(lambda: timm.create_model(name, pretrained=True).state_dict())
    full = f"timm {name if '.' in name or not config.tag else f'{name}.{config.tag}'}"
    return EncoderWeights(full, weights, weights_sha256(weights), (tuple(config.mean), tuple(config.std)))


def from_torchvision(encoder: nn.Module) -> EncoderWeights:
    """Of the residual network of the same name or depth.

    Raises:
        OptionError: torchvision has none.
        EnvironmentFault: It is missing, or its server can't be reached.
    """
    backbone = getattr(encoder, "backbone", "").partition(".")[0]
    name = backbone or TORCHVISION.get(getattr(encoder, "depth", None))
    models = import_torchvision().models
    if name is None or not name.startswith(TORCHVISION_FAMILIES) or name not in models.list_models():
        what = name or type(encoder).__name__
        raise OptionError(f"--pretrained torchvision: no {what} there; use timm, a file, or leave the option out")
    weights = _download(lambda: models.get_model(name, weights="IMAGENET1K_V1").state_dict())
    return EncoderWeights(
        f"torchvision {name} IMAGENET1K_V1", weights, weights_sha256(weights), (IMAGENET_MEAN, IMAGENET_STD)
    )


def _check_hub() -> None:
    """One short request, because the hub's client tries an unreachable server for most of a minute.

    Raises:
        EnvironmentFault: No answer.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # which kind depends on the client's version
        raise EnvironmentFault(
            f"--pretrained: {constants.ENDPOINT} can't be reached ({first_line(error)}); check the network, set"
            f" HF_HUB_OFFLINE=1 if the weights are in its cache, give a file, or use {OFFLINE}"
        ) from error


def _download(get: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        return get()
    except Exception as error:  # hub clients raise many kinds
        raise EnvironmentFault(
            f"--pretrained: weights can't be downloaded ({first_line(error)}); check the network, or give a file"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
